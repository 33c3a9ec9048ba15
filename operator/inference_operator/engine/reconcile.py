"""One pass over one object: for each kind look, decide, act. And its reverse, for an object that is to go.

Every kind is tried even if one before it failed, unless it needs what that one should have given. Nothing is remembered
that could not be found again: a `Memory` only saves looking at what nobody else is expected to touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from inference_operator.api import meta
from inference_operator.api.v1alpha1 import VerificationState
from inference_operator.aws.errors import AwsError, Gone, Paced, PlaceNotFound, Unavailable
from inference_operator.domain import tags
from inference_operator.domain.reasons import Reason
from inference_operator.engine import contest, drift
from inference_operator.engine.backoff import AUDIT, AUDITS, RESYNC
from inference_operator.engine.contest import Contest
from inference_operator.engine.log_health import Look
from inference_operator.engine.plan import (
    Absent,
    Create,
    Delete,
    Hold,
    Keep,
    Replace,
    Step,
    StepResult,
    Trouble,
    Update,
    Withheld,
    Write,
    describe,
    starts_tasks,
)
from inference_operator.resources import service as services
from inference_operator.resources.base import AnyKind, Blocked, Change, Context, Fact, Failed, Scene, Settled, Wait
from inference_operator.resources.service import Services
from inference_operator.resources.task_definition import TaskDefinitions

log = structlog.get_logger(__name__)


@dataclass
class Memory:
    """What this process has seen of an object's resources. Losing it costs some reads."""

    seen: dict[str, tuple[datetime, Any]] = field(default_factory=dict)
    """By kind: when, and what (None: there was none)."""
    interval: timedelta = RESYNC
    """What the last pass asked to wait before the next."""
    failures: int = 0
    """Passes in a row that ended in an error."""
    logs: Look | None = None
    """What the log routers told."""
    contest: Contest = field(default_factory=Contest)
    verification: VerificationState | None = None
    """Of an environment: what the checks found."""
    deployed: object = None
    """What the last pass asked new tasks to be."""

    def forget(self) -> None:
        self.seen.clear()
        self.verification = None

    def deploys(self, asked: object) -> None:
        """New tasks rest on what somebody may have taken away since it was looked at; but for a task definition, of
        which they get a new one, or ECS says that it is gone."""
        if asked != self.deployed:
            self.seen = {name: seen for name, seen in self.seen.items() if name == TaskDefinitions.name}
        self.deployed = asked


@dataclass(frozen=True, kw_only=True)
class Pass:
    """All that a pass found out."""

    results: Sequence[StepResult]
    have: dict[str, Any]
    """By kind, what there is after the pass."""
    want: dict[str, Any]

    @property
    def wrote(self) -> bool:
        return any(result.wrote for result in self.results)


class InterruptedPassError(Exception):
    """The process is to end. What was begun is done; the next process finds what is left to do."""


Permit = Callable[[], Blocked | None]
"""Why no tasks may be started now, asked only if some would be."""


def reconcile(
    kinds: Sequence[AnyKind], ctx: Scene, memory: Memory, *, act: bool = True, permit: Permit = lambda: None
) -> Pass:
    """Make what is wanted. With `act` false only say what would be done."""
    run = _Run(ctx, memory, act=act, permit=permit)
    for kind in kinds:
        if ctx.stopping():
            raise InterruptedPassError
        run.results.append(_guarded(kind, memory, ctx, lambda kind=kind: run.one(kind)))  # type: ignore[misc]  # mypy infers no lambda defaults
    finished = Pass(results=run.results, have=run.have, want=run.want)
    if (
        act
        and ctx.withheld is not Reason.PAUSED
        and all(isinstance(r.outcome, Settled | None) for r in finished.results)
    ):
        _tidy(kinds, ctx, memory, finished)
    if any(result.put_back and result.kind == Services.name for result in finished.results):
        memory.forget()  # whoever has changed that may have changed what is looked at more seldom, such as its limits
    return finished


