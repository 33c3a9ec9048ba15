"""The operator's whole configuration, from the environment (`INFERENCE_OPERATOR_*`). AWS's and Kubernetes' own come
on top: `AWS_*`, and `KUBECONFIG` or the service account of the pod."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="INFERENCE_OPERATOR_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

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
