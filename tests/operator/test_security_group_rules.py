"""Rules of security groups that an environment asks for: what is opened, for how long, and whose it is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inference_operator.engine.reconcile import Memory
from inference_sandbox.aws.faults import Kind
from tests.operator.builders import deployment_document
from tests.operator.test_checks import without_rules
from tests.operator.test_matrix import BAD, GOOD, by_image
from tests.operator.test_objects import tear_down
from tests.operator.world import Environment as InferenceEnvironment
from tests.operator.world import Object, World

OPENED = ("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress")


class Environment(InferenceEnvironment):
    def __post_init__(self) -> None:
        without_rules("tasks")(self.world)
        without_rules("models")(self.world)
        self.manage()

    def manage(self, *, on: bool = True, **network: Any) -> None:
        network = {**self.world.environments["default"]["spec"]["network"], **network}
        self.world.change_environment(network={**network, "manageSecurityGroupRules": on})
        status = self.document.get("status")
        super().__post_init__()
        self.document["status"] = status
        self.memory.forget()

    def use(self, *ports: int) -> None:
        """Services with these ports run in it."""
        self.objects = [deployment_document(name=f"s-{number}", port=port) for number, port in enumerate(ports)]

    @property
    def told(self) -> list[str]:
        rules: list[str] = self.status.get("securityGroupRules", [])
        return rules

    def opening(self) -> tuple[str, str]:
        return self.stands("SecurityGroupRulesReady")


@pytest.fixture
def environment(world: World) -> Environment:
    return Environment(world)


def opened(world: World, group: str) -> set[tuple[int, str]]:
    """Ports and sources that a group lets in."""
    found = world.client("ec2").describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    rules = [rule for rule in found["SecurityGroupRules"] if not rule["IsEgress"]]
    return {(rule["FromPort"], rule["ReferencedGroupInfo"]["GroupId"]) for rule in rules}


def tasks(world: World) -> set[tuple[int, str]]:
    return opened(world, world.account.security_groups[0])


def models(world: World) -> set[tuple[int, str]]:
    return opened(world, world.account.models_group)


def test_the_ports_in_use_are_opened_to_the_load_balancer_and_the_file_system_to_the_tasks(
    world: World, environment: Environment
) -> None:
    environment.use(8080, 9000, 8080)
    environment.look()
    assert tasks(world) == {(8080, world.account.balancer_group), (9000, world.account.balancer_group)}
    assert models(world) == {(2049, world.account.security_groups[0])}
    assert environment.opening() == ("True", "AsSpecified")
    assert len(environment.told) == 3
    mark = world.mark
    environment.look()
    world.restart()
    environment.memory = Memory()
    environment.look()
    assert world.writes(since=mark) == []


def test_a_port_is_closed_with_the_last_service_that_uses_it(world: World, environment: Environment) -> None:
    environment.use(8080, 8080, 9000)
    environment.look()
    environment.use(8080)
    environment.look()
    assert tasks(world) == {(8080, world.account.balancer_group)}
    environment.use()
    environment.look()
    assert tasks(world) == set()
    assert models(world) == {(2049, world.account.security_groups[0])}


def test_the_port_of_the_tasks_that_serve_is_closed_once_a_rollout_has_replaced_them(
    world: World, environment: Environment
) -> None:
    before, after = ((port, world.account.balancer_group) for port in (8080, 9000))
    it = Object(world)
    environment.objects = [it.document]
    environment.look()
    it.live(lambda: it.ready)
    it.change(port=9000)
    environment.look()  # before the object
    assert tasks(world) == {before, after}
    world.runner.script = by_image
    it.change(image=BAD)
    it.look()
    environment.look()
    assert tasks(world) == {before, after}
    it.live(lambda: it.stands("Ready") == ("False", "RolledBack"))
    environment.look()
    assert tasks(world) == {before, after}
    it.change(image=GOOD)
    it.live(lambda: it.ready)
    environment.look()
    assert tasks(world) == {after}


def test_what_another_environment_has_opened_and_closes_is_opened_again_within_minutes(
    world: World, environment: Environment
) -> None:
    """Such as that of the cluster that one moves away from: a security group has one rule of a kind."""
    other = InferenceEnvironment(world)
    other.document["metadata"]["uid"] = "u-of-another-cluster"
    environment.use(8080)
    other.objects = environment.objects
    for each in (environment, other):
        each.look()
    assert tasks(world) == {(8080, world.account.balancer_group)}
    environment.use()
    while not (outcome := environment.take_away()).done:
        world.advance(outcome.requeue_after)
    assert tasks(world) | models(world) == set()
    world.advance(timedelta(minutes=5))
    other.look()
    assert tasks(world) == {(8080, world.account.balancer_group)}
    assert models(world) == {(2049, world.account.security_groups[0])}


def test_nothing_is_closed_while_it_is_not_known_what_runs(world: World, environment: Environment) -> None:
    environment.use(8080)
    environment.look()
    before = tasks(world)
    environment.objects = None
    environment.look()
    assert tasks(world) == before
    assert environment.opening()[0] == "False"
    assert environment.told


@pytest.mark.parametrize("end", ["no longer asked for", "deleted"])
def test_what_was_opened_is_closed_when_it_is_no_longer_asked_for_and_nothing_else(
    end: str, world: World, environment: Environment
) -> None:
    world.account.let_in(world.account.security_groups[0], world.account.balancer_group, 9000, 9000)
    environment.use(8080, 9000)
    environment.look()
    assert len(tasks(world)) == 2
    environment.use()
    if end == "deleted":
        assert environment.take_away().done
    else:
        environment.manage(on=False)
        environment.look()
        assert environment.opening()[0] == "Absent"
        assert environment.told == []
    assert tasks(world) == {(9000, world.account.balancer_group)}, "somebody else's"
    assert models(world) == set()


def test_what_was_opened_is_closed_though_the_load_balancer_and_the_file_system_are_gone(
    world: World, environment: Environment
) -> None:
    environment.use(8080)
    environment.look()
    tear_down(world, "balancer")
    tear_down(world, "models")
    environment.use()
    environment.restart()
    assert environment.take_away().done
    assert tasks(world) == models(world) == set()


def test_two_environments_with_one_group_each_keep_their_own(world: World, environment: Environment) -> None:
    other = Environment(world)
    other.document["metadata"] = {**other.document["metadata"], "name": "other", "uid": "e-2"}
    environment.use(8080)
    other.use(9000)
    environment.look()
    other.look()
    other.use()
    assert other.take_away().done
    assert tasks(world) == {(8080, world.account.balancer_group)}


def test_another_group_of_the_tasks_is_followed(world: World, environment: Environment) -> None:
    environment.use(8080)
    environment.look()
    group = world.client("ec2").create_security_group(GroupName="new", Description="new", VpcId=world.account.vpc)
    environment.manage(securityGroups=[group["GroupId"]])
    environment.look()
    assert tasks(world) == set()
    assert opened(world, group["GroupId"]) == {(8080, world.account.balancer_group)}
    assert models(world) == {(2049, group["GroupId"])}


@pytest.mark.parametrize("operation", OPENED)
@pytest.mark.parametrize("fault", ["deny", "throttle", "error", "lost"])
def test_a_refused_or_lost_call_is_told_and_made_good_without_a_second_rule(
    operation: str, fault: Kind, world: World, environment: Environment
) -> None:
    environment.use(8080)
    if operation.endswith("RevokeSecurityGroupIngress"):
        environment.look()
        environment.use()
    world.fault(fault, operation, times=1)
    environment.look()
    assert environment.opening()[0] == "False"
    environment.look()
    assert environment.opening() == ("True", "AsSpecified")
    expected = {(8080, world.account.balancer_group)} if operation == OPENED[0] else set()
    assert tasks(world) == expected
    environment.use()
    assert environment.take_away().done
    assert tasks(world) == models(world) == set()


def test_rules_that_somebody_revoked_are_made_again_at_the_next_audit(world: World, environment: Environment) -> None:
    environment.use(8080)
    environment.look()
    without_rules("models")(world)
    environment.memory = Memory()
    environment.look()
    assert models(world) == {(2049, world.account.security_groups[0])}


def test_a_service_whose_way_is_not_open_yet_is_warned_and_not_kept_back(
    world: World, environment: Environment
) -> None:
    it = Object(world)
    it.live(lambda: it.ready)
    results = {f["check"]: f["result"] for f in it.status["verification"]["findings"]}
    assert (results["LoadBalancerAccess"], results["Models"]) == ("Warning", "Warning")
