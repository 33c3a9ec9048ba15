"""The status of an InferenceEnvironment: whether services can use it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from inference_operator.api.errors import explain
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec, InferenceEnvironmentStatus, ObjectMeta
from inference_operator.domain.conditions import Said, Type, merged
from inference_operator.domain.reasons import Reason


def judge(document: Mapping[str, Any], now: datetime) -> InferenceEnvironmentStatus:
    meta = ObjectMeta.model_validate(document["metadata"])
    try:
        previous = InferenceEnvironmentStatus.model_validate(document.get("status") or {})
    except ValidationError:  # written by hand or by another version: it is made anew
        previous = InferenceEnvironmentStatus()
    try:
        spec = InferenceEnvironmentSpec.model_validate(document.get("spec", {}))
    except ValidationError as error:
        said = Said(Type.READY, "False", Reason.INVALID_SPEC, f"{explain(error)} Next: mend the spec.")
    else:
        said = Said(Type.READY, "True", Reason.ACCEPTED, f"services run in cluster {spec.cluster} of {spec.region}")
    return InferenceEnvironmentStatus(
        observed_generation=meta.generation,
        conditions=merged(previous.conditions, [said], generation=meta.generation, now=now),
    )
