"""boto3 behind the ports: sessions, timeouts, retries, and botocore's errors turned into `aws.errors`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from inference_operator import __version__
from inference_operator.aws.errors import AwsError, Denied, Unavailable, from_answer
from inference_operator.aws.ports import Aws
from inference_operator.aws.reading import BatchedServices, SharedListings

MAX_CONNECTIONS = 32

# Short timeouts: a pass must end within the grace period of a shutdown. The engine retries by itself, so botocore only
# mends what a second try within the second mends; adaptive mode slows the client down once AWS throttles it.
CONFIG = Config(
    connect_timeout=3,
    read_timeout=15,
    retries={"mode": "adaptive", "total_max_attempts": 3},
    max_pool_connections=MAX_CONNECTIONS,
    user_agent_extra=f"ecs-inference/{__version__}",
)

# Without an idempotency token a second try makes a second revision, or finds the first one in its way. So these are not
# tried again before it has been looked what the first try did.
TRIED_ONCE = frozenset({"RegisterTaskDefinition", "CreateService", "CreateRule"})
ONCE = CONFIG.merge(Config(retries={"mode": "adaptive", "total_max_attempts": 1}))


class CallObserver(Protocol):
    def __call__(self, *, operation: str, code: str, seconds: float) -> None:
        """One call has been answered; `code` is "OK" or the error's. For metrics and logs."""


def ignore(*, operation: str, code: str, seconds: float) -> None:
    """An observer that looks away."""


def connect(
    region: str, *, observer: CallObserver = ignore, on_change: Callable[[str, str], None] | None = None
) -> Aws:
    """Clients for one region, from the standard AWS configuration (environment, web identity, Pod Identity, …)."""
    session = boto3.Session(region_name=region)

    def client(name: str) -> Any:
        make: Any = session.client  # its overloads name each service; here the name is a variable
        return _Translating(make(name, config=CONFIG), make(name, config=ONCE), observer)

    ecs, efs, elb, logs = client("ecs"), client("efs"), client("elbv2"), client("logs")
    return Aws(
        region=region,
        ecs=ecs,
        efs=efs,
        elb=elb,
        logs=logs,
        services=BatchedServices(ecs, utc_now, on_change or (lambda _cluster, _service: None)),
        listings=SharedListings(efs, elb, utc_now),
    )


def utc_now() -> datetime:
    return datetime.now(UTC)


class _Translating:
    """A boto3 client whose errors are ours and whose calls are observed."""

    def __init__(self, client: Any, once: Any, observer: CallObserver) -> None:
        self._client = client
        self._once = once
        self._observer = observer
        self._service = client.meta.service_model.signing_name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        name = self._client.meta.method_to_api_mapping[method]
        operation = f"{self._service}:{name}"
        bound = getattr(self._once if name in TRIED_ONCE else self._client, method)

        def call(**members: Any) -> Any:
            started = utc_now()
            code = "OK"
            try:
                return bound(**members)
            except (ClientError, BotoCoreError) as error:
                mine = _translate(error, operation)
                code = mine.code
                raise mine from error
            finally:
                self._observer(operation=operation, code=code, seconds=(utc_now() - started).total_seconds())

        setattr(self, method, call)  # looked up once
        return call


def _translate(error: ClientError | BotoCoreError, operation: str) -> AwsError:
    if isinstance(error, ClientError):
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
        family = Denied
    elif type(error).__name__ == "ParamValidationError":
        family = AwsError  # ours to mend: botocore's model refuses what we send
    return family(code=type(error).__name__, message=str(error), operation=operation)
