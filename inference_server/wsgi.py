"""What uWSGI loads in its master, before it forks: configuration, models, application.

The only module that knows uWSGI's Python API.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uwsgi

from inference_server import logs
from inference_server.access_log import AccessLog
from inference_server.app import Parts, make_app
from inference_server.application import Application
from inference_server.catalog import Catalog
from inference_server.chunked import Receive
from inference_server.deadline import Watchdog
from inference_server.exchange import clock
from inference_server.generation_folder import GenerationFolder, ask_supervisor
from inference_server.inference import Inference, InferenceLimits
from inference_server.loading import Loader, Loading
from inference_server.logs import Logger
from inference_server.loitering import Loiterers
from inference_server.memory import watch_memory
from inference_server.metrics.emf import EmfReporter
from inference_server.metrics.exposition import Metrics, WorkerFacts
from inference_server.metrics.store import Key, LockedStore, Store
from inference_server.model_control import ModelControl, watch_repository, what_is_lost, without_unloaded
from inference_server.overload import Overload
from inference_server.readiness import Readiness
from inference_server.repository.scan import Scan, scan
from inference_server.repository.staging import prune, staged_folder
from inference_server.settings import Settings
from inference_server.supervisor import (
    DRAINING_FILE,
    GENERATION_VARIABLE,
    LAUNCH_FILE,
    LOG_VARIABLE,
    REQUESTS_FOLDER,
    SCRATCH_VARIABLE,
    SUPERVISOR_VARIABLE,
)

if TYPE_CHECKING:
    from inference_server.tracing import Tracing

log = Logger("inference_server")

_VERSION = version("ecs-inference")

_GIVE_UP = 70
"""Exit code of a generation that says in its folder why it does not serve."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where this generation of the server runs."""

    settings: Settings
    scratch: Path
    folder: GenerationFolder
    supervisor: int

    @property
    def models(self) -> Path:
        """Local copies of models."""
        return self.scratch / "models"


def _load() -> Application:
    scratch = Path(os.environ[SCRATCH_VARIABLE])
    here = Surroundings(
        Settings.model_validate_json((scratch / LAUNCH_FILE).read_bytes()),
        scratch,
        GenerationFolder(Path(os.environ[GENERATION_VARIABLE])),
        int(os.environ[SUPERVISOR_VARIABLE]),
    )
    logs.configure(here.settings.log_level, int(os.environ[LOG_VARIABLE]))
    orders = here.folder.orders()
    everything = scan(here.settings.models_dir)
    found = without_unloaded(everything, orders["unloaded"])
    catalog = Catalog((each.model, each.version) for each in everything.versions if each.model in orders["unloaded"])
    loader = Loader(catalog, here.models, here.settings.unsafe_models)
    loading = loader.load_all(found, orders["quarantine"], here.folder.write_loading)
    _hand_in(here, found, catalog, loading, orders)
    application = _assemble(here, found, loader, loading)
    # What is alive now is alive for good; a collection in a worker must not touch, and so copy, its pages.
    gc.collect()
    _give_memory_back()
    gc.freeze()
    log.info("loaded", ready=catalog.ready, models=catalog.names())
    return application


