"""The one door to the sandbox's AWS: a request is identified, recorded, struck by a fault if one is on, and answered.

Services that the sandbox performs itself are answered by what `own` names; those that moto gets wrong by a subclass of
moto's responses; the rest by moto as it is. This module must not know what an operation means.
"""

from __future__ import annotations

import json
import re
import threading
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

from moto.core import responses
from moto.core.exceptions import ServiceException
from moto.core.model import OperationModel
from moto.core.model import ServiceModel as MotoServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model, method_names_from_class
from moto.iam.models import get_account_id_from
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from inference_sandbox.aws import authorization, constraints, faults, json_protocol
from inference_sandbox.aws.calls import Call, Calls
from inference_sandbox.aws.faults import ErrorAnswer, Fault, Faults
from inference_sandbox.aws.policies import verdict
from inference_sandbox.aws.quotas import Quotas
from inference_sandbox.aws.staleness import StaleReads
from inference_sandbox.ecs.accounts import Caller
from inference_sandbox.ecs.api import Ecs
from inference_sandbox.ecs.errors import AwsError, invalid_parameter
from inference_sandbox.ports import Clock

CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
BOTOCORE_NAMES = {"elasticfilesystem": "efs", "elasticloadbalancing": "elbv2", "monitoring": "cloudwatch"}
WAITS = frozenset({"ReceiveMessage"})
"""Operations that may wait for something to happen: nothing else has to wait for them."""
MOTO = DomainDispatcherApplication(create_backend_app)
"""Holds moto's URL maps, which are slow to build, and no state."""
# moto looks through all members of a service's class, EC2's several hundred, to learn at each call what it can perform.
responses.method_names_from_class = cache(method_names_from_class)  # type: ignore[attr-defined]  # it imports that one

Perform = Callable[[Caller, str, dict[str, Any]], dict[str, Any]]
"""An operation by its name: the request to the answer, both in the API's shape; AwsError if AWS would refuse."""


class ReplyLost(ConnectionError):
    """The call took effect and its answer never arrives."""


class _Refusal(ServiceException):
    """An error for moto to serialise: it looks for the module of its own exceptions, so this one is not its own."""


class ServerRequest(Request):
    from_wsgi_server = True


@dataclass(frozen=True)
class Identified:
    service: str
    """The IAM prefix, which is also the name a signature carries."""
    operation: str
    parameters: Mapping[str, Any]
    region: str
    account: str
    principal: str
    protocol: str


