"""The whole sandbox: a Kubernetes control plane and, beside it, AWS. Neither knows the other; clients know both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from inference_sandbox.control_plane import Cluster, ControlPlane, ControlPlaneError
from inference_sandbox.details import Details
from inference_sandbox.tasks.images import Choice, ProcessImage


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    details: Details
    live: Callable[[float], None]
    """Let so many seconds pass. ControlPlaneError if the control plane ends by itself meanwhile."""


@contextmanager
def run(
    workdir: Path,
    *,
    images: Mapping[str, ProcessImage],
    tasks: Choice = "auto",
    kubeconfig: Path | None = None,
    crds: Path | None = None,
) -> Iterator[Sandbox]:
    """Up within the `with` block. With `kubeconfig`, that cluster is used, and no control plane is started."""
    find_cluster: Callable[[], Cluster]
    live: Callable[[float], None]
    with ExitStack() as parts:
        if kubeconfig is None:
            control_plane = parts.enter_context(ControlPlane(workdir / "control-plane"))
            find_cluster, live = control_plane.ready, partial(_live_with, control_plane)
        else:
            find_cluster, live = partial(Cluster.existing, kubeconfig), time.sleep

        # moto and boto3 take two seconds to import, which the commands that start nothing can do without, and in which
        # the control plane starts.
        from inference_sandbox.cloud import run_cloud  # noqa: PLC0415 - as said above

        cloud = parts.enter_context(run_cloud(workdir, images=images, tasks=tasks))
        cluster = find_cluster()
        if crds is not None:
            cluster.apply_crds(crds)
        details = Details(
            **asdict(cloud.details),
            pid=os.getpid(),
            workdir=str(workdir),
            kubeconfig=str(cluster.kubeconfig),
            kubectl=str(cluster.kubectl_program),
        )
        yield Sandbox(details=details, live=live)


def _live_with(control_plane: ControlPlane, seconds: float) -> None:
    if (end := control_plane.wait_for_end(seconds)) is not None:
        raise ControlPlaneError(f"the control plane has ended, and the sandbox with it: {end}")
