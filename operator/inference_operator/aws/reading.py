"""Reads that many objects share, so that AWS is asked little: `BatchedServices` and `SharedListings`.

Both are plain threads-and-locks code over the ports; time comes in as a clock. Nothing here knows boto3.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from inference_operator.api.status import EVENTS_LIMIT
from inference_operator.aws.errors import AwsError, NotFound, Paced, Throttled
from inference_operator.aws.ports import ANY_AGE, Answer, Discovery, Ecs, Efs, Elb, Listing, Scaling
from inference_operator.domain import rollout, tags

BATCH = 10  # DescribeServices: services, 10 at most
TARGET_GROUPS_PAGE = 400  # ELB DescribeTargetGroups: PageSize, 400 at most
ACCOUNT = ""  # what belongs to nothing narrower
TAGS_BATCH = 20  # ELB DescribeTags: ResourceArns, 20 at most
MOVING = frozenset({"deployments", "events", "runningCount", "pendingCount", "taskSets"})
"""Members of a service that change by themselves."""
LAG = timedelta(seconds=30)  # how long a describe may show the state before a write (eventual consistency)
SHARED_FOR = timedelta(seconds=20)
SOON = timedelta(seconds=5)  # who has written comes back to see what became of it
LATE = 1.3  # of an interval: by then an object that comes at such intervals has come

SELDOM = timedelta(minutes=5)  # what nothing speaks for is looked at this often all the same

Now = Callable[[], datetime]
Key = tuple[str, str]
Question = tuple[str, ...]


@dataclass(frozen=True)
class _Beside:
    answer: list[Answer]
    at: datetime
    until: datetime
    """It is believed so long, if nothing happens to the service."""


@dataclass
class _Entry:
    answer: Answer | None = None
    seen: datetime | None = None
    """When the call was begun that showed it."""
    call: int = 0
    """The number of the call that it was seen in."""
    asked: datetime | None = None
    interval: timedelta = ANY_AGE
    """How old its object, when it last `asked`, let the answer be: about as long as until it asks again."""
    written: Answer | None = None
    written_at: datetime | None = None
    before: tuple[Answer, ...] = ()
    """What was there before that write, and before each of those that a describe may not know yet either."""
    changed: datetime | None = None
    """When the answer was first as it is."""
    beside: dict[Question, _Beside] = field(default_factory=dict)
    """What was asked of the service with other calls."""


@dataclass
class BatchedServices:
    """See `ports.Services`. A call that must go out is filled up with the services that are due next, so that ten
    objects that look once per interval cost one call per interval, and those at rest do not crowd out those that
    change."""

    ecs: Ecs
    now: Now
    on_change: Callable[[str, str], None] = lambda _cluster, _service: None
    """Told of a service that another object's call showed to have changed."""
    _entries: dict[Key, _Entry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _calling: dict[str, threading.Lock] = field(default_factory=dict)
    """By cluster."""
    _calls: int = 0
    """That were begun."""

    def get(self, cluster: str, service: str, *, max_age: timedelta) -> Answer | None:
        key = (cluster, service)
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            if max_age < ANY_AGE:
                entry.asked, entry.interval = self.now(), max_age
            if self._is_fresh(entry, max_age):
                return entry.answer
            before, calling = self._calls, self._calling.setdefault(cluster, threading.Lock())
        with calling:
            # A call that was under way, or has begun since, may have asked for it too.
            if entry.call <= before and not self._is_fresh(entry, max_age):
                self._describe(cluster, self._batch(key))
        with self._lock:
            return self._entries[key].answer if key in self._entries else None

    def _is_fresh(self, entry: _Entry, max_age: timedelta) -> bool:
        return entry.seen is not None and self.now() - entry.seen <= max_age

    def age(self, cluster: str, service: str) -> timedelta:
        with self._lock:
            entry = self._entries.get((cluster, service))
            return self.now() - entry.seen if entry is not None and entry.seen is not None else timedelta()

    def beside(
        self,
        cluster: str,
        service: str,
        what: Question,
        read: Callable[[], list[Answer]],
        *,
        moves: Callable[[list[Answer]], bool] = lambda _: False,
        old_will_do: bool = False,
    ) -> list[Answer]:
        now = self.now()
        with self._lock:
            entry = self._entries.get((cluster, service), _Entry())
            changed, kept = entry.changed or now, entry.beside.get(what)
        if kept is not None and kept.at >= changed and now < kept.until:
            return kept.answer
        try:
            answer = read()
        except (Paced, Throttled):
            if kept is None or not old_will_do:
                raise
            return kept.answer
        believed = timedelta() if moves(answer) else min(now - changed, SELDOM)
        with self._lock:
            entry.beside[what] = _Beside(answer, now, now + believed)
        return answer

    def record(self, cluster: str, service: str, answer: Answer | None) -> None:
        with self._lock:
            if answer is None:
                self._entries.pop((cluster, service), None)
                return
            at, kept = self.now(), _kept(answer)
            entry = self._entries.setdefault((cluster, service), _Entry())
            entry.before = (*entry.before, *([entry.answer] if entry.answer is not None else []))
            entry.answer, entry.seen, entry.written, entry.written_at = kept, at, kept, at
            entry.changed = at
            entry.asked, entry.interval = at, min(entry.interval, SOON)

    def _batch(self, key: Key) -> list[str]:
        """With the services that are due next. Those that nobody has seen yet are the first of all; those whose objects
        have not come back when they were expected are at rest, and the last."""
        now = self.now()

        def urgency(other: Key) -> tuple[int, datetime]:
            entry = self._entries[other]
            if entry.seen is None:
                return 0, now
            if entry.asked is not None and now <= entry.asked + entry.interval * LATE:
                return 1, entry.seen + entry.interval
            return 2, entry.seen

        with self._lock:
            others = heapq.nsmallest(BATCH - 1, (k for k in self._entries if k[0] == key[0] and k != key), key=urgency)
        return [key[1], *(name for _, name in others)]

    def _describe(self, cluster: str, names: Sequence[str]) -> None:
        with self._lock:
            self._calls += 1
            call, begun = self._calls, self.now()
        answer = self.ecs.describe_services(cluster=cluster, services=list(names), include=["TAGS"])
        found = {s["serviceName"]: _kept(s) for s in answer["services"] if s["status"] != "INACTIVE"}
        changed = self._keep(cluster, names, found, call, begun)
        for name in changed - {names[0]}:
            self.on_change(cluster, name)

    def _keep(
        self, cluster: str, names: Sequence[str], found: dict[str, Answer], call: int, begun: datetime
    ) -> set[str]:
        at = self.now()
        changed = set()
        with self._lock:
            for name in names:
                entry = self._entries.get((cluster, name))
                if entry is None:  # deleted meanwhile
                    continue
                entry.seen, entry.call = begun, call
                if entry.written_at is not None and at - entry.written_at > LAG:
                    entry.written, entry.written_at, entry.before = None, None, ()
                if found.get(name) == entry.answer or _lags(found.get(name), entry):
                    continue
                entry.answer, entry.changed = found.get(name), at
                changed.add(name)
            for name in names:
                if (cluster, name) in self._entries and self._entries[cluster, name].answer is None:
                    del self._entries[cluster, name]  # nobody is to be asked for what is not there
        return changed


def _kept(service: Answer) -> Answer:
    """AWS tells a hundred events of a service, newest first; a status holds fewer."""
    return {**service, "events": service["events"][:EVENTS_LIMIT]} if "events" in service else service


def _lags(found: Answer | None, entry: _Entry) -> bool:
    """Whether `found` shows the time before our last write: it does not know the deployment that the write answered,
    nor anything newer. (One that fails at once is soon rolled back and forgotten.)"""
    if entry.written is None:
        return False
    if found is None:
        return bool(entry.written["status"] != "DRAINING")  # what drains is soon gone
    written = rollout.primary_of(entry.written.get("deployments", ()))
    if written is None or found["status"] != entry.written["status"]:
        return False
    shown = {d["id"]: d for d in found.get("deployments", ())}
    if written["id"] in shown:
        return bool(shown[written["id"]]["status"] == "PRIMARY") and _is_undone(found, entry)
    return all(_changed_at(d) <= written["createdAt"] for d in shown.values())


def _is_undone(found: Answer, entry: _Entry) -> bool:
    """Whether something that our last write has changed is in `found` as it was before."""
    written, now = _still(entry.written or {}), _still(found)
    wrong = {member for member in written.keys() & now.keys() if now[member] != written[member]}
    earlier = list(map(_still, entry.before))
    return any(member in before and now[member] == before[member] for before in earlier for member in wrong)


def _still(service: Answer) -> dict[str, object]:
    """What of a service does not change by itself."""
    members: dict[str, object] = {m: value for m, value in service.items() if m not in MOVING}
    return {**members, "tags": tags.parse(service.get("tags"))}


def _changed_at(deployment: Answer) -> datetime:
    changed: datetime = deployment.get("updatedAt", deployment["createdAt"])
    return changed


A = TypeVar("A")


@dataclass
class _Shared(Generic[A]):
    """Answers of AWS by their questions. Of those who ask the same at once one asks AWS, and what comes of it, be it an
    error, is for all of them; who asks something else does not wait for it, since an endpoint may be silent for long.
    """

    now: Now
    kept: dict[Question, tuple[datetime, A]] = field(default_factory=dict)
    """With the time at which it was asked."""
    _asked: dict[Question, Future[A]] = field(default_factory=dict)
    """Those whose answer is awaited, and believed when it comes."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Never held while AWS is asked."""

    def get(self, question: Question, fetch: Callable[[], A]) -> A:
        mine: Future[A] = Future()
        with self._lock:
            at, kept = self.now(), self.kept.get(question)
            if kept is not None and at - kept[0] <= SHARED_FOR:
                return kept[1]
            asked = self._asked.setdefault(question, mine)
        if asked is not mine:
            return asked.result()
        try:
            answer = fetch()
        except BaseException as error:
            self._end(question, mine)
            mine.set_exception(error)
            raise
        self._end(question, mine, (at, answer))
        mine.set_result(answer)
        return answer

    def _end(self, question: Question, mine: Future[A], kept: tuple[datetime, A] | None = None) -> None:
        with self._lock:
            if self._asked.get(question) is not mine:  # forgotten meanwhile
                return
            del self._asked[question]
            if kept is not None:
                self.kept[question] = kept

    def change(self, question: Question, made: Callable[[A], A]) -> A | None:
        """What is kept becomes what is `made` of it, once nobody awaits it any more. Answers what it was before."""
        while True:
            with self._lock:
                asked = self._asked.get(question)
                if asked is None:
                    if question not in self.kept:
                        return None
                    at, before = self.kept[question]
                    self.kept[question] = (at, made(before))
                    return before
            wait([asked])

    def forget(self, concerned: Callable[[Question], bool]) -> None:
        """An answer that is still awaited is not for those who ask from now on."""
        with self._lock:
            for known in (self.kept, self._asked):
                for question in [question for question in known if concerned(question)]:
                    del known[question]

    def forget_old(self) -> None:
        with self._lock:
            now = self.now()
            for question in [q for q, (at, _) in self.kept.items() if now - at > SHARED_FOR]:
                del self.kept[question]


@dataclass
class SharedListings:
    """See `ports.Listings`."""

    efs: Efs
    elb: Elb
    scaling: Scaling
    discovery: Discovery
    now: Now
    _lists: _Shared[Sequence[Answer]] = field(init=False)
    _answers: _Shared[Answer | AwsError] = field(init=False)

    def __post_init__(self) -> None:
        self._lists, self._answers = _Shared(self.now), _Shared(self.now)

    def access_points(self, file_system: str) -> Sequence[Answer]:
        return self._shared("access points", file_system, self._list_access_points)

    def target_groups(self) -> Sequence[Answer]:
        return self._shared("target groups", ACCOUNT, self._list_target_groups)

    def rules(self, listener: str) -> Sequence[Answer]:
        return self._shared("rules", listener, self._list_rules)

    def scalable_targets(self) -> Sequence[Answer]:
        return self._shared("scalable targets", ACCOUNT, self._list_scalable_targets)

    def discovery_services(self, namespace: str) -> Sequence[Answer]:
        return self._shared("discovery services", namespace, self._list_discovery_services)

    def load_balancer_of(self, listener: str) -> Answer:
        # An ALB's listener ARN is its load balancer's with another word and one more segment.
        arn = listener.replace(":listener/", ":loadbalancer/").rpartition("/")[0]

        def fetch() -> Answer:
            found: Answer = self.elb.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]
            return found

        return self.shared(("load balancer", arn), fetch)

    def shared(self, question: Question, fetch: Callable[[], Answer]) -> Answer:
        def ask() -> Answer | AwsError:
            # Each image and each secret is a question of its own: those that nobody asks again must not stay.
            self._answers.forget_old()
            return _answer_or_error(fetch)

        answer = self._answers.get(question, ask)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def add(self, what: Listing, made: Answer, of: str = ACCOUNT) -> Sequence[Answer] | None:
        return self._lists.change((what, of), lambda known: [*known, made])

    def forget(self, what: Listing | None = None) -> None:
        self._lists.forget(lambda question: what in (None, question[0]))

    def _shared(self, what: Listing, of: str, fetch: Callable[[str], Iterator[Answer]]) -> Sequence[Answer]:
        return self._lists.get((what, of), lambda: list(fetch(of)))

    def _list_access_points(self, file_system: str) -> Iterator[Answer]:
        page: dict[str, str] = {}
        while True:
            answer = self.efs.describe_access_points(FileSystemId=file_system, MaxResults=100, **page)
            yield from answer["AccessPoints"]
            if not answer.get("NextToken"):
                return
            page = {"NextToken": answer["NextToken"]}

    def _list_target_groups(self, _account: str) -> Iterator[Answer]:
        page: dict[str, str] = {}
        while True:
            answer = self.elb.describe_target_groups(PageSize=TARGET_GROUPS_PAGE, **page)
            yield from answer["TargetGroups"]
            if not answer.get("NextMarker"):
                return
            page = {"Marker": answer["NextMarker"]}

    def _list_scalable_targets(self, _account: str) -> Iterator[Answer]:
        page: dict[str, str] = {}
        while True:
            answer = self.scaling.describe_scalable_targets(ServiceNamespace="ecs", MaxResults=50, **page)
            yield from answer["ScalableTargets"]
            if not answer.get("NextToken"):
                return
            page = {"NextToken": answer["NextToken"]}

    def _list_discovery_services(self, namespace: str) -> Iterator[Answer]:
        page: dict[str, str] = {}
        named = [{"Name": "NAMESPACE_ID", "Values": [namespace], "Condition": "EQ"}]
        while True:
            answer = self.discovery.list_services(Filters=named, MaxResults=100, **page)
            yield from answer["Services"]
            if not answer.get("NextToken"):
                return
            page = {"NextToken": answer["NextToken"]}

    def _list_rules(self, listener: str) -> Iterator[Answer]:
        rules: list[Answer] = []
        page: dict[str, str] = {}
        while True:
            answer = self.elb.describe_rules(ListenerArn=listener, **page)
            rules += answer["Rules"]
            if not answer.get("NextMarker"):
                break
            page = {"Marker": answer["NextMarker"]}
        for some in (rules[i : i + TAGS_BATCH] for i in range(0, len(rules), TAGS_BATCH)):
            yield from self._tagged(some)

    def _tagged(self, rules: Sequence[Answer]) -> Iterator[Answer]:
        """Those of the rules that are still there, with their tags: AWS describes none if one of them has gone."""
        try:
            described = self.elb.describe_tags(ResourceArns=[rule["RuleArn"] for rule in rules])["TagDescriptions"]
        except NotFound:
            if len(rules) > 1:
                for rule in rules:
                    yield from self._tagged([rule])
            return
        of = {d["ResourceArn"]: d["Tags"] for d in described}
        yield from ({**rule, "Tags": of.get(rule["RuleArn"], [])} for rule in rules)


def _answer_or_error(fetch: Callable[[], Answer]) -> Answer | AwsError:
    try:
        return fetch()
    except AwsError as error:
        return error
