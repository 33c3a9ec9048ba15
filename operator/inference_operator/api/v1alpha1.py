"""The two kinds of version v1alpha1, whole: what kubectl sends and shows. The parts are in the modules it gathers.

Reading a live object, validate `metadata`, `spec` and `status` by themselves, so that a stored spec that is no longer
valid hides neither the name nor the status.
"""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from inference_operator.api.constraints import refuse
from inference_operator.api.containers import EnvVar, Secret, Sidecar
from inference_operator.api.deployment import (
    Capacity,
    Exec,
    Health,
    InferenceDeploymentSpec,
    Models,
    Tag,
)
from inference_operator.api.environment import (
    EnvironmentLogging,
    Events,
    EventsState,
    InferenceEnvironmentSpec,
    InferenceEnvironmentStatus,
    LoadBalancer,
    ModelStore,
    Network,
    Notification,
    PosixUser,
)
from inference_operator.api.ingress import Ingress, Stickiness
from inference_operator.api.logging import Logging, Route
from inference_operator.api.model import NAME_LENGTH, NAME_REGEX, Condition, ObjectMeta
from inference_operator.api.policy import LoggingPolicy, Maximum, NamespaceSelector, Policy
from inference_operator.api.quantities import Cpu, Memory
from inference_operator.api.rollout import Alarms, Canary, CircuitBreaker, Linear, Pause, Rollout, Threshold
from inference_operator.api.scaling import Autoscaling, Schedule
from inference_operator.api.status import (
    Applied,
    DeploymentState,
    DesiredRevision,
    DestinationFlow,
    Difference,
    ExecState,
    Failure,
    HistoryEntry,
    InferenceDeploymentStatus,
    LogsState,
    Notified,
    Resources,
    RunningRevision,
    ServiceEvent,
    StoppedTask,
    TargetProblem,
    TargetsState,
    VerificationFinding,
    VerificationState,
)

__all__ = [
    "Alarms",
    "Applied",
    "Autoscaling",
    "Canary",
    "Capacity",
    "CircuitBreaker",
    "Condition",
    "Cpu",
    "DeploymentState",
    "DesiredRevision",
    "DestinationFlow",
    "Difference",
    "EnvVar",
    "EnvironmentLogging",
    "Events",
    "EventsState",
    "Exec",
    "ExecState",
    "Failure",
    "Health",
    "HistoryEntry",
    "InferenceDeployment",
    "InferenceDeploymentSpec",
    "InferenceDeploymentStatus",
    "InferenceEnvironment",
    "InferenceEnvironmentSpec",
    "InferenceEnvironmentStatus",
    "Ingress",
    "Linear",
    "LoadBalancer",
    "Logging",
    "LoggingPolicy",
    "LogsState",
    "Maximum",
    "Memory",
    "ModelStore",
    "Models",
    "NamespaceSelector",
    "Network",
    "Notification",
    "Notified",
    "ObjectMeta",
    "Pause",
    "Policy",
    "PosixUser",
    "Resources",
    "Rollout",
    "Route",
    "RunningRevision",
    "Schedule",
    "Secret",
    "ServiceEvent",
    "Sidecar",
    "Stickiness",
    "StoppedTask",
    "Tag",
    "TargetProblem",
    "TargetsState",
    "Threshold",
    "VerificationFinding",
    "VerificationState",
]

NAME_MUST_BE = f"at most {NAME_LENGTH} lower-case letters, digits and -, with a letter or digit at both ends"


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True)

    api_version: Literal["ecs-inference.dev/v1alpha1"]
    metadata: ObjectMeta

    @model_validator(mode="after")
    def _name_is_usable(self) -> Self:
        name = self.metadata.name
        if len(name) > NAME_LENGTH or not re.fullmatch(NAME_REGEX, name, re.ASCII):
            raise refuse(f"metadata.name must be {NAME_MUST_BE}; got '{name}' ({len(name)} characters)")
        return self


class InferenceEnvironment(_Object):
    kind: Literal["InferenceEnvironment"]
    spec: InferenceEnvironmentSpec
    status: InferenceEnvironmentStatus = Field(default_factory=InferenceEnvironmentStatus)


class InferenceDeployment(_Object):
    kind: Literal["InferenceDeployment"]
    spec: InferenceDeploymentSpec
    status: InferenceDeploymentStatus = Field(default_factory=InferenceDeploymentStatus)
