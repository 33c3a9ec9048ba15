"""The agent that ECS Exec runs in each container, as DescribeTasks shows it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AGENT = "ExecuteCommandAgent"


@dataclass(frozen=True, kw_only=True)
class Agent:
    task: str
    runs: bool
    why: str = ""
    """Why it does not run, and what to do."""


def exec_agent(task: Mapping[str, Any], container: str) -> Agent:
    name = task["taskArn"].rpartition("/")[2]
    shown: Mapping[str, Any] = next((c for c in task.get("containers", ()) if c["name"] == container), {})
    agent = next((a for a in shown.get("managedAgents") or () if a.get("name") == AGENT), None)
    if agent is None:
        return Agent(task=name, runs=False, why=f"task {name} was started before exec.enabled was set")
    status = agent.get("lastStatus", "UNKNOWN")
    if status == "STOPPED":
        reason = agent.get("reason") or "ECS gives no reason"
        return Agent(
            task=name,
            runs=False,
            why=f"the agent in task {name} has stopped: {reason}. Next: check that the task role allows ssmmessages:*, "
            "and that the subnets have a route to that service",
        )
    return Agent(task=name, runs=status == "RUNNING", why=f"the agent in task {name} is {status}")
