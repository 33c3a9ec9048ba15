"""Beside other controllers: what AWS's own and other people's tools change on and around the things that are kept is
neither fought over, nor misread in the status, nor deleted. Raw boto3 plays the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from inference_operator.api.meta import ADOPT
from inference_operator.domain import tags
from inference_operator.domain.failures import stopped_task
from inference_operator.domain.names import Identity
from inference_operator.engine.objects import Outcome
from inference_operator.resources import service_input
from inference_operator.resources.base import Fact, differing
from inference_sandbox.aws import in_process
from inference_sandbox.ecs.failures import Failure
from tests.operator.builders import deployment_document
from tests.operator.test_checks import allow_tasks, statement
from tests.operator.test_kinds import SCALABLE, SERVICE, strange_task_definition
from tests.operator.world import CLUSTER, Object, World

SCALED = {"minReplicas": 2, "maxReplicas": 10, "memoryPercent": 70}
NIGHT = {"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 2, "maxReplicas": 3}
AUDITS = timedelta(hours=7)
"""Within these everything is looked at again."""


def up(world: World, **spec: Any) -> Object:
    it = Object(world, deployment_document(**spec))
    it.live(lambda: it.ready)
    return it


# -- Application Auto Scaling


def put_policy(world: World, name: str, metric: str = "ECSServiceAverageCPUUtilization", target: float = 33.0) -> None:
    world.client("application-autoscaling").put_scaling_policy(
        **SCALABLE,
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": target,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
        },
    )


def put_schedule(world: World, name: str, low: int, high: int, schedule: str = "cron(0 20 * * ? *)") -> None:
    world.client("application-autoscaling").put_scheduled_action(
        **SCALABLE,
        ScheduledActionName=name,
        Schedule=schedule,
        ScalableTargetAction={"MinCapacity": low, "MaxCapacity": high},
    )


def policies(world: World) -> dict[str, float]:
    found = world.client("application-autoscaling").describe_scaling_policies(**SCALABLE)["ScalingPolicies"]
    return {p["PolicyName"]: p["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for p in found}


def schedules(world: World) -> set[str]:
    found = world.client("application-autoscaling").describe_scheduled_actions(**SCALABLE)["ScheduledActions"]
    return {action["ScheduledActionName"] for action in found}


def test_policies_and_schedules_of_somebody_else_s_on_our_scalable_target_stay_as_they_are(world: World) -> None:
    it = up(world, autoscaling={**SCALED, "schedules": [NIGHT]})
    put_policy(world, "their-cpu")
    put_schedule(world, "their-morning", 2, 10)
    mark = world.mark
    it.live_on(AUDITS)
    assert world.writes(since=mark) == []
    it.change(autoscaling={**SCALED, "memoryPercent": 60})
    it.live(lambda: it.ready)
    assert policies(world) == {"their-cpu": 33, "ecs-inference-memory": 60}
    assert schedules(world) == {"their-morning"}, "ours is no longer asked for"


def test_a_metric_that_somebody_else_s_policy_has_is_told_with_its_name_and_theirs_is_left(world: World) -> None:
    it = up(world, autoscaling=SCALED)
    put_policy(world, "their-cpu")
    it.change(autoscaling={**SCALED, "cpuPercent": 60})
    it.live(lambda: it.stands("Ready") == ("False", "NotOwned"))
    assert "cpu by their-cpu" in it.condition("Ready")["message"]
    mark = world.mark
    it.live_on(timedelta(hours=2))
    assert world.writes(since=mark) == []
    assert policies(world) == {"their-cpu": 33, "ecs-inference-memory": 70}


def test_with_adoption_what_somebody_else_has_for_the_same_is_replaced(world: World) -> None:
    it = up(world, autoscaling=SCALED)
    put_policy(world, "their-cpu")
    put_schedule(world, "night", 2, 3)
    put_schedule(world, "another", 2, 10)
    it.annotate(ADOPT, "true")
    it.change(autoscaling={**SCALED, "cpuPercent": 60, "schedules": [NIGHT]})
    it.live(lambda: it.ready)
    assert policies(world) == {"ecs-inference-cpu": 60, "ecs-inference-memory": 70}
    assert schedules(world) == {"ecs-inference-night", "another"}
    it.change(autoscaling=SCALED)
    it.live(lambda: it.ready)
    assert (policies(world), schedules(world)) == ({"ecs-inference-memory": 70}, {"another"})


def test_a_service_at_none_by_somebody_else_s_schedule_is_left_so_and_told_with_its_name(world: World) -> None:
    it = up(world, autoscaling=SCALED)
    put_schedule(world, "finops-night", 0, 0, schedule="cron(0 20 * * ? *)")
    scaling = world.client("application-autoscaling")
    scaling.register_scalable_target(**SCALABLE, MinCapacity=0, MaxCapacity=0)  # as at eight in the evening
    world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=0)
    mark = world.mark
    it.live_on(AUDITS)
    assert world.writes(since=mark) == []
    assert it.stands("Ready") == ("False", "ScaledByOthers")
    assert "finops-night" in it.condition("Ready")["message"]
    assert "finops-night" in it.condition("ScalableTargetReady")["message"]

    scaling.register_scalable_target(**SCALABLE, MinCapacity=2, MaxCapacity=10)  # and in the morning
    it.live(lambda: it.ready)
    assert it.stands("Ready") == ("True", "Ready")

    scaling.register_scalable_target(**SCALABLE, MinCapacity=0, MaxCapacity=0)
    world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=0)
    scaling.delete_scheduled_action(**SCALABLE, ScheduledActionName="finops-night")
    it.live(lambda: it.ready, at_most=AUDITS)
    assert it.status["readyReplicas"] >= 2, "nobody moves the limits any more"


def test_a_part_of_scaling_that_somebody_has_suspended_stays_so_and_is_told(world: World) -> None:
    it = up(world, autoscaling=SCALED)
    world.client("application-autoscaling").register_scalable_target(
        **SCALABLE, SuspendedState={"DynamicScalingInSuspended": True}
    )
    mark = world.mark
    it.live_on(AUDITS)
    assert world.writes(since=mark) == []
    assert "DynamicScalingInSuspended by somebody else" in it.condition("ScalableTargetReady")["message"]
    assert it.ready


def test_limits_that_somebody_widens_are_put_back_once_a_policy_uses_them_and_nobody_is_blamed(world: World) -> None:
    it = up(world, autoscaling=SCALED)
    world.cloud.give_metric(CLUSTER, SERVICE, "ECSServiceAverageMemoryUtilization", 1.0)
    world.client("application-autoscaling").register_scalable_target(**SCALABLE, MinCapacity=0)
    mark = world.mark
    it.live_on(timedelta(minutes=50))
    assert world.writes(since=mark) == ["ecs:UpdateService", "application-autoscaling:RegisterScalableTarget"]
    assert it.ready
    assert it.stands("Contested")[0] == "Absent"


def test_a_service_of_fixed_replicas_that_somebody_else_scales_is_left_to_them_and_told_with_the_names(
    world: World,
) -> None:
    it = up(world, replicas=2)
    scaling = world.client("application-autoscaling")
    scaling.register_scalable_target(**SCALABLE, MinCapacity=1, MaxCapacity=9)
    put_policy(world, "their-cpu")
    world.cloud.give_metric(CLUSTER, SERVICE, "ECSServiceAverageCPUUtilization", 95.0)
    mark = world.mark
    it.live_on(AUDITS)
    assert world.writes(since=mark) == []
    assert shown(world)["desiredCount"] == 9
    assert it.stands("Ready") == ("False", "ScaledByOthers")
    assert "between 1 and 9, by what is somebody else's (their-cpu)" in it.condition("Ready")["message"]
    assert it.stands("Contested")[0] == it.stands("ScalingPoliciesReady")[0] == "Absent"
    assert told(it, "ScalingPoliciesDeleted") == []
    assert policies(world) == {"their-cpu": 33}
    scaling.deregister_scalable_target(**SCALABLE)
    it.live(lambda: it.ready, at_most=AUDITS)
    assert shown(world)["desiredCount"] == 2


# -- containers that AWS adds to a task

GUARDDUTY = "aws-guardduty-agent-aB3dE"


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        # The agent can't be pulled, which does not keep the task from running; later the server crashes.
        ({"reason": "CannotPullContainerError: 403 Forbidden"}, {"exitCode": 1}, ("app", 1, "ContainerExited")),
        # The agent is killed last of all, after the server has ended well.
        ({"exitCode": 137}, {"exitCode": 0}, ("app", 0, "ContainerFinished")),
        ({"exitCode": 1}, {"exitCode": 137, "reason": "OutOfMemoryError: killed"}, ("app", 137, "OutOfMemory")),
    ],
)
def test_a_container_that_guardduty_adds_is_never_why_a_task_stopped(
    theirs: dict[str, Any], ours: dict[str, Any], told: tuple[str, int, str]
) -> None:
    task = {
        "taskArn": "arn:aws:ecs:eu-west-1:123456789012:task/inference/0123",
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "containers": [{"name": GUARDDUTY, **theirs}, {"name": "app", **ours}],
    }
    stopped = stopped_task(task)
    assert (stopped.container, stopped.exit_code, stopped.cause) == told
    assert "403" not in (stopped.reason or "")


# -- ECS itself, and those who use its API


@pytest.mark.parametrize("adopts", [False, True], ids=["", "with adoption"])
def test_a_revision_that_somebody_else_registers_in_the_family_is_in_nobody_s_way(
    world: World, *, adopts: bool
) -> None:
    it = up(world)
    if adopts:
        it.annotate(ADOPT, "true")
    theirs = strange_task_definition(world)
    it.restart()
    mark = world.mark
    it.live_on(AUDITS)
    assert it.ready
    assert world.writes(since=mark) == []
    it.change(image="registry.example.com/inference-server:1.5.0")
    it.live(lambda: it.ready)
    assert it.status["running"]["revision"].endswith(":3")
    it.vanish()
    left = world.client("ecs").list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
    assert left == [theirs]


def test_an_object_goes_though_the_newest_revision_of_the_family_is_somebody_else_s(world: World) -> None:
    it = up(world)
    theirs = strange_task_definition(world)
    it.restart()
    it.vanish()
    assert world.client("ecs").list_task_definitions(status="ACTIVE")["taskDefinitionArns"] == [theirs]


def test_tasks_that_a_server_protects_from_ending_are_told_as_the_reason_while_they_are(world: World) -> None:
    it = up(world, replicas=3)
    ecs = world.client("ecs")
    running = ecs.list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
    ecs.update_task_protection(cluster=CLUSTER, tasks=running, protectionEnabled=True, expiresInMinutes=30)
    it.change(replicas=1)
    it.live_on(timedelta(minutes=25))
    assert "3 of 1 tasks run; TaskProtected (was unable to" in it.condition("Ready")["message"]
    it.live(lambda: it.ready)

    it.change(image="registry.example.com/inference-server:1.5.0")
    it.live(lambda: it.ready)
    assert not any("TaskProtected" in told for outcome in it.outcomes[-5:] for told in messages(outcome))


# -- somebody who changes the same again and again

DAY = timedelta(days=1)


def fought(it: Object, interfere: Callable[[], object], duration: timedelta = DAY) -> None:
    """Pass after pass, and after each one the other controller has its way."""
    end = it.world.clock.now() + duration
    while it.world.clock.now() < end:
        outcome = it.look()
        interfere()
        it.world.advance(outcome.requeue_after)


def messages(outcome: Outcome) -> list[str]:
    return [condition.message for condition in outcome.status.conditions]


def told(it: Object, reason: str) -> list[str]:
    return [e.message for outcome in it.outcomes for e in outcome.events if e.reason == reason]


def count(world: World, mark: int, operation: str) -> int:
    return world.writes(since=mark).count(operation)


def shown(world: World) -> dict[str, Any]:
    """The service, as AWS has it."""
    found = world.client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"]
    service: dict[str, Any] = found[0]
    return service


def set_count(world: World, desired: int) -> None:
    if shown(world)["desiredCount"] != desired:
        world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=desired)


def test_one_change_by_hand_is_put_back_and_told_with_what_it_was(world: World) -> None:
    it = up(world, replicas=2)
    set_count(world, 5)
    it.live(lambda: it.ready)
    it.live(lambda: bool(told(it, "ServiceUpdated")))
    assert "put back what somebody else had changed: desiredCount (was 5)" in told(it, "ServiceUpdated")[0]
    assert it.stands("Contested")[0] == "Absent"


def test_a_spec_that_means_something_else_by_itself_is_nobody_else_s_doing(world: World) -> None:
    until = (world.clock.now() + timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    allow_tasks(world, statement("logs:CreateLogStream"), statement("logs:PutLogEvents"))
    it = up(world, logging={"routes": [{"to": ["errors"]}], "debugUntil": until})
    it.live_on(timedelta(minutes=40))
    assert it.status["running"]["revision"].endswith(":2")
    assert [message.partition(": ")[2] for message in told(it, "TaskDefinitionReplaced")] == ["revision"]


def test_a_count_that_somebody_else_sets_at_each_look_is_put_back_ever_more_seldom_and_told(world: World) -> None:
    it = up(world, replicas=2)
    theirs = 0

    def interfere() -> None:
        nonlocal theirs
        if shown(world)["desiredCount"] != 5:
            set_count(world, 5)
            theirs += 1

    mark = world.mark
    fought(it, interfere, timedelta(hours=8))
    ours = count(world, mark, "ecs:UpdateService") - theirs
    assert 10 <= ours <= 14, "a handful at first, then one an hour"
    assert it.stands("Contested") == ("True", "Contested")
    assert "Service desiredCount (put back " in it.condition("Contested")["message"]
    assert "CloudTrail" in it.condition("Contested")["message"]
    assert it.stands("Ready") == ("False", "Contested")
    assert len(told(it, "Contested")) <= ours, "once, and as the reason of Ready after each time that it was put back"
    assert {"resource": "Service", "field": "desiredCount", "want": "2", "have": "5"} in it.status["drift"]


def test_two_that_want_another_revision_do_not_begin_a_rollout_at_each_look(world: World) -> None:
    it = up(world)
    other = strange_task_definition(world, family="theirs")
    mark, theirs = world.mark, 0

    def interfere() -> None:
        nonlocal theirs
        if shown(world)["taskDefinition"] != other:
            world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, taskDefinition=other)
            theirs += 1

    fought(it, interfere, timedelta(hours=6))
    assert count(world, mark, "ecs:UpdateService") - theirs <= 10
    assert "Service taskDefinition" in it.condition("Contested")["message"]


def test_while_it_is_contested_a_changed_spec_goes_through_at_once_and_so_does_reconcile_at(world: World) -> None:
    it = up(world, replicas=2)
    fought(it, lambda: set_count(world, 5), timedelta(hours=2))
    assert it.stands("Ready") == ("False", "Contested")
    it.change(replicas=3)
    it.look()
    assert shown(world)["desiredCount"] == 3
    set_count(world, 5)
    it.reconcile_at("now")
    it.live(lambda: it.ready)
    assert shown(world)["desiredCount"] == 3
    assert it.stands("Contested")[0] == "Absent", "it is counted anew"


def test_it_is_told_no_more_a_day_after_the_other_has_stopped(world: World) -> None:
    it = up(world, replicas=2)
    fought(it, lambda: set_count(world, 5), timedelta(hours=1))
    it.live(lambda: it.ready)
    assert it.stands("Contested")[0] == "True"
    it.live_on(timedelta(hours=25))
    assert it.stands("Contested")[0] == "Absent"
    assert it.ready


def test_with_drift_reported_only_nobody_fights(world: World) -> None:
    it = up(world, replicas=2, driftPolicy="Report")
    mark = world.mark
    fought(it, lambda: set_count(world, 5), timedelta(hours=3))
    assert count(world, mark, "ecs:UpdateService") == 1, "theirs"
    assert it.stands("Ready") == ("False", "Drifted")
    assert it.stands("Contested")[0] == "Absent"


def test_retention_that_a_compliance_rule_sets_each_time_is_put_back_at_each_audit_with_an_event_and_told(
    world: World,
) -> None:
    it = up(world)
    group = "/inference/shop/recommender"
    logs = world.client("logs")
    fought(it, lambda: logs.put_retention_policy(logGroupName=group, retentionInDays=365), timedelta(hours=25))
    events = told(it, "LogGroupUpdated")
    assert len(events) == 4, "one at each look at log groups"
    assert all("somebody else had changed" in message and "365" in message for message in events)
    assert "LogGroup retentionInDays (put back" in it.condition("Contested")["message"]
    assert it.ready, "it is as asked after each pass"


def test_retention_that_the_account_sets_for_all_its_log_groups_is_nobody_s_fight_and_told(world: World) -> None:
    it, logs = up(world), world.client("logs")
    baseline = {"policyName": "baseline", "policyType": "RETENTION_POLICY"}
    document = {"retentionInDays": 30, "enforcementMode": "RETROACTIVE"}
    logs.put_account_policy(**baseline, policyDocument=json.dumps(document))
    mark = world.mark
    for _ in range(6):
        world.advance(AUDITS)
        it.look()
    assert world.writes(since=mark) == []
    assert it.ready
    assert it.stands("Contested")[0] == "Absent"
    assert "kept 30 days by the account's retention policy baseline" in it.condition("LogGroupReady")["message"]

    logs.delete_account_policy(**baseline)
    logs.put_retention_policy(logGroupName=LOGS, retentionInDays=7)
    world.advance(AUDITS)
    it.look()
    assert it.condition("LogGroupReady")["message"] == f"{LOGS}, kept 90 days"


def test_a_log_group_that_somebody_protects_from_deletion_is_named_and_stays_with_retain(world: World) -> None:
    it, logs = up(world), world.client("logs")
    logs.put_log_group_deletion_protection(logGroupIdentifier=LOGS, deletionProtectionEnabled=True)
    for _ in range(20):
        world.advance(it.take_away().requeue_after)
    told = it.condition("Ready")["message"]
    assert it.stands("Ready") == ("False", "RejectedByAws")
    assert f"{LOGS}: Cannot delete log group with deletion protection enabled" in told
    assert "Next: have its protection taken away (aws logs put-log-group-deletion-protection" in told
    it.change(deletionPolicy="Retain")
    it.vanish()
    assert {kind for kind, things in world.holdings().items() if things} == {"LogGroup"}


def test_a_rule_that_a_controller_of_the_load_balancer_deletes_each_time_is_made_again_at_each_audit_and_told(
    world: World,
) -> None:
    it = up(world)
    elb = world.client("elbv2")

    def prune() -> None:
        """As AWS Load Balancer Controller does on listeners that it has made."""
        for rule in elb.describe_rules(ListenerArn=world.account.listener)["Rules"]:
            if not rule["IsDefault"]:
                elb.delete_rule(RuleArn=rule["RuleArn"])

    mark = world.mark
    fought(it, prune, timedelta(hours=5))
    assert 4 <= count(world, mark, "elasticloadbalancing:CreateRule") <= 6
    assert "ListenerRule (deleted)" in it.condition("Contested")["message"]
    assert any("it was gone" in message for message in told(it, "ListenerRuleCreated"))


def test_two_operators_that_both_may_adopt_do_not_take_it_from_each_other_in_turn(world: World) -> None:
    one = up(world)
    other = Object(world)
    other.document["metadata"]["uid"] = "u-of-another-cluster"
    one.annotate(ADOPT, "true")
    other.annotate(ADOPT, "true")
    one.live_on(timedelta(minutes=10))
    other.live(lambda: other.ready)
    mark = world.mark
    for _ in range(8):
        for each in (one, other):
            each.look()
            world.advance(timedelta(hours=1))
    assert one.stands("Ready") == ("False", "NotOwned")
    assert "u-of-another-cluster" in one.condition("ServiceReady")["message"]
    assert other.ready
    assert world.writes(since=mark) == []


def test_a_describe_that_does_not_know_our_change_yet_is_nobody_else_s_doing(world: World) -> None:
    it = up(world)
    world.cloud.delay_reads(timedelta(seconds=20))
    mark = world.mark
    it.change(replicas=3)
    it.live(lambda: it.ready)
    it.live_on(timedelta(minutes=10))
    assert world.writes(since=mark) == ["ecs:UpdateService"]
    assert not any("somebody else" in message for message in told(it, "ServiceUpdated"))
    assert it.stands("Contested")[0] == "Absent"


# -- what ECS does by itself


def deployments(world: World) -> int:
    listed = world.client("ecs").list_service_deployments(cluster=CLUSTER, service=SERVICE)["serviceDeployments"]
    return len(listed)


def test_tasks_that_ecs_moves_to_another_zone_leave_it_ready(world: World) -> None:
    zones = sorted({subnet["AvailabilityZone"] for subnet in world.client("ec2").describe_subnets()["Subnets"]})[:2]
    gone = Failure(service="*", cause="capacity", zone=zones[1])
    world.cloud.fail(gone)
    it = up(world, replicas=4)
    world.cloud.clear_failures()
    ran, mark = set(), world.mark
    for _ in range(60):
        world.advance(timedelta(seconds=5))
        it.restart()
        it.look()
        ran.add(shown(world)["runningCount"])
        assert it.ready, it.condition("Ready")
    assert max(ran) > 4, "new tasks are started first"
    assert any("AZ rebalancing" in event["message"] for event in it.status["events"])
    assert {event["severity"] for event in it.status["events"] if "AZ" in event["message"]} == {"Info"}
    assert world.writes(since=mark) == []


@pytest.mark.parametrize(("trouble", "cause"), [("vcpu-limit", "QuotaReached"), ("capacity", "CapacityUnavailable")])
def test_why_nothing_takes_the_place_of_tasks_whose_hosts_are_retired_is_told_and_not_what_was_mended_before(
    world: World, trouble: str, cause: str
) -> None:
    it = up(world, replicas=4)
    world.cloud.fail(Failure(service="*", cause="oom", times=1))
    it.live_on(timedelta(minutes=20))
    assert it.ready
    assert [task["cause"] for task in it.status["stoppedTasks"]] == ["OutOfMemory"]
    world.cloud.fail(Failure(service="*", cause=trouble))
    world.cloud.fail(Failure(service="*", cause="maintenance", times=2))
    it.live(lambda: len(it.status["stoppedTasks"]) > 1)
    assert it.stands("Ready") == ("False", "ReplicasUnavailable")
    assert f"2 of 4 tasks run; the latest: {cause} (was unable to place a task" in it.condition("Ready")["message"]
    world.cloud.clear_failures()
    it.live(lambda: it.ready)


def test_a_deployment_of_the_same_that_somebody_forces_is_followed_and_not_undone(world: World) -> None:
    it = up(world, replicas=2)
    world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, forceNewDeployment=True)
    mark, begun = world.mark, deployments(world)
    world.advance(timedelta(seconds=5))
    it.restart()
    it.look()
    assert it.stands("Ready") == ("False", "RollingOut")
    it.live(lambda: it.ready)
    it.live_on(timedelta(hours=2))
    assert world.writes(since=mark) == []
    assert deployments(world) == begun
    assert [entry["outcome"] for entry in it.status["history"]] == ["Completed"] * 2
    assert it.stands("Contested")[0] == "Absent"


def test_members_of_a_service_that_ecs_or_somebody_else_has_set_are_no_drift(world: World) -> None:
    it = up(world)
    ctx = world.context()
    ctx.facts.update({Fact.TASK_DEFINITION: shown(world)["taskDefinition"]})
    ctx.facts.update({Fact.TARGET_GROUP: it.status["resources"]["targetGroup"]})
    asked = service_input.settings(ctx)
    answer = shown(world)
    more = {
        **answer,
        "platformFamily": "Linux",
        "deploymentController": {"type": "ECS"},
        "schedulingStrategy": "REPLICA",
        "placementStrategy": [{"type": "spread", "field": "attribute:ecs.availability-zone"}],
        "serviceConnectConfiguration": {"enabled": True, "namespace": "theirs"},
        "createdBy": "arn:aws:iam::123456789012:role/theirs",
        "somethingNew": {"of": "another year"},
        "loadBalancers": [{**answer["loadBalancers"][0], "somethingNew": 1}],
        "deploymentConfiguration": {
            **answer["deploymentConfiguration"],
            "bakeTimeInMinutes": 0,
            "earlySuccessCriteria": {"enable": False, "healthyPercent": 100},
        },
    }
    assert not differing(service_input.compared(asked, answer))
    assert not differing(service_input.compared(asked, more))


def test_a_target_that_somebody_deregisters_is_ecs_s_to_register_again(world: World) -> None:
    it = up(world, replicas=2)
    elb, group = world.client("elbv2"), it.status["resources"]["targetGroup"]

    def registered() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [each["Target"] for each in found if each["TargetHealth"]["State"] != "draining"]

    elb.deregister_targets(TargetGroupArn=group, Targets=registered()[:1])
    assert len(registered()) == 1
    mark = world.mark
    it.live_on(timedelta(minutes=10))
    assert len(registered()) == 2
    assert it.ready
    assert world.writes(since=mark) == []
    assert any("registered 1 targets" in event["message"] for event in it.status["events"])


# -- tags of other people's tools

THEIRS = {"CostCenter": "4711", "backup": "daily", "map-migrated": "d-1"}
SYSTEM = {"aws:cloudformation:stack-name": "theirs", "aws:ecs:clusterName": "inference", "aws:backup:source": "x"}


def tag_everything(world: World, found: Mapping[str, str]) -> None:
    ecs, holdings = world.client("ecs"), world.holdings()
    listed = [{"key": k, "value": v} for k, v in found.items()]
    for arn in [shown(world)["serviceArn"], *ecs.list_task_definitions()["taskDefinitionArns"]]:
        ecs.tag_resource(resourceArn=arn, tags=listed)
    of_elb = [group[0]["TargetGroupArn"] for group in holdings["TargetGroup"].values()]
    world.client("elbv2").add_tags(
        ResourceArns=[*of_elb, *holdings["ListenerRule"]], Tags=[{"Key": k, "Value": v} for k, v in found.items()]
    )
    for group in world.client("logs").describe_log_groups()["logGroups"]:
        world.client("logs").tag_resource(resourceArn=group["arn"].removesuffix(":*"), tags=dict(found))
    for point in world.client("efs").describe_access_points()["AccessPoints"]:
        world.client("efs").tag_resource(
            ResourceId=point["AccessPointId"], Tags=[{"Key": k, "Value": v} for k, v in found.items()]
        )
    for target in world.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")[
        "ScalableTargets"
    ]:
        world.client("application-autoscaling").tag_resource(ResourceARN=target["ScalableTargetARN"], Tags=dict(found))


def tagged(world: World, key: str) -> int:
    """How many things have a tag of that key."""
    return json.dumps(world.holdings(), default=str).count(f'"{key}"')


def test_tags_that_others_add_stay_whatever_becomes_of_ours(world: World) -> None:
    it = up(world, autoscaling=SCALED, tags=[{"key": "team", "value": "search"}])
    tag_everything(world, THEIRS)
    before, mark = tagged(world, "CostCenter"), world.mark
    assert before >= 7
    it.live_on(AUDITS)
    assert world.writes(since=mark) == []
    it.change(tags=[{"key": "owner", "value": "search"}])
    it.live(lambda: it.ready)
    it.restart()
    it.live_on(AUDITS)
    assert [tagged(world, key) for key in THEIRS] == [before] * 3
    assert tagged(world, "team") == 0


def test_tags_of_aws_s_own_are_neither_removed_nor_counted_as_a_difference() -> None:
    ours = tags.wanted(Identity(namespace="shop", name="recommender", uid="u-1"), {"team": "search"})
    assert not tags.retag(ours, {**ours, **SYSTEM})
    change = tags.retag({k: v for k, v in ours.items() if k not in ("team", tags.KEYS)}, {**ours, **SYSTEM})
    assert set(change.remove) == {"team", tags.KEYS}
    assert not change.put


def test_fifty_tags_of_which_others_have_added_most_are_told_as_the_limit_that_they_are(world: World) -> None:
    it = up(world)
    group = it.status["resources"]["targetGroup"]
    elb = world.client("elbv2")
    free = 50 - len(elb.describe_tags(ResourceArns=[group])["TagDescriptions"][0]["Tags"])
    elb.add_tags(ResourceArns=[group], Tags=[{"Key": f"theirs-{n}", "Value": "x"} for n in range(free)])
    it.restart()
    it.live_on(timedelta(hours=2))
    assert it.ready, "nothing is asked for that needs another tag"
    it.change(tags=[{"key": "team", "value": "search"}], replicas=2)
    it.look()
    assert it.stands("TargetGroupReady") == ("False", "LimitExceeded")
    assert "50 tags" in it.condition("TargetGroupReady")["message"]
    assert shown(world)["desiredCount"] == 2, "nothing else is held up by it"
    elb.remove_tags(ResourceArns=[group], TagKeys=["theirs-0", "theirs-1"])
    it.live(lambda: it.ready)


# -- other people's rules on the same listener


def another_rule(world: World, priority: int, path: str = "/theirs/*") -> str:
    made = world.client("elbv2").create_rule(
        ListenerArn=world.account.listener,
        Priority=priority,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )
    arn: str = made["Rules"][0]["RuleArn"]
    return arn


def test_a_place_that_somebody_takes_between_the_look_and_the_call_costs_one_more_try(world: World) -> None:
    it, taken = Object(world), list[int]()

    def send(request: AWSPreparedRequest) -> AWSResponse:
        found = re.search(r"Action=CreateRule&.*Priority=(\d+)", str(request.body))
        if found and not taken:
            taken.append(int(found[1]))
            another_rule(world, taken[0])
        return in_process.send(request)

    world.answer_with(send)
    it.look()
    assert it.stands("ListenerRuleReady") == ("False", "Waiting")
    assert "PriorityInUse" in it.condition("ListenerRuleReady")["message"]
    it.live(lambda: it.ready)
    rules = world.client("elbv2").describe_rules(ListenerArn=world.account.listener)["Rules"]
    assert sorted(r["Priority"] for r in rules if not r["IsDefault"]) == [str(taken[0]), str(taken[0] + 1)]


@pytest.mark.parametrize(
    "condition",
    [
        {"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "version", "Value": "v1"}, {"Value": "b"}]}},
        {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Canary", "Values": ["true"]}},
        {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["POST"]}},
        {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}},
        {"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["^/(v1|v2)/"]}},
        {"Field": "host-header", "HostHeaderConfig": {"RegexValues": ["^api-.*[.]example[.]com$"]}},
    ],
    ids=lambda condition: str(condition["Field"]),
)
def test_rules_of_others_may_have_any_condition_that_there_is(world: World, condition: dict[str, Any]) -> None:
    world.client("elbv2").create_rule(
        ListenerArn=world.account.listener,
        Priority=1,
        Conditions=[condition],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "403"}}],
    )
    it = up(world)
    assert it.stands("ListenerRuleReady")[0] == "True"


def test_a_rule_of_somebody_else_s_that_goes_between_two_reads_makes_nothing_unready(world: World) -> None:
    it, gone = up(world), list[str]()
    theirs = another_rule(world, 1)

    def send(request: AWSPreparedRequest) -> AWSResponse:
        if "Action=DescribeTags" in str(request.body) and "listener-rule" in str(request.body) and not gone:
            gone.append(theirs)
            world.client("elbv2").delete_rule(RuleArn=theirs)
        return in_process.send(request)

    world.answer_with(send)
    it.restart()
    world.advance(timedelta(hours=1))
    it.look()
    assert gone
    assert it.ready


def test_a_rule_that_somebody_has_put_behind_another_keeps_its_place_and_what_it_misses_is_told(world: World) -> None:
    it = up(world)
    elb = world.client("elbv2")
    another_rule(world, 100, "/*")
    elb.set_rule_priorities(
        RulePriorities=[{"RuleArn": it.status["resources"]["listenerRule"], "Priority": 49_999}],
    )
    mark = world.mark
    it.live(lambda: it.stands("Ready") == ("False", "PathTaken"), at_most=AUDITS)
    it.live_on(timedelta(hours=3))
    assert world.writes(since=mark) == []
    assert "(priority 100)" in it.condition("Ready")["message"]


def test_what_takes_several_passes_to_go_is_nobody_else_s_doing(world: World) -> None:
    world.discover()
    it = up(world)
    world.change_environment(serviceDiscovery=None)
    it.memory.forget()
    it.change(image="registry.example.com/inference-server:1.5.0")
    it.live(lambda: it.ready)
    it.live_on(timedelta(hours=2))
    assert "DiscoveryService" not in world.holdings()
    assert it.stands("Contested")[0] == "Absent"


def test_a_target_group_that_somebody_else_s_rule_forwards_to_goes_last_and_that_rule_is_named(world: World) -> None:
    it = up(world)
    elb, theirs = world.client("elbv2"), another_rule(world, 100, "/old/*")
    group = it.status["resources"]["targetGroup"]
    elb.modify_rule(RuleArn=theirs, Actions=[{"Type": "forward", "TargetGroupArn": group}])
    mark = world.mark
    for _ in range(20):
        world.advance(it.take_away().requeue_after)
    assert it.stands("Stalled")[0] == "True"
    assert theirs in it.condition("Ready")["message"]
    assert "Next: have them forward elsewhere" in it.condition("Ready")["message"]
    assert count(world, mark, "elasticloadbalancing:DeleteTargetGroup") <= 20
    elb.delete_rule(RuleArn=theirs)
    it.vanish()
    assert not any(world.holdings().values())


# -- somebody who takes our tags away

OWNERSHIP = [tags.OWNER, tags.UID]
LOGS = "/inference/shop/recommender"


def without_tags(world: World, it: Object, resource: str, keys: list[str]) -> None:
    name = it.status["resources"][resource] if resource != "logGroup" else LOGS
    if resource == "accessPoint":
        world.client("efs").untag_resource(ResourceId=name, TagKeys=keys)
    elif resource in ("service", "taskDefinition"):
        world.client("ecs").untag_resource(resourceArn=name, tagKeys=keys)
    elif resource == "logGroup":
        [group] = world.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        world.client("logs").untag_resource(resourceArn=group["arn"].removesuffix(":*"), tagKeys=keys)
    else:
        world.client("elbv2").remove_tags(ResourceArns=[name], TagKeys=keys)


@pytest.mark.parametrize(
    ("resource", "keys"),
    [
        *((resource, OWNERSHIP) for resource in ("accessPoint", "targetGroup", "listenerRule")),
        *((resource, [tags.UID]) for resource in ("logGroup", "taskDefinition", "service")),
    ],
)
def test_what_has_lost_our_tags_is_told_as_such_not_made_twice_and_taken_back_by_adoption(
    world: World, resource: str, keys: list[str]
) -> None:
    it = up(world)
    before = {kind: set(things) for kind, things in world.holdings().items()}
    without_tags(world, it, resource, keys)
    mark = world.mark
    it.live_on(AUDITS)
    assert world.writes(since=mark) == []
    assert it.stands("Ready") == ("False", "NotOwned")
    assert it.stands("Contested")[0] == "Absent"
    assert {kind: set(things) for kind, things in world.holdings().items()} == before
    it.annotate(ADOPT, "true")
    it.live(lambda: it.ready, at_most=AUDITS)
    assert {kind: set(things) for kind, things in world.holdings().items()} == before
    it.vanish()
    assert not any(world.holdings().values())
