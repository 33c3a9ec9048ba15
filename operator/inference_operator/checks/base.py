"""What a check is: it looks at what a rollout will need, or all rollouts in an environment, and says what would fail.

A check only reads. What it is not allowed to read it can't judge, and says so; that never stands in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.aws.errors import AwsError
from inference_operator.aws.ports import Answer, Aws
from inference_operator.domain.names import Identity


class Result(StrEnum):
    """Worst first."""

    FAILED = "Failed"
    """Tasks would not start, or nobody could reach them: nothing is rolled out."""
    WARNING = "Warning"
    """It may fail; it is rolled out."""
    UNKNOWN = "Unknown"
    """It can't be told; it is rolled out."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be, or can't be told."""

    result: Result
    message: str
    next_step: str


def failed(message: str, next_step: str) -> Finding:
    return Finding(result=Result.FAILED, message=message, next_step=next_step)


def warning(message: str, next_step: str) -> Finding:
    return Finding(result=Result.WARNING, message=message, next_step=next_step)


def unknown(message: str, next_step: str) -> Finding:
    return Finding(result=Result.UNKNOWN, message=message, next_step=next_step)


def unseen(error: AwsError) -> Finding:
    """AWS did not let look, or did not answer."""
    step = error.next_step()
    return unknown(f"it could not be looked: {error}", f"{step[:1].upper()}{step[1:]}.")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something is to be rolled out."""

    environment: InferenceEnvironmentSpec
    aws: Aws
    answers: dict[tuple[str, ...], Answer] = field(default_factory=dict, compare=False)

    def ask(self, operation: Callable[..., Answer], name: str, **members: Any) -> Answer:
        """The answer of a read, asked for once for all checks."""
        question = (name, *(f"{member}={members[member]}" for member in sorted(members)))
        return self._answer(question, lambda: operation(**members))

    def _answer(self, question: tuple[str, ...], fetch: Callable[[], Answer]) -> Answer:
        if question not in self.answers:
            self.answers[question] = fetch()
        return self.answers[question]


@dataclass(frozen=True, kw_only=True)
class Case(Place):
    """What is to be rolled out, and where."""

    identity: Identity
    spec: InferenceDeploymentSpec

    def _answer(self, question: tuple[str, ...], fetch: Callable[[], Answer]) -> Answer:
        """Shared for some seconds with all who ask the same: a fleet may roll out at once."""
        return self.aws.listings.shared(question, fetch)


Place_contra = TypeVar("Place_contra", bound=Place, contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Place_contra]):
    name: str
    """For the status, as in `Subnets`."""
    about: str
    """What it makes sure of, for the reference."""
    look: Callable[[Place_contra], Iterator[Finding]]
    """Raises AwsError where it is not let look."""
    member: str | None = None
    """Of an environment: what of its spec the findings speak about; None where they name it themselves."""
    optional: bool = False
    """Of an environment: only those services need it that ask for it."""
