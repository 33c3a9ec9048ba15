"""A service's tasks, read where DescribeServices does not tell enough."""

from __future__ import annotations

from collections.abc import Iterable

from inference_operator.aws.ports import Answer, Ecs

BATCH = 100  # ListTasks: maxResults; DescribeTasks: tasks


def stopped(ecs: Ecs, cluster: str, service: str) -> list[Answer]:
    """Newest first. ECS forgets stopped tasks after about an hour, so they are read while they are there. ListTasks
    promises no order, so as many are read as two calls give."""
    listed = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="STOPPED", maxResults=BATCH)["taskArns"]
    if not listed:
        return []
    return newest_first(ecs.describe_tasks(cluster=cluster, tasks=listed)["tasks"])


def newest_first(*shown: Iterable[Answer]) -> list[Answer]:
    """The stopped ones of several lists, each once: as the last of the lists shows it."""
    tasks = {task["taskArn"]: task for some in shown for task in some if task.get("stoppedAt")}
    return sorted(tasks.values(), key=lambda t: (t["stoppedAt"], t["taskArn"]), reverse=True)


def running(ecs: Ecs, cluster: str, service: str) -> list[Answer]:
    """Those that are RUNNING; of more than a hundred, a hundred."""
    listed = ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="RUNNING", maxResults=BATCH)["taskArns"]
    if not listed:
        return []
    return [t for t in ecs.describe_tasks(cluster=cluster, tasks=listed)["tasks"] if t["lastStatus"] == "RUNNING"]
