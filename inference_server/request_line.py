"""Requests that are not plainly HTTP/1.1, as uWSGI passes them on. Pure.

It splits the request line at the first two spaces, does not look at the parts, and leaves out of the environment what
there is not. Of headers with one name it makes one, with a comma and a blank between them. Source: RFC 9112, sections
2.2, 2.3 and 3.2; RFC 9110, section 7.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from inference_server.protocol.errors import InvalidRequestError, NotSupportedError, VersionError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_VERSION = re.compile(r"HTTP/\d\.\d")
_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)


def check_head(environ: Mapping[str, Any]) -> None:
    """Raises RequestError for a client that speaks none of the versions that this server does, or not as it should."""
    version = environ.get("SERVER_PROTOCOL", "")
    if version == "HTTP/1.1":
        host = environ.get("HTTP_HOST")
        if host is None or ", " in host:
            raise InvalidRequestError("a request in HTTP/1.1 must have one Host header")
        return
    if version == "HTTP/1.0":
        return
    if _VERSION.fullmatch(version):
        raise VersionError("this server speaks HTTP/1.1")
    raise InvalidRequestError("the request line is malformed")


def put_right(environ: WSGIEnvironment) -> None:
    """Leave out empty lines before the request line, the scheme and host of a target, and the wish for WebSocket.

    Raises NotSupportedError for a method in small letters: it is another one (RFC 9110, section 9.1), which Flask would
    take for the usual one, and who lets only some methods through to this server might not.
    """
    environ.pop("HTTP_UPGRADE", None)  # Flask would refuse it; a server may as well go on in HTTP/1.1
    environ["REQUEST_METHOD"] = method = environ["REQUEST_METHOD"].lstrip("\r\n")
    if method != method.upper():
        raise NotSupportedError("the method is not known; methods are in capital letters")
    path = environ.get("PATH_INFO", "")
    environ["PATH_INFO"] = _ORIGIN.sub("", path, count=1) or "/" if _ORIGIN.match(path) else path
