"""Every way in which a rollout can end, told as a person would read it: in `golden/rollouts/`.

Each is gone through with and without events that wake the operator, with and without the right to read ECS's records of
deployments, and with another process of the operator for each pass. All of them must end the same; what only the
records tell is in a second file, `….without-records.yaml`.

`UPDATE_GOLDEN=1` writes the files anew; the difference is then for a reviewer to read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from inference_operator.api.meta import ROLLBACK_AT
from inference_operator.engine.backoff import RESYNC
from inference_sandbox.ecs.failures import Failure
from inference_sandbox.ports import TaskLaunch
from inference_sandbox.tasks.scripted import Script, crashing, failing
from tests.operator.builders import NOW, deployment_document
from tests.operator.normalising import normalised
from tests.operator.world import CLUSTER, Object, World

GOLDEN = Path(__file__).with_name("golden") / "rollouts"
GOOD, BETTER, BAD = (f"registry.example.com/inference-server:{tag}" for tag in ("1.4.0", "1.5.0", "broken"))
SERVICE = "shop_recommender"
NOT_FOUND = f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {BAD}: not found"
RECORDS = ("ListServiceDeployments", "DescribeServiceDeployments", "DescribeServiceRevisions")
ALARM = "shop-errors"
ROLLOUT = ("Accepted", "Ready", "Progressing", "Degraded", "Reconciling", "Stalled")
"""Conditions that are about the whole object and speak of its rollout."""
BREAKER_OFF: Mapping[str, Any] = {"circuitBreaker": {"enabled": False}}


@dataclass
class Life:
    """An object, and the operator that looks after it."""

    it: Object
    woken: bool
    """Events wake it; else it looks when its poll is due."""
    restarts: bool
    """Each pass is another process's."""

    @property
    def world(self) -> World:
        return self.it.world

    def look(self) -> timedelta:
        if self.restarts:
            self.it.restart()
        return self.it.look().requeue_after

    def wait(self, duration: timedelta) -> None:
        """That long, or until the service has something to say."""
        if not self.woken:
            self.world.advance(duration)
            return
        end, before = self.world.clock.now() + duration, self.voice()
        while (now := self.world.clock.now()) < end and self.voice() == before:
            due = self.world.cloud.next_due() or end
            self.world.advance(min(max(due - now, timedelta(seconds=1)), end - now))

    def voice(self) -> object:
        """What ECS has published of the service."""
        found = self.service
        return found and ([d["rolloutState"] for d in found["deployments"]], found["events"][:1], found["status"])

    @property
    def service(self) -> Mapping[str, Any] | None:
        described = self.ecs("describe_services", services=[SERVICE])["services"]
        return described[0] if described else None

    def ecs(self, operation: str, **members: Any) -> Any:
        """A call of somebody else."""
        return getattr(self.world.client("ecs"), operation)(cluster=CLUSTER, **members)

    def until(self, so: Callable[[], bool], at_most: timedelta = timedelta(hours=3)) -> None:
        """Pass after pass."""
        end = self.world.clock.now() + at_most
        while True:
            wait = self.look()
            if so():
                return
            assert self.world.clock.now() < end, self.it.status["conditions"]
            self.wait(wait)

    def up(self, **spec: Any) -> None:
        self.world.runner.script = by_image
        self.it.change(**spec)
        self.until(lambda: self.it.ready)

    def ends(self, reason: str) -> None:
        """The condition Ready has that reason, and nothing moves any more."""
        self.until(lambda: self.it.stands("Ready")[1] == reason and self.it.outcomes[-1].requeue_after == RESYNC)

    def for_a_while(self, duration: timedelta) -> None:
        end = self.world.clock.now() + duration
        self.until(lambda: self.world.clock.now() >= end)


def by_image(launch: TaskLaunch) -> Script:
    return failing(NOT_FOUND) if launch.containers[0].definition["image"] == BAD else Script()


def of_the_bad_image(script: Script) -> Callable[[TaskLaunch], Script]:
    return lambda launch: script if launch.containers[0].definition["image"] == BAD else Script()


def foreign_revision(life: Life) -> str:
    """A revision that somebody registers from ours, by hand."""
    shown = life.world.client("ecs").describe_task_definition(taskDefinition=SERVICE)["taskDefinition"]
    known = (
        "family",
        "networkMode",
        "requiresCompatibilities",
        "cpu",
        "memory",
        "executionRoleArn",
        "taskRoleArn",
        "containerDefinitions",
        "volumes",
    )
    made = life.world.client("ecs").register_task_definition(
        **{**{member: shown[member] for member in known}, "family": "by-hand"}
    )
    arn: str = made["taskDefinition"]["taskDefinitionArn"]
    return arn


# -- the cases


def completed(life: Life) -> None:
    life.up()
    life.it.change(image=BETTER)
    life.ends("Ready")


def rolled_back(life: Life) -> None:
    life.up()
    life.it.change(image=BAD)
    life.ends("RolledBack")


