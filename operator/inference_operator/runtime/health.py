"""`/healthz`, `/readyz` and `/metrics`, answered on the event loop: one that is stuck answers nobody, as it should be.

Liveness is about progress, not about AWS or the API server: a restart would mend neither. It fails when the watch is
deaf (objects differ from what it has told, or are gone, twice in a row) or when an object's turn has long been due. A
watch that was interrupted for long tells nothing of what was deleted meanwhile, and who is not told looks after it on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from inference_operator.runtime.kube import Kube
from inference_operator.runtime.slot import Slot, fingerprint

log = structlog.get_logger(__name__)

LOOK_EVERY = 120.0
"""Seconds between two comparisons of the watch with a list."""
OVERDUE_AFTER = 900.0
"""Seconds after which a turn that did not come means that the loop does not turn."""

Slots = Callable[[], Iterable[tuple[Slot, Mapping[str, Any]]]]


@dataclass
class Health:
    """What is known of the process. Empty before this replica leads: one that stands by is well."""

    slots: Slots = tuple
    deaf_to: frozenset[tuple[str, object]] = frozenset()
    """Objects and environments, by uid and fingerprint, of which lists and the watch have told otherwise twice."""
    _suspected: frozenset[tuple[str, object]] = field(default_factory=frozenset)

    def complaints(self, now: float) -> list[str]:
        """Why the process should be restarted. `now` is monotonic."""
        said = []
        if self.deaf_to:
            said.append(f"the watch does not tell of {len(self.deaf_to)} objects that have changed or are gone")
        overdue = [body for slot, body in self.slots() if slot.due is not None and now - slot.due > OVERDUE_AFTER]
        if overdue:
            metadata = overdue[0]["metadata"]
            name = "/".join(metadata[part] for part in ("namespace", "name") if part in metadata)
            said.append(f"{len(overdue)} objects have been due for more than {OVERDUE_AFTER:.0f} s, {name} among them")
        return said

    def compare(self, listed: Iterable[Mapping[str, Any]]) -> None:
        """What a list shows, beside what the watch has told. `listed` are metadata of objects."""
        there = {metadata["uid"]: fingerprint(metadata) for metadata in listed}
        kept = [(slot, body["metadata"]) for slot, body in self.slots()]
        told = {metadata["uid"]: slot.seen for slot, metadata in kept}
        # What is being deleted may go while it is taken away: the watch's last word waits until that is done.
        going = {metadata["uid"] for _, metadata in kept if metadata.get("deletionTimestamp")}
        behind = {(uid, seen) for uid, seen in there.items() if told.get(uid) != seen}
        behind |= {(uid, told[uid]) for uid in told.keys() - there.keys() - going}
        self.deaf_to = self._suspected & behind
        self._suspected = frozenset(behind)

    async def keep_comparing(self, kube: Kube) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            with suppress(Exception):  # no list, no comparison: that the API server is away is no complaint
                self.compare(await asyncio.to_thread(kube.metadata_of_all))


async def serve(health: Health, port: int) -> web.AppRunner:
    """Until the runner's `cleanup`, at every address: a pod may have one of IPv6 alone. Port 0: any; see its
    `addresses`."""

    async def healthz(_: web.Request) -> web.Response:
        said = health.complaints(time.monotonic())
        if said:
            log.error("not well", complaints=said)
        return web.Response(text="\n".join(said or ["ok"]) + "\n", status=500 if said else 200)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