def unsuitable(kinds: Sequence[AnyKind], ctx: Context, memory: Memory) -> str | None:
    """What of the things that are to be adopted can't become what is asked for, before anything is written to any of
    them: who had adopted half of a service would have its log group, which goes with the object."""
    if not ctx.adopt or ctx.named(Fact.SERVICE) is not None:  # the service is the last of all that is adopted
        return None
    rehearsed = reconcile(kinds, ctx, memory, act=False).results
    holds = {result.kind: result.step for result in rehearsed if isinstance(result.step, Hold)}
    found = {kind: hold.message for kind, hold in holds.items() if hold.reason is Reason.UNSUITABLE}
    _, service = memory.seen.get(Services.name, (None, None))
    if service is not None and ctx.takes(service.tags):  # which waits for what is not made in a rehearsal
        found[Services.name] = services.unsuitable(service, ctx.spec.capacity)
    return " ".join(f"{kind}: {message}" for kind, message in found.items() if message) or None


def finalize(kinds: Sequence[AnyKind], scene: Scene, memory: Memory) -> Sequence[StepResult]:
    """Take away everything that is ours, last made first. Done when no outcome is left; doing it again is harmless.

    What something else still needs is not asked to go: the walk stops at the first kind that has still to end.
    """
    results: list[StepResult] = []
    for kind in reversed(kinds):
        result = _guarded(kind, memory, scene, lambda kind=kind: _remove(kind, scene, memory))  # type: ignore[misc]  # as above
        results.append(result)
        if result.outcome is not None:
            break
    return results


def release(kinds: Sequence[AnyKind], scene: Scene, memory: Memory) -> Sequence[StepResult]:
    """Leave everything as it is, marked as left: the next object of this name may have it."""

    def mark(kind: AnyKind) -> StepResult:
        have = _left(kind, scene, memory)
        if have is None or not tags.owned(have.tags, scene.identity) or tags.RETAINED in have.tags:
            return StepResult(kind=kind.name, step=Keep(), outcome=None)
        have = kind.retag(scene, have, tags.Retag(put={tags.RETAINED: "true"}, remove=()))
        memory.seen[kind.name] = (scene.now, have)
        return StepResult(kind=kind.name, step=Keep(), outcome=None, subject=_subject(kind, have))

    return [_guarded(kind, memory, scene, lambda kind=kind: mark(kind)) for kind in kinds]  # type: ignore[misc]  # as above


