"""The lines of a load balancer's access log (ELB user guide, "Access log entries"). Pure.

What the sandbox does not have is `-` as in AWS's own: TLS, the classification of desync guards, and a connection's
trace id.
"""

from __future__ import annotations

from datetime import UTC
from urllib.parse import urlsplit

from inference_sandbox.load_balancer.traffic import AccessLogEntry


def line(entry: AccessLogEntry) -> str:
    fields = [
        "http",
        _time(entry),
        _balancer(entry.listener_arn),
        entry.client,
        entry.target or "-",
        _seconds(entry.request_processing_time),
        _seconds(entry.target_processing_time),
        _seconds(entry.response_processing_time),
        str(entry.elb_status_code),
        _code(entry.target_status_code),
        str(entry.received_bytes),
        str(entry.sent_bytes),
        _quoted(f"{entry.method} {_with_port(entry.url)} {entry.protocol}"),
        _quoted(entry.user_agent),
        *("-", "-"),  # ssl_cipher, ssl_protocol
        entry.target_group_arn or "-",
        _quoted(entry.trace_id),
        *(_quoted("-"), _quoted("-")),  # domain_name and chosen_cert_arn, which are TLS's
        str(entry.rule_priority),
        _time(entry),
        _quoted(entry.action),
        _quoted(entry.redirect_url),
        _quoted(entry.error_reason),
        _quoted(entry.target),
        _quoted(None if entry.target_status_code is None else str(entry.target_status_code)),
        *(_quoted("-"), _quoted("-")),  # classification and its reason
        "-",  # conn_trace_id
    ]
    return " ".join(fields)


def _time(entry: AccessLogEntry) -> str:
    return entry.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _balancer(listener_arn: str) -> str:
    """`app/name/id`."""
    return "/".join(listener_arn.rsplit(":listener/", maxsplit=1)[-1].split("/")[:3])


def _seconds(duration: float) -> str:
    return "-1" if duration < 0 else f"{duration:.3f}"


def _code(code: int | None) -> str:
    return "-" if code is None else str(code)


def _with_port(url: str) -> str:
    """The log has the port also where the URL has none."""
    parts = urlsplit(url)
    return url if ":" in parts.netloc else parts._replace(netloc=f"{parts.netloc}:80").geturl()


def _quoted(text: str | None) -> str:
    """What is not printable, and a quote, is written as its code: callers choose the text."""
    return '"' + "".join(c if c.isprintable() and c != '"' else f"\\x{ord(c):02x}" for c in text or "-") + '"'
