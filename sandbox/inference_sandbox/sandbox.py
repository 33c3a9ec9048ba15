"""The whole sandbox: a Kubernetes control plane and, beside it, AWS. Neither knows the other; clients know both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from inference_sandbox.control_plane import Cluster, ControlPlane
from inference_sandbox.details import Details
from inference_sandbox.tasks.images import ProcessImage


@contextmanager
def run(
    workdir: Path,
    *,
    images: Mapping[str, ProcessImage],
    kubeconfig: Path | None = None,
    crds: Path | None = None,
) -> Iterator[Details]:
    """Up within the `with` block. With `kubeconfig`, that cluster is used, and no control plane is started."""
    find_cluster: Callable[[], Cluster]
    with ExitStack() as parts:
        if kubeconfig is None:
            find_cluster = parts.enter_context(ControlPlane(workdir / "control-plane")).ready
        else:
            find_cluster = partial(Cluster.existing, kubeconfig)

        # moto and boto3 take two seconds to import, which the commands that start nothing can do without, and in which
        # the control plane starts.
        from inference_sandbox.cloud import run_cloud  # noqa: PLC0415 - as said above

        cloud = parts.enter_context(run_cloud(workdir, images=images))
        cluster = find_cluster()
        if crds is not None:
            cluster.apply_crds(crds)
        yield Details(
            **asdict(cloud.details),
            pid=os.getpid(),
            workdir=str(workdir),
            kubeconfig=str(cluster.kubeconfig),
            kubectl=str(cluster.kubectl_program),
        )
