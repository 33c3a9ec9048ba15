"""Sends a target group's health checks and tells the targets what came of them.

Which state a result means is `targets`' matter; here is only the request. Each check is a new connection, as an ALB's.
The interval between checks is by the sandbox's clock, a check's timeout by the machine's: a target needs real time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

import aiohttp
from yarl import URL

from inference_sandbox.load_balancer.targets import FAILED, HEALTHY, TIMED_OUT, Health, Target, TargetGroup, wrong_code
from inference_sandbox.load_balancer.waits import Waits

USER_AGENT = "ELB-HealthChecker/2.0"


class HealthChecker:
    """Checks targets in the load balancer's event loop until they are told to be left alone."""

    def __init__(self, observe: Callable[[TargetGroup, Target, Health], None], waits: Waits) -> None:
        self._observe = observe
        self._waits = waits
        self.under_way = 0
        """Checks that have begun and not ended."""
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
            skip_auto_headers=("Accept", "Accept-Encoding"),
            auto_decompress=False,
        )
        self._checks: dict[Target, asyncio.Task[None]] = {}

    def watch(self, group: TargetGroup, target: Target) -> None:
        if target not in self._checks:
            self._checks[target] = asyncio.create_task(self._check_for_ever(group, target))

    def leave(self, target: Target) -> None:
        check = self._checks.pop(target, None)
        if check is not None:
            check.cancel()

    async def close(self) -> None:
        for target in list(self._checks):
            self.leave(target)
        await self._client.close()

    async def _check_for_ever(self, group: TargetGroup, target: Target) -> None:
        while True:
            began = self._waits.clock.now()
            self.under_way += 1
            try:
                self._observe(group, target, await self._check(group, target))
            finally:
                self.under_way -= 1
            await self._waits.until(began + timedelta(seconds=group.check.interval))

    async def _check(self, group: TargetGroup, target: Target) -> Health:
        if target.fails:
            return wrong_code(HTTPStatus.SERVICE_UNAVAILABLE)
        check = group.check
        url = URL(f"http://{target.address}:{check.port or target.port}{check.path}", encoded=True)
        try:
            async with asyncio.timeout(check.timeout), self._client.get(url, allow_redirects=False) as answer:
                status = answer.status
        except TimeoutError:
            return TIMED_OUT
        except (aiohttp.ClientError, OSError, ValueError):
            return FAILED
        return HEALTHY if check.accepts(status) else wrong_code(status)
