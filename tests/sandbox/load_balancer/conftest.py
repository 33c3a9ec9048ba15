"""What the tests of the load balancer share: real small web servers as targets, and documents in the API's shape."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import httpx
import pytest

from inference_sandbox.ecs.clock import WallClock
from inference_sandbox.load_balancer.balancer import HttpLoadBalancer
from inference_sandbox.load_balancer.traffic import AccessLogEntry
from inference_sandbox.ports import ListenerRoutes, RuleRoute, TargetGroupSettings, TargetState

DEADLINE = 20.0
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener/app/test/1/1"
T = TypeVar("T")


def poll(look: Callable[[], T | None]) -> T:
    """The first thing that `look` finds before the deadline."""
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        pause.wait(0.01)
    raise AssertionError("waited in vain")


class Backend:
    """A web server that answers with its name, or echoes a body.

    `health` is the status under /health; what is under /held waits for `gate`; /cookie/NAME sets a cookie; /cut,
    /hang-up, /empty/NNN and /status/NNN do as they are named.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.health = 200
        self.gate = threading.Event()
        self.checks: list[Mapping[str, str]] = []
        self.seen: list[tuple[str, str, Mapping[str, str], bytes]] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                backend._answer(self)

            do_POST = do_HEAD = do_PUT = do_GET  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address, self.port = "127.0.0.1", int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = _read_body(handler)
        path = handler.path
        if path.startswith("/health"):
            self.checks.append(dict(handler.headers.items()))
            _reply(handler, self.health, b"")
            return
        self.seen.append((handler.command, path, dict(handler.headers.items()), body))
        if path.startswith("/held"):
            self.gate.wait(DEADLINE)
        if path.startswith("/cookie/"):
            _reply(handler, 200, self.name.encode(), cookie=path.rsplit("/", 1)[1])
            return
        if path.startswith("/cut"):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        if path.startswith("/empty/"):
            handler.send_response(int(path.rsplit("/", 1)[1]))
            handler.end_headers()
            return
        if path.startswith(("/cut", "/hang-up")):
            handler.close_connection = True
            return
        _reply(handler, int(path.rsplit("/", 1)[1]) if path.startswith("/status/") else 200, body or self.name.encode())


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def _reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, *, cookie: str | None = None) -> None:
    with contextlib.suppress(ConnectionError):
        handler.send_response(status)
        if cookie:
            handler.send_header("Set-Cookie", f"{cookie}=its-own; Path=/")
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "X-Private")
        handler.send_header("X-Private", "only for the next hop")
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)


def group(name: str = "a", **changes: Any) -> TargetGroupSettings:
    """A target group's settings, checked often; attributes have dots in their names, so they come as `attributes`."""
    attributes = changes.pop("attributes", {})
    return TargetGroupSettings(
        arn=f"arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/{name}/1",
        settings={
            "HealthCheckPath": "/health",
            "HealthCheckPort": "traffic-port",
            "HealthCheckProtocol": "HTTP",
            "HealthCheckIntervalSeconds": 0.05,
            "HealthCheckTimeoutSeconds": 5,
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2,
            "Matcher": {"HttpCode": "200"},
            **changes,
        },
        attributes={"deregistration_delay.timeout_seconds": "0.2", **attributes},
    )


def forward(*groups: TargetGroupSettings, weights: Sequence[int] = ()) -> dict[str, Any]:
    if len(groups) == 1 and not weights:
        return {"Type": "forward", "TargetGroupArn": groups[0].arn}
    members = [{"TargetGroupArn": each.arn, "Weight": w} for each, w in zip(groups, weights, strict=True)]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": members}}


def text(body: str, status: str = "200") -> dict[str, Any]:
    return {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status, "MessageBody": body}}


def rule(
    action: Mapping[str, Any],
    *conditions: Mapping[str, Any],
    priority: int | None = None,
    transforms: Sequence[Mapping[str, Any]] = (),
) -> RuleRoute:
    return RuleRoute(
        arn=f"{LISTENER.replace('listener', 'listener-rule')}/{priority}",
        priority=priority,
        conditions=conditions,
        actions=[action],
        transforms=transforms,
    )


def path_is(*patterns: str) -> dict[str, Any]:
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(patterns)}}


class Balanced:
    """A load balancer with one listener, and a client of it."""

    def __init__(self) -> None:
        self.log: list[AccessLogEntry] = []
        self.clock = WallClock()
        self.balancer = HttpLoadBalancer(idle_timeout=1.0, on_access=self.log.append, clock=self.clock)
        self.client = httpx.Client(timeout=DEADLINE)

    def configure(self, *groups: TargetGroupSettings, rules: Sequence[RuleRoute] = ()) -> None:
        routes = ListenerRoutes(arn=LISTENER, port=0, rules=rules or [rule(forward(groups[0]))])
        self.balancer.configure([routes], groups)
        self.client.base_url = httpx.URL(f"http://127.0.0.1:{self.balancer.port(LISTENER)}")

    def register(self, group: TargetGroupSettings, *backends: Backend, wait: bool = True) -> None:
        for backend in backends:
            self.balancer.register(group.arn, backend.address, backend.port)
        for backend in backends if wait else ():
            self.wait(group, backend.port, "healthy")

    def advance(self, **duration: float) -> None:
        self.clock.advance(timedelta(**duration))
        self.balancer.wake()

    def wait(self, group: TargetGroupSettings, port: int, state: str) -> TargetState:
        """Wait until a target is in this state."""
        poll(lambda: self.state(group, port).state == state)
        return self.state(group, port)

    def state(self, group: TargetGroupSettings, port: int) -> TargetState:
        return next(target for target in self.balancer.targets(group.arn) if target.port == port)

    def close(self) -> None:
        self.client.close()
        self.balancer.close()


@pytest.fixture
def balanced() -> Iterator[Balanced]:
    balanced = Balanced()
    yield balanced
    balanced.close()


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    backends = [Backend(name) for name in "ab"]
    yield backends
    for backend in backends:
        backend.close()
