"""Checks before a rollout: run when something is to be rolled out, and remembered for as long as nothing has changed.
And of an environment by itself: run now and then.

A failure keeps the rollout back. A warning, or what can't be told, does not. Nor does what is found of an environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from inference_operator.api.v1alpha1 import VerificationFinding, VerificationState
from inference_operator.aws.errors import AwsError
from inference_operator.checks import CHECKS, OF_ENVIRONMENTS
from inference_operator.checks.base import Case, Check, Finding, Place, Place_contra, Result, unseen
from inference_operator.domain.conditions import Said, Type
from inference_operator.domain.names import digest
from inference_operator.domain.reasons import Reason
from inference_operator.engine.backoff import AUDIT, RESYNC
from inference_operator.resources.base import Blocked

log = structlog.get_logger(__name__)

GOOD_FOR = timedelta(minutes=10)
"""A rollout may take several passes until all of it is sent."""

SHARE = 0.95  # of an interval, as passes come a little early


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a check found."""

    check: str
    finding: Finding


def verify(case: Case) -> list[Told]:
    """All findings, the worst first."""
    return _verified(CHECKS, case)


def verify_place(place: Place) -> list[Told]:
    """The same of an environment by itself. Each names the field of its spec."""
    found = _verified(OF_ENVIRONMENTS, place)
    members = {check.name: check.member for check in OF_ENVIRONMENTS if check.member is not None}
    return [_about(told, members[told.check]) if told.check in members else told for told in found]


def _about(told: Told, member: str) -> Told:
    return replace(told, finding=replace(told.finding, message=f"spec.{member}: {told.finding.message}"))


def _verified(checks: Sequence[Check[Place_contra]], of: Place_contra) -> list[Told]:
    found = [Told(check=check.name, finding=finding) for check in checks for finding in _looked(check, of)]
    return sorted(found, key=lambda told: list(Result).index(told.finding.result))


def _looked(check: Check[Place_contra], case: Place_contra) -> Iterator[Finding]:
    try:
        yield from check.look(case)
    except AwsError as error:
        yield unseen(error)
    except Exception as error:  # a bug in a check must not keep anything back
        log.exception("a check failed", check=check.name)
        step = "Nothing: the operator's log has the details; please report it."
        yield Finding(result=Result.UNKNOWN, message=f"the check failed ({type(error).__name__})", next_step=step)


def state(case: Case, now: datetime) -> VerificationState:
    """For the status, which keeps it: another process need not look again."""
    return _state(verify(case), of=what(case), checks=len(CHECKS), now=now)


def state_of_place(place: Place, known: VerificationState | None, now: datetime) -> VerificationState:
    """The same of an environment by itself; what is `known` in this process, if that is good enough."""
    of = digest([place.environment.model_dump(mode="json", by_alias=True)])
    if known is None or known.of != of or known.at is None or now - known.at >= _good_for(known):
        return _state(verify_place(place), of=of, checks=len(OF_ENVIRONMENTS), now=now)
    return known


def _good_for(known: VerificationState) -> timedelta:
    return (AUDIT if fine(known) else RESYNC) * SHARE


def _state(found: Sequence[Told], *, of: str, checks: int, now: datetime) -> VerificationState:
    return VerificationState(
        of=of,
        at=now,
        checks=checks,
        findings=tuple(
            VerificationFinding(
                check=told.check,
                result=told.finding.result.value,
                message=told.finding.message,
                next_step=told.finding.next_step,
            )
            for told in found
        ),
    )


def what(case: Case) -> str:
    """A hash of all that a verification depends on, besides AWS."""
    parts = (part.model_dump(mode="json", by_alias=True) for part in (case.spec, case.environment))
    return digest(list(parts))


@dataclass
class Gate:
    """Lets a rollout through, or not. A pass asks it only if it would roll something out."""

    case: Case
    known: VerificationState | None
    """From the status."""
    now: datetime
    again: bool
    """What is known does not count."""
    asked: bool = False

    def __call__(self) -> Blocked | None:
        if self.known is None or not (self.asked or self._still_good(self.known)):
            found = state(self.case, self.now)
            unchanged = self.known is not None and found.model_copy(update={"at": self.known.at}) == self.known
            self.known = self.known if unchanged and blocked(found) else found
        self.asked = True
        return blocked(self.known) if self.known is not None else None

    @property
    def told(self) -> VerificationState | None:
        """For the status: without failures that keep nothing back any more."""
        moot = not self.asked and self.known is not None and blocked(self.known) is not None
        return None if moot else self.known

    def _still_good(self, known: VerificationState) -> bool:
        recent = known.at is not None and self.now - known.at < GOOD_FOR
        return not self.again and recent and known.of == what(self.case) and blocked(known) is None


def failures(verification: VerificationState) -> list[VerificationFinding]:
    return [finding for finding in verification.findings if finding.result == Result.FAILED.value]


def blocked(verification: VerificationState) -> Blocked | None:
    """Why nothing is rolled out; None if it may be."""
    found = failures(verification)
    if not found:
        return None
    more = f" (and {len(found) - 1} more, in status.verification)" if len(found) > 1 else ""
    return Blocked(Reason.VERIFICATION_FAILED, f"{found[0].message}. Next: {found[0].next_step}{more}")


def said(verification: VerificationState) -> Said:
    """The condition `Verified`."""
    found = blocked(verification)
    if found is not None:
        return Said(Type.VERIFIED, "False", found.reason, found.message)
    told = f"{verification.checks} checks found nothing that would fail"
    if verification.findings:
        told += f"; {len(verification.findings)} remarks are in status.verification"
    return Said(Type.VERIFIED, "True", Reason.VERIFIED, told)


def said_of_place(verification: VerificationState) -> Said:
    """The same of an environment: nobody is told that all is there of which some could not be looked at."""
    unseen = [finding for finding in verification.findings if finding.result == Result.UNKNOWN.value]
    if failures(verification) or not unseen:
        return said(verification)
    more = f" (and {len(unseen) - 1} more, in status.verification)" if len(unseen) > 1 else ""
    message = f"{unseen[0].message}. Next: {unseen[0].next_step}{more}"
    return Said(Type.VERIFIED, "Unknown", Reason.NOT_VERIFIED, message)


def fine(verification: VerificationState) -> bool:
    return said_of_place(verification).status == "True"


def usable(verification: VerificationState) -> Blocked | None:
    """Why no service can be rolled out in an environment; None if those can that ask for nothing that is missing."""
    optional = {check.name for check in OF_ENVIRONMENTS if check.optional}
    needed = tuple(finding for finding in verification.findings if finding.check not in optional)
    return blocked(verification.model_copy(update={"findings": needed}))
