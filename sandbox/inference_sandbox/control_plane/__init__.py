"""A real Kubernetes control plane on loopback: etcd and kube-apiserver, as envtest runs them.

- `binaries`: where etcd, kube-apiserver and kubectl come from
- `certificates`: a certificate authority for one run
- `keeper`: the process that runs both and ends them when nobody needs them any more
- `cluster`: what the rest of the sandbox uses: `ControlPlane`, and `Cluster` for one that exists already

This package knows nothing of AWS.
"""

from __future__ import annotations

from inference_sandbox.control_plane.binaries import Binaries, BinariesUnavailableError, find_binaries, why_unavailable
from inference_sandbox.control_plane.cluster import Cluster, ControlPlane, ControlPlaneError, KubectlError

__all__ = [
    "Binaries",
    "BinariesUnavailableError",
    "Cluster",
    "ControlPlane",
    "ControlPlaneError",
    "KubectlError",
    "find_binaries",
    "why_unavailable",
]
