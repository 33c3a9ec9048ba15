"""What uWSGI loads in its master, before it forks: configuration, models, application.

The only module that knows uWSGI's Python API.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import structlog
import uwsgi

from inference_server import logs
from inference_server.access_log import AccessLog
from inference_server.app import Parts, make_app
from inference_server.application import Application
from inference_server.catalog import Catalog
from inference_server.deadline import Watchdog
from inference_server.exchange import clock
from inference_server.inference import Inference, InferenceLimits
from inference_server.loading import load_repository
from inference_server.metrics.exposition import Metrics, WorkerFacts
from inference_server.metrics.store import Store
from inference_server.overload import Overload
from inference_server.readiness import Readiness
from inference_server.settings import Settings
from inference_server.supervisor import DRAINING_FILE, LAUNCH_FILE, LOG_VARIABLE, SCRATCH_VARIABLE

log = structlog.get_logger("inference_server")


def _load() -> Application:
    scratch = Path(os.environ[SCRATCH_VARIABLE])
    settings = Settings.model_validate_json((scratch / LAUNCH_FILE).read_bytes())
    logs.configure(settings.log_level, int(os.environ[LOG_VARIABLE]))
    catalog = load_repository(settings.models_dir, scratch / "models")
    application = _assemble(settings, catalog, scratch)
    _check_threads()
    # What is alive now is alive for good; a collection in a worker must not touch, and so copy, its pages.
    gc.collect()
    gc.freeze()
    log.info("loaded", ready=catalog.ready, models=catalog.names())
    return application


def _assemble(settings: Settings, catalog: Catalog, scratch: Path) -> Application:
    keys = [model.key for versions in catalog.models.values() for model in versions.values()]
    store = Store(scratch / "server.counters", keys, settings.workers)
    # A duplicate, as the object closes its descriptor when it is collected.
    overload = Overload(socket.socket(fileno=os.dup(uwsgi.sockets[0])), settings.max_waiting)
    watchdog = Watchdog(clock)
    inference = Inference(
        limits=InferenceLimits(settings.max_body_bytes, settings.request_timeout_seconds, settings.compress_from_bytes),
        overload=overload,
        watchdog=watchdog,
        store=store,
        connection=uwsgi.connection_fd,
        clock=clock,
    )
    flask = make_app(
        Parts(
            catalog,
            Readiness(catalog, scratch / DRAINING_FILE),
            inference,
            Metrics(scratch, catalog, _workers, overload.waiting),
            version("ecs-inference"),
        )
    )

    def start_worker() -> None:
        store.use_slot(uwsgi.worker_id() - 1)
        watchdog.start()

    uwsgi.post_fork_hook = start_worker
    return Application(
        catalog,
        flask.wsgi_app,
        inference,
        store,
        AccessLog(settings.access_log_per_second),
        max_body_bytes=settings.max_body_bytes,
        clock=clock,
        read_chunk=uwsgi.chunked_read,
    )


def _workers() -> Iterator[WorkerFacts]:
    for worker in uwsgi.workers():
        yield WorkerFacts(worker["id"], worker["requests"], worker["respawn_count"], _resident_bytes(worker["pid"]))


def _resident_bytes(pid: int) -> int:
    """Second field of /proc/<pid>/statm, in pages; 0 for a worker that is being replaced."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _check_threads() -> None:
    """A thread does not survive the fork, and what it held stays locked: a worker may hang on it."""
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208  (only their number is wanted)
    if threads > 1:
        log.critical("a library started threads before the fork; workers may hang", threads=threads)


application = _load()
