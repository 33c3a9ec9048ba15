"""Runs tasks as containers, through the API of a Docker-compatible engine.

Nearer to Fargate than processes: the image itself, its user, a read-only root, limits of memory and CPU, a network and
a mount namespace. A task has the address of its container on the engine's bridge network; the containers of a task
share one network namespace, as in `awsvpc`. What still differs:

- an EFS volume is a folder of this machine: a container reads as its own user, which an access point's POSIX group is
  added to, and not as the access point's POSIX user;
- containers that share a task need an image that has `sleep`, which holds the network for them;
- each container may take the whole task's CPU and memory: their sum is not limited;
- a health check that outlasts its timeout has failed, but is not killed: the API has no way to;
- rootless engines give containers no address that the sandbox could reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import subprocess
import sys
from collections.abc import Coroutine, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import aiohttp

from inference_sandbox.ports import Clock, ContainerLaunch, Document, TaskLaunch
from inference_sandbox.tasks import engine_cleanup, firelens
from inference_sandbox.tasks.egress import Egress
from inference_sandbox.tasks.engine_api import EngineApi, EngineRefused
from inference_sandbox.tasks.images import pull_failure
from inference_sandbox.tasks.lifecycle import Exit, RunningContainer, StartError, TaskRunner
from inference_sandbox.tasks.log_driver import LogDriver
from inference_sandbox.tasks.memory import MIB, OUT_OF_MEMORY
from inference_sandbox.tasks.out_of_memory import OutOfMemoryWatch
from inference_sandbox.tasks.output import ContainerOutput, LogSink
from inference_sandbox.tasks.router import (
    folder_of,
    is_fluent_bit,
    lay_out,
    main_file,
    proxy_environment,
    socket_folder,
)
from inference_sandbox.tasks.volumes import mount_failure, own_volumes

LABEL = "inference-sandbox.runner"
"""What a runner's containers and volumes carry, with a value of its own."""

_BRIDGE = "bridge"
_NOT_FOUND = 404
_CPU_UNITS = 1024
_NANO = 10**9
_LAST_OUTPUT = 5.0
_TRUST = "/etc/ssl/certs/ca-bundle.crt"
"""Where Fluent Bit looks for the authorities that it trusts (src/tls/openssl.c)."""
_logger = logging.getLogger(__name__)


class ContainerRunner(TaskRunner):
    """A `ports.Runner` whose containers are an engine's.

    `engine`: its DOCKER_HOST, see `engine_cleanup.find_engine`. Images are those of its local store, nothing is pulled;
    `images` may say which of them stands for which references (shell wildcards; the first that fits counts). `workdir`
    and `log_sink` are those of `ProcessRunner`. `egress` is the way to AWS.
    """

    def __init__(
        self,
        *,
        engine: str,
        workdir: Path,
        clock: Clock,
        images: Mapping[str, str] | None = None,
        log_sink: LogSink | None = None,
        egress: Egress | None = None,
    ) -> None:
        super().__init__(ContainerEngine(engine, images or {}, workdir, clock, log_sink, egress), clock)


