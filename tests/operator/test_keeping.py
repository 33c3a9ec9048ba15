"""What is kept as it is: while an object is paused, where drift is only reported, what was there before it and what
stays after it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from inference_operator.api.meta import ADOPT, PAUSED, RECONCILE_AT
from inference_operator.api.v1alpha1 import InferenceDeploymentStatus
from inference_operator.aws.reading import BatchedServices
from inference_operator.domain.names import Identity
from inference_operator.engine.backoff import RESYNC
from inference_operator.engine.objects import look_after
from inference_operator.engine.reconcile import Memory
from tests.operator.builders import deployment_document
from tests.operator.everything import MUCH, equip
from tests.operator.test_kinds import SERVICE
from tests.operator.test_matrix import BAD, GOOD, by_image
from tests.operator.world import CLUSTER, Object, World

BETTER = "registry.example.com/inference-server:1.5.0"
FLEET = 20
OURS = "ecs-inference.dev/"


@pytest.fixture
def up(world: World) -> Object:
    it = Object(world)
    it.live(lambda: it.ready)
    return it


def annotate(it: Object, annotation: str, value: str | None = "true") -> None:
    annotations = it.document["metadata"].setdefault("annotations", {})
    if value is None:
        annotations.pop(annotation, None)
    else:
        annotations[annotation] = value


def deployments(world: World) -> int:
    """How many the services of the account have had, whoever began them."""
    ecs = world.client("ecs")
    names = [arn.rpartition("/")[2] for arn in ecs.list_services(cluster=CLUSTER, maxResults=100)["serviceArns"]]
    return sum(len(ecs.list_service_deployments(cluster=CLUSTER, service=name)["serviceDeployments"]) for name in names)


def drift(it: Object) -> set[tuple[str, str | None]]:
    return {(each["resource"], each.get("field")) for each in it.status.get("drift", ())}


# -- paused


def test_paused_nothing_is_written_and_it_is_told_what_would_be(up: Object) -> None:
    before, mark = up.world.holdings(), up.world.mark
    annotate(up, PAUSED)
    up.change(image=BETTER, replicas=3)
    for _ in range(3):
        up.world.advance(up.look().requeue_after)
    assert up.outcomes[-1].requeue_after == RESYNC
    assert up.world.writes(since=mark) == []
    assert up.world.holdings() == before
    assert up.stands("Ready") == ("False", "Paused")
    assert up.stands("Paused")[0] == "True"
    assert up.stands("Stalled")[0] == up.stands("Reconciling")[0] == "Absent"
    assert up.status["observedGeneration"] == up.generation
    assert {("TaskDefinition", "revision"), ("Service", "desiredCount")} <= drift(up)
    count = next(each for each in up.status["drift"] if each.get("field") == "desiredCount")
    assert (count["want"], count["have"]) == ("3", "1")
    assert "desiredCount is 1, and should be 3" in up.condition("ServiceReady")["message"]
    assert up.status["running"]["image"] != BETTER


def test_paused_with_nothing_to_change_it_is_still_ready_and_still_watched(up: Object) -> None:
    annotate(up, PAUSED)
    up.look()
    assert up.stands("Ready")[0] == up.stands("Paused")[0] == "True"
    up.world.runner.exit(up.world.runner.starts[0].arn, "app", code=1)
    up.world.advance(timedelta(seconds=1))
    up.restart()
    up.look()
    assert up.stands("Ready") == ("False", "ReplicasUnavailable")


def test_what_is_to_be_tried_again_waits_while_it_is_paused(up: Object) -> None:
    begun = deployments(up.world)
    annotate(up, PAUSED)
    annotate(up, RECONCILE_AT, "now")
    up.look()
    assert deployments(up.world) == begun
    assert "lastReconcileAt" not in up.status
    annotate(up, PAUSED, None)
    up.live(lambda: up.status.get("lastReconcileAt") == "now" and up.ready)
    assert deployments(up.world) == begun + 1


@pytest.mark.parametrize("edit", [{}, {"replicas": 3}, {"image": BETTER}], ids=lambda edit: " ".join(edit) or "nothing")
def test_a_rollout_that_ends_while_it_is_paused_is_told_whatever_has_been_edited_since(
    up: Object, edit: dict[str, Any]
) -> None:
    up.world.runner.script = by_image
    up.change(image=BAD)
    up.look()
    up.world.advance(timedelta(seconds=10))
    up.look()
    annotate(up, PAUSED)
    up.change(**edit)
    mark = up.world.mark
    up.live_on(timedelta(minutes=15))
    assert up.world.writes(since=mark) == []
    assert up.status["deployment"]["state"] == "RolledBack"
    ended = [(entry["outcome"], entry.get("cause"), entry["image"]) for entry in up.status["history"]]
    assert ended == [("RolledBack", "ImageNotFound", BAD), ("Completed", None, GOOD)]
    annotate(up, PAUSED, None)
    up.change(image=BETTER)
    up.live(lambda: up.ready)
    assert [entry["outcome"] for entry in up.status["history"]] == ["Completed", "RolledBack", "Completed"]


def test_a_new_object_that_is_paused_makes_nothing_and_says_what_it_would(world: World) -> None:
    it = Object(world)
    annotate(it, PAUSED)
    assert it.look().requeue_after == RESYNC
    assert world.writes() == []
    assert ("LogGroup", None) in drift(it)
    annotate(it, PAUSED, None)
    it.live(lambda: it.ready)
    assert drift(it) == set()
    assert it.stands("Paused")[0] == "Absent"


def test_a_paused_object_that_is_deleted_waits_and_says_for_what(up: Object) -> None:
    before = up.world.holdings()
    annotate(up, PAUSED)
    outcome = up.take_away()
    assert not outcome.done
    assert up.stands("Ready") == ("False", "Paused")
    assert PAUSED in up.condition("Ready")["message"]
    assert up.world.holdings() == before
    annotate(up, PAUSED, None)
    up.vanish()
    assert not any(up.world.holdings().values())


# -- reported


@pytest.fixture
def reported(world: World) -> Object:
    it = Object(world, deployment_document(driftPolicy="Report"))
    it.live(lambda: it.ready)
    return it


def by_hand(world: World) -> None:
    world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=4)
    world.client("logs").put_retention_policy(logGroupName="/inference/shop/recommender", retentionInDays=1)


def test_what_somebody_has_changed_is_reported_and_left(reported: Object) -> None:
    by_hand(reported.world)
    reported.restart()
    mark = reported.world.mark
    reported.live_on(timedelta(hours=3))
    assert reported.world.writes(since=mark) == []
    assert drift(reported) == {("Service", "desiredCount"), ("LogGroup", "retentionInDays")}
    assert reported.stands("Ready") == reported.stands("ServiceReady") == ("False", "Drifted")
    assert reported.stands("Degraded") == reported.stands("Stalled") == ("True", "Drifted")
    assert "desiredCount is 4, and should be 1" in reported.condition("ServiceReady")["message"]


def test_what_is_only_reported_does_not_hide_that_a_deployment_is_held(world: World) -> None:
    world.runner.script = by_image
    it = Object(world, deployment_document(driftPolicy="Report"))
    it.live(lambda: it.ready)
    it.change(image=BAD)
    it.live(lambda: it.stands("Ready")[1] == "RolledBack")
    it.live_on(timedelta(minutes=10))
    world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=4)
    it.live_on(timedelta(minutes=10))
    assert it.stands("Ready") == ("False", "Drifted")
    message = it.condition("Ready")["message"]
    assert "desiredCount is 4, and should be 1. shop_recommender:2 failed: ImageNotFound" in message
    assert "shop_recommender:1 serves again. Next: Push the image" in message


@pytest.mark.parametrize("how", ["another spec", "reconcile-at", "another environment"])
def test_what_was_reported_is_mended_once_somebody_asks_for_something(reported: Object, how: str) -> None:
    by_hand(reported.world)
    reported.live_on(timedelta(hours=2))
    if how == "another spec":
        reported.change(health={"startup": "9m"})
    elif how == "reconcile-at":
        reported.reconcile_at("now")
    else:
        reported.world.change_environment(logging={"retentionDays": 30})
        reported.world.environments["default"]["metadata"]["generation"] += 1
    reported.restart()
    reported.live(lambda: reported.ready)
    assert drift(reported) == set()
    assert reported.world.holdings()["Service"][SERVICE]["desiredCount"] == 1
    by_hand(reported.world)
    reported.restart()
    reported.look()
    assert ("Service", "desiredCount") in drift(reported)


def test_a_changed_spec_is_rolled_out_though_drift_is_only_reported(reported: Object) -> None:
    reported.change(image=BETTER, models={"path": "/recommender/2"})
    reported.live(lambda: reported.ready)
    assert reported.status["running"]["image"] == BETTER
    assert len(reported.world.holdings()["AccessPoint"]) == 1


# -- retained


def fleet(world: World, **spec: Any) -> list[Object]:
    objects = [Object(world, deployment_document(f"service-{n}", **spec)) for n in range(FLEET)]
    for it in objects:
        it.live(lambda it=it: it.ready)  # type: ignore[misc]  # mypy infers no lambda defaults
    return objects


def made_anew(world: World, it: Object) -> Object:
    """The same manifest, applied again."""
    document = {**it.document, "metadata": {**it.document["metadata"], "uid": f"{it.document['metadata']['uid']}-2"}}
    return Object(world, {name: value for name, value in document.items() if name != "status"})


PIECES = {
    "LogGroup": 4,  # its own, its router's and two of its routes
    "AccessPoint": 1,
    "TargetGroup": 2,
    "ListenerRule": 2,
    "DiscoveryService": 1,
    "TaskDefinition": 1,
    "Service": 1,
    "ScalableTarget": 1,
    "ScalingPolicies": 1,
}
"""Of an object that asks for MUCH."""


@pytest.fixture
def equipped(world: World) -> World:
    equip(world)
    return world


def count(world: World) -> dict[str, int]:
    return {kind: len(things) for kind, things in world.holdings().items()}


def test_twenty_objects_that_are_deleted_leave_nothing(equipped: World) -> None:
    objects = fleet(equipped, **MUCH)
    assert count(equipped) == {kind: FLEET * number for kind, number in PIECES.items()}
    for it in objects:
        it.vanish()
    assert not any(equipped.holdings().values())


def test_twenty_objects_that_retain_leave_all_working_and_the_next_of_their_names_get_it(equipped: World) -> None:
    world = equipped
    objects = fleet(world, **MUCH, deletionPolicy="Retain")
    assert count(world) == {kind: FLEET * number for kind, number in PIECES.items()}
    before, begun = world.holdings(), deployments(world)
    for it in objects:
        it.restart()
        assert it.take_away().done
    world.advance(timedelta(hours=2))
    left = world.holdings()
    assert {kind: set(things) for kind, things in left.items()} == {k: set(things) for k, things in before.items()}
    assert all(service["runningCount"] == 2 for service in left["Service"].values())
    again = [made_anew(world, it) for it in objects]
    for it in again:
        it.live(lambda it=it: it.ready)  # type: ignore[misc]  # as above
    after = world.holdings()
    assert {kind: set(things) for kind, things in after.items()} == {k: set(things) for k, things in before.items()}
    assert deployments(world) == begun
    for it in again:
        it.change(deletionPolicy="Delete")
        it.restart()
        it.vanish()
    assert not any(world.holdings().values())


def test_what_was_left_and_the_next_of_the_name_replaces_goes_once_no_task_needs_it(up: Object) -> None:
    up.change(deletionPolicy="Retain")
    assert up.take_away().done
    [left] = up.world.holdings()["AccessPoint"]
    again = made_anew(up.world, up)
    again.change(models={"path": "/recommender/2"})
    again.look()
    assert left in up.world.holdings()["AccessPoint"], "what serves needs it"
    again.restart()
    again.live_on(timedelta(hours=2))
    assert again.ready
    assert len(up.world.holdings()["AccessPoint"]) == 1
    again.change(deletionPolicy="Delete")
    again.vanish()
    assert not any(up.world.holdings().values())


def test_what_was_left_in_a_rollout_is_the_next_one_s_without_another_and_goes_with_it(up: Object) -> None:
    up.change(models={"path": "/recommender/2"}, deletionPolicy="Retain")
    up.look()
    assert len(up.world.holdings()["AccessPoint"]) == 2
    assert up.take_away().done
    again, begun = made_anew(up.world, up), deployments(up.world)
    again.change(models={"path": "/recommender/2"}, deletionPolicy="Delete")
    again.live_on(timedelta(hours=2))
    assert again.ready
    assert deployments(up.world) == begun
    assert len(up.world.holdings()["AccessPoint"]) == 1
    again.vanish()
    assert not any(up.world.holdings().values())


def test_leaving_all_as_it_is_survives_failures_and_restarts(up: Object) -> None:
    up.change(deletionPolicy="Retain", autoscaling={"maxReplicas": 3, "cpuPercent": 60})
    up.live(lambda: up.ready)
    for operation in ("ecs:TagResource", "elasticfilesystem:TagResource", "application-autoscaling:TagResource"):
        up.world.fault("error", operation, times=1)
    before = {kind: set(things) for kind, things in up.world.holdings().items()}
    while not (outcome := up.take_away()).done:
        assert up.stands("Ready")[0] == "False"
        up.restart()
        up.world.advance(outcome.requeue_after)
    up.world.cloud.faults.clear()
    again = made_anew(up.world, up)
    again.live(lambda: again.ready)
    assert {kind: set(things) for kind, things in up.world.holdings().items()} == before


def test_what_another_living_object_of_the_name_has_is_not_taken(up: Object) -> None:
    other = made_anew(up.world, up)  # of another cluster, say
    mark = up.world.mark
    other.look()
    assert other.stands("ServiceReady") == ("False", "NotOwned")
    assert ADOPT in other.condition("ServiceReady")["message"]
    assert up.world.writes(since=mark) == ["elasticfilesystem:CreateAccessPoint"], "AWS names those: it is one more"


# -- adopted


def disown(world: World) -> None:
    ecs, elb, efs, logs = (world.client(service) for service in ("ecs", "elbv2", "efs", "logs"))

    def ours(found: list[Mapping[str, str]]) -> list[str]:
        keys = [tag.get("Key", tag.get("key", "")) for tag in found]
        return [key for key in keys if key.startswith(OURS)]

    holdings = world.holdings()
    for name in holdings["LogGroup"]:
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        group = next(each for each in found if each["logGroupName"] == name)
        arn = group["arn"].removesuffix(":*")
        keys = [key for key in logs.list_tags_for_resource(resourceArn=arn)["tags"] if key.startswith(OURS)]
        logs.untag_resource(resourceArn=arn, tagKeys=keys)
    for identifier, point in holdings["AccessPoint"].items():
        efs.untag_resource(ResourceId=identifier, TagKeys=ours(point["Tags"]))
    arns = [t["TargetGroupArn"] for t in elb.describe_target_groups()["TargetGroups"]] + list(holdings["ListenerRule"])
    for arn in arns:
        keys = ours(elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"])
        elb.remove_tags(ResourceArns=[arn], TagKeys=keys)
    revisions = ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]
    for service, _ in holdings.get("DiscoveryService", {}).values():
        cloud_map = world.client("servicediscovery")
        listed = cloud_map.list_tags_for_resource(ResourceARN=service["Arn"])["Tags"]
        cloud_map.untag_resource(ResourceARN=service["Arn"], TagKeys=ours(listed))
    for target, tags in holdings.get("ScalableTarget", {}).values():
        arn, keys = target["ScalableTargetARN"], [key for key in tags if key.startswith(OURS)]
        world.client("application-autoscaling").untag_resource(ResourceARN=arn, TagKeys=keys)
    for arn in [*revisions, *(service["serviceArn"] for service in holdings["Service"].values())]:
        ecs.untag_resource(resourceArn=arn, tagKeys=ours(ecs.list_tags_for_resource(resourceArn=arn)["tags"]))


def made_by_hand(world: World, **spec: Any) -> Object:
    """A service and all its pieces, of nobody's; and an object of its name that nobody has looked after yet."""
    maker = Object(world, deployment_document(**spec))
    maker.live(lambda: maker.ready)
    disown(world)
    world.restart()
    it = Object(world, deployment_document(**spec), Memory())
    it.document["metadata"]["uid"] = "u-new"
    return it


