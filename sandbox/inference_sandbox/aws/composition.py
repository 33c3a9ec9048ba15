"""The sandbox's AWS as one object: its parts together. Tick it, look into it, break it.

`Aws` ties the scheduler to moto, a runner and a load balancer. moto's state is the process's: one `Aws` at a time. How
another process reaches it is not known here (`server` knows).
"""

from __future__ import annotations

import gc
import os
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.model_instances import reset_model_data

from inference_sandbox.aws import authorization, cloudwatch, elbv2, events, in_process, logs
from inference_sandbox.aws.calls import Calls
from inference_sandbox.aws.cloud_map import CloudMap
from inference_sandbox.aws.ec2 import Ec2
from inference_sandbox.aws.efs import Efs
from inference_sandbox.aws.faults import Faults
from inference_sandbox.aws.gateway import Gateway
from inference_sandbox.aws.iam import Iam
from inference_sandbox.aws.scaling import Scaling, ScalingApi
from inference_sandbox.aws.sqs import queues
from inference_sandbox.aws.surroundings import MotoSurroundings
from inference_sandbox.ecs.accounts import Caller
from inference_sandbox.ecs.api import Ecs
from inference_sandbox.ecs.failures import Failure
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.surroundings import Settings
from inference_sandbox.ports import Clock, LoadBalancer, Runner

os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # 1,300 images that nothing starts, read for each region
DEFAULT_REGION = "us-east-1"


