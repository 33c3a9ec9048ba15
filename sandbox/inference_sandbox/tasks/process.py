"""Runs tasks as local processes, each task on a loopback address of its own.

What holds as in Fargate: command, entry point, environment, EFS folders, health checks, order of start and stop, stop
signal and SIGKILL, exit codes, memory limits. What a process can't have, and what is done instead:

- no network namespace: a task gets an address out of 127.0.0.0/8, told to its server through the image's environment;
- no mount namespace: words that name a mount or the task itself are rewritten (`host_view`); a mount's `readOnly` and a
  read-only root are not enforced; the working directory is a scratch folder in `workdir` unless it lies in a mount;
- no process namespace: a first process without a handler dies of SIGTERM (143), where as PID 1 it would ignore it;
- no user: `user` and an access point's POSIX user are not put on. Where the sandbox runs as root, its containers do
  without root's right to pass over file modes, so that an unreadable model is unreadable;
- no CPU limit: a task may use the whole machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inference_sandbox.ports import Clock, ContainerLaunch, Document, TaskLaunch
from inference_sandbox.tasks import firelens, watchdog
from inference_sandbox.tasks.addresses import claim_address
from inference_sandbox.tasks.child import Child
from inference_sandbox.tasks.egress import Egress
from inference_sandbox.tasks.host_view import HostView
from inference_sandbox.tasks.images import ProcessImage, find_image, pull_failure
from inference_sandbox.tasks.lifecycle import Exit, RunningContainer, StartError, TaskRunner
from inference_sandbox.tasks.log_driver import LogDriver
from inference_sandbox.tasks.memory import MIB, OUT_OF_MEMORY, ContainerMemory, find_memory_limits
from inference_sandbox.tasks.output import ContainerOutput, LogSink
from inference_sandbox.tasks.router import (
    AbsentRouter,
    FluentBit,
    folder_of,
    is_fluent_bit,
    lay_out,
    process_image,
    process_mounts,
    socket_folder,
)
from inference_sandbox.tasks.volumes import mount_failure, task_volumes

_OUT_OF_FILE_MODES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_PR_CAPBSET_DROP = 24
_EGRESS_ADDRESS = "127.0.0.1"
_SOCKET = f"run/{firelens.SOCKET}"
"""Seen from the router's folder, where it starts: a socket's path has room for 107 bytes."""
_TEMPORARY = "/tmp"  # noqa: S108 - a path in containers, not here


class ProcessRunner(TaskRunner):
    """A `ports.Runner` whose containers are local processes.

    `images`: patterns of image references (shell wildcards) to what runs for them, the first that fits counts.
    `workdir`: below it, `<task id>/<container>.log` has what a container prints, and `<task id>/<container>.health.log`
    what its last health check did; they stay after the task's end. The task's own storage, scratch folders and volumes
    that are no EFS, goes with it. `log_sink` gets each line of output. `egress` is the way to AWS, and `fluent_bit`
    what a log router is; without both, routers are stand-ins that deliver nothing.
    """

    def __init__(
        self,
        *,
        images: Mapping[str, ProcessImage],
        workdir: Path,
        clock: Clock,
        log_sink: LogSink | None = None,
        egress: Egress | None = None,
        fluent_bit: FluentBit | None = None,
    ) -> None:
        super().__init__(ProcessEngine(images, workdir, clock, log_sink, egress, fluent_bit), clock)


class ProcessEngine:
    """A `lifecycle.Engine`: its parameters are those of `ProcessRunner`."""

    def __init__(
        self,
        images: Mapping[str, ProcessImage],
        workdir: Path,
        clock: Clock,
        log_sink: LogSink | None,
        egress: Egress | None = None,
        fluent_bit: FluentBit | None = None,
    ) -> None:
        self.images = images
        self.egress = egress
        self.fluent_bit = fluent_bit
        self.workdir = workdir
        self.clock = clock
        self.log_sink = log_sink
        self.memory = find_memory_limits()
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, *filter(None, [self.memory.root])],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    async def prepare(self, task: TaskLaunch) -> _ProcessPlace:
        _keep_to_file_modes()
        images = {}
        for container in task.containers:
            reference = container.definition["image"]
            image = find_image(self.images, reference)
            if image is None and container.definition.get("firelensConfiguration"):
                continue  # whatever image a router has, it is the Fluent Bit of this machine
            if image is None:
                refusal = pull_failure(reference)
                raise StartError(refusal, container=container.definition["name"], container_reason=refusal)
            images[reference] = image
        if failure := mount_failure(task):
            raise StartError(failure)
        return await self.prepare_router(task, images)

    async def prepare_router(self, task: TaskLaunch, images: Mapping[str, ProcessImage] | None = None) -> _ProcessPlace:
        """A place that may have no image but the log router's: the other containers are somebody else's then."""
        outside = await self.egress.environment(_EGRESS_ADDRESS) if self.egress else {}
        try:
            return _ProcessPlace(self, task, images or {}, outside)
        except OSError as error:
            raise StartError(f"ResourceInitializationError: {error}") from error

    def routes(self, task: TaskLaunch) -> bool:
        """Whether the task's router, as a process, takes logs."""
        found = firelens.router(task)
        there_is_one = self.fluent_bit is not None and self.egress is not None
        return there_is_one and found is not None and is_fluent_bit(found)

    def announce(self, group: int, alive: bool) -> None:
        pipe = self._watchdog.stdin
        if pipe is not None and not pipe.closed:
            with contextlib.suppress(BrokenPipeError):  # somebody killed the watchdog: tasks run on all the same
                pipe.write(f"{'+' if alive else '-'}{group}\n".encode())
                pipe.flush()

    async def close(self) -> None:
        if self.egress is not None:
            await self.egress.close()
        await self.memory.close()
        self._watchdog.communicate()


