"""Routes → a configuration of Fluent Bit in its classic format, which FireLens includes after its own inputs.

The chain: parts of long lines are joined, then tracebacks; JSON lines become members; helpers named `_rt_…` hold what
routes ask for; each route marks the lines that it takes, unless one before it did; one filter gives every line the tag
`r.<route>.<its tag>`, or `r.drop.<its tag>`; outputs match those. What has such a tag meets none of the filters before:
they match the containers' own tags alone, so nothing goes round.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from inference_operator.api.destinations import Destination
from inference_operator.api.logging import CONFIGURATION_LENGTH, FieldMatch, Match, Route
from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.fluentbit import masking, routing
from inference_operator.fluentbit.classic import Section, any_of, comment, document, literal, onigmo, share
from inference_operator.fluentbit.intent import Intent, intent
from inference_operator.fluentbit.outputs import LINE_ID, TIME, cloud_watch, output

Entries = list[tuple[str, str]]

FOLDER = "/router"
MAIN_FILE = f"{FOLDER}/router.conf"
PARSERS_FILE = f"{FOLDER}/parsers.conf"
VARIABLES = ("ROUTER_CONF", "ROUTER_PARSERS")
"""In which the texts of the two files come."""
PORT = "2020"
"""Where the router tells its counters."""
PORTS = {
    PORT: "the log router tells its counters",
    "8877": "FireLens has its health check",
    "24224": "FireLens has its own",
}
"""Taken in a task with a router, whose network all containers share."""
CHUNKS = "16384"
"""As many as Fluent Bit can have on their way. Of each route and container one a second waits for a destination that is
not reached, open until it is given up, and with that many open the router takes in nothing, for no destination. An open
file each; a container on Fargate may have 65,535."""
DROP = "drop"
SOMETHING = r"\A[\s\S]"
TEXTUAL = r"[\s\S]|\A\z"
"""Matches every text, and true and false; nothing else."""
DEBUG = "debug_until"
"""The alias of the output of debugging; no destination can have that name."""


def _one_object(depth: int) -> str:
    """From its first brace to the one that closes it, those in strings aside, with so many objects and lists in one
    another at most. Written out: a pattern that calls itself has no such limit, and takes the square of the depth.
    Each turn of a repeat of more than single characters is remembered, up to a hundred times its length: what has none
    of a string's escapes, and no brace, is one turn each."""
    nested = r"[\[{]\g<s>[\]}]"
    for _ in range(depth - 1):
        nested = rf"[\[{{]\g<s>(?:{nested}\g<s>)*+[\]}}]"
    plain, string = r"[^\[\]{}\x22]*+", r"\x22[^\\\x22]*+(?:\\.[^\\\x22]*+)*+\x22"
    return rf"(?<s>{plain}(?:{string}{plain})*+){{0}}\A\s*(?=\{{){nested}\s*\z"


