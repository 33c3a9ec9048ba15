"""A task definition -> what a spec says of its tasks. Pure; the reverse of `resources.task_definition`.

What comes out may still be refused by the models, which then say so. What has no field is left for the comparison.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from inference_operator.api import fargate
from inference_operator.api.meta import CONTAINER, RESERVED_ENV
from inference_operator.api.quantities import Cpu, Memory, format_duration
from inference_operator.aws.ports import Answer
from inference_operator.engine.importing.live import Live
from inference_operator.resources.containers import drain

FARGATE_STOP_TIMEOUT = 30
"""Seconds, where a container has none (API_ContainerDefinition, stopTimeout)."""

Members = dict[str, Any]


def members(live: Live) -> Members:
    definition, main = live.definition, live.main
    cpu, memory = _size(definition)
    platform = definition.get("runtimePlatform") or {}
    stop = timedelta(seconds=main.get("stopTimeout") or FARGATE_STOP_TIMEOUT)
    storage = (definition.get("ephemeralStorage") or {}).get("sizeInGiB")
    read_only, exec_enabled = main.get("readonlyRootFilesystem", False), live.service.get("enableExecuteCommand", False)
    return {
        **_container(main, ours={*RESERVED_ENV}, same=drain(stop)),
        "cpu": cpu,
        "memory": memory,
        "architecture": platform.get("cpuArchitecture", "X86_64"),
        "ephemeralStorage": f"{storage}Gi" if storage else None,
        "port": port_of(live),
        "stopTimeout": format_duration(stop),
        # Without a value it follows from `exec`, which needs the opposite.
        "readOnlyRootFilesystem": None if exec_enabled or read_only else False,
        "exec": {"enabled": exec_enabled},
        "sidecars": [_sidecar(each) for each in live.containers if each is not main and not is_router(each)],
    }


def port_of(live: Live) -> int | None:
    balanced = [b["containerPort"] for b in live.service.get("loadBalancers", ()) if "containerPort" in b]
    mapped = [each["containerPort"] for each in live.main.get("portMappings", ()) if "containerPort" in each]
    return next(iter([*balanced, *mapped]), None)


def is_router(container: Answer) -> bool:
    return bool(container.get("firelensConfiguration"))


def name_of(container: Answer) -> str:
    """As a sidecar's has to be."""
    return slug(container["name"])


def slug(name: str) -> str:
    """What is left of a name in lower-case letters, digits and -, at most 40 of them."""
    return re.sub("[^a-z0-9]+", "-", name.lower())[:40].strip("-")


def renamed(live: Live) -> Members:
    """The task definition with the names of containers and volumes that the operator would give: names are no
    difference in what tasks are made of."""
    containers = {c["name"]: CONTAINER if c is live.main else name_of(c) for c in live.containers if not is_router(c)}
    volumes = {live.models[0]["name"]: "models"} if live.models is not None else {}
    definition = dict(live.definition)
    definition["containerDefinitions"] = [
        {
            **each,
            "name": containers.get(each["name"], each["name"]),
            "mountPoints": [
                {**mount, "sourceVolume": volumes.get(mount["sourceVolume"], mount["sourceVolume"])}
                for mount in each.get("mountPoints", ())
            ],
        }
        for each in live.containers
    ]
    definition["volumes"] = [{**v, "name": volumes.get(v["name"], v["name"])} for v in definition.get("volumes", ())]
    return definition


def renamed_service(live: Live) -> Members:
    """Likewise the service."""
    balanced = [
        {**each, "containerName": CONTAINER} if each.get("containerName") == live.main["name"] else each
        for each in live.service.get("loadBalancers", ())
    ]
    return {**live.service, "loadBalancers": balanced}


def _container(given: Answer, *, ours: Iterable[str] = (), same: Mapping[str, str] | None = None) -> Members:
    """`ours` are variables that the operator sets itself, `same` those that have this value if nobody gives another."""
    variables = {each["name"]: each.get("value", "") for each in given.get("environment", ())}
    kept = {n: v for n, v in variables.items() if n not in ours and (same or {}).get(n) != v}
    return {
        "image": given["image"],
        "command": list(given.get("command") or ()),
        "user": given.get("user"),
        "env": [{"name": name, "value": value} for name, value in sorted(kept.items())],
        "secrets": [
            {"name": each["name"], "valueFrom": each["valueFrom"]}
            for each in sorted(given.get("secrets", ()), key=lambda each: str(each["name"]))
        ],
    }


def _sidecar(given: Answer) -> Members:
    return {
        **_container(given),
        "name": name_of(given),
        "essential": given.get("essential", True),
        "cpu": _vcpus(given["cpu"]) if given.get("cpu") else None,
        "memory": _amount(given["memory"]) if given.get("memory") else None,
        "readOnlyRootFilesystem": given.get("readonlyRootFilesystem", False),
    }


def _size(definition: Answer) -> tuple[str, str]:
    """The task's; where it has none, as on EC2, the smallest of Fargate's that has room for its containers."""
    parts = definition["containerDefinitions"]
    cpu = definition.get("cpu") or sum(each.get("cpu", 0) for each in parts)
    memory = definition.get("memory") or sum(each.get("memory", each.get("memoryReservation", 0)) for each in parts)
    asked = Cpu.parse(_vcpus(int(cpu))), Memory.parse(_amount(int(memory)))
    if not fargate.is_valid(*asked):
        largest = fargate.nearest(*asked)[-1]
        return str(largest.cpu), str(largest.memory)
    return str(asked[0]), str(asked[1])


def _vcpus(units: int) -> str:
    return f"{(Decimal(units) / 1024).quantize(Decimal('0.001')).normalize():f}"


def _amount(mib: int) -> str:
    return f"{mib // 1024}Gi" if mib and mib % 1024 == 0 else f"{mib}Mi"
