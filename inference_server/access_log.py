"""The line of each request in the log. Failures are always logged; successes up to a rate, and the rest is counted.

No payloads, no header but the ids that trace a request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from inference_server.exchange import Exchange
from inference_server.logs import Logger
from inference_server.metrics.store import STAGES

HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"})
_FIRST_ERROR = 400
_FIRST_FAILURE = 500
_ASKED_TOO_MUCH = frozenset({501, 505})
"""Not a failure of this side: a caller wants what is not offered."""


class AccessLog:
    def __init__(self, successes_per_second: float) -> None:
        """A rate of 0 logs no success."""
        self._log = Logger("inference_server.access")
        self._pause = 1 / successes_per_second if successes_per_second else math.inf
        self._burst = max(0.0, 1 - self._pause)
        self.next_success = -math.inf if successes_per_second else math.inf
        """When the next success may be logged. It lags behind by up to a second, whose lines may then come at once."""
        self.skipped = 0
        """Successes since the last line. Who knows that one is too early may count it here, and not call `write`."""

    def write(self, environ: Mapping[str, Any], exchange: Exchange, status: int, size: int, now: float) -> None:
        if status < _FIRST_ERROR:
            if not exchange.inference and environ.get("PATH_INFO") in HEALTH_PATHS:
                write = self._log.debug
            elif now < self.next_success:
                self.skipped += 1
                return
            else:
                self.next_success = max(self.next_success, now - self._burst) + self._pause
                write = self._log.info
        else:
            # A readiness of 503 is an answer, not a failure.
            failed = status >= _FIRST_FAILURE and status not in _ASKED_TOO_MUCH
            write = self._log.error if failed and environ.get("PATH_INFO") not in HEALTH_PATHS else self._log.info
        write("request", **self._record(environ, exchange, status, size, now))

    def _record(
        self, environ: Mapping[str, Any], exchange: Exchange, status: int, size: int, now: float
    ) -> dict[str, Any]:
        record: dict[str, Any] = {
            "method": environ.get("REQUEST_METHOD"),
            "path": quote(environ.get("PATH_INFO", ""), safe="/-._~", encoding="latin-1"),
            "status": status,
            "duration_ms": _milliseconds(now - exchange.began),
            "request_bytes": exchange.request_bytes,
            "response_bytes": size,
            **_trace(environ),
        }
        if exchange.model is not None:
            record |= {"model": exchange.model.name, "version": exchange.model.version_text, "rows": exchange.rows}
            for stage, seconds in zip(STAGES, exchange.stages, strict=True):
                record[f"{stage}_ms"] = _milliseconds(seconds)
        if self.skipped:
            record["skipped"], self.skipped = self.skipped, 0
        return record


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _trace(environ: Mapping[str, Any]) -> dict[str, str]:
    """The ids by which callers and load balancers follow a request."""
    ids = {
        "request_id": environ.get("HTTP_X_REQUEST_ID") or environ.get("HTTP_X_AMZN_TRACE_ID"),
        "trace_id": _trace_id(environ.get("HTTP_TRACEPARENT", "")),
    }
    return {name: value[:128] for name, value in ids.items() if value}


def _trace_id(traceparent: str) -> str | None:
    """The second field of W3C's `traceparent: version-traceid-parentid-flags`."""
    fields = traceparent.split("-")
    return fields[1] if len(fields) >= 4 else None  # noqa: PLR2004  (four fields, and more in later versions)
