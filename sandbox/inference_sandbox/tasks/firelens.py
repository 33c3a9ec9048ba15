"""FireLens: how the logs of a task's containers get to its log router, and the configuration that ECS makes for that.

Pure: task definitions in, text and settings out. The shape and the order of the main file are those of the ECS agent
(github.com/aws/amazon-ecs-agent, agent/taskresource/firelens) in a task with a network of its own (`awsvpc`), and so is
the tag `<container>-firelens-<task id>`. Who runs the router, and who sends to it, is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inference_sandbox.ports import Document, TaskLaunch

DRIVER = "awsfirelens"
SOCKET_FOLDER = "/var/run"
SOCKET = "fluent.sock"
MAIN_FILE = "/fluent-bit/etc/fluent-bit.conf"
FORWARD_PORT = 24224
HEALTH_CHECK_PORT = 8877
BUFFER_LIMIT = 1 << 20
"""Bytes that a container's driver keeps for a router that does not take them: `log-driver-buffer-limit`'s default."""

_HEALTH_CHECK_TAG = "firelens-healthcheck"
_DEFAULT_MEMORY_BUFFER = 25
_DRIVER_OPTIONS = {"Name", "include-pattern", "exclude-pattern", "log-driver-buffer-limit"}


class MissingOutput(ValueError):
    """A container's log options are an output's, and do not say which."""


def router(task: TaskLaunch) -> Document | None:
    """The definition of the task's log router."""
    definitions = (container.definition for container in task.containers)
    return next((each for each in definitions if each.get("firelensConfiguration")), None)


def is_sender(definition: Document) -> bool:
    """Whether a container's logs go to the router."""
    return bool((definition.get("logConfiguration") or {}).get("logDriver") == DRIVER)


def dependencies(task: TaskLaunch) -> Mapping[str, Mapping[str, str]]:
    """What each container waits for, by name: its `dependsOn`, and for one that sends to the router, the router.

    "ECS adds a START dependency"; one of the definition's own on the router takes its place.
    """
    found = router(task)
    waits: dict[str, dict[str, str]] = {}
    for definition in (container.definition for container in task.containers):
        implicit = {found["name"]: "START"} if found and is_sender(definition) else {}
        own = {each["containerName"]: each["condition"] for each in definition.get("dependsOn") or ()}
        waits[definition["name"]] = implicit | own
    return waits


def environment(definition: Document) -> dict[str, str]:
    """What a container that sends to the router gets to know of it."""
    if not is_sender(definition):
        return {}
    return {"FLUENT_HOST": "127.0.0.1", "FLUENT_PORT": str(FORWARD_PORT)}


@dataclass(frozen=True, kw_only=True)
class Sender:
    """One container's end of the way to the router."""

    tag: str
    container_id: str
    container_name: str
    buffer_limit: int


def sender(task: TaskLaunch, definition: Document) -> Sender | None:
    """None if the container's logs go elsewhere."""
    if not is_sender(definition):
        return None
    task_id, options = task.arn.rsplit("/", 1)[-1], definition["logConfiguration"].get("options") or {}
    return Sender(
        tag=f"{definition['name']}-firelens-{task_id}",
        container_id=f"{task_id}-{definition['name']}",
        container_name=definition["name"],
        buffer_limit=int(options.get("log-driver-buffer-limit") or BUFFER_LIMIT),
    )


def main_file(
    task: TaskLaunch, *, socket: str = f"{SOCKET_FOLDER}/{SOCKET}", rewrite: Callable[[str], str] = str
) -> str:
    """The router's fluent-bit.conf. `rewrite` says what paths and the address 127.0.0.1 are called where it runs.

    Raises MissingOutput.
    """
    found = router(task)
    if found is None:
        raise ValueError(f"task {task.arn} has no log router: no container has a firelensConfiguration")
    options = found["firelensConfiguration"].get("options") or {}
    senders = [each.definition for each in task.containers if is_sender(each.definition)]
    parts = [
        *_inputs(found, socket, rewrite("127.0.0.1")),
        *_patterns(senders),
        *(_metadata(task) if options.get("enable-ecs-log-metadata", "true") == "true" else ()),
    ]
    if options.get("config-file-type") == "file":
        parts.append(f"@INCLUDE {rewrite(options['config-file-value'])}\n")
    parts.append(_section("OUTPUT", Name="null", Match=_HEALTH_CHECK_TAG))
    parts += _outputs(senders)
    return "\n".join(parts)


def _inputs(found: Document, socket: str, address: str) -> Iterator[str]:
    memory = int(found.get("memoryReservation") or found.get("memory") or 0) // 2 or _DEFAULT_MEMORY_BUFFER
    yield _section("INPUT", Name="forward", Mem_Buf_Limit=f"{memory}MB", unix_path=socket)
    yield _section("INPUT", Name="forward", Listen=address, Port=FORWARD_PORT)
    yield _section("INPUT", Name="tcp", Tag=_HEALTH_CHECK_TAG, Listen=address, Port=HEALTH_CHECK_PORT)


def _patterns(senders: list[Document]) -> Iterator[str]:
    for option, word in (("include-pattern", "Regex"), ("exclude-pattern", "Exclude")):
        for definition in senders:
            if pattern := _options(definition).get(option):
                yield _section("FILTER", Name="grep", Match=_match(definition), **{word: f"log {pattern}"})


def _metadata(task: TaskLaunch) -> Iterator[str]:
    document = task.task_definition
    fields = {
        "ecs_cluster": task.arn.split("/")[-2],
        "ecs_task_arn": task.arn,
        "ecs_task_definition": f"{document.get('family')}:{document.get('revision')}",
    }
    records = "".join(f"    Record {name} {value}\n" for name, value in fields.items())
    yield f"{_section('FILTER', Name='record_modifier', Match='*')}{records}"


def _outputs(senders: list[Document]) -> Iterator[str]:
    for definition in senders:
        options = _options(definition)
        own = {name: value for name, value in sorted(options.items()) if name not in _DRIVER_OPTIONS}
        if "Name" in options:
            yield _section("OUTPUT", Name=options["Name"], Match=_match(definition), **own)
        elif own:
            raise MissingOutput(
                f"unable to apply log options of container {definition['name']} to firelens config: missing output key "
                "Name which is required for firelens configuration of type fluentbit"
            )


def _options(definition: Document) -> Mapping[str, Any]:
    return definition["logConfiguration"].get("options") or {}


def _match(definition: Document) -> str:
    return f"{definition['name']}-firelens*"


def _section(kind: str, **entries: object) -> str:
    return f"[{kind}]\n" + "".join(f"    {name} {value}\n" for name, value in entries.items())