def failed_with_nothing_to_go_back_to(life: Life) -> None:
    life.world.runner.script = by_image
    life.it.change(image=BAD)
    life.ends("RolloutFailed")


def failed_with_rollback_off(life: Life) -> None:
    life.up(rollout={"circuitBreaker": {"rollback": False}})
    life.it.change(image=BAD)
    life.ends("RolloutFailed")


def replaced_by_a_newer_spec_half_way(life: Life) -> None:
    life.up()
    life.it.change(image=BAD)
    life.look()
    life.world.advance(timedelta(seconds=20))
    life.look()
    life.it.change(image=BETTER)
    life.ends("Ready")


def rolled_back_by_an_alarm(life: Life) -> None:
    cloudwatch = life.world.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM,
        MetricName="Errors",
        Namespace="Shop",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=5,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue="OK", StateReason="a test")
    life.up(rollout={"alarms": {"names": [ALARM]}})
    life.it.change(image=BETTER)
    life.look()
    life.world.advance(timedelta(seconds=40))
    cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue="ALARM", StateReason="a test")
    life.ends("RolledBack")


def another_revision_deployed_by_hand(life: Life) -> None:
    life.up()
    life.ecs("update_service", service=SERVICE, taskDefinition=foreign_revision(life))
    life.for_a_while(timedelta(minutes=10))
    life.ends("Ready")


def another_revision_deployed_by_hand_half_way(life: Life) -> None:
    life.up()
    life.it.change(image=BETTER)
    life.look()
    life.world.advance(timedelta(seconds=5))
    life.ecs("update_service", service=SERVICE, taskDefinition=foreign_revision(life))
    life.ends("Ready")


def the_same_deployed_anew_by_hand(life: Life) -> None:
    life.up()
    life.ecs("update_service", service=SERVICE, forceNewDeployment=True)
    life.for_a_while(timedelta(minutes=10))
    life.ends("Ready")


def stopped_by_hand(life: Life) -> None:
    life.up()
    life.it.change(image=BAD)
    life.look()
    service = life.service
    assert service is not None
    life.world.client("ecs").stop_service_deployment(serviceDeploymentArn=service["currentServiceDeployment"])
    life.ends("RolledBack")


def rolled_back_by_annotation_with_rollback_off(life: Life) -> None:
    life.up(rollout=BREAKER_OFF)
    life.it.change(image=BAD)
    life.look()
    life.for_a_while(timedelta(minutes=5))
    life.it.annotate(ROLLBACK_AT, "now")
    life.ends("RolledBack")


def rollback_asked_for_with_nothing_under_way(life: Life) -> None:
    life.up()
    life.it.annotate(ROLLBACK_AT, "now")
    life.look()
    life.it.change(image=BETTER)
    life.ends("Ready")


def backing_off_with_no_new_events(life: Life) -> None:
    life.up(rollout=BREAKER_OFF)
    life.it.change(image=BAD)
    life.for_a_while(timedelta(minutes=8))


def overdue_without_a_verdict(life: Life) -> None:
    life.up(rollout={**BREAKER_OFF, "progressDeadline": "3m"})
    life.it.change(image=BAD)
    life.until(lambda: life.it.stands("Ready")[1] == "ProgressDeadlineExceeded")
    life.for_a_while(timedelta(minutes=3))


def overdue_since_the_tasks_are_never_healthy(life: Life) -> None:
    """They run and pass no check, within the time that they have to start."""
    life.up(rollout={**BREAKER_OFF, "progressDeadline": "3m"}, health={"startup": "6h"})
    life.world.balancer.verdict = "unhealthy"
    life.it.change(image=BETTER)
    life.until(lambda: life.it.stands("Ready")[1] == "ProgressDeadlineExceeded")


def service_deleted_underneath(life: Life) -> None:
    life.up()
    life.ecs("delete_service", service=SERVICE, force=True)
    life.for_a_while(timedelta(minutes=10))
    life.ends("Ready")


def service_deleted_while_a_deployment_is_held(life: Life) -> None:
    life.up()
    life.it.change(image=BAD)
    life.ends("RolledBack")
    life.ecs("delete_service", service=SERVICE, force=True)
    life.for_a_while(timedelta(minutes=10))
    life.ends("RolloutFailed")


def no_capacity(life: Life) -> None:
    life.up()
    life.world.cloud.ecs.fail(Failure(service=SERVICE, cause="capacity"))
    life.it.change(image=BETTER)
    life.ends("RolledBack")


def out_of_memory(life: Life) -> None:
    life.up()
    text = "OutOfMemoryError: Container killed due to memory usage"
    crash = crashing(after=timedelta(seconds=1), code=137, reason=text)
    life.world.runner.script = of_the_bad_image(crash)
    life.it.change(image=BAD)
    life.ends("RolledBack")