class Aws:
    """`tick` advances everything to the clock's now; on the wall clock call it a few times a second. Thread-safe.

    `settings` sets the latencies and limits of ECS itself (`ecs.surroundings.BRIEF` for a demo). The runner and the
    load balancer belong to whoever made them, who closes them.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        runner: Runner,
        load_balancer: LoadBalancer,
        efs_root: Path,
        settings: Settings | None = None,
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.runner = runner
        self.load_balancer = load_balancer
        self.efs_root = efs_root
        self._settings = settings
        self._seed = seed
        self._lock = threading.RLock()
        self._build()

    def _build(self) -> None:
        _forget_moto()
        routes_changed = elbv2.configuration(self.load_balancer)
        self.surroundings = MotoSurroundings(self.efs_root, routes_changed)
        self.scheduler = Scheduler(
            clock=self.clock,
            runner=self.runner,
            load_balancer=self.load_balancer,
            surroundings=self.surroundings,
            settings=self._settings,
            seed=self._seed,
        )
        self.ecs = Ecs(self.scheduler, self.surroundings)
        self.cloudwatch = cloudwatch.CloudWatch(clock=self.clock, publish=self.surroundings.publish)
        self.scaling = Scaling(
            clock=self.clock, cloudwatch=self.cloudwatch, desired=self.ecs.desired, scale=self.ecs.scale
        )
        self.cloudwatch.before, self.cloudwatch.scale = self.scaling.publish, self.scaling.react
        scaling = ScalingApi(self.scaling, self.ecs.target_groups)
        self.gateway = Gateway(
            clock=self.clock,
            ecs=self.ecs,
            lock=self._lock,
            own={"application-autoscaling": scaling.perform},
            known=authorization.Own(
                tags={"ecs": self.ecs.tags_or_none, "application-autoscaling": scaling.tags_or_none},
                resources={"application-autoscaling": scaling.resources},
                tagging_is_free={"ecs": self._tagging_is_free},
            ),
            overrides={
                "elasticloadbalancing": elbv2.responses(self.load_balancer),
                "ec2": Ec2,
                "events": events.responses(self.clock, self.surroundings.events.publish),
                "elasticfilesystem": Efs,
                "iam": Iam,
                "servicediscovery": CloudMap,
                "sqs": queues(self.clock),
                "logs": logs.responses(self.clock),
                "monitoring": cloudwatch.responses(self.cloudwatch),
            },
            after={"elasticloadbalancing": routes_changed},
        )
        in_process.reach(self.gateway.handle)

    def _tagging_is_free(self, caller: Caller) -> bool:
        setting = self.ecs.settings(caller).effective(caller.arn, "tagResourceAuthorization")
        return setting in ("off", "disabled")

    def reset(self) -> None:
        """Everything is gone, as in a new account: resources, calls, faults. Running tasks are told to stop."""
        with self._lock:
            for task in list(self.scheduler.fleet.tasks.values()):
                if task.handed_over and task.last_status not in ("DEPROVISIONING", "STOPPED"):
                    self.runner.stop(task.arn)
            self.load_balancer.configure((), ())
            self._build()

    # -- time

    def tick(self) -> None:
        """Garbage is collected afterwards: a walk over all that there is takes longer than a tick."""
        with self._lock:
            gc.disable()
            try:
                self.scaling.tick()
                self.cloudwatch.tick()
                self.scheduler.tick()
                self.surroundings.events.flush()
            finally:
                gc.enable()

    def next_due(self) -> datetime | None:
        """When a tick will next have something to do by itself."""
        with self._lock:
            dues = (self.scheduler.next_due(), self.scaling.next_due(), self.cloudwatch.next_due())
            return min((due for due in dues if due is not None), default=None)

    def advance(self, duration: timedelta) -> None:
        """Let time pass on a clock that can be moved, stopping at every moment at which something is due.

        A runner or load balancer on the same clock that has a `next_due` is taken into account.
        """
        end = self.clock.now() + duration
        while (due := self._earliest()) is not None and due <= end:
            if due > self.clock.now():
                self._move(due - self.clock.now())
            self.tick()
        self._move(end - self.clock.now())
        self.tick()

    def _earliest(self) -> datetime | None:
        asked = (self.next_due, getattr(self.runner, "next_due", None))
        return min((due for ask in asked if ask is not None and (due := ask()) is not None), default=None)

    def _move(self, duration: timedelta) -> None:
        move = getattr(self.clock, "advance", None)
        if move is None:
            raise TypeError(f"{type(self.clock).__name__} cannot be advanced: use VirtualClock or WallClock")
        move(max(duration, timedelta()))

    # -- looking into it, and breaking it

    @property
    def calls(self) -> Calls:
        """Every API call, oldest first."""
        return self.gateway.calls

    @property
    def faults(self) -> Faults:
        return self.gateway.faults

    def throttle(self, *, on: bool = True) -> None:
        """Keep ECS's published request quotas, by this object's clock."""
        self.gateway.quotas.on = on

    def enforce_iam(self, *, on: bool = True) -> None:
        """Let callers other than root do what their policies allow, and EventBridge what those of its targets do."""
        self.gateway.iam = self.surroundings.events.permissions = on

    def delay_reads(self, delay: timedelta) -> None:
        """For so long after a change, DescribeServices and ListServices tell what was before."""
        self.gateway.stale_reads.delay = delay

    def give_metric(self, cluster: str, service: str, metric: str, value: float) -> None:
        """What Application Auto Scaling sees of a service from now on, e.g. ECSServiceAverageCPUUtilization."""
        with self._lock:
            self.scaling.give(cluster, service, metric, value)

    def disturb_events(self, *, duplicates: float = 0.5, shuffled: bool = True) -> None:
        """Deliver EventBridge events as badly as AWS may: this share of them twice, those of a tick in any order."""
        self.surroundings.events.duplicates, self.surroundings.events.shuffled = duplicates, shuffled

    def fail(self, failure: Failure) -> None:
        """Rehearse a failure of a service's tasks: what waits for tasks to come is cleared by `reset` or by hand."""
        with self._lock:
            self.ecs.fail(failure)

    def clear_failures(self) -> None:
        """End the failures that wait for tasks to come, and open zones again."""
        with self._lock:
            self.scheduler.clear_failures()

    def client(self, service: str, region: str = DEFAULT_REGION) -> Any:
        """A boto3 client that reaches the newest `Aws` of this process without a socket; one attempt for each call."""
        return in_process.client(service, region)


def _forget_moto() -> None:
    """Empty moto's backends as BackendDict.reset does, but build none anew; one that has something to end is told."""
    backends: Any = BackendDict
    for service in list(backends._instances):  # noqa: SLF001 - moto has no other list of them
        for _account, _region, backend in service.iter_backends():
            if type(backend).reset is not BaseBackend.reset:
                backend.reset()
        service.clear()
    backends._instances.clear()  # noqa: SLF001 - as above
    reset_model_data()
