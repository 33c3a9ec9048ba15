"""The uWSGI configuration, from the settings. Pure: settings in, text out.

Facts that shape it: http-socket does not announce that it closes the connection, so the header is added; a worker has
one thread unless it is told otherwise, as inference is bound by CPU and a second thread only adds latency; models are
loaded before the fork, so that workers share their memory. Limits on bodies are the application's, which can answer
413; uWSGI's would reset the connection.
"""

from __future__ import annotations

from inference_server.settings import Settings

_HEADER_BYTES = 65535
_VARIABLES = 4096
"""Each takes four places of a list, and a header two: more than fit into the bytes. With uWSGI's 64 a request of two
hundred headers would get no answer."""


def uwsgi_ini(settings: Settings) -> str:
    """An ini file. The listening socket is given on the command line, by descriptor."""
    options: list[tuple[str, object]] = [
        ("strict", "true"),
        ("module", "inference_server.wsgi:application"),
        ("need-app", "true"),
        ("single-interpreter", "true"),
        ("enable-threads", "true"),
        ("py-call-uwsgi-fork-hooks", "true"),
        ("master", "true"),
        ("processes", settings.workers),
        ("threads", settings.threads),
        ("lazy-apps", "false"),
        ("no-orphans", "true"),
        ("add-header", "Connection: close"),
        ("buffer-size", _HEADER_BYTES),
        ("max-vars", _VARIABLES),
        ("listen", settings.backlog),
        ("socket-timeout", settings.client_timeout_seconds),
        ("harakiri", settings.hard_timeout_seconds),
        ("harakiri-verbose", "true"),
        ("worker-reload-mercy", int(settings.grace_seconds) + 1),
        ("hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
        ("disable-logging", "true"),
        ("ignore-sigpipe", "true"),
        ("ignore-write-errors", "true"),
        ("disable-write-exception", "true"),
        ("memory-report", "false"),
        ("procname-prefix", "inference-server "),
    ]
    return "[uwsgi]\n" + "".join(f"{name} = {value}\n" for name, value in options)
