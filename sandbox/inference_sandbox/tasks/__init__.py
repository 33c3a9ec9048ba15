"""Runs tasks: what Fargate's hosts and the ECS agent do for a task, on this machine.

`ProcessRunner` runs a task's containers as local processes. What every runner shares (order of start and of stop,
health, exit reports) is in `lifecycle`. This package knows `ports` and no scheduler, no moto and no boto3.
"""

from __future__ import annotations
