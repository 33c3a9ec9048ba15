"""Application Auto Scaling for ECS services: scalable targets, their policies and schedules, and what these do."""

from __future__ import annotations

from inference_sandbox.aws.scaling.api import ScalingApi
from inference_sandbox.aws.scaling.engine import Scaling

__all__ = ["Scaling", "ScalingApi"]
