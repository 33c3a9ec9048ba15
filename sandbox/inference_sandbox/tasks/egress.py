"""The way from a task to AWS: a proxy that leads to the sandbox's, under the names that AWS has.

A program that is told of the proxy (`HTTP_PROXY`) speaks to `logs.ap-northeast-1.amazonaws.com` as on Fargate: the
proxy takes the connection, shows a certificate of that name, and passes on what comes. Its authority is in
`certificate`, for the program to trust. A connection that begins with a plain request is passed on as it is, so that
the proxy's address is an AWS endpoint URL too. Names that are not AWS's are refused.

What the requests mean is not known here, nor who runs the programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from inference_sandbox.authority import Authority

_AWS = re.compile(r"(?:[a-z0-9-]+\.)*(?:amazonaws\.com(?:\.cn)?|api\.aws):443", re.IGNORECASE)
_CHUNK = 65_536
_HEAD_LIMIT = 16_384
_SECONDS_TO_ASK = 30
_IP_FREEBIND = 15
"""Linux's; Python has no name for it."""


class Egress:
    """Listens once somebody asks for its address, in the event loop of whoever does; close it there.

    `credentials` are the environment variables with which a task signs its calls.
    """

    def __init__(self, folder: Path, credentials: Mapping[str, str]) -> None:
        self.credentials = dict(credentials)
        self.upstream: str | None = None
        """The endpoint URL of the sandbox's AWS, once it is up."""
        self._authority = Authority()
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "aws-authority.pem"
        self.certificate.write_bytes(self._authority.certificate.public_bytes(serialization.Encoding.PEM))
        self._servers: dict[str, asyncio.Server] = {}
        self._starting = asyncio.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def url(self, host: str) -> str:
        """Of the proxy, listening on this address of the machine."""
        async with self._starting:
            if host not in self._servers:
                self._servers[host] = await asyncio.start_server(self._serve, sock=_bound(host), limit=_HEAD_LIMIT)
        port = self._servers[host].sockets[0].getsockname()[1]
        return f"http://{host}:{port}"

    async def environment(self, host: str) -> dict[str, str]:
        """What a task's programs are told, for SDKs to find AWS."""
        return {**self.credentials, "AWS_ENDPOINT_URL": await self.url(host)}

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._answer(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
                async with asyncio.timeout(_SECONDS_TO_ASK):
                    first = await reader.readuntil(b"\n")
                    refused = False
                    if first.upper().startswith(b"CONNECT "):
                        first, refused = b"", not await self._tunnel(first, reader, writer)
                if not refused:
                    await self._pass_on(first, reader, writer)
        finally:
            writer.close()

    async def _tunnel(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Be the server that a CONNECT asks for; False: it was refused."""
        while (await reader.readuntil(b"\n")).strip():
            pass
        wanted = first.split()[1].decode("ascii", "replace")
        if not _AWS.fullmatch(wanted):
            writer.write(b"HTTP/1.1 403 only AWS is there\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return False
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        await writer.start_tls(self._context(wanted.removesuffix(":443").lower()))
        return True

    async def _pass_on(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.upstream is None:
            return
        address = urlsplit(self.upstream)
        there, back = await asyncio.open_connection(address.hostname, address.port)
        back.write(first)
        one_way, other_way = asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))
        try:
            await asyncio.wait((one_way, other_way), return_when=asyncio.FIRST_COMPLETED)
            # A client that has said all it had to say still waits for its answer; a server that has ended is done.
            await other_way
        finally:
            back.close()
            one_way.cancel()
            other_way.cancel()
            await asyncio.gather(one_way, other_way, return_exceptions=True)

    def _context(self, host: str) -> ssl.SSLContext:
        if host not in self._contexts:
            certificate, key = self._authority.issue(
                host[:64],
                [
                    x509.SubjectAlternativeName([x509.DNSName(host)]),
                    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
                ],
            )
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with tempfile.NamedTemporaryFile() as both:  # the library reads from files alone
                both.write(certificate.public_bytes(serialization.Encoding.PEM))
                both.write(
                    key.private_bytes(
                        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                    )
                )
                both.flush()
                context.load_cert_chain(both.name)
            self._contexts[host] = context
        return self._contexts[host]


def _bound(host: str) -> socket.socket:
    """To an address that the machine may not have yet: an engine makes its bridge with its first container."""
    bound = socket.socket()
    bound.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    bound.bind((host, 0))
    return bound


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
