"""What can go wrong with a request, each with the HTTP status that tells the caller whose turn it is.

Must not know how a response is written; `http.py` turns these into `{"error": "..."}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class RequestError(Exception):
    """A request that is answered with an error. The text is shown to the caller: no secrets, no paths."""

    status: ClassVar[int] = 500
    headers: ClassVar[Sequence[tuple[str, str]]] = ()
    """Of HTTP, that say what the caller may do."""


class InvalidRequestError(RequestError):
    """The caller sent something that can't be right, whenever it is sent again."""

    status = 400


class ForbiddenError(RequestError):
    """The operator of this server has not allowed it."""

    status = 403


class UnknownNameError(RequestError):
    """There is no such model, version or path here."""

    status = 404


class SlowClientError(RequestError):
    """The body did not arrive in time."""

    status = 408


class TooLargeError(RequestError):
    """The body, as sent or once inflated, is over the limit."""

    status = 413


class UnsupportedEncodingError(RequestError):
    """The Content-Encoding is none that this server reads."""

    status = 415
    headers = (("Accept-Encoding", "gzip, deflate"),)


class ExpectationError(RequestError):
    """The caller expects of this server what it does not do."""

    status = 417


class NotSupportedError(RequestError):
    """A part of a protocol that this server does not offer (sequences, shared memory, classification; codings,
    methods)."""

    status = 501


class UnavailableError(RequestError):
    """Not now: the model is not ready, or the server is full."""

    status = 503
    headers = (("Retry-After", "1"),)


class VersionError(RequestError):
    """The request is in another version of HTTP."""

    status = 505


class DeadlineError(RequestError):
    """The answer would come too late."""

    status = 504


class PredictionError(RequestError):
    """The model failed on a well-formed request: the fault is on this side."""

    status = 500
