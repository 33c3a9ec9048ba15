"""What a kind of AWS resource is to the engine: a pure half that decides and a thin half that calls AWS.

A kind is added by a module beside this one and a line in `resources/__init__.py`. Its conditions, its place in the
teardown, its lines of the plan and its metrics labels follow from the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from inference_operator.api.v1alpha1 import (
    InferenceDeploymentSpec,
    InferenceDeploymentStatus,
    InferenceEnvironmentSpec,
    InferenceEnvironmentStatus,
    Secret,
)
from inference_operator.aws.ports import Answer, Aws
from inference_operator.domain import tags
from inference_operator.domain.names import Identity
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag


class Fact(StrEnum):
    """What a kind tells those after it in the list, and `status.resources`."""

    LOG_GROUP = "logGroup"
    ACCESS_POINT = "accessPoint"
    TARGET_GROUP = "targetGroup"
    ALTERNATE_TARGET_GROUP = "alternateTargetGroup"
    LISTENER_RULE = "listenerRule"
    DISCOVERY_SERVICE = "discoveryService"
    TEST_LISTENER_RULE = "testListenerRule"
    TASK_DEFINITION = "taskDefinition"
    SERVING_TARGET_GROUP = "servingTargetGroup"
    """The one of the two that gets the requests."""
    SERVICE = "service"
    SCALABLE_TARGET = "scalableTarget"
    EVENT_QUEUE = "eventQueue"
    """ARN."""
    EVENT_QUEUE_URL = "eventQueueUrl"
    EVENT_RULE = "eventRule"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where a pass plays: enough to find what was made for an object and to delete it, whatever its spec says."""

    identity: Identity
    environment: InferenceEnvironmentSpec
    aws: Aws
    now: datetime
    freshness: timedelta
    """How old an observation of something that changes by itself may be."""
    previous: InferenceDeploymentStatus = field(default_factory=InferenceDeploymentStatus)
    told: Sequence[Answer] = ()
    """Stopped tasks that events told of, as DescribeTasks shows them. ECS may have forgotten them."""
    facts: dict[Fact, str] = field(default_factory=dict)
    adopt: bool = False
    """What has the object's names and belongs to nobody is taken over."""
    stopping: Callable[[], bool] = lambda: False
    """Whether the process is to end: no further kind is begun."""
    withheld: Reason | None = None
    """Why nothing is written in this pass: it is only told what differs."""

    @property
    def asked(self) -> object:
        """Stands for what is asked for: while it is the same, nobody has asked for anything else. None: not known."""
        return None

    def takes(self, found: tags.Tags) -> bool:
        """Whether something with these tags is the object's, or may become it."""
        return tags.owned(found, self.identity) or tags.may_be_taken(found, self.identity, adopt=self.adopt)

    def named(self, fact: Fact) -> str | None:
        """As the status names it: what AWS gives a name is still found by that if somebody takes its tags away."""
        found = self.previous.resources.document().get(fact.value) if self.previous.resources else None
        return str(found) if found is not None else None


@dataclass(frozen=True, kw_only=True)
class Context(Scene):
    """A scene with something asked for."""

    spec: InferenceDeploymentSpec
    generation: int
    environment_generation: int = 0
    followed: bool = False
    """Nothing was sent for the object since its status was written: this process has looked after it since then."""
    retry: str | None = None
    """A `reconcile-at` value that has not been honoured yet: what is held is tried again."""
    rollback: str | None = None
    """A `rollback-at` value that has not been honoured yet: what is under way is rolled back."""
    proceed: str | None = None
    """A `continue-at` value that has not been honoured yet: what is paused goes on."""

    @property
    def asked(self) -> object:
        until = self.spec.logging.debug_until
        return self.generation, self.environment_generation, until is not None and self.now < until

    @property
    def tags(self) -> dict[str, str]:
        """The tags of everything that is made for the object."""
        return tags.wanted(self.identity, {tag.key: tag.value for tag in self.spec.tags})


@dataclass(frozen=True, kw_only=True)
class Site(Scene):
    """Where a pass over an environment itself plays."""

    known: InferenceEnvironmentStatus = field(default_factory=InferenceEnvironmentStatus)
    ports: frozenset[int] | None = frozenset()
    """Ports of the services in it; None if they can't be listed."""
    moving: bool = False
    """Tasks of one of them may still serve as it was asked for before: on another port."""
    generation: int = 0

    @property
    def asked(self) -> object:
        return self.generation, self.ports, self.moving

    @property
    def tags(self) -> dict[str, str]:
        return tags.ownership(self.identity)


