"""One pass over one InferenceEnvironment: whether services can use it and what it names is there, how many do, what it
has for itself in AWS (the queue of its events, rules of security groups), and whether it may go.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from pydantic import ValidationError

from inference_operator.api.errors import sentences
from inference_operator.api.v1alpha1 import (
    EventsState,
    InferenceDeploymentSpec,
    InferenceEnvironmentSpec,
    InferenceEnvironmentStatus,
    ObjectMeta,
    VerificationState,
)
from inference_operator.checks.base import Place
from inference_operator.domain.conditions import Said, Type, merged
from inference_operator.domain.names import Identity
from inference_operator.domain.reasons import Reason
from inference_operator.engine import backoff, verification
from inference_operator.engine.conditions import contested, of_kind
from inference_operator.engine.objects import Document, Outcome, World, environment_spec
from inference_operator.engine.plan import StepResult, Trouble
from inference_operator.engine.reconcile import Memory, Pass, finalize, reconcile
from inference_operator.resources import ENVIRONMENT_KINDS
from inference_operator.resources.base import Fact, Failed, Settled, Site
from inference_operator.resources.event_queue import EventQueues, name_of
from inference_operator.resources.event_rule import EventRules
from inference_operator.resources.security_group_rules import Rules, SecurityGroupRules

EVENT_KINDS = (EventQueues.name, EventRules.name)
PORTS = 65536
NAMED = 10
"""So many of the objects that are in the way of a deletion are named."""


class _Made(TypedDict):
    """What the status remembers of what was made, so that it is found again when it is no longer asked for."""

    events: EventsState | None
    rules: tuple[str, ...]


def look_after(document: Document, world: World, memory: Memory, now: datetime) -> Outcome:
    """Say whether services can use it, and keep what it asks to have for itself."""
    users = len(world.objects or ())
    spec = environment_spec(document)
    if isinstance(spec, ValidationError):
        message = f"{sentences(spec)} Next: mend the spec."
        said = [Said(Type.READY, "False", Reason.INVALID_SPEC, message)]
        return Outcome(status=_told(document, said, users, now), requeue_after=backoff.AUDIT)
    if not _has_something(document, spec):
        found = _verified(spec, world, memory, now)
        told = _told(document, [*_judged(spec, found), *_notifies(spec, world)], users, now, found=found)
        return Outcome(status=told, requeue_after=backoff.AUDIT if verification.fine(found) else backoff.RESYNC)
    site = _site(document, spec, world, now)
    done = reconcile(ENVIRONMENT_KINDS, site, memory)
    if done.wrote:  # the rules of security groups may be others now
        memory.verification = None
    found = _verified(spec, world, memory, now)
    results = done.results
    kinds = [of_kind(result) for result in results if result.outcome is not None]
    said = [*_judged(spec, found, results), *_notifies(spec, world), *kinds, *contested(memory.contest.told(now))]
    return Outcome(
        status=_told(document, said, users, now, events=_events(site, results), rules=_rules(site, done), found=found),
        requeue_after=_requeue(results, memory),
        results=tuple(results),
    )


def take_away(document: Document, world: World, memory: Memory, now: datetime) -> Outcome:
    """It may go once nothing runs in it: without it nobody would know where its services' resources are."""
    users = world.objects
    if not users and users is not None:
        return _dismantle(document, world, memory, now)
    message = "what runs in it can't be listed now; it is tried again" if users is None else _in_the_way(users)
    said = Said(Type.READY, "False", Reason.IN_USE, message)
    told = _told(document, [said], len(users or ()), now, **_kept(document))
    return Outcome(status=told, requeue_after=backoff.FIRST if users is None else backoff.RESYNC, done=False)


def queue_url(status: InferenceEnvironmentStatus) -> str | None:
    """Where its events are to be read from; None while its queue and its rule are not in order."""
    ready = {condition.type for condition in status.conditions if condition.status == "True"}
    in_order = status.events is not None and {f"{kind}Ready" for kind in EVENT_KINDS} <= ready
    return status.events.url if status.events is not None and in_order else None


def _dismantle(document: Document, world: World, memory: Memory, now: datetime) -> Outcome:
    spec, said = environment_spec(document), Said(Type.READY, "False", Reason.DELETING, "it is being deleted")
    if isinstance(spec, ValidationError) or not _has_something(document, spec):  # a queue of an invalid one is left
        return Outcome(status=_told(document, [said], 0, now), requeue_after=backoff.RESYNC)
    results = finalize(ENVIRONMENT_KINDS, _site(document, _with_nothing_managed(spec), world, now), memory)
    left = [of_kind(result) for result in results if result.outcome is not None]
    return Outcome(
        status=_told(document, [said, *left], 0, now, **_kept(document)),
        requeue_after=_requeue(results, memory),
        results=tuple(results),
        done=not left,
    )


def _has_something(document: Document, spec: InferenceEnvironmentSpec) -> bool:
    """Whether it has, or is to have, anything for itself in AWS."""
    known = _previous(document)
    asked = spec.events is not None or spec.network.manage_security_group_rules
    return asked or known.events is not None or bool(known.security_group_rules)


def _with_nothing_managed(spec: InferenceEnvironmentSpec) -> InferenceEnvironmentSpec:
    """What is to go is found by its tags, whether or not that which needed it is still there."""
    network = spec.network.model_copy(update={"manage_security_group_rules": False})
    return spec.model_copy(update={"network": network})