def test_what_was_made_by_hand_is_left_alone_until_adoption_is_asked_for(world: World) -> None:
    it = made_by_hand(world)
    mark = world.mark
    it.look()
    assert it.stands("Ready") == ("False", "NotOwned")
    assert world.writes(since=mark) == ["elasticfilesystem:CreateAccessPoint"], "AWS names those: it is one more"


@pytest.mark.parametrize("restarts", [False, True], ids=["in one go", "with a restart at each pass"])
def test_what_was_made_by_hand_and_matches_is_adopted_without_a_deployment(world: World, *, restarts: bool) -> None:
    it = made_by_hand(world, replicas=2)
    before, begun, mark = world.holdings(), deployments(world), world.mark
    annotate(it, ADOPT)
    while not it.ready:
        world.advance(it.look().requeue_after)
        if restarts:
            it.restart()
    assert deployments(world) == begun
    assert {w.partition(":")[2] for w in world.writes(since=mark)} <= {"TagResource", "AddTags"}
    assert {k: set(things) for k, things in world.holdings().items()} == {k: set(t) for k, t in before.items()}
    assert it.status["readyReplicas"] == 2
    it.restart()
    mark = world.mark
    it.live_on(timedelta(hours=2))
    assert world.writes(since=mark) == []
    it.vanish()
    assert not any(world.holdings().values())


