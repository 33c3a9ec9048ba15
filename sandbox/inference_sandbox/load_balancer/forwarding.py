"""One request through the load balancer: which rule, which target, there and back, and a line in the log.

Its duty ends with the request: it reads listeners and target groups, and changes nothing of them but a target's count
of requests under way. A failure is shown and never tried again, as an ALB does: a target that can't be reached, breaks
off or answers nonsense is a 502, one that is too slow a 504, a target group without targets a 503.

Not done: HTTP/2, TLS, WebSockets, authentication (answered with an ALB's 561), Lambda targets. A target's
answer that has a body but no Content-Type leaves as `application/octet-stream`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from inference_sandbox.load_balancer import headers, pages
from inference_sandbox.load_balancer.rules import Asked, FixedResponse, Forward, Redirect, Rule
from inference_sandbox.load_balancer.stickiness import BY_GROUP, Seal, Sticky
from inference_sandbox.load_balancer.targets import Target, TargetGroup, WeightedTurn
from inference_sandbox.load_balancer.traffic import AccessLogEntry
from inference_sandbox.ports import Clock

CONNECT_TIMEOUT = 10.0
"""Seconds an ALB gives a target to accept a connection."""

_CLIENT_CLOSED = 460
_AUTHENTICATION_FAILED = 561
_NOT_YET = -1.0


class TargetBroke(Exception):
    """The connection to a target could not be made, or ended before an answer.

    No subclass of aiohttp's own errors, for those its client tries again by itself.
    """

    def __init__(self, *, connected: bool) -> None:
        super().__init__()
        self.connected = connected


@dataclass(eq=False)
class Listener:
    """What a listener's requests are judged by. Replaced rule by rule lists; a request keeps the list it began with."""

    arn: str
    port: int
    rules: tuple[Rule, ...]
    turns: dict[str, WeightedTurn] = field(default_factory=dict)
    is_open: bool = True
    """Once False, no connection is kept for a further request."""


@dataclass(eq=False)
class _Exchange:
    """What is known so far of a request under way."""

    listener: Listener
    request: web.BaseRequest
    asked: Asked
    client_port: int
    trace_id: str
    began: float
    at: datetime
    rule: Rule | None = None
    group_arn: str | None = None
    target: Target | None = None
    connected: bool = True
    sent_to_target: float | None = None
    answered: float | None = None
    target_status: int | None = None
    elb_status: int = 0
    received: int = 0
    sent: int = 0
    cookies: list[str] = field(default_factory=list)
    """Set-Cookie headers to add to the target's answer."""
    cookies_if: tuple[str, list[str]] | None = None
    """Others, to add if the target sets the cookie of this name."""
    action: str | None = None
    redirect_url: str | None = None
    error: str | None = None

    def entry(self) -> AccessLogEntry:
        now = time.monotonic()
        reached, answered = self.sent_to_target, self.answered
        return AccessLogEntry(
            time=self.at,
            listener_arn=self.listener.arn,
            rule_arn=self.rule.arn if self.rule else None,
            target_group_arn=self.group_arn,
            client=f"{self.asked.source_ip}:{self.client_port}",
            target=f"{self.target.address}:{self.target.port}" if self.target else None,
            method=self.asked.method,
            url=f"http://{self.asked.host}{self.asked.target}",
            protocol=f"HTTP/{self.request.version.major}.{self.request.version.minor}",
            request_processing_time=reached - self.began if reached is not None else _NOT_YET,
            target_processing_time=answered - reached if answered is not None and reached is not None else _NOT_YET,
            response_processing_time=now - answered if answered is not None else _NOT_YET,
            elb_status_code=self.elb_status,
            target_status_code=self.target_status,
            received_bytes=self.received,
            sent_bytes=self.sent,
            user_agent=self.request.headers.get("User-Agent", "-"),
            trace_id=self.trace_id,
            rule_priority=(self.rule.priority if self.rule else None) or 0,
            action=self.action,
            redirect_url=self.redirect_url,
            error_reason=self.error,
        )