def _site(document: Document, spec: InferenceEnvironmentSpec, world: World, now: datetime) -> Site:
    meta = ObjectMeta.model_validate(document["metadata"])
    return Site(
        identity=Identity(namespace="", name=meta.name, uid=meta.uid),
        environment=spec,
        aws=world.connect(spec),
        now=now,
        freshness=timedelta(),
        known=_previous(document),
        ports=_ports(world.objects),
        moving=any(map(_is_moving, world.objects or ())),
        generation=meta.generation,
    )


def _ports(objects: Sequence[Document] | None) -> frozenset[int] | None:
    if objects is None:
        return None
    default = InferenceDeploymentSpec.model_fields["port"].default
    asked = ((document.get("spec") or {}).get("port", default) for document in objects)
    return frozenset(port for port in asked if isinstance(port, int) and 0 < port < PORTS)


def _is_moving(document: Document) -> bool:
    """Whether what answers its requests is, or may be, another revision than the one that is asked for now."""
    told = document.get("status") or {}
    running = (told.get("running") or {}).get("revision")
    asked = (told.get("desired") or {}).get("revision")
    behind = told.get("observedGeneration") != document["metadata"].get("generation")
    return running is not None and (behind or running != asked)


def _verified(spec: InferenceEnvironmentSpec, world: World, memory: Memory, now: datetime) -> VerificationState:
    place = Place(environment=spec, aws=world.connect(spec))
    memory.verification = verification.state_of_place(place, memory.verification, now)
    return memory.verification


def _judged(
    spec: InferenceEnvironmentSpec, found: VerificationState, results: Sequence[StepResult] = ()
) -> tuple[Said, Said]:
    """Services can use it whether events come or not: AWS is asked if they do not. And they can if something is missing
    that only some of them ask for; these are kept back by their own checks."""
    verified, useless = verification.said_of_place(found), verification.usable(found)
    if useless is not None:
        return verified, Said(Type.READY, "False", useless.reason, useless.message)
    message = f"it is valid; its services are for cluster {spec.cluster} of {spec.region}"
    if verified.status == "False":
        message += "; what some of them may ask for is not there, as Verified tells"
    if spec.events is not None:
        in_order = all(isinstance(result.outcome, Settled) for result in results if result.kind in EVENT_KINDS)
        message += "; events are heard" if in_order else "; events are not heard yet, so AWS is asked instead"
    return verified, Said(Type.READY, "True", Reason.ACCEPTED, message)


def _notifies(spec: InferenceEnvironmentSpec, world: World) -> list[Said]:
    if not spec.notifications:
        return []
    if world.undelivered is None:
        return [Said(Type.NOTIFIES, "True", Reason.AS_SPECIFIED, f"{len(spec.notifications)} are told of rollouts")]
    return [
        Said(Type.NOTIFIES, "False", Reason.NOT_DELIVERED, f"the last one did not get through: {world.undelivered}")
    ]


def _events(site: Site, results: Sequence[StepResult]) -> EventsState | None:
    """What has been made, or may have been; so that it is found again when it is no longer asked for."""
    if all(result.outcome is None for result in results if result.kind in EVENT_KINDS):  # neither there nor wanted
        return None
    known = site.known.events or EventsState()
    return EventsState(queue=name_of(site), url=site.facts.get(Fact.EVENT_QUEUE_URL, known.url))


def _rules(site: Site, done: Pass) -> tuple[str, ...]:
    """Likewise."""
    if not all(result.kind in done.want or result.kind in EVENT_KINDS for result in done.results):
        return site.known.security_group_rules  # it could not be looked
    have: Rules | None = done.have.get(SecurityGroupRules.name)
    return tuple(map(str, sorted(have.ours))) if have is not None else ()


def _kept(document: Document) -> _Made:
    known = _previous(document)
    return {"events": known.events, "rules": known.security_group_rules}


def _requeue(results: Sequence[StepResult], memory: Memory) -> timedelta:
    if any(isinstance(result.outcome, Trouble) for result in results):
        memory.failures += 1
        return backoff.after_failures(memory.failures)
    memory.failures = 0
    return backoff.RESYNC if all(isinstance(r.outcome, Settled | Failed | None) for r in results) else backoff.ROLLING


def _in_the_way(users: Sequence[Document]) -> str:
    names = sorted(f"{user['metadata']['namespace']}/{user['metadata']['name']}" for user in users)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"it is deleted once nothing runs in it; now there is {', '.join(names[:NAMED])}{more}. "
        f"Next: delete these InferenceDeployments"
    )


def _told(
    document: Document,
    said: Sequence[Said],
    services: int,
    now: datetime,
    *,
    events: EventsState | None = None,
    rules: tuple[str, ...] = (),
    found: VerificationState | None = None,
) -> InferenceEnvironmentStatus:
    meta = ObjectMeta.model_validate(document["metadata"])
    previous = _previous(document)
    return InferenceEnvironmentStatus(
        observed_generation=meta.generation,
        conditions=merged(previous.conditions, said, generation=meta.generation, now=now),
        services=services,
        events=events,
        security_group_rules=rules,
        verification=found,
    )


def _previous(document: Document) -> InferenceEnvironmentStatus:
    try:
        return InferenceEnvironmentStatus.model_validate(document.get("status") or {})
    except ValidationError:  # written by hand or by another version: it is made anew
        return InferenceEnvironmentStatus()
