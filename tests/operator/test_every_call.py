"""AWS fails at any one call, or the operator dies at it: all ends as if nothing had happened.

A story is told once as it goes well, phase by phase: what somebody asks for, and the passes until it stands. Then it is
told again and again, and in each phase one call fails. After each phase everything in the account, and the status, must
be what they are where nothing fails. So a life tries one call of each phase, and what a phase leaves behind in the
process is tried by the next one.

Which calls: from each place in the operator's code, told by its stack, the first and the last of a phase; what lies
between is the same code once more, such as the tenth look at a rollout. How: the answer to a write is lost, the process
dies of it, and it is refused in one of three ways; a read fails in one of four, the ways taking turns.
`EVERY_FAILURE=1` tries each way at each place. How many were tried is printed at the end of the run.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

import inference_operator
from inference_operator.api.meta import CONTINUE_AT, ROLLBACK_AT
from inference_operator.aws import ports
from inference_operator.engine.backoff import RESYNC
from inference_sandbox.aws import in_process
from inference_sandbox.aws.faults import Fault, Kind
from inference_sandbox.ecs.surroundings import BRIEF, Settings
from inference_sandbox.tasks.scripted import Script
from tests.operator.builders import deployment_document
from tests.operator.conftest import FAILED
from tests.operator.everything import MUCH, NIGHT, equip
from tests.operator.test_checks import without_rules
from tests.operator.world import READS, Environment, Object, World

Way = Kind | Literal["dies"]
REFUSALS: Sequence[Way] = ("error", "throttle", "deny")
FAILURES: Sequence[Way] = (*REFUSALS, "lost")
PARTS = 8
"""So that a story's lives can be shared out among processes."""

# -- one call that fails


class DiedError(BaseException):
    """The process has died. Nothing catches it, as nothing would be left to."""


@dataclass(frozen=True)
class Place:
    """A call, as the operator's code has it."""

    operation: str
    """`service:Operation`."""
    stack: tuple[tuple[str, int], ...]
    """Files and lines of the operator, innermost first."""

    @property
    def name(self) -> str:
        """Without a slash."""
        return f"{self.operation} from {[(Path(file).name, line) for file, line in self.stack]}"

    @property
    def writes(self) -> bool:
        return not self.operation.partition(":")[2].startswith(READS)


@dataclass(frozen=True)
class Blow:
    place: Place
    turn: int
    """Which of the calls from there, counted from 1."""
    way: Way

    def __str__(self) -> str:
        return f"{self.place.operation} for the {self.turn}. time from {self.place.stack[0]}: {self.way}"


@dataclass
class Door:
    """Every call of the operator goes through it. It keeps the places that they come from, and one fails."""

    world: World
    blow: Blow | None = None
    places: list[Place] = field(default_factory=list)
    struck: bool = False

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse:
        stack = _stack()
        way: Way | None = None
        before = [place.stack for place in self.places].count(stack)
        if self.blow is not None and (self.blow.place.stack, self.blow.turn) == (stack, before + 1):
            way, self.struck = self.blow.way, True
        if way is not None and way != "dies":
            self.world.cloud.faults.add(Fault(kind=way, times=1))
        try:
            answer = in_process.send(request)
        finally:
            call = self.world.cloud.calls[-1]
            self.places.append(Place(f"{call.service}:{call.operation}", stack))
        if way == "dies":
            raise DiedError
        return answer


CLIENTS = "clients.py"
"""What all calls go through tells nothing of a place."""
_OPERATOR = str(Path(inference_operator.__file__).parent)


def _stack() -> tuple[tuple[str, int], ...]:
    def frames(frame: FrameType | None) -> Iterator[tuple[str, int]]:
        while frame is not None:
            if frame.f_code.co_filename.startswith(_OPERATOR) and not frame.f_code.co_filename.endswith(CLIENTS):
                yield frame.f_code.co_filename, frame.f_lineno
            frame = frame.f_back

    return tuple(frames(sys._getframe(2)))


def failing(places: Sequence[Place], known: Collection[Place]) -> Iterator[Blow]:
    """What fails in a phase. A read from a place that is known from an earlier phase is the same code once more."""
    for number, (place, times) in enumerate(Counter(places).items()):
        if place in known:
            continue
        yield from (Blow(place, 1, way) for way in _ways(place, number))
        if times > 1:
            yield Blow(place, times, "lost" if place.writes else FAILURES[number % 4])


