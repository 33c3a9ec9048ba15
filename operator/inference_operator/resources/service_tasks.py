"""A service's tasks, read where DescribeServices does not tell enough."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from inference_operator.aws.ports import Answer, Ecs
from inference_operator.domain import failures

BATCH = 100  # ListTasks: maxResults; DescribeTasks: tasks


def stopped(ecs: Ecs, cluster: str, service: str) -> list[Answer]:
    """Newest first. ECS forgets stopped tasks after about an hour, so they are read while they are there. ListTasks
    promises no order, so as many are read as two calls give."""
    return newest_first(t for t in _wanted(ecs, cluster, service, "STOPPED") if t.get("stoppedAt"))


def lost(ecs: Ecs, cluster: str, service: str) -> list[Answer]:
    """Those that the scheduler did not stop as a matter of routine, newest first; those that are still stopping, which
    do not tell everything yet, before them."""
    ended = _wanted(ecs, cluster, service, "STOPPED")
    return newest_first(t for t in ended if not t.get("stoppedReason", "").startswith(failures.ROUTINE))


def newest_first(*shown: Iterable[Answer]) -> list[Answer]:
    """The tasks of several lists, each once: as the last of the lists shows it."""
    tasks = {task["taskArn"]: task for some in shown for task in some}
    return sorted(tasks.values(), key=lambda t: (t.get("stoppedAt") or STILL_STOPPING, t["taskArn"]), reverse=True)


STILL_STOPPING = datetime.max.replace(tzinfo=UTC)


def running(ecs: Ecs, cluster: str, service: str) -> list[Answer]:
    """Those that are RUNNING; of more than a hundred, a hundred."""
    return [t for t in _wanted(ecs, cluster, service, "RUNNING") if t["lastStatus"] == "RUNNING"]


def _wanted(ecs: Ecs, cluster: str, service: str, status: str) -> list[Answer]:
    """Those that ECS wants to be of a status, whether or not they are yet."""
    listed = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus=status, maxResults=BATCH)["taskArns"]
    if not listed:
        return []
    tasks: list[Answer] = ecs.describe_tasks(cluster=cluster, tasks=listed)["tasks"]
    return tasks
