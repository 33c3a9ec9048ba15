"""The awsfirelens log driver against a socket that stands for a router's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from inference_sandbox.tasks.firelens import SOCKET, Sender
from inference_sandbox.tasks.log_driver import LogDriver, pack_message


def sender(buffer_limit: int = 1 << 20) -> Sender:
    return Sender(tag="app-firelens-1", container_id="1-app", container_name="app", buffer_limit=buffer_limit)


async def received(folder: Path, act: Callable[[LogDriver], Awaitable[None]], driver: LogDriver) -> bytes:
    got, closed = bytearray(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.read(-1))
        writer.close()
        closed.set()

    await act(driver)
    server = await asyncio.start_unix_server(serve, folder / SOCKET)
    await driver.close()
    async with asyncio.timeout(5):
        await closed.wait()
    server.close()
    return bytes(got)


def test_a_message_is_an_array_of_tag_event_time_and_record() -> None:
    assert pack_message("tag", 1.5, {"log": "x" * 40, "source": "stdout"}) == (
        b"\x93\xa3tag\xd7\x00\x00\x00\x00\x01\x1d\xcd\x65\x00\x82\xa3log\xd9\x28" + b"x" * 40 + b"\xa6source\xa6stdout"
    )
    assert pack_message("t", 0, {"log": "y" * 300})[18:21] == b"\xda\x01\x2c"


def test_what_is_written_before_there_is_a_router_arrives_once_there_is(tmp_path: Path) -> None:
    async def act(driver: LogDriver) -> None:
        driver.write("stdout", b"first\nsec")
        await asyncio.sleep(0)
        driver.write("stdout", b"ond\nrest")

    async def run() -> bytes:
        return await received(tmp_path, act, LogDriver(sender(), tmp_path))

    got = asyncio.run(run())
    assert [
        line for line in (b"first", b"second", b"rest") if b"\xa3log" + bytes([0xA0 | len(line)]) + line in got
    ] == [
        b"first",
        b"second",
        b"rest",
    ]


def test_what_the_buffer_has_no_room_for_is_dropped_and_counted(tmp_path: Path) -> None:
    async def count() -> tuple[int, int]:
        driver = LogDriver(sender(buffer_limit=1_000), tmp_path)
        driver.write("stdout", b"".join(b"line %d\n" % number for number in range(100)))
        dropped = driver.dropped
        got = await received(tmp_path, _nothing, driver)
        return dropped, got.count(b"app-firelens-1")

    dropped, arrived = asyncio.run(count())
    assert dropped + arrived == 100
    assert 0 < arrived < 20


async def _nothing(_driver: LogDriver) -> None:
    pass


def test_a_container_that_said_nothing_ends_at_once_without_a_router(tmp_path: Path) -> None:
    async def run() -> int:
        driver = LogDriver(sender(), tmp_path / "there-is-no-such-folder")
        async with asyncio.timeout(1):
            await driver.close()
        return driver.dropped

    assert asyncio.run(run()) == 0
