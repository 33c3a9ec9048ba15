"""The words of ECS: service events, stop reasons, rollout reasons.

Sources: developer guide, "Amazon ECS service event messages" and "Stopped tasks error messages"; where the guide and
the field differ (`(service NAME) ` against `service (NAME) `), the field's form. This module must not know when a text
is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

STEADY = "has reached a steady state."
IMPAIRED = "is unable to consistently start tasks successfully."
BLOCKED = (
    "was unable to stop or start tasks during a deployment because of the service deployment configuration. "
    "Update the minimumHealthyPercent or maximumPercent value and try again."
)
ESSENTIAL_EXITED = "Essential container in task exited"
CONTAINER_HEALTH = "Task failed container health checks"
NO_EXECUTE_COMMAND = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command "
    "agent isn't running. Wait and try again or run a new task with execute command enabled and try again."
)
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
MAINTENANCE = "ECS is performing maintenance on the underlying infrastructure hosting the task."
SPOT = "Your Spot Task was interrupted."
STOPPED_BY_USER = "Task stopped by user"
SERVICE_DELETED = "Task stopped because the service was deleted"
BREAKER_FAILED = "ECS deployment circuit breaker: tasks failed to start."
ALARM_FAILED = "ECS deployment alarm: alarm detected."
HOOK_FAILED = "ECS deployment failed: a lifecycle hook failed."
HOOK_ROLLBACK = "ECS deployment failed: rollback was requested at a lifecycle hook."
STOP_REQUESTED = "Service deployment rollback was requested by the user."
CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone."
VCPU_LIMIT = "You've reached the limit on the number of vCPUs you can run concurrently"


def ids(tasks: Iterable[str]) -> str:
    return " ".join(f"(task {task})" for task in tasks)


def started(tasks: list[str]) -> str:
    return f"has started {len(tasks)} tasks: {ids(tasks)}."


def stopped(tasks: list[str]) -> str:
    return f"has stopped {len(tasks)} running tasks: {ids(tasks)}."


def draining(count: int) -> str:
    return f"has begun draining connections on {count} tasks."


def registered(count: int, group: str) -> str:
    return f"registered {count} targets in (target-group {group})"


def deregistered(count: int, group: str) -> str:
    return f"deregistered {count} targets in (target-group {group})"


def completed(deployment: str) -> str:
    return f"(deployment {deployment}) deployment completed."


def failed(deployment: str, cause: str) -> str:
    return f"(deployment {deployment}) deployment failed: {cause}"


def rolling_back(deployment: str) -> str:
    return f"rolling back to deployment {deployment}."


def container_unhealthy(task: str) -> str:
    return f"(task {task}) failed container health checks."


def target_unhealthy(task: str, port: int, group: str, reason: str) -> str:
    return f"(task {task}) (port {port}) is unhealthy in (target-group {group}) due to (reason {reason})"


def unplaced(reason: str) -> str:
    return f"was unable to place a task. Reason: {reason}"


def _over_zones(counts: Mapping[str, int]) -> str:
    *first, last = [f"{count} tasks in {zone}" for zone, count in counts.items()]
    return f"{', '.join(first)}, and {last}" if first else last


def unbalanced(counts: Mapping[str, int]) -> str:
    return f"is not AZ balanced with {_over_zones(counts)}. AZ Rebalancing in progress."


def balanced(counts: Mapping[str, int]) -> str:
    return f"is AZ balanced with {_over_zones(counts)}."


def started_to_rebalance(zone: str, tasks: list[str]) -> str:
    return f"has started {len(tasks)} tasks in {zone} to AZ Rebalance: {ids(tasks)}."


def stopped_to_rebalance(zone: str, tasks: list[str]) -> str:
    return f"has stopped {len(tasks)} running tasks in {zone} due to AZ rebalancing: {ids(tasks)}."


def scale_in_protected(task_set: str) -> str:
    return (
        f"was unable to reach steady state because task set ({task_set}) was unable to scale in. "
        "Reason: The number of protected tasks are more than the desired count of tasks."
    )


def target_health(group: str) -> str:
    return f"Task failed ELB health checks in (target-group {group})"


def scaling_activity(deployment: str) -> str:
    return f"Scaling activity initiated by (deployment {deployment})"


def in_progress(deployment: str) -> str:
    return f"ECS deployment {deployment} in progress."


def rollout_completed(deployment: str) -> str:
    return f"ECS deployment {deployment} completed."


def rollback_in_progress(deployment: str) -> str:
    return f"ECS deployment circuit breaker: rolling back to deploymentId {deployment}."
