"""The log router of a task: which Fluent Bit there is on this machine, and what of its image a process needs.

The container is AWS's image (`aws-for-fluent-bit`) or one made from it: its program is started by `/entrypoint.sh`, or
as `/fluent-bit/bin/fluent-bit`, and reads `/fluent-bit/etc/fluent-bit.conf`. A process gets those paths as files of its
task's folder. Where there is no Fluent Bit, a stand-in takes the router's place, which delivers nothing.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_sandbox.ports import Document, EfsMount
from inference_sandbox.tasks import firelens, fluent_bit_start
from inference_sandbox.tasks.images import FluentBitUnusableError, ProcessImage
from inference_sandbox.tasks.lifecycle import Exit
from inference_sandbox.tasks.output import ContainerOutput

_ENTRYPOINT = "/entrypoint.sh"
_PROGRAM = "/fluent-bit/bin/fluent-bit"
_PARSERS = "/fluent-bit/parsers"
_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class FluentBit:
    program: Path
    version: str

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> FluentBit | None:
        """The one that FLUENT_BIT names, else the one on PATH; None: there is none.

        Raises FluentBitUnusableError for a FLUENT_BIT that does not run.
        """
        named = environment.get("FLUENT_BIT")
        program = named or shutil.which("fluent-bit", path=environment.get("PATH", os.defpath))
        if not program:
            return None
        try:
            told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            if named is None:
                return None
            raise FluentBitUnusableError(
                f"FLUENT_BIT={named} does not run: {error}. Name a Fluent Bit program, or unset it to do without"
            ) from error
        return cls(program=Path(program).absolute(), version=told.stdout.partition("\n")[0].strip())

    def __str__(self) -> str:
        return f"{self.version} at {self.program}"


def folder_of(workdir: Path, arn: str) -> Path:
    """Where what belongs to a task's router is."""
    return workdir / arn.rsplit("/", 1)[-1] / "router"


def is_fluent_bit(definition: Document) -> bool:
    return bool(definition["firelensConfiguration"]["type"] == "fluentbit")


def main_file(folder: Path) -> Path:
    return folder / "fluent-bit.conf"


def socket_folder(folder: Path) -> Path:
    return folder / "run"


def lay_out(folder: Path, text: str) -> None:
    """The router's own files, whatever runs it: the folder of its socket, and the main file."""
    socket_folder(folder).mkdir(parents=True, exist_ok=True)
    main_file(folder).write_text(text)


def process_mounts(folder: Path) -> list[EfsMount]:
    """Where the paths of the image are on this machine."""
    places = {
        _ENTRYPOINT: folder / "entrypoint.sh",
        _PROGRAM: folder / "fluent-bit",
        _PARSERS: folder / "parsers",
        firelens.MAIN_FILE: main_file(folder),
        firelens.SOCKET_FOLDER: socket_folder(folder),
    }
    return [EfsMount(container_path=path, host_path=str(place), read_only=True) for path, place in places.items()]


def process_image(
    fluent_bit: FluentBit, folder: Path, *, proxy: str, authority: Path, own_addresses: Sequence[str]
) -> ProcessImage:
    """Write the scripts that stand for the image's, and tell how they are run."""
    (folder / "parsers").mkdir(exist_ok=True)
    start = shlex.join(
        [
            *(sys.executable, "-I", "-S", fluent_bit_start.__file__),
            *(str(fluent_bit.program), str(authority), str(folder)),
        ]
    )
    configuration = shlex.quote(str(main_file(folder)))
    _script(folder / "fluent-bit", f'exec {start} "$@"')
    _script(folder / "entrypoint.sh", f"exec {shlex.quote(str(folder / 'fluent-bit'))} -c {configuration}")
    return ProcessImage(command=[str(folder / "entrypoint.sh")], environment=proxy_environment(proxy, own_addresses))


def proxy_environment(proxy: str, own_addresses: Sequence[str] = ()) -> dict[str, str]:
    """Fluent Bit insists on reaching the metadata services by itself, even where it needs none of them."""
    exceptions = ["127.0.0.1", "localhost", "169.254.169.254", "169.254.170.2", *own_addresses]
    return {"HTTP_PROXY": proxy, "NO_PROXY": ",".join(exceptions)}


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


class AbsentRouter:
    """A `lifecycle.RunningContainer` where a router ought to be: it passes its checks, does nothing and stops well."""

    def __init__(self, output: ContainerOutput, *, kind: str) -> None:
        program = "Fluent Bit" if kind == "fluentbit" else "Fluentd, which the sandbox does not run"
        output.write(
            "stderr",
            f"The sandbox has no {program}: the logs of the containers beside this one go nowhere. They are in the "
            "files that are named after them, next to this one.\n".encode(),
        )
        output.close()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        self._end(0)

    def kill(self) -> None:
        self._end(137)

    async def probe(self, _argv: Sequence[str], *, seconds: float) -> bool:  # noqa: ARG002 - nothing to ask
        return True

    def _end(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(Exit(code))
