"""A live service -> the InferenceEnvironment that it would need. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from inference_operator.aws.ports import Answer
from inference_operator.engine.importing.live import Behind, Live
from inference_operator.engine.importing.remarks import FILL_IN, Remark
from inference_operator.engine.importing.tasks import Members, slug
from inference_operator.engine.importing.traffic import rule_of

USER = 10001
"""As whom the server's image runs."""
UNKNOWN_FILE_SYSTEM = "fs-00000000"
PORTS = {"HTTP": 80, "HTTPS": 443}


def name_for(live: Live) -> str:
    return slug(live.cluster) or "imported"


def members(live: Live) -> Members:
    network = (live.service.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
    account = live.service["serviceArn"].split(":")[4]
    role = f"arn:aws:iam::{account}:role{FILL_IN}"
    found: Members = {
        "region": live.region,
        "cluster": live.cluster,
        "network": {
            "subnets": list(network.get("subnets", ())),
            "securityGroups": list(network.get("securityGroups", ())),
            "assignPublicIp": network.get("assignPublicIp") == "ENABLED",
        },
        "executionRoleArn": live.definition.get("executionRoleArn") or role,
        "taskRoleArn": live.definition.get("taskRoleArn") or role,
        "models": _models(live),
        "loadBalancer": _load_balancer(live, live.behind) if live.behind is not None else None,
        "serviceDiscovery": {"namespaceId": live.discovery["NamespaceId"]} if live.discovery is not None else None,
    }
    days = next(iter(live.retention.values()), None)
    return {**found, **({"logging": {"retentionDays": days}} if days else {})}


def remarks(live: Live) -> Iterator[Remark]:
    """What had to be guessed."""
    for member in ("executionRoleArn", "taskRoleArn"):
        if not live.definition.get(member):
            yield Remark(member, "the task definition has no such role", f"Write one instead of {FILL_IN[1:]}.")
    if live.models is None:
        yield Remark(
            "models",
            "the service mounts no file system of EFS, from which the operator's services read their models",
            f"Write the file system's id instead of {UNKNOWN_FILE_SYSTEM}.",
        )
    elif live.access_point is None or not live.access_point.get("PosixUser"):
        yield Remark(
            "models.posixUser",
            "the file system is mounted without a user of its own; the operator always has one",
            "Write the user and group who may read the models.",
        )
    if live.behind is not None and _listener(live.behind) is not None:
        yield Remark(
            "loadBalancer.url",
            "it is the load balancer's own name",
            "Write the address that callers use, if that is another one.",
        )
    if None in live.retention.values():
        yield Remark(
            "logging.retentionDays",
            "what was logged is kept for ever now; the operator's own log groups keep it for 90 days",
            "Write another number of days, if those are too few.",
        )


def _models(live: Live) -> Members:
    if live.models is None:
        return {"fileSystemId": UNKNOWN_FILE_SYSTEM, "posixUser": {"uid": USER, "gid": USER}}
    user = (live.access_point or {}).get("PosixUser") or _user_of(live.main)
    return {
        "fileSystemId": live.models[0]["efsVolumeConfiguration"]["fileSystemId"],
        "posixUser": {"uid": user["Uid"], "gid": user["Gid"]},
    }


def _user_of(container: Answer) -> dict[str, int]:
    found = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", container.get("user") or "")
    uid = int(found[1]) if found else USER
    return {"Uid": uid, "Gid": int(found[2]) if found and found[2] else uid}


def _listener(behind: Behind) -> Answer | None:
    """That of the rule that counts; else of a default action; else any."""
    rule = rule_of(behind) or next(iter(behind.rules), None)
    arn = rule["ListenerArn"] if rule is not None else None
    ranked = sorted(behind.listeners, key=lambda each: each["ListenerArn"] != arn)
    return next(iter(ranked), None)


def _load_balancer(live: Live, behind: Behind) -> dict[str, Any] | None:
    listener = _listener(behind)
    if listener is None or listener["Protocol"] not in PORTS:
        return None
    port = f":{listener['Port']}" if PORTS[listener["Protocol"]] != listener["Port"] else ""
    url = f"{listener['Protocol'].lower()}://{behind.host.lower()}{port}"
    return {"listenerArn": listener["ListenerArn"], "url": url, **_shifting(live)}


def _shifting(live: Live) -> dict[str, str]:
    """What requests are shifted with; a rule's ARN is its listener's with another word and one more segment."""
    found = next(iter(live.service["loadBalancers"])).get("advancedConfiguration") or {}
    trial = found.get("testListenerRule", "").replace(":listener-rule/", ":listener/").rpartition("/")[0]
    told = {"infrastructureRoleArn": found.get("roleArn"), "testListenerArn": trial}
    return {member: value for member, value in told.items() if value}
