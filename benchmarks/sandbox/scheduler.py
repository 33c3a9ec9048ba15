"""How the sandbox's AWS scales: a thousand services of three tasks.

    python benchmarks/sandbox/scheduler.py [--services 1000] [--tasks 3]

Prints the time of a tick at rest, of the heaviest ticks while everything starts, rolls and stops, of DescribeServices
for ten services (in this process and over HTTP), and the memory of the process. Exits 1 if a limit is missed.

Limits are on the process's own CPU time, so that what else the machine does decides nothing; the time on the wall,
which is the same where nothing else runs, stands beside it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from inference_sandbox.aws import Aws
from inference_sandbox.aws.in_process import CREDENTIALS
from inference_sandbox.aws.server import Server
from inference_sandbox.ecs.clock import VirtualClock
from inference_sandbox.load_balancer.scripted import ScriptedLoadBalancer
from inference_sandbox.tasks.scripted import ScriptedRunner

LIMITS = {"tick": 0.2, "describe": 0.010, "memory": 600.0}
"""Seconds, seconds, MiB."""


@dataclass
class Fleet:
    aws: Aws
    services: int
    tasks: int
    definition: str = ""

    def create(self) -> None:
        ecs, ec2 = self.aws.client("ecs"), self.aws.client("ec2")
        subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
        ecs.create_cluster(clusterName="bench")
        self.definition = self.register()
        for number in range(self.services):
            ecs.create_service(
                cluster="bench",
                serviceName=f"s{number}",
                taskDefinition=self.definition,
                desiredCount=self.tasks,
                launchType="FARGATE",
                networkConfiguration={"awsvpcConfiguration": {"subnets": subnets}},
            )

    def register(self) -> str:
        answer = self.aws.client("ecs").register_task_definition(
            family="bench",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "app", "image": "app:1"}],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def update(self, **change: Any) -> None:
        for number in range(self.services):
            self.aws.client("ecs").update_service(cluster="bench", service=f"s{number}", **change)

    def slowest_tick(self, seconds: float) -> Took:
        """Let time pass in steps of a second, beginning now; the longest tick."""
        slowest = timed(self.aws.tick)
        for _ in range(int(seconds)):
            clock: Any = self.aws.clock
            clock.advance(timedelta(seconds=1))
            slowest = max(slowest, timed(self.aws.tick))
        return slowest

    def describe(self, client: Any) -> None:
        answer = client.describe_services(cluster="bench", services=[f"s{number}" for number in range(10)])
        assert len(answer["services"]) == min(10, self.services)  # noqa: S101 - a benchmark of nothing is worth nothing


class Took(NamedTuple):
    """Seconds."""

    cpu: float
    wall: float

    def __str__(self) -> str:
        return f"{self.cpu * 1000:9.2f} ms of CPU, {self.wall * 1000:.2f} ms on the wall"


def timed(action: Callable[[], Any], repeat: int = 1) -> Took:
    """For each time that it is done."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeat):
        action()
    return Took((time.process_time() - cpu) / repeat, (time.perf_counter() - wall) / repeat)


def memory() -> float:
    """MiB at the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def over_http(url: str) -> Any:
    make: Any = boto3.client
    return make("ecs", region_name="us-east-1", endpoint_url=url, **CREDENTIALS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=3)
    given = parser.parse_args()
    clock = VirtualClock()
    with tempfile.TemporaryDirectory() as folder:
        aws = Aws(
            clock=clock,
            runner=ScriptedRunner(clock),
            load_balancer=ScriptedLoadBalancer(clock),
            efs_root=Path(folder),
        )
        server = Server(aws)
        fleet = Fleet(aws, given.services, given.tasks)
        print(f"{given.services} services of {given.tasks} tasks, one step of a second for each tick")
        print(f"create all, in process      {timed(fleet.create)}")
        starting = fleet.slowest_tick(120)
        fleet.update(taskDefinition=fleet.register())
        rolling = fleet.slowest_tick(180)
        resting = timed(aws.tick, 1000)
        describing = timed(lambda: fleet.describe(aws.client("ecs")), 100)
        remote = over_http(server.url)
        describing_remote = timed(lambda: fleet.describe(remote), 100)
        server.close()
        fleet.update(desiredCount=0)
        stopping = fleet.slowest_tick(60)
    print(f"slowest tick, all starting  {starting}")
    print(f"slowest tick, all rolling   {rolling}")
    print(f"slowest tick, all stopping  {stopping}")
    print(f"tick at rest                {resting.cpu * 1e6:9.2f} µs of CPU")
    print(f"DescribeServices of 10      {describing}, in process")
    print(f"DescribeServices of 10      {describing_remote}, over HTTP")
    print(f"memory                      {memory():9.0f} MiB")
    missed = [
        name
        for name, value in (
            ("tick", max(starting, rolling, stopping).cpu),
            ("describe", max(describing, describing_remote).cpu),
            ("memory", memory()),
        )
        if value > LIMITS[name]
    ]
    print("limits: " + ("all kept" if not missed else f"missed: {', '.join(missed)}"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
