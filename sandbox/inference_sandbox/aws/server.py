"""The sandbox's AWS over HTTP on loopback: its API, and beside that the side door under /_sandbox."""

from __future__ import annotations

import gc
import json
import socket
import threading
from contextlib import suppress
from functools import cache
from typing import Any

from moto.core.utils import get_service_model
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from inference_sandbox.aws import json_protocol, side_door
from inference_sandbox.aws.composition import Aws

SERVICES = (
    "application-autoscaling",
    "cloudwatch",
    "ec2",
    "ecr",
    "ecs",
    "efs",
    "elbv2",
    "events",
    "firehose",
    "iam",
    "logs",
    "s3",
    "secretsmanager",
    "servicediscovery",
    "sns",
    "sqs",
    "ssm",
    "sts",
)
OWN = ("application-autoscaling", "ecs")
"""Those that are performed here rather than by moto."""
SIDE_DOOR = "/_sandbox"

_KNOCK_SECONDS = 0.002


class _QuietHandler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"

    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:  # noqa: ARG002 - werkzeug's hook
        """A lost reply: the connection closes without an answer."""
        self.close_connection = True

    def log(self, *_args: Any) -> None:
        """Requests are in `Aws.calls`; standard error is for errors."""


class Server:
    """Serves on a free port from when it is made until it is closed. `routes`: what the side door answers."""

    def __init__(self, aws: Aws, routes: side_door.Routes = side_door.ROUTES) -> None:
        _load_models()
        self._aws = aws
        self._routes = routes
        self._server = make_server("127.0.0.1", 0, self._respond, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="aws", daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Without waiting for the server's next look around: a connection brings it on."""
        threading.Timer(_KNOCK_SECONDS, self._knock).start()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _knock(self) -> None:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self._server.server_port), timeout=1).close()

    def _respond(self, environ: dict[str, Any], start_response: Any) -> Any:
        if not environ["PATH_INFO"].startswith(SIDE_DOOR):
            return self._aws.gateway(environ, start_response)
        return self._beside(Request(environ))(environ, start_response)

    def _beside(self, request: Request) -> Response:
        try:
            given = json.loads(request.get_data() or b"{}") | request.args.to_dict()
            answer = side_door.answer(
                self._aws, self._routes, request.method, request.path.removeprefix(SIDE_DOOR), given
            )
        except (ValueError, LookupError) as error:
            return Response(json.dumps({"error": str(error)}), 400, content_type="application/json")
        return Response(json.dumps(answer), 200, content_type="application/json")


@cache
def _load_models() -> None:
    """Read the models of the services that are used, and keep them out of garbage collection from now on.

    They are most of the process's objects and live as long as it does; walking them again and again would make a tick
    pause for longer than it works.
    """
    for service in SERVICES:
        get_service_model(service)
    for service in OWN:
        json_protocol.model(service)
    gc.collect()
    gc.freeze()