class Forwarding:
    """Answers the requests of all listeners. Lives in the load balancer's event loop.

    `groups` is read anew for each request. `done` gets an entry for each, and whether its target could be reached.
    """

    def __init__(
        self,
        groups: Mapping[str, TargetGroup],
        *,
        idle_timeout: float,
        done: Callable[[AccessLogEntry, bool], None],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._seal = Seal()
        self._groups = groups
        self._done = done
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_timeout),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=idle_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            middlewares=(_show_failures,),
        )
        self._under_way: dict[Target, set[asyncio.Task[object]]] = {}

    def break_off(self, target: Target) -> None:
        """End the requests that a target has not finished, by closing their clients' connections."""
        for task in self._under_way.pop(target, set()):
            task.cancel()

    async def close(self) -> None:
        await self._client.close()

    async def answer(self, listener: Listener, request: web.BaseRequest) -> web.StreamResponse:
        exchange = _begin(listener, request)
        try:
            response = await self._apply_rules(exchange)
            exchange.elb_status = response.status
            if not listener.is_open:
                response.force_close()
            if isinstance(response, web.Response) and isinstance(response.body, bytes):
                exchange.sent = len(response.body)
            return response
        except (asyncio.CancelledError, ConnectionError):
            exchange.elb_status = _CLIENT_CLOSED
            raise
        finally:
            exchange.received = request.content.total_bytes
            self._done(exchange.entry(), exchange.connected)

    async def _apply_rules(self, exchange: _Exchange) -> web.StreamResponse:
        listener, asked = exchange.listener, exchange.asked
        rule = exchange.rule = next((rule for rule in listener.rules if rule.meets(asked)), None)
        match rule.action if rule else None:
            case Forward() as forward if rule is not None:
                exchange.action = "forward"
                exchange.group_arn = self._choose_group(exchange, rule, forward)
                return await self._forward(exchange, rule)
            case FixedResponse(status=status, content_type=content_type, body=body):
                exchange.action = "fixed-response"
                return _own(status, body, content_type)
            case Redirect() as redirect:
                response = _own(redirect.status, pages.page(redirect.status))
                exchange.action, exchange.redirect_url = "redirect", redirect.location(asked, listener.port)
                response.headers["Location"] = exchange.redirect_url
                return response
        return _own_page(_AUTHENTICATION_FAILED if rule else 404)

    def _choose_group(self, exchange: _Exchange, rule: Rule, forward: Forward) -> str | None:
        now, kept = self._clock.now(), None
        if forward.sticky_for is not None:
            candidates = [(arn, arn) for arn, weight in forward.weights.items() if weight > 0]
            kept = self._seal.meant(exchange.request.cookies.get(BY_GROUP), candidates, now)
        chosen = kept or exchange.listener.turns.setdefault(rule.arn, WeightedTurn()).choose(forward.weights)
        if chosen is not None and forward.sticky_for is not None:
            exchange.cookies += self._seal.cookies(BY_GROUP, chosen, now, timedelta(seconds=forward.sticky_for))
        return chosen

    def _choose_target(self, exchange: _Exchange, group: TargetGroup) -> Target | None:
        now, sticky, cookies = self._clock.now(), Sticky.of(group), exchange.request.cookies
        kept = None
        if sticky is not None and sticky.is_meant(cookies):
            candidates = [(_who(target), target) for target in group.eligible()]
            kept = self._seal.meant(cookies.get(sticky.name), candidates, now)
        target = kept or group.choose(now)
        if target is not None and sticky is not None:
            made = self._seal.cookies(sticky.name, _who(target), now, sticky.lasts)
            if sticky.cookie is None:
                exchange.cookies += made
            else:
                exchange.cookies_if = sticky.cookie, made
        return target

    async def _forward(self, exchange: _Exchange, rule: Rule) -> web.StreamResponse:
        group = self._groups.get(exchange.group_arn or "")
        target = exchange.target = self._choose_target(exchange, group) if group else None
        if target is None:
            return _own_page(503)
        try:
            path = rule.rewrite_target(exchange.asked.target)
            host = rule.rewrite_host(exchange.asked.host)
        except (re.error, IndexError):
            path, host = "", ""
        if not path.startswith("/"):
            exchange.error = "TransformFailed"
            return _own_page(500)
        task = asyncio.current_task()
        tasks = self._under_way.setdefault(target, set())
        if task:
            tasks.add(task)
        target.outstanding += 1
        try:
            return await self._relay(exchange, target, path, host)
        finally:
            target.outstanding -= 1
            tasks.discard(task)
            if not tasks:
                self._under_way.pop(target, None)

    async def _relay(self, exchange: _Exchange, target: Target, path: str, host: str) -> web.StreamResponse:
        request = exchange.request
        await _continue_if_expected(request)
        exchange.sent_to_target = time.monotonic()
        try:
            upstream = await self._client.request(
                request.method,
                URL(f"http://{target.address}:{target.port}{path}", encoded=True),
                headers=headers.for_target(
                    request.headers,
                    host=host,
                    client=exchange.asked.source_ip,
                    port=exchange.listener.port,
                    trace=exchange.trace_id,
                ),
                data=_body(request),
                allow_redirects=False,
            )
        except TimeoutError as error:
            exchange.connected = not isinstance(error, aiohttp.ConnectionTimeoutError)
            return _own_page(504)
        except TargetBroke as error:
            exchange.connected = error.connected
            return _own_page(502)
        except aiohttp.ClientError:
            return _own_page(502)
        async with upstream:
            exchange.answered = time.monotonic()
            exchange.target_status = upstream.status
            return await _pass_back(exchange, upstream)