@dataclass
class _Run:
    ctx: Scene
    memory: Memory
    act: bool
    permit: Permit
    results: list[StepResult] = field(default_factory=list)
    have: dict[str, Any] = field(default_factory=dict)
    want: dict[str, Any] = field(default_factory=dict)

    def one(self, kind: AnyKind) -> StepResult:
        have = _look(kind, self.ctx, self.memory)
        want = kind.desire(self.ctx)
        step = self._taken_away(kind, want, have) or decide(kind, self.ctx, want, have)
        if self.act and kind.name in ROLLED_OUT and starts_tasks(step):
            blocked = self.permit()
            step = Hold(blocked.reason, blocked.message) if blocked is not None else step
        if isinstance(step, Hold):
            if step.reason in (Reason.NOT_OWNED, Reason.UNSUITABLE):
                self.memory.seen.pop(kind.name, None)  # somebody is to change it
            self._export(kind, have if have is not None and tags.owned(have.tags, self.ctx.identity) else None)
            return StepResult(kind=kind.name, step=step, outcome=_held(want, step))
        if self.ctx.withheld is not None and isinstance(step, Write):
            return self._withhold(kind, step, want, have, self.ctx.withheld, drift.sentence(kind.name, step))
        put_back = self.memory.contest.puts_back(kind.name, step, self.ctx.asked)
        due = self.memory.contest.due(put_back, self.ctx.now)
        if due is not None and isinstance(step, Write):
            told = contest.waiting(drift.sentence(kind.name, step), due)
            return self._withhold(kind, step, want, have, Reason.CONTESTED, told)
        if isinstance(step, Absent):
            have = None  # what is there is somebody else's
        if self.act:
            have = self._do(kind, step, want, have)
            self.memory.contest.note(put_back, self.ctx.now)
            if not (isinstance(step, Delete) and have is not None):  # else it is on its way, and asked for again
                self.memory.contest.keeps(kind.name, self.ctx.asked)
        self._export(kind, have)
        self.want[kind.name] = want
        outcome = kind.settled(self.ctx, want, have) if want is not None and have is not None else None
        if isinstance(outcome, Wait | Failed):
            self.memory.seen.pop(kind.name, None)  # what is not as it should be is looked at
        return StepResult(
            kind=kind.name, step=step, outcome=outcome, subject=_subject(kind, have), put_back=bool(put_back)
        )

    def _taken_away(self, kind: AnyKind, want: Any, have: Any) -> Hold | None:
        """What was the object's and carries another one's tags now is not taken back, though adoption is asked for: of
        two operators that do so, neither would ever keep it."""
        if want is None or have is None or kind.name not in self.memory.contest.kept:
            return None
        if not {tags.OWNER, tags.UID} <= have.tags.keys() or tags.owned(have.tags, self.ctx.identity):
            return None
        return Hold(
            Reason.NOT_OWNED,
            f"the {kind.name} was this object's, and belongs to {have.tags[tags.OWNER]} with the uid "
            f"{have.tags[tags.UID]} now, so it is left alone. Next: let one object have it: delete "
            f"the other with spec.deletionPolicy Retain, or rename it.",
        )

    def _withhold(self, kind: AnyKind, step: Write, want: Any, have: Any, reason: Reason, why: str) -> StepResult:
        self._export(kind, have)
        self.want[kind.name] = want
        self.memory.seen.pop(kind.name, None)
        verdict = kind.settled(self.ctx, want, have) if want is not None and have is not None else None
        more = f". {verdict.message}" if isinstance(verdict, Failed) else ""  # what differs hides no failure
        told = Failed(reason, why + more)
        return StepResult(kind=kind.name, step=Withheld(step), outcome=told, subject=_subject(kind, have))

    def _do(self, kind: AnyKind, step: Step, want: Any, have: Any) -> Any:
        if not isinstance(step, Keep | Absent):
            log.info("step", kind=kind.name, step=describe(step))
        match step:
            case Create():
                have = kind.create(self.ctx, want)
            case Update(change):
                have = self._update(kind, want, have, change)
            case Replace(change):
                have = kind.update(self.ctx, want, have, change)
            case Delete():
                have = None if kind.delete(self.ctx, have) is None else have
            case _:
                return have
        self.memory.seen[kind.name] = (self.ctx.now, have)
        return have

    def _update(self, kind: AnyKind, want: Any, have: Any, change: Change) -> Any:
        rest = replace(change, paths=tuple(path for path in change.paths if path != TAGS))
        taken, others = tags.retag(want.tags, have.tags).split()
        if taken:
            have = kind.retag(self.ctx, have, taken)
        if rest:
            have = kind.update(self.ctx, want, have, rest)
        self._export(kind, have)  # a tag that can't be put, since others have used them all up, holds up nothing else
        if others:
            have = kind.retag(self.ctx, have, others)
        return have

    def _export(self, kind: AnyKind, have: Any) -> None:
        if have is not None:
            self.have[kind.name] = have
            self.ctx.facts.update(kind.facts(have))


def decide(kind: AnyKind, ctx: Scene, want: Any, have: Any) -> Step:
    """What to do about one kind. Pure."""
    if have is not None and not tags.owned(have.tags, ctx.identity):
        if want is None:
            return Absent()
        if not ctx.takes(have.tags):
            return Hold(Reason.NOT_OWNED, _not_ours(kind, ctx, have.tags))
    match want:
        case Blocked(reason, message) | Wait(message, reason):
            return Hold(reason, message)
        case None:
            return Absent() if have is None else Delete()
        case _:
            return Create() if have is None else _mended(kind.diff(want, have), tags.retag(want.tags, have.tags))


TAGS = "tags"
ROLLED_OUT = (TaskDefinitions.name, Services.name)


def _mended(change: Change, retag: tags.Retag) -> Step:
    if change.unsuitable:
        return Hold(Reason.UNSUITABLE, change.unsuitable)
    if change and change.replace:
        return Replace(change)  # what is made anew has its tags
    if not change and not retag:
        return Keep()
    paths = (*change.paths, TAGS) if retag else change.paths
    told = {**dict(retag.put), **dict.fromkeys(retag.remove)}
    return Update(Change(paths, values={**change.values, TAGS: (told, None)}))


def _look(kind: AnyKind, scene: Scene, memory: Memory) -> Any:
    known = memory.seen.get(kind.name)
    if known is not None and not kind.volatile and scene.now - known[0] < AUDITS.get(kind.name, AUDIT):
        return known[1]
    have = kind.observe(scene)
    memory.seen[kind.name] = (scene.now, have)
    return have