def test_things_of_every_kind_are_adopted_without_a_deployment(equipped: World) -> None:
    it = made_by_hand(equipped, **MUCH)
    before, begun, mark = equipped.holdings(), deployments(equipped), equipped.mark
    annotate(it, ADOPT)
    it.live(lambda: it.ready)
    assert deployments(equipped) == begun
    assert {w.partition(":")[2] for w in equipped.writes(since=mark)} <= {"TagResource", "AddTags"}
    assert {k: set(things) for k, things in equipped.holdings().items()} == {k: set(t) for k, t in before.items()}
    it.vanish()
    assert not any(equipped.holdings().values())


@pytest.mark.parametrize(
    "differs",
    [
        {"image": BETTER},
        {"cpu": "2", "memory": "4Gi", "env": [{"name": "LEVEL", "value": "INFO"}]},
        {"port": 9000, "stopTimeout": "1m"},
        {"models": {"path": "/recommender/2"}},
    ],
    ids="-".join,
)
def test_what_was_made_by_hand_and_differs_is_adopted_with_exactly_one_deployment(
    world: World, differs: dict[str, Any]
) -> None:
    it = made_by_hand(world)
    begun, theirs = deployments(world), set(world.holdings()["AccessPoint"])
    annotate(it, ADOPT)
    it.change(**differs)
    it.live(lambda: it.ready)
    assert deployments(world) == begun + 1
    if "models" in differs:
        assert theirs < set(world.holdings()["AccessPoint"]), "it was never the object's"


