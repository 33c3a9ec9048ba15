"""What the health of a task is, and whether it counts (API reference, HealthCheck and DeploymentConfiguration).

Functions of a task's record; this module must not know what follows from the answer.
"""

from __future__ import annotations

from datetime import timedelta

from inference_sandbox.ecs.state import Container, Health, Target, Task, TaskDefinition


def has_container_check(definition: TaskDefinition) -> bool:
    return any(container.get("healthCheck") for container in definition.essential)


def grace_period(task: Task) -> timedelta:
    service = task.service
    return timedelta(seconds=service.document.get("healthCheckGracePeriodSeconds") or 0) if service else timedelta()


def task_health(task: Task) -> Health:
    """The worst of the essential containers; one without a check is UNKNOWN (API reference, HealthCheck)."""
    found = {container.health for container in task.containers if container.essential}
    return "UNHEALTHY" if "UNHEALTHY" in found else "UNKNOWN" if "UNKNOWN" in found else "HEALTHY"


def counts_as_healthy(task: Task) -> bool:
    """As minimumHealthyPercent counts: every check that the task has, passes; without any, 40 seconds of RUNNING.

    An essential container without a check does not hold up one that has one, although the task then reports UNKNOWN.
    """
    if task.last_status != "RUNNING" or not task.active:
        return False
    if task.settled:
        return True  # it has no check at all
    checked = [c for c in task.containers if c.essential and c.definition.get("healthCheck")]
    if not checked and not task.targets:
        return False
    return all(c.health == "HEALTHY" for c in checked) and all(t.state == "healthy" for t in task.targets)


def failed_check(task: Task) -> Container | Target | None:
    """The check that the task fails, leaving the grace period aside."""
    if task.last_status != "RUNNING" or not task.active:
        return None
    for container in task.containers:
        if container.essential and container.health == "UNHEALTHY":
            return container
    return next((target for target in task.targets if target.state == "unhealthy"), None)


def has_check(task: Task) -> bool:
    return bool(task.targets) or has_container_check(task.task_definition)