class Gateway:
    """A WSGI application, and `handle` for use in the same process."""

    def __init__(
        self,
        *,
        clock: Clock,
        ecs: Ecs,
        lock: threading.RLock,
        own: Mapping[str, Perform],
        known: authorization.Own,
        overrides: Mapping[str, type[Any]],
        after: Mapping[str, Callable[[], None]],
    ) -> None:
        self.calls = Calls()
        self.faults = Faults()
        self.quotas = Quotas(clock)
        self.stale_reads = StaleReads(clock, ecs)
        self.iam = False
        """IAM mode: a caller that is not root may do what its policies allow, and nothing else."""
        self._clock = clock
        self._ecs = ecs
        self._lock = lock
        self._own: Mapping[str, Perform] = {"ecs": self._perform_ecs} | dict(own)
        self._known = known
        self._overrides = overrides
        self._after = after

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.handle(ServerRequest(environ))(environ, start_response)

    def handle(self, request: Request) -> Response:
        body = request.get_data()  # read once; what handles the request reads the cached bytes
        found = identify(request, body, self._own)
        if found is None:
            return Response.from_app(MOTO, request.environ)
        call = self.calls.begin(
            service=found.service,
            operation=found.operation,
            parameters=found.parameters,
            region=found.region,
            account=found.account,
            principal=found.principal,
            at=self._clock.now(),
        )
        response = self._answer(request, found, call)
        call.status = response.status_code
        if response.status_code >= 400:  # noqa: PLR2004 - HTTP's first error status
            call.error = call.error or response.headers.get("x-amzn-errortype") or _code_in(response)
        return response

    def _answer(self, request: Request, found: Identified, call: Call) -> Response:
        fault = self.faults.take(found.service, found.operation)
        if fault is not None:
            call.fault = fault.kind
            if fault.seconds:
                time.sleep(fault.seconds)
            if fault.kind in ("throttle", "error", "deny"):
                return error_response(found, faults.answer(fault, found.service, found.operation, found.principal))
        refused = self._refused(found, call)
        response = error_response(found, refused) if refused is not None else self._perform(request, found)
        if fault is not None and fault.kind == "lost":
            call.status, call.error = response.status_code, "ReplyLost"
            raise ReplyLost("the reply is lost on request")
        return response

    def _refused(self, found: Identified, call: Call) -> ErrorAnswer | None:
        """By a quota, by the service's model, or in IAM mode by the caller's policies."""
        if found.service == "ecs" and not self.quotas.take(found.account, found.region, found.operation):
            return faults.answer(Fault(kind="throttle"), found.service, found.operation, found.principal)
        refused = constraints.refusal(found.service, _input_of(found), found.parameters)
        if refused is not None or not self.iam:
            return refused
        policies = authorization.policies_of(found.principal, found.account)
        if policies is None:
            return None
        call.asked = list(authorization.accesses(found, self._known))
        access = authorization.refused(policies, call.asked)
        if access is None:
            return None
        explicitly = verdict(policies, access) == "explicitDeny"
        return faults.denied(
            found.service, access.action, found.principal, resource=access.resource, explicitly=explicitly
        )

    def _perform(self, request: Request, found: Identified) -> Response:
        own = self._own.get(found.service)
        if own is not None:
            with self._lock:
                return _perform_own(own, found)
        override = self._overrides.get(found.service)
        if override is None:
            return Response.from_app(MOTO, _rewound(request))
        if found.operation in WAITS:
            return _respond(override, request)
        with self._lock:
            response = _respond(override, request)
            after = self._after.get(found.service)
            if after is not None and not found.operation.startswith("Describe"):
                after()
            return response

    def _perform_ecs(self, caller: Caller, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.stale_reads.remember(caller, operation, request)
        perform = self._ecs.operations.get(operation)
        if perform is None:
            raise AwsError("UnsupportedFeatureException", f"The sandbox does not perform {operation}.")
        missing = json_protocol.missing_member("ecs", operation, request)
        if missing is not None:
            raise invalid_parameter(f"{missing} can not be blank.")
        return self.stale_reads.apply(operation, perform(caller, request))


def _input_of(found: Identified) -> Any:
    """The shape of what its operation takes; None if it takes nothing, or is none."""
    model = get_service_model(BOTOCORE_NAMES.get(found.service, found.service))
    return model.operation_model(found.operation).input_shape if found.operation in model.operation_names else None


JSON_1_1 = "application/x-amz-json-1.1"


def _perform_own(perform: Perform, found: Identified) -> Response:
    caller = Caller(account=found.account, region=found.region, arn=found.principal)
    try:
        answer = perform(caller, found.operation, dict(found.parameters))
    except AwsError as error:
        headers = {"x-amzn-errortype": error.code}
        return Response(json_protocol.error_body(error), error.status, headers, content_type=JSON_1_1)
    return Response(json_protocol.body(answer), 200, content_type=JSON_1_1)


def identify(request: Request, body: bytes, own: Collection[str]) -> Identified | None:
    """What is being asked of whom; None if it is not a signed call of an AWS API. `own`: services whose protocol is
    JSON, without a look at their models."""
    credential = CREDENTIAL.search(request.headers.get("Authorization", ""))
    if credential is None:
        return None
    service = credential["service"]
    account = get_account_id_from(credential["key"])
    principal = authorization.principal_arn(credential["key"], account)
    if service in own:
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        return Identified(service, operation, _json(body), credential["region"], account, principal, "json")
    try:
        model = get_service_model(BOTOCORE_NAMES.get(service, service))
        protocol = str(determine_request_protocol(model, request.content_type))
        operation, uri = _operation(request, model)
        parameters = _parameters(request, model.operation_model(operation), protocol, uri)
    except Exception:  # noqa: BLE001 - whatever moto cannot read, it is left to answer by itself, unrecorded
        return None
    return Identified(service, operation, parameters, credential["region"], account, principal, protocol)


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _operation(request: Request, model: MotoServiceModel) -> tuple[str, dict[str, Any]]:
    target = request.headers.get("X-Amz-Target")
    if target:
        return target.rpartition(".")[2], {}
    action = request.values.get("Action")
    if action:
        return action, {}
    try:
        operation, uri = get_service_router(model.service_name).match(request)
    except (NotFound, NotImplementedError):
        return request.path.rpartition("/operation/")[2], {}
    return operation.name, uri


def _parameters(request: Request, model: OperationModel, protocol: str, uri: dict[str, Any]) -> dict[str, Any]:
    parsed = PROTOCOL_PARSERS[protocol](model, map_type=dict).parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.get_data(),
            "url_path": request.path,
            "url_params": uri,
        }
    )
    return dict(parsed)


def _respond(override: type[Any], request: Request) -> Response:
    result = override.dispatch(request, request.raw_url, dict(request.headers))
    status, headers, content = result if len(result) == 3 else (200, {}, result)  # noqa: PLR2004 - moto's two forms
    return Response(content, status, headers)


def _rewound(request: Request) -> dict[str, Any]:
    """The environment with its body unread, for another application."""
    environ = dict(request.environ)
    environ["wsgi.input"] = BytesIO(request.get_data())
    environ.pop("werkzeug.request", None)
    return environ


def _code_in(response: Response) -> str | None:
    text = response.get_data(as_text=True)
    found = re.search(r"<Code>([^<]+)</Code>", text) or re.search(r'"__type":\s*"(?:[^"#]*#)?([^"]+)"', text)
    return found[1] if found else None


def error_response(found: Identified, error: ErrorAnswer) -> Response:
    """The error in the service's own protocol."""
    model = get_service_model(BOTOCORE_NAMES.get(found.service, found.service))
    serializer = get_serializer_class(model.service_name, found.protocol)(
        operation_model=model.operation_model(found.operation)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # moto warns of common errors that a service's model does not list
        answer = serializer.serialize(_Refusal(error.code, error.message))
    response = Response(answer["body"], error.status, dict(answer["headers"]))
    response.headers["x-amzn-errortype"] = error.code  # in place of the serialiser's, however that is written
    return response