def test_what_differs_without_touching_the_tasks_is_mended_without_a_deployment(world: World) -> None:
    it = made_by_hand(world)
    begun = deployments(world)
    annotate(it, ADOPT)
    it.change(health={"path": "/other", "startup": "9m"}, ingress={"paths": ["/films/*"]}, replicas=3)
    it.live(lambda: it.ready)
    assert deployments(world) == begun
    assert len(world.holdings()["TargetGroup"]) == len(world.holdings()["ListenerRule"]) == 1


def test_what_adoption_would_change_can_be_seen_before_it_happens(world: World) -> None:
    it = made_by_hand(world)
    before, mark = world.holdings(), world.mark
    annotate(it, ADOPT)
    annotate(it, PAUSED)
    it.change(replicas=2)
    it.look()
    assert world.writes(since=mark) == []
    assert world.holdings() == before
    assert ("Service", "desiredCount") in drift(it)
    assert ("TaskDefinition", "revision") not in drift(it)


# -- what can't be adopted

UNLIKE = [
    ({"TargetType": "instance"}, "TargetType instance, not ip"),
    ({"ProtocolVersion": "HTTP2"}, "ProtocolVersion HTTP2, not HTTP1"),
    ({"ProtocolVersion": "GRPC"}, "make this object again with that spec.ingress.protocolVersion"),
    ({"Protocol": "HTTPS"}, "Protocol HTTPS, not HTTP"),
]


