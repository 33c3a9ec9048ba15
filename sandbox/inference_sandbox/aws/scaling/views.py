"""Records of Application Auto Scaling as its API shows them. This module must not change a record."""

from __future__ import annotations

from typing import Any

from inference_sandbox.aws.scaling.records import (
    DIMENSION,
    NAMESPACE,
    Activity,
    Policy,
    ScheduledAction,
    Target,
)
from inference_sandbox.ecs.views import present


def _where(target: Target) -> dict[str, str]:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": target.name.resource,
        "ScalableDimension": DIMENSION,
    }


def target(record: Target) -> dict[str, Any]:
    return {
        **_where(record),
        "MinCapacity": record.minimum,
        "MaxCapacity": record.maximum,
        "RoleARN": record.role,
        "CreationTime": record.created_at,
        "SuspendedState": dict(record.suspended),
        "ScalableTargetARN": record.arn,
    }


def policy(record: Policy, of: Target, alarms: list[dict[str, str]]) -> dict[str, Any]:
    return {
        **_where(of),
        "PolicyARN": record.arn,
        "PolicyName": record.name,
        "PolicyType": record.kind,
        f"{record.kind}PolicyConfiguration": record.configuration,
        "Alarms": alarms,
        "CreationTime": record.created_at,
    }


def scheduled_action(record: ScheduledAction, of: Target) -> dict[str, Any]:
    return present(
        **_where(of),
        ScheduledActionName=record.name,
        ScheduledActionARN=record.arn,
        Schedule=record.schedule,
        Timezone=record.timezone,
        StartTime=record.start,
        EndTime=record.end,
        ScalableTargetAction=record.action,
        CreationTime=record.created_at,
    )


def activity(record: Activity, of: Target) -> dict[str, Any]:
    return present(
        **_where(of),
        ActivityId=record.id,
        Description=record.description,
        Cause=record.cause,
        StartTime=record.at,
        EndTime=record.at if record.status == "Successful" else None,
        StatusCode=record.status,
        StatusMessage=record.message,
        NotScaledReasons=list(record.reasons) or None,
    )
