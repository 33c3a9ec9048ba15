"""What tasks are given and where they run: what is derived from the spec, and what becomes of it in ECS."""

from __future__ import annotations

from typing import Any

import pytest

from inference_operator.domain.agents import exec_agent
from inference_operator.engine.reconcile import Memory, reconcile
from inference_operator.resources import KINDS
from inference_operator.resources.containers import server
from tests.operator.builders import deployment_document
from tests.operator.world import CLUSTER, Object, World

SERVICE = "shop_recommender"


def service(world: World) -> dict[str, Any]:
    (found,) = world.client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"]
    return dict(found)


def tasks(world: World) -> list[dict[str, Any]]:
    ecs = world.client("ecs")
    listed = ecs.list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
    return list(ecs.describe_tasks(cluster=CLUSTER, tasks=listed)["tasks"]) if listed else []


def rendered(world: World, **spec: Any) -> dict[str, Any]:
    ctx = world.context(**spec)
    reconcile(KINDS[:4], ctx, Memory())
    return server(ctx)


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["environment"]}


@pytest.mark.parametrize("seconds", [2, 3, 9, 30, 60, 120])
def test_the_server_is_told_to_be_done_before_it_is_killed(world: World, seconds: int) -> None:
    container = rendered(world, stopTimeout=f"{seconds}s")
    told = variables(container)
    drain, grace = int(told["INFERENCE_DRAIN_SECONDS"]), int(told["INFERENCE_GRACE_SECONDS"])
    assert container["stopTimeout"] == seconds
    assert drain >= 0
    assert grace > 0
    assert drain + grace < seconds


def test_what_env_says_of_the_drain_wins(world: World) -> None:
    told = variables(rendered(world, env=[{"name": "INFERENCE_DRAIN_SECONDS", "value": "1"}]))
    assert told["INFERENCE_DRAIN_SECONDS"] == "1"
    assert "INFERENCE_GRACE_SECONDS" in told


def test_a_start_up_longer_than_ecs_lets_a_container_have_is_left_to_the_grace_period(world: World) -> None:
    health = {"command": ["python", "-m", "check"], "startup": "20m"}
    assert rendered(world, health=health)["healthCheck"] == {
        "command": ["CMD", "python", "-m", "check"],
        "interval": 10,
        "timeout": 5,
        "retries": 3,
        "startPeriod": 300,
    }
    object_ = Object(world, deployment_document(health=health))
    object_.look()
    assert service(world)["healthCheckGracePeriodSeconds"] == 1200


def test_a_service_without_a_load_balancer_has_the_grace_period_for_its_own_check(world: World) -> None:
    environment = dict(world.environments["default"]["spec"])
    del environment["loadBalancer"]
    world.environments["default"] = {**world.environments["default"], "spec": environment}
    object_ = Object(world, deployment_document(health={"command": ["true"], "startup": "2m"}))
    object_.live(lambda: object_.ready)
    assert service(world)["healthCheckGracePeriodSeconds"] == 120
    assert tasks(world)[0]["healthStatus"] == "HEALTHY"


def test_another_mix_of_capacity_replaces_the_tasks_by_one_deployment(world: World) -> None:
    object_ = Object(world, deployment_document(replicas=4))
    object_.live(lambda: object_.ready)
    for capacity, providers in (
        ([{"provider": "FARGATE", "base": 1}, {"provider": "FARGATE_SPOT", "weight": 1}], {"FARGATE", "FARGATE_SPOT"}),
        ([{"provider": "FARGATE_SPOT", "weight": 1}], {"FARGATE_SPOT"}),
        ([], {None, "FARGATE"}),
    ):
        mark = world.mark
        object_.change(capacity=capacity)
        object_.look()
        object_.live(lambda: object_.ready)
        assert world.writes(since=mark) == ["ecs:UpdateService"]
        assert {task.get("capacityProviderName") for task in tasks(world)} <= providers
    assert service(world)["launchType"] == "FARGATE"


def test_tasks_carry_the_tags_of_their_service(world: World) -> None:
    object_ = Object(world, deployment_document(tags=[{"key": "team", "value": "search"}]))
    object_.live(lambda: object_.ready)
    (arn,) = world.client("ecs").list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
    (task,) = world.client("ecs").describe_tasks(cluster=CLUSTER, tasks=[arn], include=["TAGS"])["tasks"]
    assert {"key": "team", "value": "search"} in task["tags"]


def test_the_status_says_how_to_get_a_shell_once_the_agent_runs(world: World) -> None:
    object_ = Object(world, deployment_document(replicas=2, exec={"enabled": True}))
    object_.look()
    assert object_.status["exec"] == {"readyTasks": 0, "message": "no task runs"}
    object_.live(lambda: object_.ready)
    assert object_.status["exec"]["readyTasks"] == 2
    assert object_.status["exec"]["message"].startswith(
        "aws ecs execute-command --region eu-west-1 --cluster inference"
    )
    object_.change(exec={"enabled": False})
    object_.live(lambda: object_.ready)
    assert "exec" not in object_.status


@pytest.mark.parametrize(
    ("agents", "runs", "why"),
    [
        ([{"name": "ExecuteCommandAgent", "lastStatus": "RUNNING"}], True, ""),
        ([{"name": "ExecuteCommandAgent", "lastStatus": "PENDING"}], False, "is PENDING"),
        (
            [{"name": "ExecuteCommandAgent", "lastStatus": "STOPPED", "reason": "no credentials"}],
            False,
            "has stopped: no credentials. Next: check that the task role allows ssmmessages",
        ),
        ([], False, "was started before exec.enabled was set"),
        (None, False, "was started before exec.enabled was set"),
    ],
)
def test_an_agent_that_does_not_run_says_why(agents: list[dict[str, str]] | None, runs: bool, why: str) -> None:
    container = {"name": "app", **({} if agents is None else {"managedAgents": agents})}
    agent = exec_agent({"taskArn": "arn:aws:ecs:eu-west-1:1:task/inference/a1", "containers": [container]}, "app")
    assert agent.task == "a1"
    assert agent.runs is runs
    assert why in agent.why