async def _show_failures(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except TimeoutError:
        raise
    except aiohttp.ClientConnectorError as error:
        raise TargetBroke(connected=False) from error
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise TargetBroke(connected=True) from error


async def _pass_back(exchange: _Exchange, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    request = exchange.request
    sent = headers.end_to_end(upstream.headers)
    sent.setdefault("Server", pages.SERVER)
    for cookie in _cookies(exchange, upstream):
        sent.add("Set-Cookie", cookie)
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=sent)
    await response.prepare(request)
    try:
        async for chunk in upstream.content.iter_any():
            exchange.sent += len(chunk)
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        # The status is out: all that is left to tell the client is that the body is not whole.
        exchange.error = f"TargetBrokeOff: {error}"
        if request.transport:
            request.transport.abort()
    else:
        await response.write_eof()
    return response


def _cookies(exchange: _Exchange, upstream: aiohttp.ClientResponse) -> list[str]:
    if exchange.cookies_if is not None and exchange.cookies_if[0] in upstream.cookies:
        return exchange.cookies + exchange.cookies_if[1]
    return exchange.cookies


def _who(target: Target) -> str:
    return f"{target.address}:{target.port}"


def _begin(listener: Listener, request: web.BaseRequest) -> _Exchange:
    by_name: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        by_name.setdefault(name.lower(), []).append(value)
    asked = Asked(
        method=request.method,
        host=request.headers.get("Host", ""),
        target=_origin_form(request.raw_path),
        headers=by_name,
        source_ip=request.remote or "127.0.0.1",
    )
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return _Exchange(
        listener=listener,
        request=request,
        asked=asked,
        client_port=peer[1] if peer else 0,
        trace_id=headers.trace_id(request.headers),
        began=time.monotonic(),
        at=datetime.now(UTC),
    )


def _origin_form(target: str) -> str:
    """Path and query, also of a request line that has the whole URL."""
    return re.sub(r"^https?://[^/?]*", "", target, flags=re.IGNORECASE) or "/"


def _body(request: web.BaseRequest) -> aiohttp.StreamReader | bytes | None:
    if not request.body_exists:
        return None
    if request.content.is_eof():
        return request.content.read_nowait()
    return request.content


async def _continue_if_expected(request: web.BaseRequest) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _own_page(status: int) -> web.Response:
    return _own(status, pages.page(status), "text/html")


def _own(status: int, body: str, content_type: str = "text/html") -> web.Response:
    return web.Response(
        status=status,
        reason=pages.title(status).partition(" ")[2],
        body=body.encode(),
        headers=CIMultiDict({"Server": pages.SERVER, "Content-Type": content_type}),
    )