def _left(kind: AnyKind, scene: Scene, memory: Memory) -> Any:
    """What there is still of an object that goes. What it was in may have gone before it: somebody takes down all."""
    try:
        return _look(kind, scene, memory)
    except PlaceNotFound as error:
        if not _is_the_account(scene):
            raise
        log.warning("gone with what it was in", kind=kind.name, error=str(error))
        return None


def _is_the_account(scene: Scene) -> bool:
    """Whether AWS is asked in the account that the object's things are in: the operator's credentials may have become
    those of another one. A revision outlasts all that it is used in, and is told to its own account alone."""
    made = scene.previous.resources
    if made is None or made.task_definition is None:
        return True
    try:
        scene.aws.ecs.describe_task_definition(taskDefinition=made.task_definition, include=[])
    except AwsError:
        return False
    return True


def _remove(kind: AnyKind, scene: Scene, memory: Memory) -> StepResult:
    have = _left(kind, scene, memory)
    if have is None or not tags.owned(have.tags, scene.identity):
        return StepResult(kind=kind.name, step=Absent(), outcome=None)
    log.info("step", kind=kind.name, step="delete")
    waiting = kind.delete(scene, have)
    if waiting is None:
        memory.seen[kind.name] = (scene.now, None)
    return StepResult(kind=kind.name, step=Delete(), outcome=waiting, subject=_subject(kind, have))


def _subject(kind: AnyKind, have: Any) -> str:
    return next(iter(kind.facts(have).values()), "") if have is not None else ""


def _tidy(kinds: Sequence[AnyKind], ctx: Scene, memory: Memory, finished: Pass) -> None:
    for kind in reversed(kinds):
        want, have = finished.want.get(kind.name), finished.have.get(kind.name)
        if want is not None and have is not None:
            try:
                memory.seen[kind.name] = (memory.seen[kind.name][0], kind.tidy(ctx, want, have))
            except AwsError as error:  # it is tried again at the next look
                _doubt(kind, ctx, memory, error)
                log.warning("left over", kind=kind.name, error=str(error))


def _guarded(kind: AnyKind, memory: Memory, scene: Scene, work: Callable[[], StepResult]) -> StepResult:
    """The result of `work`, whatever happens in it: one kind's failure is not the next one's."""
    try:
        return work()
    except Paced as error:
        waiting = Wait(f"{error.operation} has its turn: {error.message}", error.reason, turn_in=error.wait)
        return StepResult(kind=kind.name, step=Hold(waiting.reason, waiting.message), outcome=waiting)
    except AwsError as error:
        _doubt(kind, scene, memory, error)
        log.warning("AWS error", kind=kind.name, operation=error.operation, code=error.code, error=error.message)
        trouble = Trouble(
            reason=error.reason,
            message=error.told(),
            retry_soon=error.retry_soon,
        )
    except Exception as error:  # a bug in one kind must neither stop the others nor end the loop
        memory.seen.pop(kind.name, None)
        log.exception("internal error", kind=kind.name)
        trouble = Trouble(
            reason=Reason.INTERNAL_ERROR,
            message=f"the operator failed on this ({type(error).__name__}); its log has the details. Next: report it.",
            retry_soon=False,
        )
    return StepResult(kind=kind.name, step=Hold(trouble.reason, trouble.message), outcome=trouble)


def _doubt(kind: AnyKind, scene: Scene, memory: Memory, error: AwsError) -> None:
    """What is known of the kind may be wrong now."""
    memory.seen.pop(kind.name, None)
    if isinstance(error, Unavailable | Gone):
        scene.aws.listings.forget()
    if isinstance(error, Gone):  # it may be what another kind has seen: a service fails of its task definition
        memory.forget()


def _held(want: Any, step: Hold) -> Wait | Trouble:
    if isinstance(want, Wait) and step.reason is not Reason.NOT_OWNED:
        return want
    return Trouble(reason=step.reason, message=step.message, retry_soon=False)


def _not_ours(kind: AnyKind, scene: Scene, found: tags.Tags) -> str:
    key, owner = scene.identity.key, found.get(tags.OWNER)
    whose = f"belongs to {owner} (uid {found.get(tags.UID, 'unknown')})" if owner else f"has no tag {tags.OWNER}"
    adopted = f"; or, to have it taken over, set the annotation {meta.ADOPT} to true" if owner in (None, key) else ""
    return (
        f"a {kind.name} with the name that {key} would use exists and {whose}, so it is left alone. "
        f"Next: delete it, or rename this object{adopted}."
    )
