"""Everything that the process logs, its libraries included, as one JSON object a line on standard output."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, WrappedLogger

QUIET = ("botocore", "urllib3", "kubernetes", "aiohttp", "asyncio")


def configure(level: str) -> None:
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),  # they hold secrets
        _object_of_kopf,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Tells of each call that has no credentials, with a traceback; the object's status says why.
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)
    # kopf tells of each event that it handles; what we do about it is logged by ourselves.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def _object_of_kopf(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """The per-object loggers of kopf put the object beside the message under names of their own."""
    reference: Any = event.pop("k8s_ref", None)
    event.pop("settings", None)
    event.pop("k8s_skip", None)
    event.pop("k8s_default", None)
    if isinstance(reference, dict):
        event.setdefault("namespace", reference.get("namespace"))
        event.setdefault("name", reference.get("name"))
    return event