def group_of_somebody(world: World, **members: Any) -> str:
    """A target group with the name that the object would use."""
    usual = {"Protocol": "HTTP", "Port": 80, "VpcId": world.account.vpc, "TargetType": "ip"}
    name = Identity(namespace="shop", name="recommender", uid="").target_group
    made = world.client("elbv2").create_target_group(**{**usual, **members}, Name=name)
    arn: str = made["TargetGroups"][0]["TargetGroupArn"]
    return arn


@pytest.mark.parametrize(("unlike", "told"), UNLIKE)
def test_a_target_group_that_can_never_be_the_object_s_is_told_before_anything_is_adopted(
    world: World, unlike: dict[str, str], told: str
) -> None:
    theirs = group_of_somebody(world, **unlike)
    world.client("logs").create_log_group(logGroupName="/inference/shop/recommender")
    it = Object(world)
    annotate(it, ADOPT)
    mark = world.mark
    it.live_on(timedelta(minutes=20))
    assert world.writes(since=mark) == []
    assert it.stands("Ready") == it.stands("Accepted") == ("False", "Unsuitable")
    assert told in it.condition("Ready")["message"]
    assert "Next: rename this object" in it.condition("Ready")["message"]
    world.client("elbv2").delete_target_group(TargetGroupArn=theirs)
    it.live(lambda: it.ready, at_most=timedelta(minutes=10))


