"""The certificates of one run of the control plane, as files. Knows no process and no Kubernetes API.

Facts: a client certificate's organisation is its Kubernetes group, and `system:masters` may do everything
(https://kubernetes.io/docs/setup/best-practices/certificates/).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from inference_sandbox.authority import Authority


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files in PEM. Keys are readable by their owner only."""

    authority: Path
    server: Path
    server_key: Path
    admin: Path
    admin_key: Path
    service_account_key: Path
    """Signs the tokens of service accounts; the API server checks them with the same file."""


def issue(folder: Path) -> Certificates:
    """Make the folder and everything in it, new."""
    folder.mkdir(mode=0o700)
    files = Certificates(
        authority=folder / "ca.crt",
        server=folder / "server.crt",
        server_key=folder / "server.key",
        admin=folder / "admin.crt",
        admin_key=folder / "admin.key",
        service_account_key=folder / "service-accounts.key",
    )
    authority = Authority()
    server, server_key = authority.issue("kube-apiserver", _server_extensions())
    admin, admin_key = authority.issue(
        "sandbox-admin",
        [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])],
        organisation="system:masters",
    )
    for path, certificate in (
        (files.authority, authority.certificate),
        (files.server, server),
        (files.admin, admin),
    ):
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_key(files.server_key, server_key)
    _write_key(files.admin_key, admin_key)
    _write_key(files.service_account_key, ec.generate_private_key(ec.SECP256R1()))
    return files


def _server_extensions() -> list[x509.ExtensionType]:
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    loopback = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    return [
        x509.SubjectAlternativeName([*map(x509.DNSName, names), loopback]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
    ]


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """As `EC PRIVATE KEY`: the API server finds no public key in PKCS#8."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
