"""What a pass does, as values: a plan can be printed, compared and stopped before it acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference_operator.domain.reasons import Reason
from inference_operator.resources.base import Change, Failed, Settled, Wait


@dataclass(frozen=True)
class Keep:
    """It is as wanted."""


@dataclass(frozen=True)
class Create:
    """It is not there."""


@dataclass(frozen=True)
class Update:
    change: Change


@dataclass(frozen=True)
class Replace:
    change: Change


@dataclass(frozen=True)
class Delete:
    """It is there, and not wanted."""


@dataclass(frozen=True)
class Absent:
    """It is neither there nor wanted."""


@dataclass(frozen=True)
class Hold:
    """Nothing can be done now: an earlier kind is not there yet (`retry` None), or somebody has to act."""

    reason: Reason
    message: str


Write = Create | Update | Replace | Delete


@dataclass(frozen=True)
class Withheld:
    """It would be done, but nothing is to be written."""

    step: Write


Step = Keep | Write | Absent | Hold | Withheld


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a step did not succeed."""

    reason: Reason
    message: str
    retry_soon: bool


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """One kind in one pass: what was to do, and how the thing stands after it."""

    kind: str
    step: Step
    outcome: Settled | Wait | Failed | Trouble | None
    """None: not wanted and not there."""
    subject: str = ""
    """The thing's name, id or ARN."""
    put_back: bool = False
    """Somebody else had changed it."""

    @property
    def wrote(self) -> bool:
        return isinstance(self.step, Write)


ROLLS_OUT = frozenset(
    {"taskDefinition", "networkConfiguration", "platformVersion", "loadBalancers", "serviceRegistries"}
)
"""Members of UpdateService that start new tasks (API_UpdateService)."""


def starts_tasks(step: Step) -> bool:
    """Whether a step makes something new, or has ECS start tasks other than by scaling."""
    match step:
        case Create() | Replace():
            return True
        case Update(change):
            return bool(ROLLS_OUT & set(change.paths))
        case _:
            return False


def describe(step: Step) -> str:
    """One line for people and logs."""
    match step:
        case Update(change):
            return f"update {', '.join(change.paths)}"
        case Replace(change):
            return f"replace because of {', '.join(change.paths)}"
        case Hold(_, message):
            return f"hold: {message}"
        case Withheld(write):
            return f"withheld: {describe(write)}"
        case _:
            return type(step).__name__.lower()


def text(results: Sequence[StepResult]) -> str:
    width = max((len(r.kind) for r in results), default=0)
    return "\n".join(f"{r.kind:<{width}}  {describe(r.step)}" for r in results)
