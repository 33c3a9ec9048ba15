"""Service deployments and service revisions (developer guide, "View service history using Amazon ECS service
deployments")."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import botocore.session
import pytest

from inference_sandbox.tasks.scripted import failing
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout, breaker
from tests.sandbox.aws.test_traffic import Shift
from tests.sandbox.aws.world import refusal

PROPERTIES = "Developer guide, “Properties included in an Amazon ECS service deployment”"
BAD = failing("CannotPullContainerError: not found")
ALWAYS = {
    "serviceDeploymentArn",
    "serviceArn",
    "clusterArn",
    "createdAt",
    "startedAt",
    "updatedAt",
    "sourceServiceRevisions",
    "targetServiceRevision",
    "status",
    "deploymentConfiguration",
    "deploymentCircuitBreaker",
    "alarms",
}
"""Members of every service deployment; the rest belong to a state or a strategy."""


def known_members(shape: str) -> set[str]:
    found: Any = botocore.session.get_session().get_service_model("ecs").shape_for(shape)
    return set(found.members)


def counts(summary: dict[str, Any]) -> tuple[int, int, int]:
    return summary["requestedTaskCount"], summary["pendingTaskCount"], summary["runningTaskCount"]


def weights(summary: dict[str, Any]) -> tuple[float, float]:
    return summary["requestedProductionTrafficWeight"], summary["requestedTestTrafficWeight"]


@follows(PROPERTIES)
def test_a_rolling_deployment_shows_what_runs_of_its_revisions(rollout: Rollout) -> None:
    rollout.create(2)
    first = rollout.record()
    assert set(first) == ALWAYS
    assert set(first) <= known_members("ServiceDeployment")
    assert first["sourceServiceRevisions"] == []
    rollout.advance(7)
    assert counts(rollout.record()["targetServiceRevision"]) == (2, 2, 0)
    rollout.advance(120)
    done = rollout.record()
    assert set(done) == ALWAYS | {"finishedAt"}
    assert (done["status"], counts(done["targetServiceRevision"])) == ("SUCCESSFUL", (2, 0, 2))
    assert done["alarms"] == {"status": "DISABLED"}
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(20)
    second = rollout.record()
    [source] = second["sourceServiceRevisions"]
    assert source["arn"] == first["targetServiceRevision"]["arn"]
    assert (counts(source), counts(second["targetServiceRevision"])) == ((2, 0, 2), (2, 0, 2))
    rollout.advance(300)
    [source] = rollout.record()["sourceServiceRevisions"]
    assert counts(source) == (0, 0, 0)


@follows("API reference, ServiceDeploymentCircuitBreaker")
def test_the_breaker_shows_its_count_and_its_threshold_from_the_start(rollout: Rollout) -> None:
    rollout.create(10, **breaker())
    shown = rollout.record()["deploymentCircuitBreaker"]
    assert shown == {"status": "MONITORING", "failureCount": 0, "threshold": 5}
    rollout.advance(120)
    assert rollout.record()["deploymentCircuitBreaker"]["status"] == "MONITORING_COMPLETE"
    rollout.runner.script = lambda _launch: BAD
    rollout.update(taskDefinition=rollout.register(), desiredCount=20)
    rollout.advance(1)
    assert rollout.record()["deploymentCircuitBreaker"]["threshold"] == 10
    rollout.advance(30)
    record = rollout.record()
    assert record["deploymentCircuitBreaker"]["status"] == "TRIGGERED"
    assert record["deploymentCircuitBreaker"]["failureCount"] >= record["deploymentCircuitBreaker"]["threshold"]


@follows("API reference, ServiceDeployment.rollback, statusReason")
def test_a_rollback_names_its_reason_its_time_and_its_revision(rollout: Rollout) -> None:
    rollout.create(2, **breaker())
    rollout.advance(120)
    good = rollout.record()["targetServiceRevision"]["arn"]
    rollout.runner.script = lambda _launch: BAD
    rollout.update(taskDefinition=rollout.register())
    while rollout.record()["status"] == "IN_PROGRESS":
        rollout.advance(5)
    record = rollout.record()
    assert record["status"] in ("ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL")
    assert record["rollback"]["serviceRevisionArn"] == good
    assert record["rollback"]["startedAt"] > record["startedAt"]
    assert "tasks failed to start" in record["rollback"]["reason"]
    rollout.advance(300)
    record = rollout.record()
    assert record["status"] == "ROLLBACK_SUCCESSFUL"
    assert record["finishedAt"] >= record["rollback"]["startedAt"]
    assert set(record) <= known_members("ServiceDeployment")
    [source] = record["sourceServiceRevisions"]
    assert (source["arn"], counts(source)) == (good, (2, 0, 2))


@follows("API reference, ServiceDeployment.stoppedAt")
def test_a_failure_without_rollback_stops_the_deployment(rollout: Rollout) -> None:
    rollout.runner.script = lambda _launch: BAD
    rollout.create(1, **breaker(rollback=False))
    rollout.advance(300)
    record = rollout.record()
    assert (record["status"], "rollback" in record) == ("STOPPED", False)
    assert "tasks failed to start" in record["statusReason"]
    assert record["stoppedAt"] == record["finishedAt"]


@follows("API reference, ServiceRevisionSummary.requestedProductionTrafficWeight, requestedTestTrafficWeight")
def test_both_revisions_show_their_share_of_the_traffic(rollout: Rollout) -> None:
    canary = {"canaryPercent": 20.0, "canaryBakeTimeInMinutes": 10}
    shift = Shift(rollout, strategy="CANARY", canaryConfiguration=canary, bakeTimeInMinutes=5)
    shift.update()
    rollout.advance(1)
    record = rollout.record()
    [source], target = record["sourceServiceRevisions"], record["targetServiceRevision"]
    assert (weights(source)[0], weights(target)[0]) == (100.0, 0.0)
    rollout.advance(60)
    record = rollout.record()
    [source], target = record["sourceServiceRevisions"], record["targetServiceRevision"]
    assert (weights(source)[0], weights(target)[0]) == (80.0, 20.0)
    assert set(record) == ALWAYS | {"lifecycleStage"}
    rollout.advance(700)
    record = rollout.record()
    assert (record["lifecycleStage"], weights(record["targetServiceRevision"])[0]) == ("BAKE_TIME", 100.0)
    assert weights(record["sourceServiceRevisions"][0])[0] == 0.0


@follows("API reference, StopServiceDeployment: even without the rollback option; status ROLLBACK_…")
def test_a_deployment_is_stopped_by_rolling_it_back(rollout: Rollout) -> None:
    rollout.create(2)
    rollout.advance(120)
    good = rollout.deployments()[0]["id"]
    rollout.runner.script = lambda _launch: BAD
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(20)
    arn = rollout.record()["serviceDeploymentArn"]
    assert rollout.ecs.stop_service_deployment(serviceDeploymentArn=arn)["serviceDeploymentArn"] == arn
    assert rollout.record()["status"] == "ROLLBACK_IN_PROGRESS"
    assert refusal(rollout.ecs.stop_service_deployment, serviceDeploymentArn=arn)[0] == "ConflictException"
    rollout.advance(300)
    assert rollout.record()["status"] == "ROLLBACK_SUCCESSFUL"
    assert [each["id"] for each in rollout.deployments()] == [good]


@follows("API reference, StopServiceDeployment")
def test_a_deployment_that_shifts_traffic_is_stopped_too(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="LINEAR", linearConfiguration={"stepPercent": 25.0, "stepBakeTimeInMinutes": 5})
    shift.update()
    rollout.advance(120)
    assert shift.shares() == {"blue": 75, "green": 25}
    rollout.ecs.stop_service_deployment(serviceDeploymentArn=rollout.record()["serviceDeploymentArn"])
    rollout.advance(1)
    assert shift.shares() == {"blue": 100}
    record = rollout.record()
    assert weights(record["sourceServiceRevisions"][0])[0] == 100.0
    assert weights(record["targetServiceRevision"])[0] == 0.0
    rollout.advance(600)
    assert rollout.record()["status"] == "ROLLBACK_SUCCESSFUL"


@follows("API reference, StopServiceDeployment.stopType: the valid values are ROLLBACK")
@differs("The service model also lists ABORT, of which the documentation says nothing; the sandbox refuses it.")
def test_the_stop_type_is_rollback(rollout: Rollout) -> None:
    rollout.create(1)
    arn = rollout.record()["serviceDeploymentArn"]
    code = refusal(rollout.ecs.stop_service_deployment, serviceDeploymentArn=arn, stopType="ABORT")[0]
    assert code == "InvalidParameterException"


@follows("API reference, StopServiceDeployment: Errors")
@differs("What AWS answers when there is nothing to roll back to is not documented; here it is a conflict.")
def test_a_first_deployment_has_nothing_to_roll_back_to(rollout: Rollout) -> None:
    rollout.create(1)
    arn = rollout.record()["serviceDeploymentArn"]
    assert refusal(rollout.ecs.stop_service_deployment, serviceDeploymentArn=arn)[0] == "ConflictException"
    assert rollout.record()["status"] == "IN_PROGRESS"


@follows("API reference, ListServiceDeployments")
def test_service_deployments_are_listed_newest_first_by_status_and_time_twenty_a_page(rollout: Rollout) -> None:
    rollout.create(1)
    for _ in range(24):
        rollout.advance(60)
        rollout.update(forceNewDeployment=True)
    where = {"cluster": "inference", "service": "web"}
    first = rollout.ecs.list_service_deployments(**where)
    assert len(first["serviceDeployments"]) == 20
    second = rollout.ecs.list_service_deployments(**where, nextToken=first["nextToken"])
    assert "nextToken" not in second
    shown = first["serviceDeployments"] + second["serviceDeployments"]
    assert len({each["serviceDeploymentArn"] for each in shown}) == 25
    assert shown == sorted(shown, key=lambda each: each["createdAt"], reverse=True)
    assert set(shown[0]) == known_members("ServiceDeploymentBrief") - {"finishedAt", "statusReason"}
    open_ones = rollout.ecs.list_service_deployments(**where, status=["PENDING", "IN_PROGRESS"])
    assert open_ones["serviceDeployments"] == shown[:1]
    when = shown[10]["createdAt"]
    around = {"after": when - timedelta(seconds=61), "before": when + timedelta(seconds=61)}
    found = rollout.ecs.list_service_deployments(**where, createdAt=around)["serviceDeployments"]
    assert found == shown[9:12]


@follows("API reference, ServiceRevision")
@differs("The sandbox asks no registry: only an image that is named by its digest shows one.")
def test_a_revision_keeps_what_it_was_made_of(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="BLUE_GREEN")
    image = "app@sha256:" + "a" * 64
    rollout.update(taskDefinition=rollout.register(container={"image": image}))
    rollout.advance(300)
    assert shift.shares() == {"green": 100}
    arn = rollout.record()["targetServiceRevision"]["arn"]
    [shown] = rollout.ecs.describe_service_revisions(serviceRevisionArns=[arn])["serviceRevisions"]
    assert set(shown) <= known_members("ServiceRevision")
    assert shown["containerImages"] == [{"containerName": "app", "image": image, "imageDigest": "sha256:" + "a" * 64}]
    [resolved] = shown["resolvedConfiguration"]["loadBalancers"]
    advanced = shown["loadBalancers"][0]["advancedConfiguration"]
    assert resolved == {
        "targetGroupArn": advanced["alternateTargetGroupArn"],
        "productionListenerRule": advanced["productionListenerRule"],
    }


@follows("API reference, ContinueServiceDeployment: Errors")
@pytest.mark.parametrize("change", [{"hookId": "never"}, {"action": "DANCE"}])
def test_only_a_hook_that_awaits_an_action_is_continued(rollout: Rollout, change: dict[str, str]) -> None:
    hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    shift.update()
    rollout.advance(60)
    record = rollout.record()
    request = {
        "serviceDeploymentArn": record["serviceDeploymentArn"],
        "hookId": record["lifecycleHookDetails"][0]["hookId"],
    } | change
    assert refusal(rollout.ecs.continue_service_deployment, **request)[0] == "InvalidParameterException"
    assert rollout.record()["lifecycleHookDetails"][0]["status"] == "AWAITING_ACTION"
