"""Which rule of a listener a request meets, and how a rule rewrites it. Pure: API documents in, values out.

The conditions, actions and transforms are those of the ELBv2 API types RuleCondition, Action and RuleTransform. Regular
expressions are Python's; AWS's have no lookaround and no backreference, so all that is valid there means the same here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote_plus

from inference_sandbox.ports import Document, RuleRoute


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What rules may look at in a request. `target` is path and query as sent, `headers` has names in lower case."""

    method: str
    host: str
    target: str
    headers: Mapping[str, Sequence[str]]
    source_ip: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


Condition = Callable[[Asked], bool]


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Send on to one of these target groups, by weight. `sticky_for`: seconds for which a client keeps its group."""

    weights: Mapping[str, int]
    sticky_for: int | None = None


@dataclass(frozen=True, kw_only=True)
class FixedResponse:
    status: int
    content_type: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Redirect:
    """Parts may hold `#{protocol}`, `#{host}`, `#{port}`, `#{path}` (without its first slash) and `#{query}`."""

    status: int
    protocol: str
    host: str
    port: str
    path: str
    query: str

    def location(self, asked: Asked, listener_port: int) -> str:
        own = {
            "protocol": "http",
            "host": host_name(asked.host),
            "port": str(listener_port),
            "path": asked.path.removeprefix("/"),
            "query": asked.query,
        }

        def fill(part: str) -> str:
            return re.sub(r"#\{(\w+)\}", lambda found: own.get(found[1], found[0]), part)

        query = fill(self.query)
        address = f"{fill(self.protocol).lower()}://{fill(self.host)}:{fill(self.port)}{fill(self.path)}"
        return f"{address}?{query}" if query else address


Action = Forward | FixedResponse | Redirect


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A compiled rule. `rewrite_target` and `rewrite_host` give the text that the target gets to see."""

    arn: str
    priority: int | None
    action: Action | None
    """None if its last action is of a type that is not done here (authentication, Lambda)."""
    conditions: Sequence[Condition] = ()
    target_rewrites: Sequence[tuple[re.Pattern[str], str]] = ()
    host_rewrites: Sequence[tuple[re.Pattern[str], str]] = ()

    def meets(self, asked: Asked) -> bool:
        return all(condition(asked) for condition in self.conditions)

    def rewrite_target(self, target: str) -> str:
        return _rewrite(self.target_rewrites, target)

    def rewrite_host(self, host: str) -> str:
        return _rewrite(self.host_rewrites, host)


def compile_rule(route: RuleRoute) -> Rule:
    """Raises ValueError for a condition or an expression that is not understood."""
    rewrites: dict[str, list[tuple[re.Pattern[str], str]]] = {"url-rewrite": [], "host-header-rewrite": []}
    for transform in route.transforms:
        config = transform.get("UrlRewriteConfig") or transform.get("HostHeaderRewriteConfig") or {}
        for rewrite in config.get("Rewrites") or ():
            rewrites[transform["Type"]].append((_regex(rewrite["Regex"], route.arn), _template(rewrite["Replace"])))
    return Rule(
        arn=route.arn,
        priority=route.priority,
        conditions=[_condition(condition, route.arn) for condition in route.conditions],
        action=_action(route.actions),
        target_rewrites=rewrites["url-rewrite"],
        host_rewrites=rewrites["host-header-rewrite"],
    )


def host_name(host: str) -> str:
    """A Host header without its port."""
    return re.sub(r":\d+$", "", host)


def _rewrite(rewrites: Sequence[tuple[re.Pattern[str], str]], text: str) -> str:
    """The first expression that is found in the text has what it matches replaced, everywhere; none: unchanged."""
    for pattern, template in rewrites:
        if pattern.search(text):
            return pattern.sub(template, text)
    return text


def _template(replace: str) -> str:
    """AWS's `$1` as Python's template has it; everything else is literal."""
    return re.sub(r"\$(\d)", r"\\g<\1>", replace.replace("\\", "\\\\"))


