"""The one exception of the sandbox's own APIs: an error as AWS answers it.

It must not know of HTTP beyond the status that AWS documents.
"""

from __future__ import annotations

from collections.abc import Mapping


class AwsError(Exception):
    """`code`: the name in the API reference. `status`: the HTTP status. `members`: what else the body carries."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, members: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = dict(members or {})


def invalid_parameter(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def client_error(message: str) -> AwsError:
    return AwsError("ClientException", message)