class ContainerEngine:
    """A `lifecycle.Engine`: its parameters are those of `ContainerRunner`."""

    def __init__(
        self,
        host: str,
        images: Mapping[str, str],
        workdir: Path,
        clock: Clock,
        log_sink: LogSink | None,
        egress: Egress | None = None,
    ) -> None:
        self.egress = egress
        self.token = secrets.token_hex(8)
        self.workdir = workdir
        self.clock = clock
        self.log_sink = log_sink
        self._host = host
        self._images = images
        self._api: EngineApi | None = None
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", engine_cleanup.__file__, host, f"{LABEL}={self.token}"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def api(self) -> EngineApi:
        if self._api is None:
            self._api = EngineApi(self._host)
        return self._api

    def local_name(self, reference: str) -> str:
        return next((local for pattern, local in self._images.items() if fnmatchcase(reference, pattern)), reference)

    async def has(self, reference: str) -> bool:
        """Whether the local store has the image. An engine that no longer answers has none."""
        try:
            await self.api.call("GET", f"/images/{self.local_name(reference)}/json")
        except (EngineRefused, aiohttp.ClientError):
            return False
        return True

    async def prepare(self, task: TaskLaunch, *, router_elsewhere: bool | None = None) -> _ContainerPlace:
        """`router_elsewhere`: the task's log router is not to be a container; whether what is in its place takes logs.
        None: it is a container as the others are."""
        router = firelens.router(task) if router_elsewhere is not None else None
        containers = [each for each in task.containers if each.definition is not router]
        images = {}
        for container in containers:
            reference = container.definition["image"]
            images[reference] = await self._image(container.definition["name"], reference)
        failure = mount_failure(task)
        if failure:
            raise StartError(failure)
        (self.workdir / _task_id(task)).mkdir(parents=True, exist_ok=True)
        place = _ContainerPlace(self, task, images, await self._outside(), routed=router_elsewhere)
        if len(containers) > 1:
            try:
                await place.hold_network()
            except (EngineRefused, aiohttp.ClientError) as error:
                await place.release()
                raise StartError(
                    f"ResourceInitializationError: unable to set up the task's network: {error}"
                ) from error
        return place

    async def _outside(self) -> dict[str, str]:
        """The environment in which a container finds AWS: at this machine's end of the engine's bridge."""
        if self.egress is None:
            return {}
        try:
            bridge = await self.api.call("GET", f"/networks/{_BRIDGE}")
            return await self.egress.environment(bridge["IPAM"]["Config"][0]["Gateway"])
        except (EngineRefused, aiohttp.ClientError, OSError, LookupError) as error:
            _logger.warning("containers can't reach the sandbox's AWS: the engine's bridge is not to be had: %r", error)
            return {}

    async def _image(self, container: str, reference: str) -> Document:
        try:
            found: Document = await self.api.call("GET", f"/images/{self.local_name(reference)}/json")
        except EngineRefused as error:
            if error.status != _NOT_FOUND:
                raise StartError(f"CannotPullContainerError: {error}", container=container) from error
            refusal = pull_failure(reference)
            raise StartError(refusal, container=container, container_reason=refusal) from error
        except aiohttp.ClientError as error:
            raise StartError(f"InternalError: the container engine does not answer: {error}") from error
        return found

    async def close(self) -> None:
        if self.egress is not None:
            await self.egress.close()
        if self._api is not None:
            await self._api.close()
        self._watchdog.communicate()