class _ProcessPlace:
    """A task's address and folder."""

    kind = "process"

    def __init__(
        self,
        engine: ProcessEngine,
        task: TaskLaunch,
        images: Mapping[str, ProcessImage],
        outside: Mapping[str, str],
    ) -> None:
        self._engine = engine
        self._task = task
        self._images = images
        self._outside = outside
        self._claim = claim_address()
        name = task.arn.rsplit("/", 1)[-1]
        self._folder = engine.workdir / name
        self._router_folder = folder_of(engine.workdir, task.arn)
        self._memory = engine.memory.task(name, _bytes(task.task_definition.get("memory")))

    @property
    def address(self) -> str:
        return self._claim.address

    async def start(self, container: ContainerLaunch) -> RunningContainer:
        name, definition = container.name, container.definition
        is_router = definition["image"] not in self._images
        if is_router and not self._has_router:
            output = self._output(container, driver=None)
            return AbsentRouter(output, kind=definition["firelensConfiguration"]["type"])
        try:
            own_volumes = task_volumes(self._task, definition, self._folder / "volumes")
            router_files = process_mounts(self._router_folder) if is_router else ()
            view = HostView(self.address, [*container.mounts, *own_volumes, *router_files])
            image = self._router_image(view) if is_router else self._images[definition["image"]]
            start = self._how_to_start(container, view, image)
        except OSError as error:
            raise StartError(f"ResourceInitializationError: {error}", container=name) from error
        output = self._output(container, driver=self._driver(definition))
        try:
            return _ProcessContainer(self._engine, start, view, output, probe_log=self._folder / f"{name}.health.log")
        except (OSError, IndexError) as error:
            output.close()
            raise _cannot_start(start, error) from error

    @property
    def _has_router(self) -> bool:
        return self._engine.routes(self._task)

    def _router_image(self, view: HostView) -> ProcessImage:
        engine = self._engine
        if engine.fluent_bit is None or engine.egress is None:
            raise RuntimeError("a router was to be started without Fluent Bit or a way to AWS")
        try:
            lay_out(self._router_folder, firelens.main_file(self._task, socket=_SOCKET, rewrite=view.of))
        except firelens.MissingOutput as error:
            raise StartError(f"ResourceInitializationError: failed to create firelens resource: {error}") from error
        return process_image(
            engine.fluent_bit,
            self._router_folder,
            proxy=self._outside["AWS_ENDPOINT_URL"],
            authority=engine.egress.certificate,
            own_addresses=[self.address],
        )

    def _driver(self, definition: Document) -> LogDriver | None:
        sender = firelens.sender(self._task, definition) if self._has_router else None
        return LogDriver(sender, socket_folder(self._router_folder)) if sender else None

    def _output(self, container: ContainerLaunch, *, driver: LogDriver | None) -> ContainerOutput:
        self._folder.mkdir(parents=True, exist_ok=True)
        return ContainerOutput(
            arn=self._task.arn,
            container=container.name,
            file=self._folder / f"{container.name}.log",
            clock=self._engine.clock,
            sink=self._engine.log_sink,
            driver=driver,
        )

    def _how_to_start(self, container: ContainerLaunch, view: HostView, image: ProcessImage) -> _Start:
        definition = container.definition
        scratch = self._folder / "scratch" / definition["name"]
        scratch.mkdir(parents=True, exist_ok=True)
        temporary = view.of(_TEMPORARY)
        image = image.at(address=self.address, workdir=str(scratch))
        own = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(scratch),
            "TMPDIR": str(scratch) if temporary == _TEMPORARY else temporary,
            "HOSTNAME": f"ip-{self.address.replace('.', '-')}",
            **self._outside,
        }
        environment = {**firelens.environment(definition), **container.environment}
        given = {name: view.of(value) for name, value in environment.items()}
        working = Path(view.of(definition.get("workingDirectory") or "") or scratch)
        return _Start(
            name=definition["name"],
            argv=image.argv(
                entrypoint=[view.of(word) for word in definition.get("entryPoint") or ()],
                command=[view.of(word) for word in definition.get("command") or ()],
            ),
            environment={**own, **image.environment, **given},
            folder=working if working.is_dir() else scratch,
            groups=[mount.gid for mount in container.mounts if mount.gid is not None],
            memory=self._memory.container(definition["name"], _bytes(definition.get("memory"))),
        )

    async def release(self) -> None:
        await self._memory.release()
        for storage in ("scratch", "volumes", "router"):
            await asyncio.to_thread(shutil.rmtree, self._folder / storage, ignore_errors=True)
        self._claim.release()


