"""The way from a task to AWS: under AWS's names and as an endpoint, and to nobody else."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from inference_sandbox.tasks.egress import Egress

T = TypeVar("T")


class Aws(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def aws() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Aws) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


def through(egress: Egress, ask: Callable[[str], Awaitable[T]]) -> T:
    async def run() -> T:
        try:
            return await ask(await egress.url("127.0.0.1"))
        finally:
            await egress.close()

    return asyncio.run(run())


def egress_to(aws: str | None, folder: Path) -> Egress:
    egress = Egress(folder, {"AWS_ACCESS_KEY_ID": "key"})
    egress.upstream = aws
    return egress


def test_a_program_that_trusts_the_authority_reaches_aws_by_its_names(aws: str, tmp_path: Path) -> None:
    egress = egress_to(aws, tmp_path)
    trust = ssl.create_default_context(cafile=str(egress.certificate))

    async def ask(proxy: str) -> list[str]:
        async with httpx.AsyncClient(proxy=proxy, verify=trust) as client:
            names = ("logs.ap-northeast-1.amazonaws.com", "bucket.s3.ap-northeast-1.amazonaws.com")
            return [(await client.get(f"https://{name}/")).text for name in names]

    assert through(egress, ask) == ["logs.ap-northeast-1.amazonaws.com", "bucket.s3.ap-northeast-1.amazonaws.com"]


def test_a_program_that_does_not_trust_it_does_not_get_there(aws: str, tmp_path: Path) -> None:
    async def ask(proxy: str) -> None:
        async with httpx.AsyncClient(proxy=proxy) as client:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await client.get("https://logs.ap-northeast-1.amazonaws.com/")

    through(egress_to(aws, tmp_path), ask)


@pytest.mark.parametrize("name", ["example.com", "amazonaws.com.example.com", "notamazonaws.com"])
def test_names_that_are_not_aws_s_are_refused(aws: str, tmp_path: Path, name: str) -> None:
    async def ask(proxy: str) -> None:
        async with httpx.AsyncClient(proxy=proxy) as client:
            with pytest.raises(httpx.ProxyError, match="403"):
                await client.get(f"https://{name}/")

    through(egress_to(aws, tmp_path), ask)


def test_the_address_is_an_endpoint_too(aws: str, tmp_path: Path) -> None:
    async def ask(url: str) -> tuple[str, str]:
        async with httpx.AsyncClient() as client:
            return (await client.get(url)).text, url

    host, url = through(egress_to(aws, tmp_path), ask)
    assert f"http://{host}" == url


def test_before_aws_is_up_a_connection_ends_without_an_answer(tmp_path: Path) -> None:
    async def ask(url: str) -> None:
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(url)

    through(egress_to(None, tmp_path), ask)


def test_everybody_who_asks_at_the_same_time_gets_the_same_address(tmp_path: Path) -> None:
    egress = egress_to(None, tmp_path)

    async def run() -> set[str]:
        try:
            return set(await asyncio.gather(*(egress.url("127.0.0.1") for _ in range(5))))
        finally:
            await egress.close()

    assert len(asyncio.run(run())) == 1
