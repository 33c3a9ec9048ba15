"""Random histories of one service, of every deployment strategy: whatever happens, what ECS promises holds after every
moment.

`HISTORIES=10000 pytest --timeout=0 tests/sandbox/ecs/test_histories.py` runs as many; the suite runs a few hundred.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inference_sandbox.ecs import rolling, texts
from inference_sandbox.ecs.errors import AwsError
from inference_sandbox.ecs.failures import STRIKES, Failure
from inference_sandbox.ecs.health import counts_as_healthy
from inference_sandbox.ecs.state import Service, Task
from inference_sandbox.ports import StopCode
from inference_sandbox.tasks.scripted import Script, crashing, failing
from tests.sandbox.ecs.simulation import ALTERNATE, GROUP, SECOND, Simulation, shifting

ORDER = ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"]
SCRIPTS: dict[str, Script] = {
    "good": Script(),
    "slow": Script(starts_after=90 * SECOND, health_after=120 * SECOND),
    "broken": failing("CannotPullContainerError: not found"),
    "unhealthy": Script(health="UNHEALTHY"),
    "crashing": crashing(after=7 * SECOND),
    "deaf": Script(stops_after=30 * SECOND, stop_exit_code=137),
}
PERCENTAGES = [(100, 200), (50, 200), (0, 200), (50, 100), (0, 100), (100, 150), (75, 125)]
BREAKERS: list[dict[str, Any] | None] = [
    None,
    {"enable": True, "rollback": True},
    {"enable": True, "rollback": False},
    {"enable": True, "rollback": True, "resetOnHealthyTask": False},
    {"enable": True, "rollback": True, "thresholdConfiguration": {"type": "COUNT", "value": 2}},
    {"enable": True, "rollback": True, "thresholdConfiguration": {"type": "UNBOUNDED_PERCENT", "value": 60}},
]

STRATEGIES: list[dict[str, Any]] = [
    {"strategy": "ROLLING"},
    {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 5},
    {
        "strategy": "LINEAR",
        "bakeTimeInMinutes": 1,
        "linearConfiguration": {"stepPercent": 30.0, "stepBakeTimeInMinutes": 2},
    },
    {
        "strategy": "CANARY",
        "bakeTimeInMinutes": 0,
        "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 5},
    },
]
PAUSES: list[list[str]] = [[], [], ["PRE_SCALE_UP"], ["POST_SCALE_UP", "POST_PRODUCTION_TRAFFIC_SHIFT"]]
"""The stages at which a deployment waits to be continued."""

desired = st.integers(0, 6)
actions = st.one_of(
    st.tuples(st.just("advance"), st.sampled_from([1, 5, 20, 60, 300, 3600])),
    st.tuples(st.just("advance"), st.sampled_from([1, 5, 20, 60, 300, 3600])),
    st.tuples(st.just("script"), st.sampled_from(sorted(SCRIPTS))),
    st.tuples(st.just("verdict"), st.sampled_from(["healthy", "unhealthy"])),
    st.tuples(st.just("deploy"), st.just(0)),
    st.tuples(st.just("rollout"), st.just(0)),
    st.tuples(st.just("force"), st.just(0)),
    st.tuples(st.just("scale"), desired),
    st.tuples(st.just("percent"), st.integers(0, len(PERCENTAGES) - 1)),
    st.tuples(st.just("stop"), st.integers(0, 9)),
    st.tuples(st.just("strike"), st.sampled_from(STRIKES)),
    st.tuples(st.just("target"), st.integers(0, 9)),
    st.tuples(st.just("capacity"), st.integers(1, 4)),
    st.tuples(st.just("protect"), st.integers(0, 9)),
    st.tuples(st.just("rollback"), st.just(0)),
    st.tuples(st.just("continue"), st.sampled_from(["CONTINUE", "CONTINUE", "ROLLBACK"])),
    st.tuples(st.just("strategy"), st.integers(0, len(STRATEGIES) - 1)),
    st.tuples(st.just("zone"), st.sampled_from(["eu-west-1a", "eu-west-1b", None])),
    st.tuples(st.just("recreate"), desired),
)


@dataclass(kw_only=True)
class Beginning:
    desired: int
    percentages: tuple[int, int]
    breaker: dict[str, Any] | None
    balanced: bool
    checked: bool
    strategy: dict[str, Any]
    pauses: list[str]
    rebalanced: bool


beginnings = st.builds(
    Beginning,
    desired=desired,
    percentages=st.sampled_from(PERCENTAGES),
    breaker=st.sampled_from(BREAKERS),
    balanced=st.booleans(),
    checked=st.booleans(),
    strategy=st.sampled_from(STRATEGIES),
    pauses=st.sampled_from(PAUSES),
    rebalanced=st.booleans(),
)


@dataclass
class History:
    """Acts on a service and looks at it after every moment."""

    beginning: Beginning
    world: Simulation = field(default_factory=Simulation)
    versions: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each task: its version, and how far it had come."""
    seen_events: int = 0

    def __post_init__(self) -> None:
        self.world.drain_delay(20)
        self._watch_decisions()
        self.create(self.beginning.desired)

    # -- acting

    def definition(self) -> str:
        check: dict[str, Any] = {"healthCheck": {"command": ["CMD", "true"]}} if self.beginning.checked else {}
        return self.world.register(**check)

    def create(self, count: int) -> None:
        low, high = self.beginning.percentages
        configuration: dict[str, Any] = {"minimumHealthyPercent": low, "maximumPercent": high}
        configuration |= self.beginning.strategy
        if self.beginning.breaker:
            configuration["deploymentCircuitBreaker"] = self.beginning.breaker
        if self.beginning.pauses and configuration["strategy"] != "ROLLING":
            hook = {"targetType": "PAUSE", "lifecycleStages": self.beginning.pauses}
            configuration["lifecycleHooks"] = [hook | {"timeoutConfiguration": {"timeoutInMinutes": 30}}]
        self.world.create(
            count,
            taskDefinition=self.definition(),
            deploymentConfiguration=configuration,
            availabilityZoneRebalancing="ENABLED" if self.beginning.rebalanced and high > 100 else "DISABLED",
            **(shifting() if self.beginning.balanced else {}),
        )

    def act(self, action: str, value: Any) -> None:
        getattr(self, f"do_{action}")(value)
        self.world.scheduler.tick()
        self.check()

    def do_advance(self, seconds: int) -> None:
        end = self.world.clock.now() + timedelta(seconds=seconds)
        while (due := self.world.next_due()) is not None and due <= end:
            self.world.clock.set(due)
            self.world.scheduler.tick()
            self.check()
        self.world.clock.set(end)

    def do_script(self, name: str) -> None:
        self.world.runner.script = lambda _launch: SCRIPTS[name]

    def do_verdict(self, verdict: Any) -> None:
        self.world.balancer.verdict = verdict

    def do_deploy(self, _value: int) -> None:
        self.update(taskDefinition=self.definition())

    def do_rollout(self, _value: int) -> None:
        """A deployment of a service at rest: the one that the percentages were made for."""
        self.do_script("good")
        self.do_advance(300)
        self.do_deploy(0)

    def do_force(self, _value: int) -> None:
        self.update(forceNewDeployment=True)

    def do_scale(self, count: int) -> None:
        self.update(desiredCount=count)

    def do_percent(self, index: int) -> None:
        low, high = PERCENTAGES[index]
        self.update(
            deploymentConfiguration={"minimumHealthyPercent": low, "maximumPercent": high},
            **({"availabilityZoneRebalancing": "DISABLED"} if high <= 100 else {}),
        )

    def do_strategy(self, index: int) -> None:
        """A deployment under way goes on as it began."""
        hooks: list[dict[str, Any]] = []
        self.update(deploymentConfiguration=STRATEGIES[index] | {"lifecycleHooks": hooks})

    def do_zone(self, zone: str | None) -> None:
        """The zone has no capacity; None: every zone has some again."""
        if zone is None:
            self.world.scheduler.clear_failures()
        else:
            self.world.ecs.fail(Failure(service="web", cause="capacity", zone=zone))

    def do_continue(self, action: str) -> None:
        record = self.world.record()
        for hook in record.get("lifecycleHookDetails", []):
            if hook["status"] == "AWAITING_ACTION":
                arn = record["serviceDeploymentArn"]
                self.world.call(
                    "ContinueServiceDeployment", serviceDeploymentArn=arn, hookId=hook["hookId"], action=action
                )

    def update(self, **request: Any) -> None:
        if self.service.status == "ACTIVE":
            self.world.update(**request)

    def do_stop(self, index: int) -> None:
        tasks = self.service.tasks
        if tasks:
            self.world.call("StopTask", cluster="inference", task=tasks[index % len(tasks)].arn)

    def do_strike(self, cause: str) -> None:
        self.world.ecs.fail(Failure(service="web", cause=cause, times=1))

    def do_capacity(self, times: int) -> None:
        self.world.ecs.fail(Failure(service="web", cause="capacity", times=times))

    def do_target(self, index: int) -> None:
        found = [t for t in self.service.tasks if any(target.registered for target in t.targets) and t.active]
        if found and (address := found[index % len(found)].address) is not None:
            [target] = found[index % len(found)].targets
            self.world.balancer.set(target.group_arn, address, 8080, "unhealthy")

    def do_protect(self, index: int) -> None:
        tasks = self.service.tasks
        if tasks:
            self.world.call(
                "UpdateTaskProtection",
                cluster="inference",
                tasks=[tasks[index % len(tasks)].arn],
                protectionEnabled=True,
                expiresInMinutes=10,
            )

    def do_rollback(self, _value: int) -> None:
        try:
            arn = self.world.record()["serviceDeploymentArn"]
            self.world.call("StopServiceDeployment", serviceDeploymentArn=arn)
        except AwsError as error:
            assert error.code == "ConflictException"  # noqa: PT017 - most of the time there is nothing to stop

    def do_recreate(self, count: int) -> None:
        self.world.call("DeleteService", cluster="inference", service="web", force=True)
        self.do_advance(120)
        self.world.scheduler.tick()
        assert self.service.status == "INACTIVE"
        self.versions.clear()
        self.world.around.shares = {GROUP: 100.0, ALTERNATE: 0.0}  # ECS left it as it was: a person sees to it
        self.create(count)

    # -- looking

    @property
    def service(self) -> Service:
        return next(iter(self.world.ecs.clusters())).services["web"]

    def _watch_decisions(self) -> None:
        """Look at each decision to stop a task as it is taken."""
        stop: Callable[[Task, StopCode, str], None] = self.world.scheduler.fleet.stop

        def watched(task: Task, code: StopCode, reason: str) -> None:
            service = task.service
            if service is not None and reason.startswith("Scaling activity") and counts_as_healthy(task):
                low = service.document["deploymentConfiguration"]["minimumHealthyPercent"]
                tasks, wanted = self.kept_with(task)
                assert sum(counts_as_healthy(each) for each in tasks) - 1 >= rolling.lower_limit(wanted, low)
                assert not task.protected(self.world.clock.now())
            stop(task, code, reason)

        self.world.scheduler.fleet.stop = watched  # type: ignore[method-assign] # a spy, for this object only
        launch = self.world.scheduler.fleet.launch

        def launched(task: Task) -> None:
            launch(task)
            service = task.service
            if service is not None:
                high = service.document["deploymentConfiguration"]["maximumPercent"]
                tasks, wanted = self.kept_with(task)
                assert sum(each.active for each in tasks) <= rolling.upper_limit(wanted, high)
                assert task.deployment is not None
                assert task.deployment.rollout_state != "FAILED"
                assert task.zone not in self.world.scheduler.failures.closed_zones("web")

        self.world.scheduler.fleet.launch = launched  # type: ignore[method-assign]  # as above

    def kept_with(self, task: Task) -> tuple[Iterable[Task], int]:
        """The tasks that the percentages are of, and how many are wanted: while traffic shifts each deployment keeps
        its own, else the PRIMARY replaces the others."""
        service, deployment = self.service, task.deployment
        assert deployment is not None
        if self.world.scheduler.shifts.under_way(service):
            assert deployment is service.primary or deployment.desired in (0, service.desired_count)
            return deployment.tasks.values(), deployment.desired
        return service.tasks, service.desired_count

    def check(self) -> None:
        service = self.service
        shown = self.world.call("DescribeServices", cluster="inference", services=["web"])["services"][0]
        statuses = [deployment["status"] for deployment in shown["deployments"]]
        assert statuses == ["PRIMARY", *["ACTIVE"] * (len(statuses) - 1)]
        assert len({deployment["id"] for deployment in shown["deployments"]}) == len(statuses)
        for member in ("runningCount", "pendingCount"):
            assert shown[member] == sum(deployment[member] for deployment in shown["deployments"])
        assert shown["taskDefinition"] == shown["deployments"][0]["taskDefinition"]
        assert len(shown["events"]) <= 100
        self._check_tasks(service)
        self._check_traffic(service)

    def _check_traffic(self, service: Service) -> None:
        """All of it goes somewhere, and none to a revision that never was healthy."""
        shares = self.world.around.shares
        assert abs(sum(shares.values()) - 100) < 0.01
        if not self.beginning.balanced or service.status != "ACTIVE":
            return
        for deployment in service.deployments:
            group = ALTERNATE if deployment.revision.side else GROUP
            new = deployment.rollout_state == "IN_PROGRESS" and deployment.record.rollback is None
            if new and deployment.stage in ("PRE_SCALE_UP", "SCALE_UP") and self.world.scheduler.shifts.source(service):
                assert shares[group] == 0

    def _check_tasks(self, service: Service) -> None:
        for task in service.cluster.tasks.values():
            version, progress = task.version, ORDER.index(task.last_status)
            before = self.versions.get(task.arn, (0, 0))
            assert version >= before[0]
            assert progress >= before[1]
            self.versions[task.arn] = (version, progress)
            if task.desired_status == "STOPPED":
                assert task.stop_code
                assert task.stopped_reason
            if task.last_status == "STOPPED":
                assert task.stopped_at is not None
                assert task.deployment is None or task.arn not in task.deployment.tasks
            if task.last_status == "RUNNING":
                assert task.address
                assert task.started_at

    def finish(self) -> None:
        """From here on everything works: the service must get where it was told to, if it may."""
        world = self.world
        self.do_script("good")
        world.balancer.verdict = "healthy"
        world.scheduler.clear_failures()
        for _ in range(8):
            self.act("continue", "CONTINUE")
            self.act("advance", 1800)
        service = self.service
        shown = world.describe()
        primary = shown["deployments"][0]
        if primary["rolloutState"] == "FAILED":
            return  # stalled, as documented: it launches nothing until it is told anew
        messages = [event.message for event in service.events]
        if any(texts.BLOCKED in message for message in messages) and primary["rolloutState"] == "IN_PROGRESS":
            return  # the percentages leave no room
        assert primary["rolloutState"] == "COMPLETED"
        assert len(shown["deployments"]) == 1
        assert shown["runningCount"] == shown["desiredCount"] == primary["runningCount"]
        assert shown["pendingCount"] == 0
        assert any(texts.STEADY in event.message for event in list(service.events)[:2])  # one may tell of balance
        if self.beginning.balanced:
            assert world.around.shares[ALTERNATE if service.primary.revision.side else GROUP] == 100
        high = service.document["deploymentConfiguration"]["maximumPercent"]
        room = rolling.upper_limit(service.desired_count, high) > service.desired_count
        if room and service.document["availabilityZoneRebalancing"] == "ENABLED":
            zones = [task.zone for task in service.tasks]
            assert abs(zones.count("eu-west-1a") - zones.count("eu-west-1b")) <= 1
        running = {task.arn for task in service.tasks}
        stops = world.runner.stops
        assert len(set(stops)) == len(stops)
        assert {launch.arn for launch in world.runner.starts} >= running
        unended = {launch.arn for launch in world.runner.starts} - set(stops) - running
        assert not {
            arn for arn in unended if arn in service.cluster.tasks and not service.cluster.tasks[arn].stopped_at
        }


@settings(max_examples=int(os.environ.get("HISTORIES", "200")), deadline=None)
@given(beginning=beginnings, steps=st.lists(actions, max_size=25))
def test_whatever_happens_the_promises_of_ecs_hold(beginning: Beginning, steps: list[tuple[str, Any]]) -> None:
    history = History(beginning)
    history.check()
    for action, value in steps:
        history.act(action, value)
    history.finish()
