"""The operator's whole configuration, from the environment (`INFERENCE_OPERATOR_*`). AWS's and Kubernetes' own come
on top: `AWS_*`, and `KUBECONFIG` or the service account of the pod."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="INFERENCE_OPERATOR_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much is logged. AWS answers and values of environment variables never are."""

    concurrency: int = Field(default=16, ge=1, le=256)
    """How many objects are reconciled at once."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where Prometheus metrics are served; absent: nowhere."""