def _ways(place: Place, turn: int) -> Sequence[Way]:
    if os.environ.get("EVERY_FAILURE"):
        return (*FAILURES, "dies")
    return ("lost", "dies", REFUSALS[turn % 3]) if place.writes else (FAILURES[turn % 4],)


# -- stories

Subject = Object | Environment


@dataclass(frozen=True)
class Phase:
    asked: Callable[[Any], object]
    stands: Callable[[Any], object]
    """Passes of the operator until it does."""
    strikes: bool = True

    @property
    def name(self) -> str:
        return self.asked.__name__


@dataclass(frozen=True)
class Story:
    begins: Callable[[Path], Subject]
    phases: Sequence[Phase]


MOMENT = timedelta(seconds=1)
THIRD, FOURTH, FIFTH = (f"registry.example.com/inference-server:1.{minor}.0" for minor in (5, 6, 7))
OTHERWISE: Mapping[str, Any] = {
    "models": {"path": "/recommender/2"},
    "health": {"path": "/other"},
    "ingress": {"paths": ["/a/*"]},
    "autoscaling": {
        "minReplicas": 3,
        "maxReplicas": 5,
        "requestsPerReplica": 600,
        "schedules": [NIGHT | {"name": "day"}],
    },
    "logging": {"routes": [{"to": ["errors"]}]},
}
OTHER_TAGS = [{"key": "cost", "value": "7"}]
SHIFTED = {"strategy": "BLUE_GREEN", "bakeTime": "0m"}
PAUSES = [{"stage": "POST_SCALE_UP", "timeout": "1h"}]


def quick(folder: Path) -> World:
    """ECS and its tasks take no time, and somebody else has things beside the object's."""
    world = World(folder, settings=Settings(latencies=BRIEF, healthy_after=MOMENT))
    world.balancer.decides_after = MOMENT
    world.runner.script = lambda _launch: Script(starts_after=MOMENT, health_after=MOMENT)
    return world


def with_everything(folder: Path) -> World:
    world = quick(folder)
    equip(world)
    strangers(world)
    return world