class _ContainerPlace:
    """A task's network, volumes and log folder."""

    kind = "container"

    def __init__(
        self,
        engine: ContainerEngine,
        task: TaskLaunch,
        images: Mapping[str, Document],
        outside: Mapping[str, str],
        *,
        routed: bool | None,
    ) -> None:
        self._engine = engine
        self._task = task
        self._images = images
        self._outside = outside
        router = firelens.router(task)
        self._router = router if routed is None and router and is_fluent_bit(router) else None
        """The definition of the router that is one of this place's containers."""
        self._routed = self._router is not None if routed is None else routed
        self._router_folder = folder_of(engine.workdir, task.arn)
        self._folder = engine.workdir / _task_id(task)
        self._labels = {LABEL: engine.token, "inference-sandbox.task": task.arn}
        self._network_of: str | None = None
        self._volumes: set[str] = set()
        self.address = ""

    async def hold_network(self) -> None:
        """Start the container whose network namespace the task's containers share."""
        first = next(iter(self._images.values()))
        sleeper = {
            "Image": first["Id"],
            "Entrypoint": ["sleep", "infinity"],
            "Cmd": [],
            "Labels": self._labels,
            "HostConfig": {"NetworkMode": _BRIDGE},
        }
        created = await self._engine.api.call("POST", "/containers/create", sleeper)
        self._network_of = created["Id"]
        await self._engine.api.call("POST", f"/containers/{self._network_of}/start")
        self.address = _address(await self._engine.api.call("GET", f"/containers/{self._network_of}/json"))

    async def start(self, container: ContainerLaunch) -> RunningContainer:
        api, name = self._engine.api, container.definition["name"]
        image = self._images[container.definition["image"]]
        try:
            await self._make_volumes(container.definition)
            environment = self._environment(container.definition)
            body = _container_config(self._task, container, image, self._labels, self._mounts(container), environment)
            body["HostConfig"]["NetworkMode"] = f"container:{self._network_of}" if self._network_of else _BRIDGE
            created = await api.call("POST", "/containers/create", body, name=f"{name}-{_task_id(self._task)}")
        except (EngineRefused, aiohttp.ClientError) as error:
            raise _refused("CannotCreateContainerError: Error response from daemon", name, error) from error
        identifier = created["Id"]
        try:
            await api.call("POST", f"/containers/{identifier}/start")
            state = await api.call("GET", f"/containers/{identifier}/json")
        except (EngineRefused, aiohttp.ClientError) as error:
            with contextlib.suppress(EngineRefused, aiohttp.ClientError):
                await api.call("DELETE", f"/containers/{identifier}", force="1", v="1")
            words = (
                "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: "
                "failed to create shim task"
            )
            raise _refused(words, name, error) from error
        self.address = self.address or _address(state)
        output = ContainerOutput(
            arn=self._task.arn,
            container=name,
            file=self._folder / f"{name}.log",
            clock=self._engine.clock,
            sink=self._engine.log_sink,
            driver=self._driver(container.definition),
        )
        return _EngineContainer(api, state, output, stop_signal=image["Config"].get("StopSignal") or "SIGTERM")

    async def release(self) -> None:
        with contextlib.suppress(EngineRefused, aiohttp.ClientError):
            if self._network_of:
                await self._engine.api.call("POST", f"/containers/{self._network_of}/kill", signal="KILL")
                await self._engine.api.call("DELETE", f"/containers/{self._network_of}", force="1", v="1")
        await asyncio.to_thread(shutil.rmtree, self._router_folder, ignore_errors=True)
        for volume in self._volumes:
            with contextlib.suppress(EngineRefused, aiohttp.ClientError):
                await self._engine.api.call("DELETE", f"/volumes/{volume}", force="1")

    def _environment(self, definition: Document) -> dict[str, str]:
        """What the sandbox adds to a container's own."""
        added = {**self._outside, **firelens.environment(definition)}
        if definition is self._router and self._outside:
            added |= proxy_environment(self._outside["AWS_ENDPOINT_URL"])
        return added

    def _driver(self, definition: Document) -> LogDriver | None:
        sender = firelens.sender(self._task, definition) if self._routed else None
        return LogDriver(sender, socket_folder(self._router_folder)) if sender else None

    async def _make_volumes(self, definition: Document) -> None:
        for point in own_volumes(self._task, definition):
            volume = self._volume(point)
            if volume not in self._volumes:
                self._volumes.add(volume)
                await self._engine.api.call("POST", "/volumes/create", {"Name": volume, "Labels": self._labels})

    def _volume(self, point: Document) -> str:
        return f"{_task_id(self._task)}-{point['sourceVolume']}"

    def _mounts(self, container: ContainerLaunch) -> list[dict[str, Any]]:
        efs = [
            {"Type": "bind", "Source": m.host_path, "Target": m.container_path, "ReadOnly": m.read_only}
            for m in container.mounts
        ]
        own = [
            {
                "Type": "volume",
                "Source": self._volume(point),
                "Target": point["containerPath"],
                "ReadOnly": bool(point.get("readOnly")),
            }
            for point in own_volumes(self._task, container.definition)
        ]
        return efs + own + (self._router_mounts() if container.definition is self._router else [])

    def _router_mounts(self) -> list[dict[str, Any]]:
        """Its generated configuration, its socket, and whom to trust that AWS is AWS."""
        try:
            lay_out(self._router_folder, firelens.main_file(self._task))
        except firelens.MissingOutput as error:
            raise StartError(f"ResourceInitializationError: failed to create firelens resource: {error}") from error
        files = {firelens.MAIN_FILE: main_file(self._router_folder)}
        if self._engine.egress is not None:
            files[_TRUST] = self._engine.egress.certificate
        return [
            {
                "Type": "bind",
                "Source": str(socket_folder(self._router_folder)),
                "Target": firelens.SOCKET_FOLDER,
                "ReadOnly": False,
            },
            *(
                {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": True}
                for target, source in files.items()
            ),
        ]


class _EngineContainer:
    """A container of the engine, from its start to its removal."""

    def __init__(self, api: EngineApi, state: Document, output: ContainerOutput, *, stop_signal: str) -> None:
        self._api = api
        self._id: str = state["Id"]
        self._output = output
        self._stop_signal = stop_signal
        self._ended = False
        self._memory = OutOfMemoryWatch(state["State"]["Pid"])
        self._background: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read_output())

    async def wait(self) -> Exit:
        try:
            await self._api.call("POST", f"/containers/{self._id}/wait")
            state = (await self._api.call("GET", f"/containers/{self._id}/json"))["State"]
        except (EngineRefused, aiohttp.ClientError) as error:
            return Exit(None, f"InternalError: {error}")
        finally:
            self._ended = True
            await asyncio.wait([self._reading], timeout=_LAST_OUTPUT)
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            await self._output.end()
            out_of_memory = self._memory.happened
            self._memory.close()
            await self._try(self._api.call("DELETE", f"/containers/{self._id}", force="1", v="1"))
        killed = out_of_memory or state.get("OOMKilled")
        return Exit(state["ExitCode"], OUT_OF_MEMORY if killed else None)

    def terminate(self) -> None:
        self._signal(self._stop_signal)

    def kill(self) -> None:
        self._signal("SIGKILL")

    async def probe(self, argv: Sequence[str], *, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                command = {"Cmd": list(argv), "AttachStdout": True, "AttachStderr": True}
                created = await self._api.call("POST", f"/containers/{self._id}/exec", command)
                path = f"/exec/{created['Id']}"
                async with self._api.output("POST", f"{path}/start", {"Detach": False, "Tty": False}) as frames:
                    async for _ in frames:
                        pass
                exit_code = (await self._api.call("GET", f"{path}/json"))["ExitCode"]
        except (TimeoutError, EngineRefused, aiohttp.ClientError):
            return False
        return bool(exit_code == 0)

    def _signal(self, name: str) -> None:
        if not self._ended:
            task = asyncio.create_task(self._try(self._api.call("POST", f"/containers/{self._id}/kill", signal=name)))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _try(self, call: Coroutine[Any, Any, Any]) -> None:
        """It may have ended meanwhile, which is what was wanted."""
        with contextlib.suppress(EngineRefused, aiohttp.ClientError):
            await call

    async def _read_output(self) -> None:
        with contextlib.suppress(EngineRefused, aiohttp.ClientError):
            path = f"/containers/{self._id}/logs"
            async with self._api.output("GET", path, follow="1", stdout="1", stderr="1") as frames:
                async for stream, data in frames:
                    self._output.write(stream, data)


def _container_config(
    task: TaskLaunch,
    container: ContainerLaunch,
    image: Document,
    labels: Mapping[str, str],
    mounts: Sequence[Document],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The body of the engine's ContainerCreate. Absent members are the image's."""
    definition = container.definition
    linux = definition.get("linuxParameters") or {}
    capabilities = linux.get("capabilities") or {}
    memory = int(definition.get("memory") or task.task_definition.get("memory") or 0) * MIB
    cpu = int(task.task_definition.get("cpu") or 0)
    config: dict[str, Any] = {
        "Image": image["Id"],
        "Env": [f"{name}={value}" for name, value in {**environment, **container.environment}.items()],
        "Labels": {**(definition.get("dockerLabels") or {}), **labels},
        "HostConfig": {
            "Mounts": list(mounts),
            "Memory": memory,
            "MemorySwap": memory,
            "MemoryReservation": int(definition.get("memoryReservation") or 0) * MIB,
            "NanoCpus": cpu * _NANO // _CPU_UNITS,
            "CpuShares": int(definition.get("cpu") or 0),
            "ReadonlyRootfs": bool(definition.get("readonlyRootFilesystem")),
            "Init": bool(linux.get("initProcessEnabled")),
            "GroupAdd": [str(mount.gid) for mount in container.mounts if mount.gid is not None],
            "CapAdd": capabilities.get("add") or [],
            "CapDrop": capabilities.get("drop") or [],
            "Ulimits": [
                {"Name": limit["name"], "Soft": limit["softLimit"], "Hard": limit["hardLimit"]}
                for limit in definition.get("ulimits") or ()
            ],
        },
    }
    if image["Config"].get("Healthcheck"):
        config["Healthcheck"] = {"Test": ["NONE"]}  # ECS looks at the definition's check alone
    optional = {"Entrypoint": "entryPoint", "Cmd": "command", "User": "user", "WorkingDir": "workingDirectory"}
    return config | {theirs: definition[ours] for theirs, ours in optional.items() if definition.get(ours)}


def _refused(words: str, container: str, error: Exception) -> StartError:
    return StartError("Task failed to start", container=container, container_reason=f"{words}: {error}")


def _address(state: Document) -> str:
    networks = state["NetworkSettings"].get("Networks") or {}
    addresses = [state["NetworkSettings"].get("IPAddress"), *(each.get("IPAddress") for each in networks.values())]
    return next((address for address in addresses if address), "")


def _task_id(task: TaskLaunch) -> str:
    return task.arn.rsplit("/", 1)[-1]