ONE_OBJECT = _one_object(routing.DEPTH)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    main: str
    parsers: str

    @property
    def hash(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(f"{self.main}\0{self.parsers}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.main.encode()) + len(self.parsers.encode())


def render(intent: Intent) -> Configuration:
    """Raises ValueError where a value would leave its place, which the API's limits rule out."""
    return Configuration(main=document(_Router(intent).sections()), parsers=document(parsers()))


def refusals(spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec) -> list[str]:
    """One sentence if the configuration for these routes would be too long."""
    longest = {"namespace": "n" * 63, "name": "n" * 40, "log_group": "n" * 120}
    size = len(render(intent(spec, environment, **longest, now=datetime.min.replace(tzinfo=UTC))))
    if size <= CONFIGURATION_LENGTH:
        return []
    limit = f"{CONFIGURATION_LENGTH} is the limit; take fewer routes, or shorter values and regular expressions"
    return [f"spec.logging.routes make a configuration of {size} bytes for the log router, and {limit}"]


def service() -> Section:
    return Section(
        kind="SERVICE",
        entries=[
            ("Flush", "1"),
            ("Grace", "50"),
            ("Parsers_File", PARSERS_FILE),
            ("HTTP_Server", "On"),
            ("HTTP_Listen", "127.0.0.1"),
            ("HTTP_Port", PORT),
            ("json.escape_unicode", "Off"),
            ("scheduler.base", "2"),
            ("scheduler.cap", "60"),
            ("storage.path", f"{FOLDER}/chunks"),
            ("storage.max_chunks_up", CHUNKS),
        ],
    )


@dataclass(frozen=True)
class _Router:
    intent: Intent

    def sections(self) -> Iterator[Section]:
        yield service()
        yield from self._joined()
        yield from self._told_apart()
        yield from self._helpers()
        for number, route in enumerate(self.intent.routes):
            yield from self._route(number, route)
        yield self._retagged()
        yield from self._finished()
        yield from self._outputs()

    @property
    def _ours(self) -> tuple[str, str]:
        return "Match_Regex", _tags(*self.intent.containers)

    def _filter(self, name: str, *entries: tuple[str, str], comments: tuple[str, ...] = ()) -> Section:
        return Section(kind="FILTER", entries=[("Name", name), self._ours, *entries], comments=comments)

    # --- A line as it was written ---

    def _joined(self) -> Iterator[Section]:
        yield self._filter(
            "multiline",
            ("Mode", "partial_message"),
            ("Multiline.Key_Content", "log"),
            ("Flush_ms", "5000"),  # of a router that is short of CPU parts may come late
            ("Emitter_Name", "partial"),
            comments=("Lines longer than 16 KiB come in parts.",),
        )
        yield self._filter(
            "multiline",
            ("Multiline.Key_Content", "log"),
            ("Multiline.Parser", "traceback"),
            ("Flush_ms", "500"),
            ("Emitter_Name", "traceback"),
            comments=("The lines of a traceback are one.",),
        )

    def _told_apart(self) -> Iterator[Section]:
        """JSON lines become members, the others stay whole in `log`."""
        yield self._filter(
            "modify",
            ("Rename", "source _rt_stream"),
            ("Remove", "container_id"),
            ("Remove", "container_name"),
            comments=("What the log driver says, out of the way of members of the same names.",),
        )
        for container in self.intent.containers:
            yield Section(
                kind="FILTER",
                entries=[
                    ("Name", "record_modifier"),
                    ("Match_Regex", _tags(container)),
                    ("Record", f"_rt_container {container}"),
                ],
            )
        yield self._filter(
            "modify",
            _where("log", ONE_OBJECT),
            ("Condition", f"Key_value_does_not_match log {routing.HELPER_IN_JSON}"),
            ("Rename", "log _rt_json"),
            comments=("Lines that are one object go to the JSON parser, which would drop what follows an object.",),
        )
        if self._inner:
            yield self._filter(
                "lua",
                ("Call", "mask"),
                ("Code", masking.script(_inner(self.intent.redact), _inner(self.intent.remove))),
                comments=(
                    "What is asked of members of inner objects is made ready here, and takes effect at the end.",
                ),
            )
        yield self._filter("parser", ("Key_Name", "_rt_json"), ("Parser", "json_object"), ("Reserve_Data", "On"))
        no_json = [("Rename", "_rt_json log")]
        if self._inner:
            no_json = [("Condition", "Key_exists _rt_json"), *no_json, ("Remove", masking.MASKED)]
        yield self._filter("modify", *no_json, comments=("It was no JSON after all.",))

    # --- What routes ask for ---

    def _helpers(self) -> Iterator[Section]:
        matches = [route.match for route in self.intent.routes if route.match is not None]
        if any(match.levels for match in matches):
            yield from self._level()
        if any(match.path for match in matches):
            yield self._parsed("log", "request_line", comments=("The path of a request.",))
            yield self._copied("path", "_rt_path")
        if any(match.regex for match in matches):
            yield self._copied("log", "_rt_message", comments=("The message.",))
            yield self._copied("message", "_rt_message")
        for name in sorted({field.name for match in matches for field in match.fields if _needs_numbers(field)}):
            yield self._copied(name, _field(name), comments=(f"The member {name}, as text.",))
            yield from self._number(name, _field(name))
        nested = {field.name.partition(".")[0] for match in matches for field in match.fields if "." in field.name}
        for name in sorted(nested):
            yield self._filter(
                "modify",
                ("Condition", f"Key_value_does_not_match {name} {TEXTUAL}"),
                ("Hard_copy", f"{name} {_object(name)}"),
                comments=(f"The member {name}, but for a text, which would be taken for a member of its own.",),
            )
        if any(route.sample_percent for route in self.intent.routes):
            yield self._filter("record_modifier", ("Uuid_Key", "_rt_dice"), comments=("A random number.",))

    def _level(self) -> Iterator[Section]:
        yield self._parsed(
            "log", "level_traceback", "level_text", comments=("The level: of a text its first, of JSON its member.",)
        )
        for member in reversed(routing.LEVEL_MEMBERS):
            yield self._copied(member, "_rt_level")
        yield from self._number(routing.LEVEL_MEMBERS[0], "_rt_level")

    def _parsed(self, key: str, *names: str, comments: tuple[str, ...] = ()) -> Section:
        kept = (("Preserve_Key", "On"), ("Reserve_Data", "On"))
        return self._filter(
            "parser", ("Key_Name", key), *(("Parser", name) for name in names), *kept, comments=comments
        )

    def _copied(self, member: str, helper: str, comments: tuple[str, ...] = ()) -> Section:
        return self._filter("modify", _where(member, SOMETHING), ("Hard_copy", f"{member} {helper}"), comments=comments)

    def _number(self, member: str, helper: str) -> Iterator[Section]:
        """A whole number as text: conditions see texts alone."""
        yield self._filter(
            "modify",
            ("Condition", f"Key_exists {member}"),
            ("Condition", f"Key_value_does_not_match {member} {TEXTUAL}"),
            ("Hard_copy", f"{member} _rt_number"),
        )
        # Of what is no whole number it would tell in a line each.
        yield self._filter("type_converter", ("Log_Level", "off"), ("int_key", "_rt_number _rt_digits string"))
        yield self._filter(
            "modify",
            _where("_rt_digits", SOMETHING),
            ("Hard_rename", f"_rt_digits {helper}"),
            ("Remove", "_rt_number"),
        )

    # --- Routes ---

    def _route(self, number: int, route: Route) -> Iterator[Section]:
        told = f"Route {number}: {comment(described(route))}"
        conditions = [] if route.match is None else list(_conditions(route.match))
        if route.sample_percent is not None:
            dice = _where("_rt_dice", share(route.sample_percent))
            yield self._filter("modify", *conditions, dice, ("Add", f"_rt_route {number}"), comments=(told,))
            told = f"Route {number}: the others of its lines"
        mark = DROP if route.drop or route.sample_percent is not None else str(number)
        yield self._filter("modify", *conditions, ("Add", f"_rt_route {mark}"), comments=(told,))

    def _retagged(self) -> Section:
        return self._filter(
            "rewrite_tag",
            ("Rule", r"$_rt_route \A(.+)\z r.$1.$TAG false"),
            ("Emitter_Name", "router"),
            ("Emitter_Storage.type", "filesystem"),
            ("Emitter_Mem_Buf_Limit", "0"),  # none: beyond one, lines are lost for every destination, and uncounted
            comments=("Every line gets its route's tag, once.",),
        )

    # --- What goes out ---

    def _finished(self) -> Iterator[Section]:
        all_routed = ("Match", "r.*")
        yield from self._masked()
        for member in _outer(self.intent.redact):
            entries = [("Condition", f"Key_exists {member}"), ("Set", f"{member} [redacted]")]
            yield Section(kind="FILTER", entries=[("Name", "modify"), all_routed, *entries])
        removals = [("Remove", member) for member in _outer(self.intent.remove)]
        helpers = (
            "Remove_regex",
            rf"\A{routing.HELPER}",
        )  # not Remove_wildcard: a member without a name would crash it
        labels = [("Rename", "_rt_stream stream"), ("Rename", "_rt_container container")]
        yield Section(
            kind="FILTER",
            entries=[("Name", "modify"), all_routed, *removals, *labels, helpers],
            comments=("Labels stay, helpers go.",),
        )
        service_label = f"inference_service {self.intent.namespace}/{self.intent.name}"
        yield Section(kind="FILTER", entries=[("Name", "record_modifier"), all_routed, ("Record", service_label)])
        yield from self._fitted()

    @property
    def _inner(self) -> Sequence[str]:
        return _inner([*self.intent.redact, *self.intent.remove])

    def _masked(self) -> Iterator[Section]:
        if self._inner:
            replaced = [("Remove", name) for name in masking.beginnings(self._inner)]
            yield Section(
                kind="FILTER",
                entries=[
                    ("Name", "modify"),
                    ("Match", "r.*"),
                    ("Condition", f"Key_exists {masking.MASKED}"),
                    *replaced,
                ],
                comments=("Members of inner objects are masked.",),
            )
            entries = [("Name", "parser"), ("Match", "r.*"), ("Key_Name", masking.MASKED), ("Parser", "json_object")]
            yield Section(kind="FILTER", entries=[*entries, ("Reserve_Data", "On")])

    def _fitted(self) -> Iterator[Section]:
        """What some kinds of destination need of their lines."""
        searched = self._routes_to(lambda destination: destination.open_search is not None)
        streamed = self._routes_to(lambda destination: destination.firehose is not None)
        if named := sorted({*searched, *streamed}):
            yield Section(
                kind="FILTER",
                entries=[("Name", "record_modifier"), _of_routes(named), ("Uuid_Key", LINE_ID)],
                comments=("By its id a line that is sent again is known.",),
            )
        if streamed:
            yield Section(
                kind="FILTER",
                entries=[("Name", "modify"), _of_routes(streamed), ("Rename", f"{TIME} timestamp"), ("Remove", TIME)],
                comments=(f"Firehose's output adds {TIME} to a line, also to one that has it.",),
            )

    def _routes_to(self, wanted: Callable[[Destination], bool]) -> Sequence[int]:
        used = self.intent.used.items()
        return sorted({n for name, numbers in used if wanted(self.intent.destinations[name]) for n in numbers})

    def _outputs(self) -> Iterator[Section]:
        """They end in this order when the router stops, and only then S3's sends what it has: it waits for no other."""
        destinations = self.intent.destinations
        for name, numbers in sorted(self.intent.used.items(), key=lambda used: destinations[used[0]].s3 is None):
            first, *rest = output(self.intent, name, destinations[name])
            told = f"Destination {name}: of route{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
            yield Section(kind="OUTPUT", entries=[first, _of_routes(numbers), *rest], comments=(told,))
        if self.intent.debug_group is not None:
            first, *rest = cloud_watch(self.intent, DEBUG, self.intent.debug_group)
            told = "Until debugUntil: every line, dropped ones too"
            yield Section(kind="OUTPUT", entries=[first, ("Match", "r.*"), *rest], comments=(told,))
        yield Section(kind="OUTPUT", entries=[("Name", "null"), ("Match", f"r.{DROP}.*")], comments=("Dropped.",))


def _tags(*containers: str) -> str:
    """A task's id is 32 hexadecimal digits, with hyphens in older accounts."""
    return rf"^(?:{'|'.join(containers)})-firelens-[0-9a-f-]{{32,36}}$"


def _of_routes(numbers: Sequence[int]) -> tuple[str, str]:
    return "Match_Regex", rf"^r\.(?:{'|'.join(map(str, numbers))})\."


def _where(member: str, regex: str) -> tuple[str, str]:
    return "Condition", f"Key_value_matches {member} {regex}"


def _conditions(match: Match) -> Iterator[tuple[str, str]]:
    if match.levels:
        names = [name for level in match.levels for name in routing.LEVELS[level]]
        yield _where("_rt_level", rf"\A(?i:{'|'.join(names)})\z")
    for asked in match.fields:
        member = _field(asked.name) if _needs_numbers(asked) else _accessor(asked.name)
        yield _where(member, onigmo(asked.regex) if asked.regex is not None else any_of(asked.values))
    if match.source is not None:
        yield _where("_rt_stream", rf"\A{match.source}\z")
    if match.path is not None:
        yield _where("_rt_path", _path(match.path))
    if match.regex is not None:
        yield _where("_rt_message", onigmo(match.regex))
    if match.container is not None:
        yield _where("_rt_container", rf"\A{match.container}\z")


def _path(asked: str) -> str:
    if asked.endswith("*"):
        return rf"\A{literal(asked[:-1])}"
    return rf"\A{literal(asked)}(?:\?[\s\S]*)?\z"


def _outer(names: Sequence[str]) -> Sequence[str]:
    return [name for name in names if "." not in name]


def _inner(names: Sequence[str]) -> Sequence[str]:
    return [name for name in names if "." in name]


def _needs_numbers(asked: FieldMatch) -> bool:
    whole = any(re.fullmatch("-?[0-9]+", value) for value in asked.values)
    return whole and "." not in asked.name


def _field(name: str) -> str:
    return f"{routing.HELPER}field_{name}"


def _object(name: str) -> str:
    """In a word that an accessor can begin with: not with @, nor with TAG. No name has a slash."""
    return f"{routing.HELPER}object_{name.replace('@', '/')}"


def _accessor(name: str) -> str:
    first, *rest = name.split(".")
    return first if not rest else f"${_object(first)}" + "".join(f"['{part}']" for part in rest)


def described(route: Route) -> str:
    """A route in words."""
    match = route.match
    parts = []
    if match is not None:
        parts += [f"levels {', '.join(match.levels)}"] if match.levels else []
        for asked in match.fields:
            wanted = f"~ {asked.regex}" if asked.regex is not None else f"= {' | '.join(asked.values)}"
            parts.append(f"{asked.name} {wanted}")
        parts += [f"on {match.source}"] if match.source else []
        parts += [f"path {match.path}"] if match.path else []
        parts += [f"message ~ {match.regex}"] if match.regex else []
        parts += [f"of {match.container}"] if match.container else []
    share_of = f"{route.sample_percent} % " if route.sample_percent is not None else ""
    return f"{' and '.join(parts) or 'the rest'} -> {share_of}{', '.join(route.to) or 'dropped'}"


def parsers() -> list[Section]:
    """The same for every intent."""

    def of_regex(name: str, regex: str) -> Section:
        named = regex.replace("(?P<level>", "(?<_rt_level>").replace("(?P<path>", "(?<_rt_path>")
        return Section(kind="PARSER", entries=[("Name", name), ("Format", "regex"), ("Regex", named)])

    entries: Entries = [("Name", "traceback"), ("Type", "regex"), ("Flush_Timeout", "1000")]
    entries += [("Rule", f'"{state}" "/{regex}/" "{after}"') for state, regex, after in routing.JOINING]
    return [
        Section(kind="PARSER", entries=[("Name", "json_object"), ("Format", "json")]),
        of_regex("level_traceback", routing.TRACEBACK),
        of_regex("level_text", routing.LEVEL_IN_TEXT),
        of_regex("request_line", routing.REQUEST_LINE),
        Section(kind="MULTILINE_PARSER", entries=entries, comments=("Chained tracebacks are one as well.",)),
    ]
