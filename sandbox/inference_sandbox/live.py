"""AWS as it is up for people: on a clock that can be moved, with programs for tasks and an account to build in.

What it adds to `Aws`: container output goes to CloudWatch, time that is skipped waits for programs, a reset hands the
account over anew, and there is a status to be told. What runs behind the ports is not known here.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from moto.elbv2.models import elbv2_backends
from moto.moto_api._internal import mock_random

from inference_sandbox.aws import Aws
from inference_sandbox.checkpoint import Checkpoint
from inference_sandbox.container_logs import ContainerLogs
from inference_sandbox.details import Account
from inference_sandbox.ecs.clock import WallClock
from inference_sandbox.ecs.state import Task
from inference_sandbox.ecs.surroundings import BRIEF, Settings
from inference_sandbox.load_balancer_metrics import LoadBalancerMetrics, Targets, balancer_of, group_of
from inference_sandbox.ports import MovableLoadBalancer, Passed, Runner
from inference_sandbox.seed import Client, Ground, build_on, lay_ground
from inference_sandbox.status import snapshot

REGION = "ap-northeast-1"

_PROGRAM_SECONDS = 3.0
"""How long skipped time waits for a program that is starting or ending, in real seconds."""
_POLL_SECONDS = 0.02
_PORT_SECONDS = 5.0


class LiveAws(Aws):
    """`account` is what was prepared in it; the same ids again after each `reset`.

    `runs_as`: what a task's containers are, in a word, by the task's ARN; None if that is not known. `take_traffic`:
    what has passed the load balancer since that was last asked.
    """

    def __init__(
        self,
        *,
        clock: WallClock,
        runner: Runner,
        load_balancer: MovableLoadBalancer,
        efs_root: Path,
        container_logs: ContainerLogs,
        runs_as: Callable[[str], str | None] = lambda _arn: None,
        take_traffic: Callable[[], Sequence[Passed]] = tuple,
    ) -> None:
        super().__init__(
            clock=clock,
            runner=runner,
            load_balancer=load_balancer,
            efs_root=efs_root,
            settings=Settings(latencies=BRIEF),
            seed=time.time_ns(),  # task ids name folders, which an earlier sandbox may have left in the same place
        )
        self._checking = load_balancer
        self._container_logs = container_logs
        self._runs_as = runs_as
        self._metrics = LoadBalancerMetrics(take_traffic)
        self.listener_port = _free_port()
        self.account = self._prepare()

    def _prepare(self) -> Account:
        client = partial(self.client, region=REGION)
        account = build_on(_ground(client), client, listener_port=self.listener_port)
        self.calls.clear()
        return account

    def reset(self) -> None:
        """As it was handed over: the same account under the same ids, and nothing built in it. Files are kept."""
        with self._lock:
            self._seed += 1  # a task of before may still be ending, so the new ones need other ids
            super().reset()
            _until(lambda: _is_free(self.listener_port), seconds=_PORT_SECONDS)
            self.account = self._prepare()

    # -- time

    def tick(self) -> None:
        with self._lock:
            # Before alarms look at them.
            place = self.account.account_id, REGION
            self._metrics.publish(self.clock.now(), place, self._targets, self.cloudwatch.put)
            super().tick()
            self._container_logs.deliver(self.scheduler.fleet.tasks)

    def _targets(self) -> Targets:
        groups = elbv2_backends[self.account.account_id][REGION].target_groups
        return {
            (balancer_of(balancer), group_of(arn)): self.load_balancer.targets(arn)
            for arn, group in groups.items()
            for balancer in group.load_balancer_arns
        }

    def advance(self, duration: timedelta) -> None:
        """Let time pass, stopping at every moment at which something is due.

        Programs take real time to start and to end. So before each step they get a moment, or a task that crashes at
        once would be tried again once, where in ten minutes AWS would have tried it six times.
        """
        end = self.clock.now() + duration
        began: dict[str, float] = {}
        while True:
            _until(partial(self._settled, began), seconds=_PROGRAM_SECONDS)
            due = self._earliest()
            if due is None or due > end:
                break
            self._move(due - self.clock.now())
            self.tick()
        self._move(end - self.clock.now())
        self.tick()

    def _earliest(self) -> datetime | None:
        """The load balancer's checks of one second are made together: each step takes a moment."""
        check = self._checking.next_due()
        dues = (super()._earliest(), check and check.replace(microsecond=0) + timedelta(seconds=1))
        return min((due for due in dues if due is not None), default=None)

    def _move(self, duration: timedelta) -> None:
        super()._move(duration)
        self._checking.wake()

    def _settled(self, began: dict[str, float]) -> bool:
        """Whether no check and no program is on its way, leaving aside programs that have had their moment. `began`:
        since when each is waited for."""
        self.tick()
        if not self._checking.settled():
            return False
        with self._lock:
            changing = [task.arn for task in self.scheduler.fleet.tasks.values() if _program_is_changing(task)]
        now = time.monotonic()
        for arn in changing:
            began.setdefault(arn, now)
        return all(now - began[arn] >= _PROGRAM_SECONDS for arn in changing)

    # -- looking into it

    def status(self) -> dict[str, Any]:
        """See `status.snapshot`."""
        with self._lock:
            now = self.clock.now()
            return snapshot(
                self.ecs.clusters(),
                now=now,
                ahead=now - datetime.now(UTC),
                dropped_log_lines=self._container_logs.dropped,
                runs_as=self._runs_as,
            )


_laid: list[tuple[Checkpoint, Ground]] = []
"""What the first account of this process was built on; those after it are built on copies, which are quick to have."""


def _ground(client: Client) -> Ground:
    """In a moto that has forgotten everything; the same ids each time."""
    if _laid:
        checkpoint, ground = _laid[0]
        checkpoint.restore()
    else:
        mock_random.seed(0)
        ground = lay_ground(client)
        _laid.append((Checkpoint.take(), ground))
    return ground


def _program_is_changing(task: Task) -> bool:
    """The runner has been told to start or to stop it, and has not yet said how that went."""
    return task.handed_over and task.last_status in ("PENDING", "STOPPING")


def _until(condition: Callable[[], bool], *, seconds: float) -> None:
    """Return when it holds, and in any case after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
