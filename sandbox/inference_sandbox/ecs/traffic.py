"""Deployments that shift traffic: BLUE_GREEN, LINEAR and CANARY, stage by stage (API reference, ServiceDeployment,
LinearConfiguration, CanaryConfiguration; developer guide, "Amazon ECS blue/green deployments", "Lifecycle hooks").

The source revision (blue) keeps its tasks until the target revision (green) has taken its traffic and baked. This
module decides stages, weights and how many tasks each deployment keeps; it must not start or stop tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from inference_sandbox.ecs import texts
from inference_sandbox.ecs.deployments import Deployments
from inference_sandbox.ecs.health import counts_as_healthy
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ecs.state import Deployment, Hook, Service
from inference_sandbox.ecs.surroundings import Settings, Surroundings
from inference_sandbox.ports import Clock

WHOLE = 100.0
STAGES = (
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
    "BAKE_TIME",
    "CLEAN_UP",
)
HOOK_TIMEOUT = timedelta(minutes=1440)
"""DeploymentLifecycleHookTimeoutConfiguration: the default; its default action is ROLLBACK."""


def configuration(service: Service) -> Mapping[str, Any]:
    """What the deployment under way began with: a later change is for the next one."""
    return service.primary.record.configuration


def strategy(service: Service) -> str:
    return str(configuration(service)["strategy"])


def weights(settings: Mapping[str, Any]) -> list[float]:
    """The share of production traffic of the target revision after each step."""
    match settings["strategy"]:
        case "CANARY":
            first = float((settings.get("canaryConfiguration") or {}).get("canaryPercent", 5.0))
            return [first, WHOLE] if first < WHOLE else [WHOLE]
        case "LINEAR":
            step = float((settings.get("linearConfiguration") or {}).get("stepPercent", 10.0))
            count = -int(-WHOLE // step)
            return [min(WHOLE, round(step * number, 1)) for number in range(1, count + 1)]
    return [WHOLE]


def step_bake(settings: Mapping[str, Any]) -> timedelta:
    """How long to wait between two steps; not after the last."""
    match settings["strategy"]:
        case "CANARY":
            minutes = (settings.get("canaryConfiguration") or {}).get("canaryBakeTimeInMinutes", 10)
        case "LINEAR":
            minutes = (settings.get("linearConfiguration") or {}).get("stepBakeTimeInMinutes", 6)
        case _:
            minutes = 0
    return timedelta(minutes=minutes)


class Shifts:
    """`look_later(when, service)` has a service looked at again at that time."""

    def __init__(
        self,
        *,
        clock: Clock,
        ids: Ids,
        deployments: Deployments,
        surroundings: Surroundings,
        settings: Settings,
        look_later: Callable[[datetime, Service], None],
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._deployments = deployments
        self._surroundings = surroundings
        self._settings = settings
        self._look_later = look_later

    def under_way(self, service: Service) -> bool:
        primary = service.primary
        return (
            strategy(service) != "ROLLING"
            and primary.rollout_state == "IN_PROGRESS"
            and primary.record.rollback is None
        )

    def at_the_end(self, service: Service) -> bool:
        """Whether nothing but cleaning up is left: however few tasks there are, traffic goes through every stage."""
        return service.primary.stage == STAGES[-1]

    def apply(self, service: Service) -> bool:
        """Go as far as can be gone now, and set how many tasks each deployment keeps. False: nothing shifts here."""
        if not service.primary.begun:
            self._take_over(service)
        if strategy(service) == "ROLLING":
            return False
        if not self.under_way(service):
            self._point_back(service)
            return False
        green = service.primary
        if green.stage is None:
            self._begin(service)
        while self.under_way(service) and self._stage_done(service):
            if green.stage == STAGES[-1]:
                break
            self._enter(service, self._next_stage(service))
        if not self.under_way(service):
            return False
        self._set_desired(service)
        return True

    # -- stages

    def _take_over(self, service: Service) -> None:
        """What was under way is given up: its traffic goes back, unless nothing but cleaning up was left of it.

        A rolling deployment has its tasks where the traffic is, others have theirs on the other side.
        """
        for before in service.deployments[1:2]:
            if before.stage == STAGES[-1]:
                service.last_completed = before
        primary, last = service.primary, service.last_completed
        primary.begun = True
        if last is not None and last is not primary:
            self._point_all(service, last)
            side = last.revision.side
            primary.revision.side = side if strategy(service) == "ROLLING" else 1 - side

    def _begin(self, service: Service) -> None:
        blue = self.source(service)
        self._enter(service, "RECONCILE_SERVICE" if len(service.deployments) > (2 if blue else 1) else "PRE_SCALE_UP")

    def source(self, service: Service) -> Deployment | None:
        """Blue: what served before, and what a rollback goes back to."""
        last = service.last_completed
        return last if last is not None and last is not service.primary and last in service.deployments else None

    def _enter(self, service: Service, stage: str) -> None:
        green, now = service.primary, self._clock.now()
        green.stage, green.stage_since = stage, now
        green.record.lifecycle_stage, green.record.updated_at = stage, now
        self._start_hooks(service, stage)

    def _next_stage(self, service: Service) -> str:
        green = service.primary
        if green.stage == "PRODUCTION_TRAFFIC_SHIFT" and green.weight < WHOLE:
            return "PRE_PRODUCTION_TRAFFIC_SHIFT"
        following = STAGES[STAGES.index(str(green.stage)) + 1]
        stepwise = strategy(service) in ("LINEAR", "CANARY")
        if following == "PRE_PRODUCTION_TRAFFIC_SHIFT" and not stepwise:
            return "PRODUCTION_TRAFFIC_SHIFT"
        return following

    def _stage_done(self, service: Service) -> bool:
        if not self._hooks_done(service) or not self.under_way(service):
            return False
        work = {
            "RECONCILE_SERVICE": self._reconciled,
            "SCALE_UP": self._scaled_up,
            "TEST_TRAFFIC_SHIFT": self._shift_test,
            "PRODUCTION_TRAFFIC_SHIFT": self._shift,
            "BAKE_TIME": self._baked,
            "CLEAN_UP": self._cleaned_up,
        }.get(str(service.primary.stage))
        return work is None or work(service)

    def _reconciled(self, service: Service) -> bool:
        """Only blue and green are left: what an earlier deployment left behind is gone."""
        return all(each in (service.primary, self.source(service)) for each in service.deployments)

    def _scaled_up(self, service: Service) -> bool:
        return sum(counts_as_healthy(task) for task in service.primary.tasks.values()) >= service.desired_count

    def _shift_test(self, service: Service) -> bool:
        green = service.primary
        if self._point(service, "testListenerRule", {green.revision.side: WHOLE}):
            green.test_weight = WHOLE
        return True

    def _cleaned_up(self, service: Service) -> bool:
        return len(service.deployments) == 1

    def _shift(self, service: Service) -> bool:
        """Shift the next share of production traffic once, then wait out the step's bake time."""
        green, now = service.primary, self._clock.now()
        settings = configuration(service)
        if green.shifted_at is None or (green.stage_since is not None and green.shifted_at < green.stage_since):
            following = [weight for weight in weights(settings) if weight > green.weight]
            green.weight = following[0] if self.source(service) else WHOLE
            green.shifted_at = now
            side = green.revision.side
            self._point(service, "productionListenerRule", {side: green.weight, 1 - side: WHOLE - green.weight})
        if green.weight >= WHOLE:
            return True
        end = green.shifted_at + step_bake(settings)
        if now < end:
            self._look_later(end, service)
        return now >= end

    def _baked(self, service: Service) -> bool:
        """Both revisions run for the bake time; without a source there is nothing to fall back to, and no wait."""
        green, now = service.primary, self._clock.now()
        minutes = configuration(service).get("bakeTimeInMinutes") or 0
        if self.source(service) is None or green.stage_since is None:
            return True
        end = green.stage_since + timedelta(minutes=minutes)
        if now < end:
            self._look_later(end, service)
        return now >= end

    def _set_desired(self, service: Service) -> None:
        green, blue = service.primary, self.source(service)
        reached = STAGES.index(str(green.stage))
        for deployment in service.deployments:
            if deployment is green:
                deployment.desired = service.desired_count if reached >= STAGES.index("SCALE_UP") else 0
            elif deployment is blue:
                deployment.desired = service.desired_count if green.stage != "CLEAN_UP" else 0
            else:
                deployment.desired = 0

    # -- traffic

    def _point_back(self, service: Service) -> None:
        """A rollback has begun: all traffic goes to the source at once."""
        primary = service.primary
        if primary.record.rollback is None or primary.rollout_state != "IN_PROGRESS" or primary.weight == WHOLE:
            return
        primary.weight = WHOLE
        self._point_all(service, primary)

    def _point_all(self, service: Service, deployment: Deployment) -> None:
        side = deployment.revision.side
        self._point(service, "productionListenerRule", {side: WHOLE, 1 - side: 0.0})
        self._point(service, "testListenerRule", {side: WHOLE})

    def _point(self, service: Service, rule: str, shares: Mapping[int, float]) -> bool:
        """Set the weights of a listener rule's target groups; sides are 0 (targetGroupArn) and 1 (the alternate).
        False: there is no such rule."""
        pointed = False
        for balancer in service.document["loadBalancers"]:
            advanced = balancer.get("advancedConfiguration") or {}
            groups = (balancer["targetGroupArn"], advanced.get("alternateTargetGroupArn"))
            if advanced.get(rule) and all(groups):
                self._surroundings.shift(advanced[rule], {str(groups[side]): share for side, share in shares.items()})
                pointed = True
        return pointed

    # -- lifecycle hooks

    def _start_hooks(self, service: Service, stage: str) -> None:
        now = self._clock.now()
        green = service.primary
        green.hooks = []
        for configured in configuration(service).get("lifecycleHooks") or []:
            if stage not in (configured.get("lifecycleStages") or []):
                continue
            timeout = configured.get("timeoutConfiguration") or {}
            minutes = timeout.get("timeoutInMinutes")
            kind: Literal["AWS_LAMBDA", "PAUSE"] = "PAUSE" if configured.get("targetType") == "PAUSE" else "AWS_LAMBDA"
            hook = Hook(
                id=self._ids.uuid(),
                kind=kind,
                target=configured.get("hookTargetArn"),
                details=configured.get("hookDetails"),
                status="AWAITING_ACTION" if kind == "PAUSE" else "IN_PROGRESS",
                expires_at=now + (timedelta(minutes=minutes) if minutes else HOOK_TIMEOUT),
                timeout_action=timeout.get("action") or "ROLLBACK",
                due=now,
            )
            green.hooks.append(hook)
            self._look_later(hook.expires_at, service)
        green.record.hooks = green.hooks

    def _hooks_done(self, service: Service) -> bool:
        """Whether all hooks of the stage succeeded; one that failed rolls the deployment back."""
        for hook in service.primary.hooks:
            self._run_hook(service, hook)
            if hook.status in ("FAILED", "TIMED_OUT"):
                self.give_up(service, texts.HOOK_FAILED)
                return False
        return all(hook.status == "SUCCEEDED" for hook in service.primary.hooks)

    def _run_hook(self, service: Service, hook: Hook) -> None:
        now = self._clock.now()
        if hook.status in ("IN_PROGRESS", "AWAITING_ACTION") and now >= hook.expires_at:
            hook.status = "SUCCEEDED" if hook.timeout_action == "CONTINUE" else "TIMED_OUT"
        if hook.kind != "AWS_LAMBDA" or hook.status != "IN_PROGRESS" or now < hook.due:
            return
        answer = self._surroundings.invoke(str(hook.target), self._payload(service, hook))
        verdict = answer.get("hookStatus")
        if verdict == "IN_PROGRESS":
            hook.due = now + timedelta(seconds=answer.get("callBackDelay", 30))
            hook.details = answer.get("hookDetails", hook.details)
            self._look_later(hook.due, service)
        else:  # "If your function doesn't return a valid hookStatus, or if it fails, Amazon ECS rolls back"
            hook.status = "SUCCEEDED" if verdict == "SUCCEEDED" else "FAILED"

    def _payload(self, service: Service, hook: Hook) -> dict[str, Any]:
        green, blue = service.primary, self.source(service)
        production, test = {green.revision.arn: green.weight}, {green.revision.arn: green.test_weight}
        if blue is not None:
            production[blue.revision.arn] = WHOLE - green.weight
        return {
            "executionDetails": {
                "serviceArn": service.arn,
                "targetServiceRevisionArn": green.revision.arn,
                "testTrafficWeights": test if green.test_weight else {},
                "productionTrafficWeights": production,
            },
            "executionId": hook.id,
            "lifecycleStage": green.stage,
            "resourceArn": green.record.arn,
            "hookDetails": hook.details,
        }

    def resolve(self, service: Service, hook: Hook, action: str) -> None:
        """ContinueServiceDeployment."""
        if action == "CONTINUE":
            hook.status = "SUCCEEDED"
        else:
            hook.status = "FAILED"
            self.give_up(service, texts.HOOK_ROLLBACK)

    def give_up(self, service: Service, reason: str) -> None:
        self._deployments.fail(service.primary, reason, "lifecycle hook failed.", roll_back=True)