# What a kind wants, if not a thing: nothing, or nothing yet.


@dataclass(frozen=True)
class Blocked:
    """It can't be done, and waiting won't help: somebody has to change something."""

    reason: Reason
    message: str
    """What is wrong, and what to do about it."""


@dataclass(frozen=True)
class Wait:
    """It can't be done yet."""

    message: str
    reason: Reason = Reason.WAITING
    turn_in: timedelta | None = None
    """It is this object's turn then, neither sooner nor later."""


@dataclass(frozen=True)
class Change:
    """How what is differs from what is wanted: the paths of the update's input that differ, none if they agree."""

    paths: tuple[str, ...] = ()
    replace: bool = False
    """AWS can't change these in place."""
    values: Mapping[str, tuple[Any, Any]] = field(default_factory=dict, compare=False)
    """By path, for people: what is wanted and what there is, as far as it can be told."""
    unsuitable: str = ""
    """Why what there is can never become what is wanted, and what to do about it."""

    def __bool__(self) -> bool:
        return bool(self.paths)


@dataclass(frozen=True)
class Settled:
    """It is as wanted, and at rest."""

    message: str = ""


@dataclass(frozen=True)
class Failed:
    """It became something else than was wanted, and somebody has to act."""

    reason: Reason
    message: str
    at_rest: bool = True
    """Nothing moves any more."""


class Tagged(Protocol):
    """Something that exists, or is wanted."""

    @property
    def tags(self) -> Mapping[str, str]: ...


C_contra = TypeVar("C_contra", bound=Scene, contravariant=True)
W = TypeVar("W", bound=Tagged)
H = TypeVar("H", bound=Tagged)


class Kind(Protocol[C_contra, W, H]):
    """One kind of AWS resource, of which an object has at most one in use. All but the last six methods are pure.

    The kinds of an InferenceDeployment are given a `Context`, those of an InferenceEnvironment a `Site`.
    The methods that call AWS raise `aws.errors.AwsError`; doing again what is done already is no error.
    """

    @property
    def name(self) -> str:
        """As in the condition `<name>Ready`."""

    @property
    def volatile(self) -> bool:
        """It changes without us, so each pass looks; the others are looked at now and then, and after a doubt."""

    def desire(self, ctx: C_contra) -> W | Blocked | Wait | None:
        """What there should be; None if there should be nothing."""

    def diff(self, want: W, have: H) -> Change:
        """Tags aside, which the engine compares."""

    def settled(self, ctx: C_contra, want: W, have: H) -> Settled | Wait | Failed: ...

    def facts(self, have: H) -> Mapping[Fact, str]: ...

    def observe(self, scene: C_contra) -> H | None: ...

    def create(self, ctx: C_contra, want: W) -> H: ...

    def update(self, ctx: C_contra, want: W, have: H, change: Change) -> H: ...

    def retag(self, scene: C_contra, have: H, retag: Retag) -> H:
        """Removes tags, then sets tags: `Retag.steps` says why in this order."""

    def delete(self, scene: C_contra, have: H) -> Wait | None:
        """None when it is gone; else what is waited for."""

    def tidy(self, ctx: C_contra, want: W, have: H) -> H:
        """Called once the whole object is settled: remove what an earlier replacement left, if anything."""


AnyKind = Kind[Any, Any, Any]


def changed(pairs: Mapping[str, tuple[Any, Any]], *, replace: bool = False) -> Change:
    """The change of what differs, of `{path: (want, have)}`."""
    paths = differing(pairs)
    return Change(paths, replace, {path: pairs[path] for path in paths})


def stored(secrets: Iterable[Secret]) -> list[dict[str, str]]:
    """A container's variables whose values Fargate reads when a task starts."""
    return [{"name": s.name, "valueFrom": s.value_from} for s in sorted(secrets, key=lambda s: s.name)]


def shifts_requests(ctx: Context) -> bool:
    """Whether ECS may shift requests between two target groups in the environment; then every service has both."""
    load_balancer = ctx.environment.load_balancer
    return load_balancer is not None and load_balancer.infrastructure_role_arn is not None


def differing(pairs: Mapping[str, tuple[Any, Any]]) -> tuple[str, ...]:
    """The paths whose two sides differ, of `{path: (want, have)}`."""
    return tuple(path for path, (want, have) in pairs.items() if want != have)
