"""boto3 behind the ports: sessions, timeouts, retries, and botocore's errors turned into `aws.errors`."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, cast

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.loaders import JSONFileLoader, Loader, create_loader
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError

from inference_operator import __version__
from inference_operator.aws.errors import AwsError, Paced, Throttled, Unavailable, UnknownCaller, from_answer
from inference_operator.aws.models import CLIENTS, operations, reduced, without_prose
from inference_operator.aws.ports import Aws
from inference_operator.aws.quotas import Pace
from inference_operator.aws.reading import BatchedServices, SharedListings
from inference_operator.domain.members import MEMBERS, Member

MAX_CONNECTIONS = 32
SESSION_NAME = "inference-operator"
"""As CloudTrail shows who did something with a role that was taken on."""

# Short timeouts: a pass must end within the grace period of a shutdown. The engine retries by itself, so botocore only
# mends what a second try within the second mends. Not in its adaptive mode: that slows down all operations of a client
# when AWS throttles one of them, whose quota others may have used up.
CONFIG = Config(
    connect_timeout=3,
    read_timeout=15,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=MAX_CONNECTIONS,
    user_agent_extra=f"ecs-inference/{__version__}",
)

# Without an idempotency token a second try makes a second revision, or finds the first one in its way. So these are not
# tried again before it has been looked what the first try did.
TRIED_ONCE = frozenset({"RegisterTaskDefinition", "CreateService", "CreateRule", "RegisterScalableTarget"})
ONCE = CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))


WORTH_A_RETURN = 0.3
"""Seconds: for less it is not worth to end the pass and to come back."""


class CallObserver(Protocol):
    def __call__(self, *, operation: str, code: str, seconds: float) -> None:
        """One call has been answered; `code` is "OK" or the error's. For metrics and logs."""


def ignore(*, operation: str, code: str, seconds: float) -> None:
    """An observer that looks away."""


@dataclass(frozen=True)
class Role:
    """A role to take on (STS AssumeRole)."""

    arn: str
    external_id: str | None = None


def connect(
    region: str,
    role: Role | None = None,
    *,
    pace: Pace | None = None,
    observer: CallObserver = ignore,
    on_change: Callable[[str, str], None] | None = None,
    before_try: Callable[[], None] = lambda: None,
) -> Aws:
    """Clients for one region, from the standard AWS configuration (environment, web identity, Pod Identity, …) or with
    the role that is taken on with it. `pace` is that of the account and region; without one, AWS sets it. `before_try`
    is called before each try of a call, for credentials too; if it raises or does not return, nothing is sent."""
    session = own = boto3.Session(botocore_session=_session(), region_name=region)
    if role is not None:
        session = _as(role, own)
    for each in {own, session}:
        each.events.register("before-send", lambda **_: before_try())

    def client(name: str, pace: Pace | None = None) -> Any:
        make: Any = session.client  # its overloads name each service; here the name is a variable

        def made(config: Config) -> Any:
            if session.get_credentials() is None:  # a client that is made without any never has some
                raise NoCredentialsError
            return make(name, config=config)

        return Translating(made, observer, pace)

    ecs, efs, elb = client("ecs", pace), client("efs"), client("elbv2")
    scaling, discovery = client("application-autoscaling"), client("servicediscovery")
    return Aws(
        region=region,
        ecs=ecs,
        efs=efs,
        elb=elb,
        logs=client("logs"),
        sqs=client("sqs"),
        events=client("events"),
        scaling=scaling,
        discovery=discovery,
        ec2=client("ec2"),
        iam=client("iam"),
        s3=client("s3"),
        firehose=client("firehose"),
        ecr=client("ecr"),
        secrets=client("secretsmanager"),
        ssm=client("ssm"),
        sns=client("sns"),
        services=BatchedServices(ecs, steady, on_change or (lambda _cluster, _service: None)),
        listings=SharedListings(efs, elb, scaling, discovery, steady),
        lacking=_lacking_here(),
    )


def has_credentials() -> bool:
    """Whether the standard AWS configuration leads to any; whether they are valid is not asked."""
    return _session().get_credentials() is not None


@cache
def _lacking_here() -> frozenset[Member]:
    return lacking(_session().get_service_model("ecs"))


def lacking(ecs: ServiceModel) -> frozenset[Member]:
    """Those of MEMBERS that botocore's model of ECS does not have."""
    takes = ecs.operation_model("UpdateService").input_shape
    return frozenset(member for member in MEMBERS if not _has(takes, member.path))


def _has(shape: Any, path: str) -> bool:
    names, _, value = path.partition("=")
    for name in names.split("."):
        shape = shape.member if shape.type_name == "list" else shape
        if name not in shape.members:
            return False
        shape = shape.members[name]
    return not value or value in shape.enum


def _session() -> botocore.session.Session:
    """One of many that share the models of AWS's services."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _models(session.get_config_variable("data_path")))
    session.register("before-parse", _whole_and_of_aws)
    return session


class WebPageError(BotoCoreError):
    fmt = "a web page came where AWS answers (HTTP {status})"


class CutShortError(BotoCoreError):
    fmt = "the answer ended before its end"


class EndingError(BotoCoreError):
    """For `before_try` to raise."""

    fmt = "the process is about to end: it asks nothing any more"


_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html)\b", flags=re.IGNORECASE)


def _whole_and_of_aws(*, response_dict: Any = None, operation_model: Any = None, **_: Any) -> None:
    """JSON that botocore can't parse is to it an answer without members: as if there were nothing in AWS."""
    status, body = response_dict["status_code"], response_dict["body"]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # no answer, whoever it is from; botocore tries again
        return
    if _WEB_PAGE.match(body):
        raise WebPageError(status=status)
    promised = int(response_dict["headers"].get("Content-Length") or 0)
    if len(body) < promised and operation_model.http["method"] != "HEAD":
        raise CutShortError