def _regex(expression: str, rule: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    try:
        return re.compile(expression, flags)
    except re.error as error:
        raise ValueError(f"rule {rule}: regular expression {expression!r} is not valid: {error}") from error


def _wildcard(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    r"""`*` is any text, `?` one character, `\*` and `\?` themselves; the pattern must fit the whole."""
    parts = re.split(r"(\\[*?\\]|[*?])", pattern)
    meaning = {"*": ".*", "?": "."}
    return re.compile(
        r"\A" + "".join(meaning.get(part) or re.escape(re.sub(r"^\\([*?\\])$", r"\1", part)) for part in parts) + r"\Z",
        flags | re.DOTALL,
    )


def _texts(config: Document, rule: str, flags: re.RegexFlag) -> list[re.Pattern[str]]:
    return [
        *(_wildcard(value, flags) for value in config.get("Values") or ()),
        *(_regex(value, rule, flags) for value in config.get("RegexValues") or ()),
    ]


def _condition(document: Document, rule: str) -> Condition:
    name = document["Field"]
    build = _CONDITIONS.get(name)
    if build is None:
        raise ValueError(f"rule {rule}: condition field {name!r} is not known: use one of {sorted(_CONDITIONS)}")
    member = "".join(word.capitalize() for word in name.split("-")) + "Config"
    return build(document.get(member) or {"Values": document.get("Values") or ()}, rule)


def _path(config: Document, rule: str) -> Condition:
    patterns = _texts(config, rule, re.NOFLAG)
    return lambda asked: any(pattern.search(asked.path) for pattern in patterns)


def _host(config: Document, rule: str) -> Condition:
    patterns = _texts(config, rule, re.IGNORECASE)
    return lambda asked: any(pattern.search(host_name(asked.host)) for pattern in patterns)


def _header(config: Document, rule: str) -> Condition:
    header = config["HttpHeaderName"].lower()
    patterns = _texts(config, rule, re.IGNORECASE)
    return lambda asked: any(pattern.search(value) for value in asked.headers.get(header, ()) for pattern in patterns)


def _method(config: Document, _rule: str) -> Condition:
    methods = frozenset(config["Values"])
    return lambda asked: asked.method in methods


def _query(config: Document, _rule: str) -> Condition:
    wanted = [
        (_wildcard(pair["Key"], re.IGNORECASE) if pair.get("Key") else None, _wildcard(pair["Value"], re.IGNORECASE))
        for pair in config["Values"]
    ]

    def met(asked: Asked) -> bool:
        pairs = [part.partition("=")[::2] for part in asked.query.split("&") if part]
        given = [(unquote_plus(key), unquote_plus(value)) for key, value in pairs]
        return any(
            (key is None or key.search(given_key)) and value.search(given_value)
            for key, value in wanted
            for given_key, given_value in given
        )

    return met


def _source(config: Document, _rule: str) -> Condition:
    networks = [ip_network(value, strict=False) for value in config["Values"]]
    return lambda asked: any(ip_address(asked.source_ip) in network for network in networks)


_CONDITIONS: Mapping[str, Callable[[Document, str], Condition]] = {
    "path-pattern": _path,
    "host-header": _host,
    "http-header": _header,
    "http-request-method": _method,
    "query-string": _query,
    "source-ip": _source,
}


def _action(actions: Sequence[Document]) -> Action | None:
    """The action that ends a rule. Those before it authenticate: such a rule is not served as if it had none."""
    if any(action["Type"].startswith("authenticate-") or action["Type"] == "jwt-validation" for action in actions):
        return None
    last: Mapping[str, Any] = max(actions, key=lambda action: action.get("Order") or 0, default={"Type": "none"})
    match last["Type"]:
        case "forward":
            groups = (last.get("ForwardConfig") or {}).get("TargetGroups")
            groups = groups or [{"TargetGroupArn": last["TargetGroupArn"]}]
            weights = {g["TargetGroupArn"]: 1 if g.get("Weight") is None else int(g["Weight"]) for g in groups}
            sticky = (last.get("ForwardConfig") or {}).get("TargetGroupStickinessConfig") or {}
            return Forward(weights=weights, sticky_for=sticky.get("DurationSeconds") if sticky.get("Enabled") else None)
        case "fixed-response":
            config = last["FixedResponseConfig"]
            return FixedResponse(
                status=int(config["StatusCode"]),
                content_type=config.get("ContentType") or "text/plain",
                body=config.get("MessageBody") or "",
            )
        case "redirect":
            config = last["RedirectConfig"]
            return Redirect(
                status=int(config["StatusCode"].removeprefix("HTTP_")),
                protocol=config.get("Protocol") or "#{protocol}",
                host=config.get("Host") or "#{host}",
                port=config.get("Port") or "#{port}",
                path=config.get("Path") or "/#{path}",
                query=config.get("Query") or "#{query}",
            )
    return None