def strangers(world: World) -> None:
    """What is named almost as the object's things are, or says the same."""
    world.client("logs").create_log_group(logGroupName="/inference/shop/recommender-2")
    world.client("efs").create_access_point(
        ClientToken="theirs",
        FileSystemId=world.account.file_system,
        RootDirectory={"Path": "/models/recommender/1"},
        PosixUser={"Uid": 10001, "Gid": 10001},
    )
    world.client("elbv2").create_rule(
        ListenerArn=world.account.listener,
        Priority=49_000,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/shop/recommender-2/*"]}}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )
    world.client("ecs").register_task_definition(
        family="shop_recommender-2", containerDefinitions=[{"name": "theirs", "image": "theirs:1", "memory": 64}]
    )


def one_with_everything(folder: Path) -> Object:
    return Object(with_everything(folder), deployment_document(**MUCH))


def one_that_shifts(folder: Path) -> Object:
    it = Object(with_everything(folder), deployment_document(**MUCH, rollout=SHIFTED))
    until_ready(it)
    return it


def made(it: Object) -> None:
    """It has just been applied."""


def changed(it: Object) -> None:
    it.change(**OTHERWISE)


def reduced(it: Object) -> None:
    it.world.change_environment(serviceDiscovery=None)
    it.memory.forget()
    it.change(
        autoscaling=None,
        replicas=1,
        logging={},
        image=THIRD,
        tags=OTHER_TAGS,
    )


def deleted(it: Object) -> None:
    it.restart()


def released_with_a_pause(it: Object) -> None:
    it.change(image=THIRD, rollout={**SHIFTED, "pauses": PAUSES})


def continued(it: Object) -> None:
    it.annotate(CONTINUE_AT, "now")


def released_again(it: Object) -> None:
    it.change(image=FOURTH)


def rolled_back(it: Object) -> None:
    it.annotate(ROLLBACK_AT, "now")


def no_longer_shifted(it: Object) -> None:
    """And somebody has been at its things."""
    it.change(image=FIFTH, rollout={}, tags=OTHER_TAGS)
    cloud_map, elb = it.world.client("servicediscovery"), it.world.client("elbv2")
    records = {"DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 300}]}}
    cloud_map.update_service(Id=cloud_map.list_services()["Services"][0]["Id"], Service=records)
    elb.modify_target_group_attributes(
        TargetGroupArn=elb.describe_target_groups()["TargetGroups"][0]["TargetGroupArn"],
        Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}],
    )
    it.world.client("logs").delete_retention_policy(logGroupName="/inference/shop/recommender")
    it.memory.forget()


def until_ready(it: Object) -> None:
    it.live(lambda: it.ready)
    once_more(it)


def once_more(it: Object) -> None:
    """What could not be tidied up goes at the next look, however long that is."""
    it.world.advance(it.outcomes[-1].requeue_after)
    it.live(lambda: it.ready)


def until_reduced(it: Object) -> None:
    """What is not wanted any more goes after the rollout."""
    it.live(lambda: it.ready and not it.world.client("servicediscovery").list_services()["Services"])
    once_more(it)


def until_paused(it: Object) -> None:
    it.live(lambda: it.stands("Ready")[1] == "RolloutPaused" and it.status["readyReplicas"] == 4)


def until_rolled_back(it: Object) -> None:
    it.live(lambda: it.stands("Ready")[1] == "RolledBack" and it.outcomes[-1].requeue_after == RESYNC)


def until_gone(it: Subject) -> None:
    for _ in range(100):
        outcome = it.take_away()
        if outcome.done:
            return
        it.world.advance(outcome.requeue_after)
    raise AssertionError(f"it never went: {it.status}")


def an_environment(folder: Path) -> Environment:
    world = quick(folder)
    without_rules("tasks")(world)
    without_rules("models")(world)
    world.account.let_in(world.account.security_groups[0], world.account.balancer_group, 7000, 7000)
    world.client("sqs").create_queue(QueueName="events-2")
    world.client("events").put_rule(Name="events-2", EventPattern='{"source":["aws.ec2"]}')
    return Environment(world)


def opened(it: Environment, queue: str = "events", ports: Sequence[int] = (8080, 9000)) -> None:
    network = it.world.environments["default"]["spec"]["network"]
    it.objects = [deployment_document(f"s-{port}", port=port) for port in ports]
    it.change(events={"queue": queue}, network={**network, "manageSecurityGroupRules": True})


def renamed(it: Environment) -> None:
    opened(it, "renamed", (9000, 9001))


def meddled_with(it: Environment) -> None:
    events, sqs = it.world.client("events"), it.world.client("sqs")
    events.disable_rule(Name="renamed")
    events.remove_targets(Rule="renamed", Ids=["inference-operator"])
    url = sqs.get_queue_url(QueueName="renamed")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": "", "VisibilityTimeout": "0"})
    without_rules("models")(it.world)
    it.memory.forget()


def closed(it: Environment) -> None:
    it.change(events=None, network=it.world.environments["default"]["spec"]["network"])


def opened_again(it: Environment) -> None:
    opened(it, "again")


def emptied(it: Environment) -> None:
    it.objects = ()
    it.restart()


def until_in_order(it: Environment) -> None:
    """And what it was before is gone, and what it names was all looked at. Not all of that is there."""
    asked = it.document["spec"]["events"] or {}
    for _ in range(50):
        outcome = it.look()
        settled = all(c["status"] == "True" or c["reason"] == "VerificationFailed" for c in it.status["conditions"])
        seen = all(finding["result"] != "Unknown" for finding in it.status["verification"]["findings"])
        if settled and seen and it.status.get("events", {}).get("queue") == asked.get("queue"):
            return
        it.world.advance(outcome.requeue_after)
    raise AssertionError(f"it never was: {it.status}")


STORIES: Mapping[str, Story] = {
    "one with everything": Story(
        one_with_everything,
        [
            Phase(made, until_ready),
            Phase(changed, until_ready),
            Phase(reduced, until_reduced),
            Phase(deleted, until_gone),
        ],
    ),
    "one that shifts": Story(
        one_that_shifts,
        [
            Phase(released_with_a_pause, until_paused),
            Phase(continued, until_ready),
            Phase(released_again, until_paused, strikes=False),
            Phase(rolled_back, until_rolled_back),
            Phase(no_longer_shifted, until_ready),
        ],
    ),
    "an environment": Story(
        an_environment,
        [
            Phase(opened, until_in_order),
            Phase(renamed, until_in_order),
            Phase(meddled_with, until_in_order),
            Phase(closed, until_in_order),
            Phase(opened_again, until_in_order, strikes=False),
            Phase(emptied, until_gone),
        ],
    ),
}


# -- how it ends

CHOSEN = re.compile(
    r"""\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?   # times
    | \b(fsap|fs|fsmt|sg|sgr|subnet|vpc|srv|ns)-[0-9a-z]+ | \b([0-9a-f]{64}|[0-9a-f]{36}|[0-9a-f]{16})\b
    | \b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b | \becs-svc/\d+ | (?<=scalable-target/)\w+
    | (?<=hash[ ])[0-9a-f]{12} | (?<=/inference/shop_recommender/)[\w-]+""",
    re.VERBOSE,
)
"""What AWS chooses, and what follows from that."""

WORDS = (
    (re.compile(r"rollback was requested with the annotation [\w./-]+"), "asked back"),
    (re.compile(r"Service deployment rollback was requested by the user\.?"), "asked back"),  # the status was lost
)
PASSING = ("events", "stoppedTasks", "verification")
"""Members of a status that tell how it came to be."""
SEEN = ("Verified", "LogsFlowing")
"""Conditions that tell of a look, which may not have been possible, and is taken again later."""
DEPLOYMENT = ("status", "taskDefinition", "rolloutState", "runningCount")
QUEUE = ("QueueArn", "Policy", "VisibilityTimeout", "MessageRetentionPeriod")


def everything(it: Subject) -> Mapping[str, Mapping[str, Any]]:
    """All that the account holds of the kinds that the operator makes for such an object."""
    return around(it.world) if isinstance(it, Environment) else made_of(it.world)


def made_of(world: World) -> dict[str, dict[str, Any]]:
    found = world.holdings()
    for service in found["Service"].values():
        del service["events"]
        service["deployments"] = [{m: d[m] for m in DEPLOYMENT} for d in service["deployments"]]
        service["mounts"] = mounted(world, service, found["AccessPoint"])
    return found


def mounted(world: World, service: Mapping[str, Any], points: Mapping[str, Any]) -> str:
    """The path that its tasks see; they need the access point."""
    shown = world.client("ecs").describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    volume = next(v["efsVolumeConfiguration"] for v in shown["volumes"] if "efsVolumeConfiguration" in v)
    path: str = points[volume["authorizationConfig"]["accessPointId"]]["RootDirectory"]["Path"]
    return path


def around(world: World) -> dict[str, Mapping[str, Any]]:
    """What environments have for themselves."""
    sqs, events, ec2 = (world.client(service) for service in ("sqs", "events", "ec2"))
    urls = sqs.list_queues().get("QueueUrls", ())
    shown = {url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in urls}
    rules = [{m: r.get(m) for m in ("Name", "Arn", "EventPattern", "State")} for r in events.list_rules()["Rules"]]
    account = world.account
    groups = {account.security_groups[0]: "tasks", account.balancer_group: "balancer", account.models_group: "models"}
    opened = [r for r in ec2.describe_security_group_rules()["SecurityGroupRules"] if r["GroupId"] in groups]
    return {
        "EventQueue": {
            url: ({m: shown[url].get(m) for m in QUEUE}, sqs.list_queue_tags(QueueUrl=url).get("Tags")) for url in urls
        },
        "EventRule": {
            r["Name"]: (
                r,
                events.list_targets_by_rule(Rule=r["Name"])["Targets"],
                events.list_tags_for_resource(ResourceARN=r["Arn"])["Tags"],
            )
            for r in rules
        },
        "SecurityGroupRules": {
            r["SecurityGroupRuleId"]: (
                groups[r["GroupId"]],
                r["FromPort"],
                groups.get(r.get("ReferencedGroupInfo", {}).get("GroupId")),
                sorted((t["Key"], t["Value"]) for t in r["Tags"]),
            )
            for r in opened
        },
    }


def ended(it: Subject) -> list[str]:
    """The same for each life that ends as it should."""
    things = [f"{kind} {masked(thing)}" for kind, all_ in everything(it).items() for thing in all_.values()]
    lasting = [condition for condition in it.status.get("conditions", ()) if condition["type"] not in SEEN]
    status = {**it.status, "conditions": lasting}
    told = {name: masked(value) for name, value in status.items() if name not in PASSING}
    if isinstance(it, Environment):  # it lists rules by the ids of their groups
        told = {name: " ".join(sorted(re.split(r'[;,"] *', text))) for name, text in told.items()}
    return sorted(things) + [f"status.{name} {text}" for name, text in told.items()]


def masked(value: Any) -> str:
    text = CHOSEN.sub("…", json.dumps(value, sort_keys=True, default=str))
    for words, instead in WORDS:
        text = words.sub(instead, text)
    return text


# -- lives


@dataclass(frozen=True)
class Chapter:
    """What became of a phase."""

    phase: Phase
    door: Door
    ends: list[str] | None
    """None: nobody looked."""
    blow: Blow | None


def lived(story: Story, folder: Path, strikes: Mapping[str, Blow | None] | None = None) -> Iterator[Chapter]:
    """`strikes`: by phase, what fails in it; how the other phases end is not looked at then."""
    it = story.begins(folder)
    goes = story.phases[-1].stands is until_gone
    before = everything(it) if goes else {}
    for phase in story.phases:
        phase.asked(it)
        blow = strikes.get(phase.name) if strikes is not None else None
        door = Door(it.world, blow)
        it.world.answer_with(door)
        try:
            phase.stands(it)
        except DiedError:
            it.restart()
            phase.stands(it)
        it.world.answer_with(in_process.send)
        yield Chapter(phase, door, ended(it) if blow is not None or strikes is None else None, blow)
    assert not goes or everything(it) == before, "something is left, or somebody else's was touched"


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sequence[Chapter]]:
    """A story as it goes well."""

    @cache
    def chapters(name: str) -> Sequence[Chapter]:
        return list(lived(STORIES[name], tmp_path_factory.mktemp("told")))

    return chapters


def failures(told: Callable[[str], Sequence[Chapter]]) -> dict[str, dict[str, list[Blow]]]:
    """By story and by phase, all that fails."""
    known: set[Place] = set()
    found: dict[str, dict[str, list[Blow]]] = {}
    for name in STORIES:
        found[name] = {}
        for chapter in told(name):
            if chapter.phase.strikes:
                found[name][chapter.phase.name] = [*failing(chapter.door.places, known)]
                known |= {place for place in chapter.door.places if not place.writes}
    return found


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", STORIES)
def test_a_call_that_fails_makes_no_difference_in_the_end(
    name: str,
    part: int,
    told: Callable[[str], Sequence[Chapter]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    tried: list[str] = []
    planned: list[Blow] = []
    phases = failures(told)[name]
    for number, blows in list(enumerate(zip_longest(*phases.values())))[part::PARTS]:
        strikes = dict(zip(phases, blows, strict=True))
        for well, chapter in zip(told(name), lived(STORIES[name], tmp_path / str(number), strikes), strict=True):
            if chapter.blow is not None:
                assert chapter.ends == well.ends, f"{chapter.phase.name}: {chapter.blow}"
                planned.append(chapter.blow)
                if chapter.door.struck:  # what failed before may have made the call needless
                    tried.append(f"{name}/{chapter.phase.name}/{chapter.blow.place.name}/{chapter.blow.way}")
    assert len(tried) > 0.9 * len(planned)
    record_property(FAILED, tried)


ELSEWHERE = {
    "sqs:ReceiveMessage",  # the inbox, which has tests of its own
    "sqs:DeleteMessageBatch",
    "sqs:TagQueue",  # what an environment has for itself is made with its tags, and nobody else's is taken over
    "sqs:UntagQueue",
    "events:TagResource",
    "events:UntagResource",
}


def test_every_operation_that_the_operator_asks_for_in_a_pass_is_among_those_that_fail(
    told: Callable[[str], Sequence[Chapter]],
) -> None:
    asked = {
        place.operation
        for name in STORIES
        for chapter in told(name)
        if chapter.phase.strikes
        for place in chapter.door.places
    }
    services = {
        ports.Ecs: "ecs",
        ports.Efs: "elasticfilesystem",
        ports.Elb: "elasticloadbalancing",
        ports.Logs: "logs",
        ports.Sqs: "sqs",
        ports.Events: "events",
        ports.Scaling: "application-autoscaling",
        ports.Ec2: "ec2",
        ports.Discovery: "servicediscovery",
    }
    possible = {
        f"{service}:{''.join(word.capitalize() for word in name.split('_'))}"
        for port, service in services.items()
        for name, _ in inspect.getmembers(port, inspect.isfunction)
        if not name.startswith("_")
    }
    assert possible - asked == ELSEWHERE