@cache
def _models(search_path: str | None) -> Loader:
    loader = create_loader(search_path)
    loader.file_loader = _Reduced()
    return loader


class _Reduced(JSONFileLoader):
    """Reads what the ports ask for. Of a service that has no port (STS, for credentials) it reads all operations."""

    def _load_file(self, full_path: str, open_method: Callable[..., Any]) -> Any:
        path = Path(full_path)  # …/SERVICE/VERSION/TYPE.json.gz
        if not path.is_file():
            return None
        with open_method(full_path, "rb") as file:
            read = json.load(file, object_pairs_hook=without_prose)
        port = CLIENTS.get(path.parent.parent.name)
        return reduced(read, operations(port)) if port is not None and path.name.startswith("service-2.json") else read


def _as(role: Role, own: boto3.Session) -> boto3.Session:
    """A session whose credentials are the role's: fetched at the first call, and anew before they expire. Our own are
    asked for then, not before: while there are none, nothing may be done in our own account instead."""

    def fetch() -> Any:
        source = own.get_credentials()
        if source is None:
            raise NoCredentialsError
        return AssumeRoleCredentialFetcher(
            client_creator=partial(own._session.create_client, config=CONFIG),  # noqa: SLF001 boto3 has no other way to it
            source_credentials=source,
            role_arn=role.arn,
            extra_args={
                "RoleSessionName": SESSION_NAME,
                **({"ExternalId": role.external_id} if role.external_id else {}),
            },
        ).fetch_credentials()

    session = _session()
    session.register_component("credential_provider", CredentialResolver(providers=[_TakenOn(fetch)]))
    return boto3.Session(botocore_session=session, region_name=own.region_name)


class _TakenOn(CredentialProvider):
    """The only credentials of a session: those of a role."""

    METHOD = "assume-role"

    def __init__(self, fetch: Callable[[], Any]) -> None:
        super().__init__()
        self._fetch = fetch

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=self._fetch)


def steady() -> datetime:
    """For ages alone, of no date: by a clock that is set back an hour, what was seen would be news for an hour."""
    return datetime.fromtimestamp(time.monotonic(), UTC)


class Translating:
    """A boto3 client whose errors are ours and whose calls are observed. It is made at the first call: the models of
    some services take megabytes, and not every environment needs them."""

    def __init__(self, make: Callable[[Config], Any], observer: CallObserver, pace: Pace | None = None) -> None:
        self._make = make
        self._observer = observer
        self._pace = pace

    @cached_property
    def client(self) -> Any:
        return self._made(CONFIG)

    @cached_property
    def once(self) -> Any:
        return self._made(ONCE)

    def _made(self, config: Config) -> Any:
        """Credentials are looked for when a client is made."""
        with _making:  # a boto3 session is not to be used by two threads at once
            started = steady()
            try:
                return self._make(config)
            except NOT_ANSWERED as error:
                mine = _translate(error, "credentials")
                seconds = (steady() - started).total_seconds()
                self._observer(operation=mine.operation, code=mine.code, seconds=seconds)
                raise mine from error

    def __getattr__(self, method: str) -> Callable[..., Any]:
        name = self.client.meta.method_to_api_mapping.get(method)
        if name is None:
            message = f"botocore {botocore.__version__} is too old for {method}; a later one is needed"
            raise AwsError(code="UnknownOperation", message=message, operation=method)
        operation = f"{self.client.meta.service_model.signing_name}:{name}"
        bound = getattr(self.once if name in TRIED_ONCE else self.client, method)

        def call(**members: Any) -> Any:
            self._keep_pace(name, operation)
            started = steady()
            code = "OK"
            try:
                return bound(**members)
            except NOT_ANSWERED as error:
                mine = _translate(error, operation)
                code = mine.code
                if self._pace is not None and isinstance(mine, Throttled):
                    self._pace.refused(name)
                raise mine from error
            finally:
                self._observer(operation=operation, code=code, seconds=(steady() - started).total_seconds())

        setattr(self, method, call)  # looked up once
        return call

    def _keep_pace(self, name: str, operation: str) -> None:
        while self._pace is not None and (wait := self._pace.wait(name)) > 0:
            if wait > WORTH_A_RETURN:
                raise Paced(operation=operation, wait=timedelta(seconds=wait))
            time.sleep(wait)


_making = threading.Lock()
NOT_ANSWERED = (ClientError, BotoCoreError, ResponseParserError, OSError)
"""Of botocore. The last one is of a file that it reads credentials from."""


def _translate(error: Exception, operation: str) -> AwsError:
    if isinstance(error, ClientError):
        if error.operation_name.startswith("AssumeRole"):  # or …WithWebIdentity: for credentials, before what was asked
            operation = f"sts:{error.operation_name}"
        answer = cast("dict[str, Any]", error.response)
        described = answer.get("Error", {})
        return from_answer(
            code=described.get("Code", "Unknown"),
            message=described.get("Message", ""),
            operation=operation,
            status=answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
            detail={k: v for k, v in answer.items() if k not in ("Error", "ResponseMetadata")},
        )
    family: type[AwsError] = Unavailable
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        family = UnknownCaller
    elif type(error).__name__ == "ParamValidationError":
        family = AwsError  # ours to mend: botocore's model refuses what we send
    return family(code=type(error).__name__, message=str(error), operation=operation)