def test_a_target_group_behind_another_load_balancer_is_told_before_anything_is_adopted(world: World) -> None:
    elb, theirs = world.client("elbv2"), group_of_somebody(world)
    other = elb.create_load_balancer(Name="theirs", Subnets=world.account.subnets)["LoadBalancers"][0]
    forward = [{"Type": "forward", "TargetGroupArn": theirs}]
    elb.create_listener(LoadBalancerArn=other["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=forward)
    it = Object(world)
    annotate(it, ADOPT)
    mark = world.mark
    it.look()
    assert world.writes(since=mark) == []
    assert it.stands("Ready") == ("False", "Unsuitable")
    assert other["LoadBalancerArn"] in it.condition("Ready")["message"]


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ({"deploymentController": {"type": "CODE_DEPLOY"}, "deployments": []}, "--deployment-controller type=ECS"),
        (  # what its tasks are made of is told by its task sets
            {"deploymentController": {"type": "EXTERNAL"}, "deployments": []}
            | dict.fromkeys(("taskDefinition", "launchType", "networkConfiguration", "loadBalancers")),
            "--deployment-controller type=ECS",
        ),
        ({"launchType": "EC2"}, "put the provider FARGATE into spec.capacity"),
    ],
)
def test_a_service_that_can_never_be_the_object_s_is_told_before_anything_is_adopted(
    world: World, shown: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox has no such services: one is only shown as such."""
    it = made_by_hand(world)
    annotate(it, ADOPT)
    as_it_is = BatchedServices.get

    def get(*args: Any, **members: Any) -> dict[str, Any]:
        answer = {**(as_it_is(*args, **members) or {}), **shown}
        return {member: value for member, value in answer.items() if value is not None}

    monkeypatch.setattr(BatchedServices, "get", get)
    mark = world.mark
    it.live_on(timedelta(minutes=20))
    assert world.writes(since=mark) == []
    assert it.stands("Ready") == ("False", "Unsuitable")
    assert told in it.condition("Ready")["message"]
    monkeypatch.undo()  # its owner has done so
    it.live(lambda: it.ready, at_most=timedelta(minutes=10))


def test_a_service_of_codedeploy_s_is_told_before_anything_else_is_adopted_though_half_of_it_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = made_by_hand(world)
    for point in world.client("efs").describe_access_points()["AccessPoints"]:
        world.client("efs").delete_access_point(AccessPointId=point["AccessPointId"])
    annotate(it, ADOPT)
    as_it_is, shown = BatchedServices.get, {"deploymentController": {"type": "CODE_DEPLOY"}, "deployments": []}
    monkeypatch.setattr(BatchedServices, "get", lambda *a, **k: {**(as_it_is(*a, **k) or {}), **shown})
    mark = world.mark
    it.live_on(timedelta(minutes=20))
    assert world.writes(since=mark) == []
    assert it.stands("Ready") == ("False", "Unsuitable")
    assert "Service: the service has the deployment controller CODE_DEPLOY" in it.condition("Ready")["message"]


def test_what_others_have_is_looked_for_again_soon_once_it_is_in_the_way(world: World) -> None:
    theirs = group_of_somebody(world)
    it = Object(world)
    it.live_on(timedelta(minutes=10))
    assert it.stands("Ready") == ("False", "NotOwned")
    world.client("elbv2").delete_target_group(TargetGroupArn=theirs)
    it.live(lambda: it.ready, at_most=timedelta(minutes=10))


def test_what_belongs_to_another_object_is_not_adopted(up: Object) -> None:
    ecs = up.world.client("ecs")
    arn = up.world.holdings()["Service"][SERVICE]["serviceArn"]
    ecs.tag_resource(resourceArn=arn, tags=[{"key": "ecs-inference.dev/owner", "value": "shop/other"}])
    annotate(up, ADOPT)
    up.restart()
    mark = up.world.mark
    up.look()
    assert up.stands("ServiceReady") == ("False", "NotOwned")
    assert "belongs to shop/other" in up.condition("ServiceReady")["message"]
    assert ADOPT not in up.condition("ServiceReady")["message"]
    assert not [w for w in up.world.writes(since=mark) if w.startswith("ecs:")]


# -- begun again, tidied, cut short


def test_reconcile_at_begins_one_deployment_for_what_may_have_changed_behind_its_name(up: Object) -> None:
    begun = deployments(up.world)
    up.reconcile_at("the secret was rotated")
    up.world.fault("deny", "logs:PutRetentionPolicy")
    up.world.client("logs").delete_retention_policy(logGroupName="/inference/shop/recommender")
    for _ in range(5):
        up.world.advance(up.look().requeue_after)
    up.world.cloud.faults.clear()
    up.live(lambda: up.ready)
    assert deployments(up.world) == begun + 1
    assert up.status["running"]["revision"].endswith(":1")


@pytest.mark.parametrize("trouble", [False, True], ids=["", "with trouble elsewhere"])
def test_reconcile_at_during_a_rollout_begins_one_more_and_together_with_its_spec_none(
    up: Object, *, trouble: bool
) -> None:
    world = up.world
    if trouble:
        world.fault("deny", "application-autoscaling:RegisterScalableTarget")
    begun = deployments(world)
    up.change(image=BETTER, autoscaling={"minReplicas": 1, "maxReplicas": 2, "cpuPercent": 60})
    up.reconcile_at("with the spec")
    for _ in range(3):
        world.advance(up.look().requeue_after)
    assert deployments(world) == begun + 1
    up.reconcile_at("the tag was moved meanwhile")
    up.look()
    up.restart()
    for _ in range(3):
        world.advance(up.look().requeue_after)
    assert deployments(world) == begun + 2
    world.cloud.faults.clear()
    up.live(lambda: up.ready)
    assert deployments(world) == begun + 2
    assert up.status["lastReconcileAt"] == "the tag was moved meanwhile"


PINNED = f"registry.example.com/inference-server@sha256:{'0' * 64}"


def test_reconcile_at_begins_a_deployment_for_a_secret_of_the_log_router(world: World) -> None:
    world.client("ssm").put_parameter(Name="/shop/token", Value="x", Type="SecureString")
    custom = {"file": "/router.conf", "secrets": [{"name": "TOKEN", "valueFrom": "/shop/token"}]}
    it = Object(world, deployment_document(image=PINNED, logging={"custom": custom}))
    it.live(lambda: it.ready)
    begun = deployments(world)
    it.reconcile_at("the secret was rotated")
    it.live(lambda: it.ready and it.status.get("lastReconcileAt") == "the secret was rotated")
    assert deployments(world) == begun + 1


def test_reconcile_at_begins_no_deployment_of_what_can_only_be_the_same(world: World) -> None:
    it = Object(world, deployment_document(image=PINNED))
    it.live(lambda: it.ready)
    begun = deployments(world)
    it.reconcile_at("now")
    it.live(lambda: it.ready and it.status.get("lastReconcileAt") == "now")
    assert deployments(world) == begun


def test_old_revisions_are_deregistered_but_neither_the_newest_nor_somebody_else_s(up: Object) -> None:
    ecs = up.world.client("ecs")
    for number in range(4):
        up.change(env=[{"name": "NUMBER", "value": str(number)}])
        up.live(lambda: up.ready)
    ecs.untag_resource(
        resourceArn=up.status["running"]["revision"].rpartition(":")[0] + ":1", tagKeys=["ecs-inference.dev/owner"]
    )
    for number in range(4, 13):
        up.change(env=[{"name": "NUMBER", "value": str(number)}])
        up.live(lambda: up.ready)
    up.look()
    left = sorted(int(name.rpartition(":")[2]) for name in up.world.holdings()["TaskDefinition"])
    assert left == [1, *range(3, 15)], "ten besides the one that runs and the one before it"
    assert up.ready


@pytest.mark.parametrize("kinds", range(1, 4))  # the kinds after that are not all asked for
def test_a_pass_that_is_cut_short_leaves_a_status_that_is_true_and_the_next_process_ends_it(
    world: World, kinds: int
) -> None:
    it = Object(world)
    asked = iter(range(100))
    cut = replace(world.surroundings, stopping=lambda: next(asked) >= kinds)
    outcome = look_after(deepcopy(it.document), cut, it.memory, world.clock.now())
    assert len(world.holdings()["Service"]) == 0
    assert sum(bool(things) for things in world.holdings().values()) == kinds
    assert outcome.status.document() == InferenceDeploymentStatus().document()
    it.restart()
    it.live(lambda: it.ready)
    assert all(len(things) == 1 for things in world.holdings().values() if things)
