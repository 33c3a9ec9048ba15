"""An account that can be looked at and not be changed: reads go to it, writes are kept and answered as if they had been
done. For plans against what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from inference_operator.aws.offline import READS, Client, Offline
from inference_operator.aws.ports import Answer, Aws

DEPLOYS = frozenset(
    {
        "taskDefinition",
        "networkConfiguration",
        "platformVersion",
        "loadBalancers",
        "serviceRegistries",
        "forceNewDeployment",
    }
)
"""Members of UpdateService that begin a deployment (API_UpdateService)."""


@dataclass(kw_only=True)
class Rehearsal(Offline):
    live: Aws
    seen: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """What was last read: services by name, the newest revision by family, rules by ARN. A family may have the name of
    a service."""

    def client(self, field: str, service: str) -> Any:
        return _Client(service, self, getattr(self.live, field))

    def now(self) -> datetime:
        return datetime.now(UTC)


class _Client(Client):
    def __init__(self, service: str, world: Rehearsal, live: Any) -> None:
        super().__init__(service, world)
        self._rehearsal = world
        self._live = live

    def __getattr__(self, method: str) -> Any:
        if not method.startswith(READS):
            return super().__getattr__(method)

        def read(**members: Any) -> Answer:
            answer: Answer = getattr(self._live, method)(**members)
            self._remember(method, answer)
            return answer

        return read

    def _remember(self, method: str, answer: Answer) -> None:
        seen = self._rehearsal.seen
        match f"{self._service}.{method}":
            case "ecs.describe_services":
                seen.update({("service", each["serviceName"]): each for each in answer["services"]})
            case "ecs.describe_task_definition":
                shown = answer["taskDefinition"]
                seen["family", shown["family"]] = shown
            case "elbv2.describe_rules":
                seen.update({("rule", rule["RuleArn"]): rule for rule in answer["Rules"]})

    def _ecs_update_service(self, members: Mapping[str, Any]) -> Answer:
        before = self._rehearsal.seen["service", members["service"]]
        deployments = before["deployments"]
        if DEPLOYS & set(members):
            older = [{**deployment, "status": "ACTIVE"} for deployment in deployments]
            begun = {"id": "ecs-svc/made-by-this-plan", "rolloutState": "IN_PROGRESS", "runningCount": 0}
            newest = {
                **deployments[0],
                **begun,
                "taskDefinition": members.get("taskDefinition", before["taskDefinition"]),
            }
            deployments = [newest, *older]
        return {"service": {**before, **members, "deployments": deployments}}

    def _ecs_delete_service(self, members: Mapping[str, Any]) -> Answer:
        return {"service": {**self._rehearsal.seen["service", members["service"]], "status": "DRAINING"}}

    def _ecs_register_task_definition(self, members: Mapping[str, Any]) -> Answer:
        newest = self._rehearsal.seen.get(("family", members["family"]))
        if newest is None:
            return self._register_task_definition(members)
        family, _, revision = str(newest["taskDefinitionArn"]).rpartition(":")
        return {"taskDefinition": {**members, "taskDefinitionArn": f"{family}:{int(revision) + 1}"}}

    def _elbv2_modify_rule(self, members: Mapping[str, Any]) -> Answer:
        changed = {name: value for name, value in members.items() if name != "ResetTransforms"}
        return {"Rules": [{**self._rehearsal.seen["rule", members["RuleArn"]], **changed}]}