def program_ends_with_an_error(life: Life) -> None:
    life.up()
    life.world.runner.script = of_the_bad_image(crashing(after=timedelta(seconds=1), code=3))
    life.it.change(image=BAD)
    life.ends("RolledBack")


def models_do_not_load(life: Life) -> None:
    life.up(health={"startup": "30s"})
    life.world.balancer.verdict = "unhealthy"
    life.it.change(models={"path": "/recommender/2"})
    life.ends("RolledBack")


def other_subnets_fail(life: Life) -> None:
    life.up()
    no_route = "CannotPullContainerError: pull image manifest has been retried 1 time(s): dial tcp: i/o timeout"
    life.world.runner.script = lambda _launch: failing(no_route)
    account = life.world.account
    life.world.change_environment(network={"subnets": account.subnets[1:], "securityGroups": account.security_groups})
    life.for_a_while(timedelta(minutes=10))
    life.ends("RolledBack")


CASES = [
    completed,
    rolled_back,
    failed_with_nothing_to_go_back_to,
    failed_with_rollback_off,
    replaced_by_a_newer_spec_half_way,
    rolled_back_by_an_alarm,
    another_revision_deployed_by_hand,
    another_revision_deployed_by_hand_half_way,
    the_same_deployed_anew_by_hand,
    stopped_by_hand,
    rolled_back_by_annotation_with_rollback_off,
    rollback_asked_for_with_nothing_under_way,
    backing_off_with_no_new_events,
    overdue_without_a_verdict,
    overdue_since_the_tasks_are_never_healthy,
    service_deleted_underneath,
    service_deleted_while_a_deployment_is_held,
    no_capacity,
    out_of_memory,
    program_ends_with_an_error,
    models_do_not_load,
    other_subnets_fail,
]


# -- what is told


def told(status: Mapping[str, Any], *, records: bool) -> str:
    """What a person reads of it: no times, no ids, no resources; kinds only where they are not well."""
    conditions = {
        c["type"]: f"{c['status']} {c['reason']}: {c['message']}"
        for c in status["conditions"]
        if c["type"] in ROLLOUT or (c["type"].endswith("Ready") and c["status"] != "True")
    }
    shown: dict[str, str] = {}
    for name, text in conditions.items():  # the same sentence is said of several aspects; once is enough here
        status_word, _, sentence = text.partition(" ")
        same = next((other for other, told_there in shown.items() if told_there.endswith(sentence)), None)
        shown[name] = text if same is None else f"{status_word}, as {same}"
    kept = {
        "desired": ("revision", "image", "model"),
        "running": ("revision", "image", "model"),
        # Without records the figures and the reason are those of the last look before ECS forgot the deployment.
        "deployment": ("revision", "generation", "state", "threshold", "strategy", "stage")
        + (("reason", "failedTasks") if records else ()),
        "lastFailure": ("generation", "revision", "cause", "message", "nextStep", "exitCode", "container"),
    }
    document: dict[str, Any] = {
        "readyReplicas": status["readyReplicas"],
        "conditions": shown,
        **{part: picked(status[part], members) for part, members in kept.items() if part in status},
        "history": [
            picked(entry, ("generation", "revision", "image", "model", "outcome", "cause"))
            for entry in status["history"]
        ],
    }
    return normalised(document, since=NOW).replace("arn:aws:ecs:eu-west-1:123456789012:task-definition/", "")


def picked(part: Mapping[str, Any], members: tuple[str, ...]) -> dict[str, Any]:
    return {member: part[member] for member in members if member in part}


def without_figures(text: str) -> str:
    return re.sub(r"^  (reason|failedTasks): .*\n", "", text, flags=re.MULTILINE)


def golden(case: str, told_now: str, *, records: bool) -> str:
    """What the case's file holds; without records that of its second file, if there is one."""
    file, second = GOLDEN / f"{case}.yaml", GOLDEN / f"{case}.without-records.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        if records:
            file.write_text(told_now)
        elif told_now != without_figures(file.read_text()):
            second.write_text(told_now)
        else:
            second.unlink(missing_ok=True)
    if records:
        return file.read_text()
    return second.read_text() if second.exists() else without_figures(file.read_text())


Variant = Literal["poll", "events", "restarts"]


@pytest.mark.parametrize("records", [True, False], ids=["with records", "without records"])
@pytest.mark.parametrize("variant", ["poll", "events", "restarts"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_rollout_ends_as_it_was_last_approved(
    case: Callable[[Life], None], variant: Variant, records: bool, world: World
) -> None:
    if not records:
        for operation in RECORDS:
            world.fault("deny", f"ecs:{operation}")
    it = Object(world, deployment_document(image=GOOD))
    case(Life(it, woken=variant == "events", restarts=variant == "restarts"))
    now = told(it.status, records=records)
    assert now == golden(case.__name__, now, records=records)


def test_each_file_belongs_to_a_case() -> None:
    assert {file.name.partition(".")[0] for file in GOLDEN.iterdir()} == {case.__name__ for case in CASES}
