"""An environment that has all that one can have, and a spec that asks for a thing of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.operator.test_checks import allow_tasks, statement
from tests.operator.test_strategies import prepare
from tests.operator.world import World

NIGHT = {"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 1, "maxReplicas": 2}
MUCH: Mapping[str, Any] = {
    "autoscaling": {"minReplicas": 2, "maxReplicas": 4, "cpuPercent": 60, "schedules": [NIGHT]},
    "tags": [{"key": "team", "value": "search"}],
    "logging": {"routes": [{"match": {"levels": ["ERROR"]}, "to": ["errors"]}, {"to": ["elsewhere"]}]},
}


def equip(world: World) -> None:
    allow_tasks(world, statement("logs:CreateLogStream"), statement("logs:PutLogEvents"))
    elb = world.client("elbv2")
    nothing = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
    trial = elb.create_listener(
        LoadBalancerArn=world.account.balancer, Protocol="HTTP", Port=9000, DefaultActions=nothing
    )
    prepare(world, testListenerArn=trial["Listeners"][0]["ListenerArn"])
    world.discover()
