"""The load balancer as its users see it: configuration, registration, and a thread that serves.

Configuration and registration are done in the caller's thread, under a lock, on values that the serving thread only
reads; the event loop is told afterwards what to open, to close, to check or to leave. So every method returns at once,
and what it did is at once to be seen.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from aiohttp import web

from inference_sandbox.load_balancer.forwarding import Forwarding, Listener
from inference_sandbox.load_balancer.health import HealthChecker
from inference_sandbox.load_balancer.rules import Forward, Rule, compile_rule
from inference_sandbox.load_balancer.targets import (
    DRAINING,
    NOT_IN_USE,
    REGISTERING,
    Health,
    Target,
    TargetGroup,
)
from inference_sandbox.load_balancer.traffic import AccessLogEntry, TargetGroupCounters, Traffic
from inference_sandbox.load_balancer.waits import MachineClock, Waits
from inference_sandbox.ports import Clock, ListenerRoutes, Passed, TargetGroupSettings, TargetState

_logger = logging.getLogger(__name__)

IDLE_TIMEOUT = 60.0
"""Seconds without a byte after which an ALB closes a connection (its attribute `idle_timeout.timeout_seconds`)."""

_MAX_REQUEST_LINE = 16_384
_MAX_HEADER = 16_384
_BACKLOG = 1024
_CLOSE_DEADLINE = 5.0
_HOST = "127.0.0.1"


@dataclass(eq=False)
class _Open:
    """A listener that is open: what it was configured from, and what serves it."""

    routes: ListenerRoutes
    listener: Listener
    server: web.Server
    serving: Future[asyncio.Server]


class HttpLoadBalancer:
    """A `ports.LoadBalancer` that listens on 127.0.0.1.

    `idle_timeout`: seconds without a byte before a client's connection is closed, or a target's answer given up (504).
    `on_access` gets an entry for each request, in the serving thread: it must be quick. Health checks, draining, slow
    starts and cookies go by `clock`; who moves it calls `wake`.
    """

    def __init__(
        self,
        *,
        idle_timeout: float = IDLE_TIMEOUT,
        on_access: Callable[[AccessLogEntry], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or MachineClock()
        self._drains: set[asyncio.Task[None]] = set()
        self._idle_timeout = idle_timeout
        self._on_access = on_access
        self._lock = threading.Lock()
        self._groups: dict[str, TargetGroup] = {}
        self._open: dict[str, _Open] = {}
        self._traffic = Traffic()
        self._counters: dict[str, TargetGroupCounters] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="load-balancer", daemon=True)
        self._thread.start()
        set_up = asyncio.run_coroutine_threadsafe(self._set_up(), self._loop)
        self._waits, self._forwarding, self._checker = set_up.result()

    async def _set_up(self) -> tuple[Waits, Forwarding, HealthChecker]:
        waits = Waits(self._clock)
        return (
            waits,
            Forwarding(self._groups, idle_timeout=self._idle_timeout, done=self._count, clock=self._clock),
            HealthChecker(self._observe, waits),
        )

    def configure(self, listeners: Sequence[ListenerRoutes], target_groups: Sequence[TargetGroupSettings]) -> None:
        """Raises ValueError for a rule that is not understood, before anything is changed, and OSError for a port that
        can't be listened on, after all else is done. Port 0 takes a free one: see `port`.
        """
        compiled = {routes.arn: self._compile(routes) for routes in listeners}
        with self._lock:
            self._configure_groups(target_groups, _forwarded_to(compiled.values()))
            for arn in self._open.keys() - compiled.keys():
                self._shut(self._open.pop(arn))
            errors = [
                error for routes in listeners if (error := self._configure_listener(routes, compiled[routes.arn]))
            ]
        if errors:
            raise errors[0]

    def port(self, listener_arn: str) -> int:
        """The port that a listener is open on. Raises KeyError if it is not."""
        return self._open[listener_arn].listener.port

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        with self._lock:
            group = self._group(target_group_arn)
            target = group.find(address, port)
            if target is not None and target.health.state != "draining":
                return
            self._remove(group, target)
            self._add(group, Target(address, port, NOT_IN_USE))

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        with self._lock:
            group = self._group(target_group_arn)
            target = group.find(address, port)
            if target is None or target.health.state == "draining":
                return
            target.restart(DRAINING)
            self._later(self._checker.leave, target)
            end = self._clock.now() + timedelta(seconds=group.deregistration_delay)
            self._later(self._begin_drain, group, target, end)

    def fail(self, target_group_arn: str, address: str, port: int) -> None:
        with self._lock:
            target = self._group(target_group_arn).find(address, port)
            if target is not None:
                target.fails = True

    def targets(self, target_group_arn: str) -> Sequence[TargetState]:
        group = self._groups.get(target_group_arn)
        return [target.told() for target in group.targets] if group else []

    def counters(self, target_group_arn: str) -> TargetGroupCounters:
        return self._counters.get(target_group_arn, TargetGroupCounters())

    def next_due(self) -> datetime | None:
        """When it will next have something to do by itself, by its clock."""
        return self._waits.next_due()

    def settled(self) -> bool:
        """Whether all that was due by now has been done."""
        due = self._waits.next_due()
        return self._checker.under_way == 0 and (due is None or due > self._clock.now())

    def wake(self) -> None:
        self._waits.wake()

    def take_traffic(self) -> Sequence[Passed]:
        """What has passed since this was last asked."""
        with self._lock:
            return self._traffic.take()

    def close(self) -> None:
        """Close every listener and connection."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._tear_down(), self._loop).result(2 * _CLOSE_DEADLINE)
        self._later(self._loop.stop)
        self._thread.join(_CLOSE_DEADLINE)
        self._loop.close()

    async def _tear_down(self) -> None:
        with self._lock:
            opened, self._open = self._open, {}
        await asyncio.gather(*(self._stop(each) for each in opened.values()))
        for drain in self._drains:
            drain.cancel()
        await self._checker.close()
        await self._forwarding.close()

    # Target groups, under the lock.

    def _configure_groups(self, settings: Sequence[TargetGroupSettings], in_use: frozenset[str]) -> None:
        known = {each.arn for each in settings}
        for arn in [arn for arn, group in self._groups.items() if group.is_configured and arn not in known]:
            gone = self._groups.pop(arn)
            for target in gone.targets:
                self._later(self._checker.leave, target)
        for each in settings:
            group = self._group(each.arn)
            group.configure(each)
            if group.in_use != (each.arn in in_use):
                group.in_use = each.arn in in_use
                for target in group.targets:
                    self._begin_or_leave(group, target)

    def _group(self, arn: str) -> TargetGroup:
        """A target may be registered before its group is configured: then it is unused until it is."""
        return self._groups.setdefault(arn, TargetGroup(TargetGroupSettings(arn=arn, settings={})))

    def _add(self, group: TargetGroup, target: Target) -> None:
        group.targets = (*group.targets, target)
        self._begin_or_leave(group, target)

    def _begin_or_leave(self, group: TargetGroup, target: Target) -> None:
        """A target is checked as long as its group gets traffic and it is not draining."""
        if target.health.state == "draining":
            return
        target.restart(REGISTERING if group.in_use else NOT_IN_USE)
        if group.in_use:
            self._later(self._checker.watch, group, target)
        else:
            self._later(self._checker.leave, target)

    def _remove(self, group: TargetGroup, target: Target | None) -> None:
        group.targets = tuple(each for each in group.targets if each is not target)

    def _begin_drain(self, group: TargetGroup, target: Target, end: datetime) -> None:
        drain = self._loop.create_task(self._drain(group, target, end))
        self._drains.add(drain)
        drain.add_done_callback(self._drains.discard)

    async def _drain(self, group: TargetGroup, target: Target, end: datetime) -> None:
        await self._waits.until(end)
        with self._lock:
            self._remove(group, target)
        self._forwarding.break_off(target)

    def _observe(self, group: TargetGroup, target: Target, result: Health) -> None:
        with self._lock:
            group.observe(target, result, self._clock.now())

    # Listeners, under the lock.

    def _compile(self, routes: ListenerRoutes) -> tuple[Rule, ...]:
        opened = self._open.get(routes.arn)
        if opened is not None and opened.routes == routes:
            return opened.listener.rules
        return tuple(compile_rule(rule) for rule in routes.rules)

    def _configure_listener(self, routes: ListenerRoutes, rules: tuple[Rule, ...]) -> OSError | None:
        opened = self._open.get(routes.arn)
        if opened is not None and opened.routes.port == routes.port:
            opened.routes, opened.listener.rules = routes, rules
            return None
        if opened is not None:
            self._shut(self._open.pop(routes.arn))
        try:
            bound = socket.create_server((_HOST, routes.port), backlog=_BACKLOG)
        except OSError as error:
            return OSError(
                error.errno,
                f"listener {routes.arn}: can't listen on {_HOST}:{routes.port}: {error.strerror}: choose another port",
            )
        listener = Listener(arn=routes.arn, port=bound.getsockname()[1], rules=rules)
        server = web.Server(
            partial(self._forwarding.answer, listener),
            handler_cancellation=True,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=self._idle_timeout,
            auto_decompress=False,
            max_line_size=_MAX_REQUEST_LINE,
            max_field_size=_MAX_HEADER,
        )
        serving = asyncio.run_coroutine_threadsafe(self._loop.create_server(server, sock=bound), self._loop)
        self._open[routes.arn] = _Open(routes, listener, server, serving)
        return None

    def _shut(self, opened: _Open) -> None:
        opened.listener.is_open = False
        asyncio.run_coroutine_threadsafe(self._stop(opened), self._loop)

    async def _stop(self, opened: _Open) -> None:
        """No new connection; those that are under way get a moment to end."""
        server = await asyncio.wrap_future(opened.serving)
        server.close()
        await opened.server.shutdown(_CLOSE_DEADLINE)

    def _later(self, call: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(call, *args)

    def _count(self, entry: AccessLogEntry, connected: bool) -> None:
        with self._lock:
            self._traffic.count(entry, connected=connected)
        if entry.target_group_arn is not None:
            before = self.counters(entry.target_group_arn)
            self._counters[entry.target_group_arn] = before.with_request(entry, connected=connected)
        if self._on_access is None:
            return
        try:
            self._on_access(entry)
        except Exception:
            _logger.exception("the access log's reader failed")


def _forwarded_to(listeners: Iterable[Sequence[Rule]]) -> frozenset[str]:
    """The target groups that some rule forwards to, with whatever weight."""
    actions = [rule.action for rules in listeners for rule in rules]
    return frozenset(arn for action in actions if isinstance(action, Forward) for arn in action.weights)