def _give_memory_back() -> None:
    """What loading needed for a moment the C library keeps, and each worker would make a part of it its own."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl has not
    if trim is not None:
        trim(0)


def _hand_in(here: Surroundings, found: Scan, catalog: Catalog, loading: Loading, orders: dict[str, Any]) -> None:
    """Tell the supervisor what came of the loading. Does not return if this generation is not to serve."""
    staged = {str(staged_folder(entry, here.models)) for entry in found.versions}
    served = {*catalog.models, *(entry.model for entry in loading.after_fork)}
    due, ready = orders["due"], orders["ready"]
    refused = what_is_lost(due, catalog.problems, ready=ready) if due or ready else None
    here.folder.write_result(
        served=sorted(served),
        ready=catalog.ready,
        staged=sorted(staged),
        threads=list(loading.threads),
        refused=refused,
    )
    if loading.threads:
        # A thread does not survive a fork, and what it held stays locked: workers would hang on it.
        log.warning("libraries started threads; these versions are loaded after the fork", versions=loading.threads)
    if loading.threads or refused is not None:
        sys.exit(_GIVE_UP)
    # The generation that serves now may still load its copies in new workers; older ones are gone.
    prune(here.models, {Path(name) for name in (*staged, *orders["staged"])})


def _assemble(here: Surroundings, found: Scan, loader: Loader, loading: Loading) -> Application:
    settings, catalog = here.settings, loader.catalog
    keys = _keys(settings, catalog, loading)
    counters = here.scratch / f"{here.folder.path.name}.counters"
    store = (Store if settings.threads == 1 else LockedStore)(counters, keys, settings.workers)
    # A duplicate, as the object closes its descriptor when it is collected.
    listening = socket.socket(fileno=os.dup(uwsgi.sockets[0]))
    overload = Overload(listening, settings.max_waiting)
    watchdog = Watchdog(clock, keys, settings.workers, settings.threads)
    inference = Inference(
        limits=InferenceLimits(settings.max_body_bytes, settings.request_timeout_seconds, settings.compress_from_bytes),
        overload=overload,
        watchdog=watchdog,
        clock=clock,
    )
    ask = partial(
        ask_supervisor,
        here.scratch / REQUESTS_FOLDER,
        here.supervisor,
        seconds=settings.hard_timeout_seconds / 2,
        draining=here.scratch / DRAINING_FILE,
        places=max(1, settings.workers * settings.threads - 1),  # one is left for everybody else
    )
    tracing = _tracing() if settings.tracing else None
    metrics = Metrics(here.scratch, catalog, _workers, overload.waiting)
    emf = EmfReporter(here.scratch, settings.emf_namespace, metrics.totals) if settings.emf_namespace else None
    flask = make_app(
        Parts(
            catalog,
            Readiness(catalog, here.scratch / DRAINING_FILE),
            inference,
            metrics,
            ModelControl(settings.model_control, settings.models_dir, catalog, ask),
            _VERSION,
            settings.max_body_bytes,
        )
    )
    application = Application(
        catalog,
        flask.wsgi_app,
        inference,
        store,
        AccessLog(settings.access_log_per_second),
        max_body_bytes=settings.max_body_bytes,
        connection=uwsgi.connection_fd,
        clock=clock,
        receive=_receiver(settings.threads, settings.client_timeout_seconds),
    )
    loiterers = Loiterers(listening.getsockname()[1], settings.request_timeout_seconds, clock)

    def start_worker() -> None:
        slot = uwsgi.worker_id() - 1
        store.use_slot(slot)
        for model, answered in watchdog.use_slot(slot):
            store.died_of(model, 504 if answered else 500)
            if not answered:
                log.error("a worker died of a request, which got no answer", model=model[0], version=model[1])
        _load_after_fork(here, loader, loading, slot)
        application.refresh()
        watchdog.start()
        loiterers.watch()
        if settings.worker_memory_bytes is not None:
            watch_memory(settings.worker_memory_bytes, partial(setattr, application, "leave", _leave))
        uwsgi.atexit = partial(_call_all, _report(application, tracing, emf if slot == 0 else None, settings))
        if slot == 0 and settings.model_control == "poll":
            watch_repository(settings.models_dir, found, settings.poll_seconds, ask, ready=catalog.ready)
        here.folder.mark_up()

    uwsgi.post_fork_hook = start_worker
    return application


def _keys(settings: Settings, catalog: Catalog, loading: Loading) -> list[Key]:
    """Of all models of this generation."""
    models = [model for versions in catalog.models.values() for model in versions.values()]
    if settings.threads == 1 and any(model.config.batching for model in models):
        log.warning("batching has no effect with one thread; set INFERENCE_THREADS")
    return [model.key for model in models] + [(entry.model, str(entry.version)) for entry in loading.after_fork]


def _report(
    application: Application, tracing: type[Tracing] | None, emf: EmfReporter | None, settings: Settings
) -> Iterable[Callable[[], None]]:
    """Begin to tell others what a worker does, and the last words of it."""
    last_words: list[Callable[[], None]] = []
    if emf is not None:
        emf.start(settings.emf_seconds)
        last_words.append(partial(emf.report, last=True))
    if tracing is not None:
        traces = tracing(_VERSION)
        application.trace = traces.record
        last_words.append(traces.close)
    return last_words


def _receiver(threads: int, patience: float) -> Receive:
    """A function that gives what comes on the current request's connection after its headers.

    uWSGI has read some of it with the headers. Its Python interface has no way to that but its own reader of chunks,
    so what that reader stands on is called.
    """
    module = find_spec("pyuwsgi")
    library = ctypes.CDLL(module.origin if module is not None else None, use_errno=True)
    current = library.threaded_current_wsgi_req if threads > 1 else library.simple_current_wsgi_req
    current.restype = ctypes.c_void_p
    read = library.uwsgi_proto_base_read_body
    read.argtypes, read.restype = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t), ctypes.c_ssize_t

    def receive(most: int) -> bytes:
        buffer = ctypes.create_string_buffer(most)
        while (got := read(current(), buffer, most)) < 0:
            if ctypes.get_errno() != errno.EAGAIN:
                return b""
            waiting = select.poll()
            waiting.register(uwsgi.connection_fd(), select.POLLIN)
            if not waiting.poll(patience * 1000):
                raise TimeoutError
        return ctypes.string_at(buffer, got)

    return receive


def _tracing() -> type[Tracing]:
    """Imported before the fork, as modules are memory too; the object is made in each worker."""
    from inference_server.tracing import Tracing  # noqa: PLC0415  (its libraries may not be installed)

    return Tracing


def _call_all(actions: Iterable[Callable[[], None]]) -> None:
    for action in actions:
        action()


def _leave() -> None:
    """UWSGI lets a worker that gets this signal during a request answer it, and forks another one in its place."""
    os.kill(os.getpid(), signal.SIGHUP)


def _load_after_fork(here: Surroundings, loader: Loader, loading: Loading, slot: int) -> None:
    deadly = here.folder.died_loading(slot)
    for entry in loading.after_fork:
        if entry.key == deadly:
            loader.report(entry.problem("an earlier worker died while it loaded this version"))
        else:
            loader.load(entry, partial(here.folder.write_loading, slot=slot))


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


application = _load().respond