@dataclass(frozen=True, kw_only=True)
class _Start:
    """How each process of a container is started."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    groups: Sequence[int]
    memory: ContainerMemory


class _ProcessContainer:
    """A container's process group, its log and its probes."""

    def __init__(
        self, engine: ProcessEngine, start: _Start, view: HostView, output: ContainerOutput, *, probe_log: Path
    ) -> None:
        self._engine = engine
        self._start = start
        self._view = view
        self._probe_log = probe_log
        self._output = output
        self._child = self._spawn(start.argv, on_output=self._output.write)
        start.memory.started(self._child.pid, self._child.kill)

    async def wait(self) -> Exit:
        code = await self._child.wait()
        await self._output.end()
        return Exit(code, OUT_OF_MEMORY if self._start.memory.ended() else None)

    def terminate(self) -> None:
        self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        self._child.kill()

    async def probe(self, argv: Sequence[str], *, seconds: float) -> bool:
        """The output of the last probe is kept in `<container>.health.log`."""
        with self._probe_log.open("wb") as output:
            try:
                child = self._spawn([self._view.of(word) for word in argv], output=output)
            except OSError as error:
                output.write(f"{error}\n".encode())
                return False
            try:
                async with asyncio.timeout(seconds):
                    return await child.wait() == 0
            except TimeoutError:
                return False
            finally:
                child.kill()

    def _spawn(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[str, bytes], None] | None = None,
        output: IO[bytes] | None = None,
    ) -> Child:
        _check_program(argv[0], self._start.environment["PATH"])
        return Child(
            self._start.memory.enter(argv),
            environment=self._start.environment,
            folder=self._start.folder,
            groups=self._start.groups,
            announce=self._engine.announce,
            on_output=on_output,
            output=output,
        )


def _check_program(program: str, path: str) -> None:
    """Raises OSError if there is no such program. A shell that starts it for us could tell only by its exit code."""
    if shutil.which(program, path=path) is None:
        number = errno.EACCES if Path(program).exists() else errno.ENOENT
        raise OSError(number, os.strerror(number), program)


def _bytes(mebibytes: str | int | None) -> int | None:
    """A task's or a container's `memory`, which the API gives in MiB, once as text and once as a number."""
    return int(mebibytes) * MIB if mebibytes else None


def _cannot_start(start: _Start, error: Exception) -> StartError:
    """What Fargate (platform 1.4) says of a command that can't be run."""
    program = start.argv[0] if start.argv else ""
    if not program:
        trouble = "no command specified"
    elif isinstance(error, FileNotFoundError) and "/" not in program:
        trouble = f'exec: "{program}": executable file not found in $PATH'
    else:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        trouble = f'exec: "{program}": stat {program}: {detail.lower()}'
    return StartError(
        "Task failed to start",
        container=start.name,
        container_reason=(
            "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: "
            "failed to create shim task: OCI runtime create failed: runc create failed: "
            f"unable to start container process: {trouble}: unknown"
        ),
    )


def _keep_to_file_modes() -> None:
    """Where the sandbox runs as root: what this thread starts from now on is bound by file modes, as other users are.

    Linux keeps the bounding set for each thread, so the rest of the sandbox is not touched.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in _OUT_OF_FILE_MODES:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
