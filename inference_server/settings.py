"""The configuration: `INFERENCE_*` environment variables, read once, checked, and refused with what to do instead.

Flat, so pydantic alone is enough: pydantic-settings would be memory in every worker.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inference_server.cgroup import cpus

PREFIX = "INFERENCE_"
OTHER_PROGRAMS = ("INFERENCE_OPERATOR_", "INFERENCE_SANDBOX_")
"""Prefixes that programs beside this one own; they may share an environment on one machine."""


class SettingsError(Exception):
    """The environment is not a valid configuration. The text has a line for each fault."""


class Settings(BaseModel):
    """One field for each variable: `INFERENCE_` and the field's name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="0.0.0.0", description="IPv4 address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8080, description="Port to listen on; 0 takes a free one."
    )
    models_dir: Path = Field(default=Path("/models"), description="The model repository.")
    workers: Annotated[int, Field(ge=1, le=512)] = Field(
        default_factory=lambda: max(2, cpus()),
        description="Worker processes; the cpu quota rounded up, at least 2 so that one is free for health checks.",
    )
    threads: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Requests that each worker takes at once. More than one helps models with batching, and those that "
        "wait for something; others only get slower.",
    )
    worker_memory_bytes: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="A worker that has more memory of its own than this, beside what it shares with the others, is "
        "replaced once its request is answered. Not set: never.",
    )
    drain_seconds: Annotated[float, Field(ge=0, le=110)] = Field(
        default=10,
        description="After SIGTERM, seconds of serving on with readiness at 503, for load balancers to look elsewhere.",
    )
    grace_seconds: Annotated[float, Field(gt=0, le=120)] = Field(
        default=15,
        description="After the drain, seconds for requests in flight; then SIGKILL. Drain and grace together must be "
        "less than the container's stopTimeout (30 if not set).",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="The least level that is logged."
    )
    max_body_bytes: Annotated[int, Field(ge=1)] = Field(
        default=64 * 1024 * 1024, description="Largest request body, in bytes; above it 413."
    )
    client_timeout_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=15, description="Seconds that a client may keep a worker waiting for the next bytes of its request."
    )
    request_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=30, description="Seconds from an inference request's arrival to its answer; then 504."
    )
    hard_timeout_seconds: Annotated[int, Field(ge=1, le=7200)] = Field(
        default=120,
        description="Seconds after which a worker that is still at one request is killed and replaced. More than "
        "INFERENCE_REQUEST_TIMEOUT_SECONDS, which answers the caller first.",
    )
    max_waiting: Annotated[int, Field(ge=1)] = Field(
        default=512,
        description="Connections that may wait for a worker before inference is refused with 503 and Retry-After.",
    )
    compress_from_bytes: Annotated[int, Field(ge=0)] = Field(
        default=1024,
        description="The least size of a response that is compressed for callers that accept gzip or deflate.",
    )
    backlog: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=1024,
        description="Connections that may wait for a worker; no more than the kernel's net.core.somaxconn.",
    )
    access_log_per_second: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        default=20,
        description="Successful requests that each worker logs a second at most; 0: none. Failures are always logged.",
    )
    emf_namespace: str | None = Field(
        default=None,
        description="A namespace of CloudWatch: lines in the embedded metric format are logged for it. Not set: none.",
    )
    emf_seconds: Annotated[float, Field(ge=1, le=86_400)] = Field(
        default=60, description="How often such lines are logged."
    )
    tracing: bool = Field(
        default=False,
        description="Send a trace of each inference by OpenTelemetry, which the image must have (the extra "
        "server-tracing). Where to, and how many, is said by the variables OTEL_*.",
    )
    model_control: Literal["none", "explicit", "poll"] = Field(
        default="none",
        description="How models change while the server runs. none: not at all. explicit: on POST "
        "/v2/repository/models/{name}/load and /unload. poll: when a new version is published.",
    )
    poll_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = Field(
        default=15, description="How often the repository is looked at, with INFERENCE_MODEL_CONTROL=poll."
    )
    unsafe_models: dict[str, str] = Field(
        default_factory=dict,
        description="Models whose code may be run, as model/version=digest, separated by commas. The digest pins the "
        "content: the error that refuses such a model tells it.",
    )
    scratch_dir: Path | None = Field(
        default=None,
        description="Where to make a folder for local copies of models; the system's temporary folder if not set.",
    )

    @field_validator("unsafe_models", mode="before")
    @classmethod
    def _read_pins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pins = {}
        for entry in filter(None, (part.strip() for part in value.split(","))):
            version, separator, digest = entry.partition("=")
            if not separator or "/" not in version or not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError(f"{entry!r} is not of the form model/version=digest, with 64 hexadecimal digits")
            pins[version] = digest
        return pins


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read an environment; a variable that is empty is as good as none. Raises SettingsError."""
    faults = _unknown(environment)
    given = {name: environment.get(PREFIX + name.upper()) for name in Settings.model_fields}
    try:
        settings = Settings.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as error:
        faults += [
            f"{PREFIX}{str(fault['loc'][0]).upper()} is {fault['input']!r}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
        raise SettingsError("\n".join(faults)) from None
    if settings.hard_timeout_seconds <= settings.request_timeout_seconds:
        faults.append(
            f"INFERENCE_HARD_TIMEOUT_SECONDS is {settings.hard_timeout_seconds}: it must be more than "
            f"INFERENCE_REQUEST_TIMEOUT_SECONDS, {settings.request_timeout_seconds:g}"
        )
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


class Described(NamedTuple):
    """A setting, for people."""

    variable: str
    default: str
    """As Markdown; empty if there is none."""
    description: str


def described() -> list[Described]:
    """Every setting in the order of this module."""
    found = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None or field.default_factory else f"`{field.default}`"
        if name == "workers":
            default = "by the cpu quota"
        found.append(Described(PREFIX + name.upper(), default, field.description or ""))
    return found


def _unknown(environment: Mapping[str, str]) -> list[str]:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    faults = []
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name.startswith(OTHER_PROGRAMS) or name in known:
            continue
        longer = [one for one in known if one.startswith(name)]
        (nearest,) = longer[:1] or difflib.get_close_matches(name, known, n=1, cutoff=0)
        faults.append(f"{name} is not a setting; did you mean {nearest}?")
    return faults
