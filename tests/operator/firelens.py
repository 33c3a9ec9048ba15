"""A real Fluent Bit, wrapped as FireLens wraps it on Fargate: its inputs first, then the configuration under test.

Source: aws/amazon-ecs-agent, agent/taskresource/firelens; aws/shim-loggers-for-containerd, logger/common.go.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from inference_operator.fluentbit.rendering import FOLDER, Configuration
from inference_operator.fluentbit.routing import Line
from tests.eventually import eventually

FLUENT_BIT = os.environ.get("FLUENT_BIT", "")
needs_fluent_bit = pytest.mark.skipif(
    not FLUENT_BIT, reason="no Fluent Bit is given; set FLUENT_BIT to the path of one, version 5 or later"
)
TASK_ID = "0123456789abcdef0123456789abcdef"
PART = 16 * 1024
"""Bytes after which the log driver cuts a line."""

MAIN = """\
[INPUT]
    Name forward
    unix_path {folder}/fluent.sock
    Mem_Buf_Limit 64MB
[FILTER]
    Name record_modifier
    Match *
    Record ecs_cluster inference
    Record ecs_task_arn arn:aws:ecs:eu-west-1:123456789012:task/inference/{task}
    Record ecs_task_definition shop_recommender:1
@INCLUDE {folder}/router.conf
"""


@dataclass(frozen=True, kw_only=True)
class Router:
    folder: Path
    process: subprocess.Popen[bytes]

    def send(self, *lines: Line) -> None:
        """As the log driver does: one message for each line, or for each part of a long one."""
        with socket.socket(socket.AF_UNIX) as connection:
            eventually(lambda: self._connect(connection))
            for number, line in enumerate(lines):
                for part in line.text.split("\n"):
                    for record in _records(replace(line, text=part), number):
                        tag = f"{line.container}-firelens-{TASK_ID}"
                        connection.sendall(packed([tag, int(time.time()), record]))

    def _connect(self, connection: socket.socket) -> bool:
        try:
            connection.connect(str(self.folder / "fluent.sock"))
        except OSError:
            assert self.process.poll() is None, self.log()
            return False
        return True

    def log(self) -> str:
        return (self.folder / "router.log").read_text(errors="replace")

    def peak_mib(self) -> int:
        """The most memory that it has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024

    def stop(self) -> int:
        """As ECS does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def _records(line: Line, number: int) -> Iterator[Mapping[str, str | bytes]]:
    """A line is cut at bytes, which need not be the end of a character."""
    record = {"container_id": "0" * 64, "container_name": f"/ecs-{line.container}", "source": line.source}
    text = line.text.encode(errors="surrogateescape")
    if len(text) <= PART:
        yield {**record, "log": text}
        return
    parts = [text[start : start + PART] for start in range(0, len(text), PART)]
    for ordinal, part in enumerate(parts, start=1):
        last = "true" if ordinal == len(parts) else "false"
        ids = {"partial_id": f"{number:064}", "partial_ordinal": str(ordinal), "partial_last": last}
        yield {**record, "log": part, "partial_message": "true", **ids}


@contextmanager
def running(
    folder: Path, configuration: Configuration, variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Router]:
    """The router, with a folder of the test's in place of the task's volume."""
    main = configuration.main.replace(FOLDER, str(folder))
    main = re.sub(r"HTTP_Port( +)2020", rf"HTTP_Port\g<1>{free_port()}", main)
    (folder / "router.conf").write_text(main)
    (folder / "parsers.conf").write_text(configuration.parsers)
    (folder / "fluent-bit.conf").write_text(MAIN.format(folder=folder, task=TASK_ID))
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "X": "replaced from the environment",
        **variables,
    }
    with (folder / "router.log").open("wb") as log:
        process = subprocess.Popen(
            [FLUENT_BIT, "-c", folder / "fluent-bit.conf"], stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        router = Router(folder=folder, process=process)
        try:
            yield router
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def hasty(main: str) -> str:
    """Of a router that sends what it has soon, and tries again soon."""
    for name, given, shorter in (("Flush", "1", "0.1"), ("scheduler.base", "2", "1"), ("scheduler.cap", "60", "2")):
        main, found = re.subn(rf"^( +{re.escape(name)} +){given}$", rf"\g<1>{shorter}", main, flags=re.MULTILINE)
        assert found == 1, f"{name} {given} is not there"
    return main


def to_files(configuration: Configuration, folder: Path, but: str = "") -> Configuration:
    """The same, with a file for each destination but one. What decides which lines an output gets is left as it is."""
    sections = configuration.main.split("[OUTPUT]\n")
    rewritten = []
    for section in sections[1:]:
        alias = re.search(r"^ *Alias +(\S+)$", section, re.MULTILINE)
        if alias and alias[1] == but:
            rewritten.append(section)
            continue
        match = re.search(r"^ *Match(?:_Regex)? +\S+$", section, re.MULTILINE)
        assert match is not None
        name = alias[1] if alias else "nowhere"
        rewritten.append(f"    Name file\n{match[0]}\n    Path {folder}\n    File {name}\n    Format plain\n\n")
    return Configuration(main="[OUTPUT]\n".join([sections[0], *rewritten]), parsers=configuration.parsers)


def read(folder: Path, destination: str) -> list[dict[str, Any]]:
    """What has been written; the last line may still be on its way."""
    file = folder / destination
    whole, _, _ = file.read_text().rpartition("\n") if file.exists() else ("", "", "")
    return [json.loads(line) for line in whole.split("\n") if line]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def packed(value: Any) -> bytes:
    """MessagePack, as far as the forward protocol needs it. Bytes are a text, as for the log driver, written in Go."""
    match value:
        case str():
            return packed(value.encode())
        case bytes():
            return b"\xdb" + struct.pack(">I", len(value)) + value
        case int():
            return b"\xce" + struct.pack(">I", value)
        case Mapping():
            return b"\xdf" + struct.pack(">I", len(value)) + b"".join(packed(k) + packed(v) for k, v in value.items())
        case Sequence():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))
    raise TypeError(type(value).__name__)
