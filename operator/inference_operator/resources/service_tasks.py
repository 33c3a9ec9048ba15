"""A service's tasks, read where DescribeServices does not tell enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

from inference_operator.api import meta
from inference_operator.aws.ports import Answer, Aws, Ecs
from inference_operator.domain import failures
from inference_operator.domain.agents import exec_agent

BATCH = 100  # ListTasks: maxResults; DescribeTasks: tasks
PAGES = 10
"""So many are read at most. Within an hour, rollouts and scaling of a large service stop hundreds of tasks, and
ListTasks promises no order: the first page may hold none of those that tell why."""


def stopped(aws: Aws, cluster: str, service: str, *, awaited: bool) -> list[Answer]:
    """Newest first. ECS forgets stopped tasks after about an hour, so they are read while they are there: whenever
    something has happened to the service, until all have stopped; each time if more are `awaited`."""
    ended = aws.services.beside(
        cluster,
        service,
        ("stopped tasks",),
        lambda: lost(aws.ecs, cluster, service),
        moves=lambda tasks: awaited or not all(t.get("stoppedAt") for t in tasks),
        old_will_do=True,
    )
    return newest_first(t for t in ended if t.get("stoppedAt"))


def lost(ecs: Ecs, cluster: str, service: str) -> list[Answer]:
    """Those that the scheduler did not stop as a matter of routine, newest first; those that are still stopping, which
    do not tell everything yet, before them."""
    ended = _wanted(ecs, cluster, service, "STOPPED")
    return newest_first(t for t in ended if not t.get("stoppedReason", "").startswith(failures.ROUTINE))[:BATCH]


def newest_first(*shown: Iterable[Answer]) -> list[Answer]:
    """The tasks of several lists, each once: as the last of the lists shows it."""
    tasks = {task["taskArn"]: task for some in shown for task in some}
    return sorted(tasks.values(), key=lambda t: (t.get("stoppedAt") or STILL_STOPPING, t["taskArn"]), reverse=True)


STILL_STOPPING = datetime.max.replace(tzinfo=UTC)


def running(aws: Aws, cluster: str, service: str) -> list[Answer]:
    """Those that are RUNNING, with their agents; of more than a hundred, a hundred."""
    found = aws.services.beside(
        cluster,
        service,
        ("running tasks",),
        lambda: list(islice(_wanted(aws.ecs, cluster, service, "RUNNING"), BATCH)),
        moves=lambda tasks: not all(exec_agent(t, meta.CONTAINER).runs for t in tasks),
        old_will_do=True,
    )
    return [t for t in found if t["lastStatus"] == "RUNNING"]


def _wanted(ecs: Ecs, cluster: str, service: str, status: str) -> Iterator[Answer]:
    """Those that ECS wants to be of a status, whether or not they are yet."""
    page: dict[str, str] = {}
    for _ in range(PAGES):
        listed = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus=status, maxResults=BATCH, **page)
        if listed["taskArns"]:
            yield from ecs.describe_tasks(cluster=cluster, tasks=listed["taskArns"])["tasks"]
        if not listed.get("nextToken"):
            return
        page = {"nextToken": listed["nextToken"]}
