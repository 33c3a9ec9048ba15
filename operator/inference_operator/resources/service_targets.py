"""The health of a service's targets, read where it tells what DescribeServices does not: why a rollout whose tasks run
does not end, and what is the matter with a target until it is well again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer
from inference_operator.resources.base import Scene
from inference_operator.resources.service_rollout import Service

PATIENCE = timedelta(seconds=30)
"""A target needs some checks to become healthy: until then there is nothing to tell."""


def troubled(scene: Scene, have: Service) -> Sequence[Answer]:
    """TargetHealthDescriptions, if it is worth a look."""
    if not _worth_a_look(scene, have):
        return ()
    found: list[Answer] = []
    for group in (each["targetGroupArn"] for each in have.answer.get("loadBalancers", ())):
        try:
            found += scene.aws.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        except NotFound:
            continue
    return found


def _worth_a_look(scene: Scene, have: Service) -> bool:
    if scene.previous.targets is not None:  # something was the matter at the last look
        return True
    primary = have.primary
    if primary is None or primary["runningCount"] == 0 or scene.now - primary["createdAt"] < PATIENCE:
        return False
    rolling = primary.get("rolloutState") == "IN_PROGRESS" and primary["runningCount"] >= primary["desiredCount"]
    return rolling or bool(primary.get("failedTasks"))
