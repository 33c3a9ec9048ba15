"""What uWSGI loads in its master, before it forks: configuration, models, application.

The only module that knows uWSGI's Python API.
"""

from __future__ import annotations

import gc
import os
from importlib.metadata import version
from pathlib import Path

import structlog
import uwsgi

from inference_server import logs
from inference_server.app import make_app
from inference_server.application import Application
from inference_server.loading import load_repository
from inference_server.readiness import Readiness
from inference_server.settings import Settings
from inference_server.supervisor import DRAINING_FILE, LAUNCH_FILE, LOG_VARIABLE, SCRATCH_VARIABLE

log = structlog.get_logger("inference_server")


def _load() -> Application:
    scratch = Path(os.environ[SCRATCH_VARIABLE])
    settings = Settings.model_validate_json((scratch / LAUNCH_FILE).read_bytes())
    logs.configure(settings.log_level, int(os.environ[LOG_VARIABLE]))
    catalog = load_repository(settings.models_dir, scratch / "models")
    readiness = Readiness(catalog, scratch / DRAINING_FILE)
    flask = make_app(catalog, readiness, version("ecs-inference"))
    _check_threads()
    # What is alive now is alive for good; a collection in a worker must not touch, and so copy, its pages.
    gc.collect()
    gc.freeze()
    log.info("loaded", ready=catalog.ready, models=catalog.names())
    return Application(
        catalog, flask.wsgi_app, max_body_bytes=settings.max_body_bytes, read_chunk=lambda: bytes(uwsgi.chunked_read())
    )


def _check_threads() -> None:
    """A thread does not survive the fork, and what it held stays locked: a worker may hang on it."""
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208  (only their number is wanted)
    if threads > 1:
        log.critical("a library started threads before the fork; workers may hang", threads=threads)


application = _load()
