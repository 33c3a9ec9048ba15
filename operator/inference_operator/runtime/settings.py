"""The operator's whole configuration, from the environment (`INFERENCE_OPERATOR_*`). AWS's and Kubernetes' own come
on top: `AWS_*`, and `KUBECONFIG` or the service account of the pod."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX: Final = "INFERENCE_OPERATOR_"
_SERVICE_LINK: Final = re.compile("_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_.+)?)$")
"""What Kubernetes sets for each Service of the namespace: one may be called as the operator is."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much is logged. AWS answers and values of environment variables never are."""

    concurrency: int = Field(default=16, ge=1, le=256)
    """How many objects are reconciled at once."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where /metrics, /healthz and /readyz are served; absent: nowhere."""

    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """The namespaces, separated by commas, whose InferenceDeployments are looked after; none: all of the cluster."""

    lease: str | None = Field(default=None, pattern=r"^[a-z0-9-]+/[a-z0-9.-]+$")
    """NAMESPACE/NAME of the Lease that one of several replicas works under; absent: this is the only one."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return tuple(n.strip() for n in value.split(",") if n.strip()) if isinstance(value, str) else value


def misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    """A complaint about each variable that looks like a setting and is none."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known and not _SERVICE_LINK.search(name):
            (nearest,) = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0)
            yield f"{name} is not a setting; did you mean {nearest}?"
