"""The health of a service's targets, read where it tells what DescribeServices does not: why a rollout whose tasks run
does not end, and what is the matter with a target until it is well again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain.rollout import Deployment
from inference_operator.resources.base import Scene
from inference_operator.resources.service_rollout import Service

PATIENCE = timedelta(seconds=30)
"""A target needs some checks to become healthy: until then there is nothing to tell."""


def troubled(scene: Scene, have: Service) -> Sequence[Answer]:
    """TargetHealthDescriptions, if it is worth a look."""
    moves = _moves(scene, have)
    if not moves and not _has_failing_tasks(scene, have):
        return ()
    return scene.aws.services.beside(
        have.cluster, have.name, ("targets",), lambda: _health(scene, have), moves=lambda _: moves, old_will_do=True
    )


def _health(scene: Scene, have: Service) -> list[Answer]:
    found: list[Answer] = []
    for group in (each["targetGroupArn"] for each in have.answer.get("loadBalancers", ())):
        try:
            found += scene.aws.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        except NotFound:
            continue
    return found


def _moves(scene: Scene, have: Service) -> bool:
    """Whether targets may become healthy, of which DescribeServices does not tell."""
    if scene.previous.targets is not None:  # something was the matter at the last look
        return True
    primary = _settled_down(scene, have)
    return (
        primary is not None
        and primary.get("rolloutState") == "IN_PROGRESS"
        and primary["runningCount"] >= primary["desiredCount"]
    )


def _has_failing_tasks(scene: Scene, have: Service) -> bool:
    primary = _settled_down(scene, have)
    return primary is not None and bool(primary.get("failedTasks"))


def _settled_down(scene: Scene, have: Service) -> Deployment | None:
    """The deployment whose targets may be told of, if some run."""
    primary = have.primary
    if primary is None or primary["runningCount"] == 0 or scene.now - primary["createdAt"] < PATIENCE:
        return None
    return primary
