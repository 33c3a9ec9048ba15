"""What an Application Load Balancer answers by itself: its status lines and its small HTML pages."""

from __future__ import annotations

from http import HTTPStatus

SERVER = "awselb/2.0"

_TITLES = {503: "503 Service Temporarily Unavailable", 504: "504 Gateway Time-out"}
"""Where an ALB's words are not those of HTTP."""


def title(status: int) -> str:
    """Status and reason in the words of an ALB."""
    return _TITLES.get(status) or f"{status} {HTTPStatus(status).phrase}"


def page(status: int) -> str:
    return (
        f"<html>\r\n<head><title>{title(status)}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title(status)}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
