"""When the operator says of itself that it should be restarted."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from unittest import mock

import aiohttp
import pytest

from inference_operator.runtime.health import OVERDUE_AFTER, Health, serve
from inference_operator.runtime.loop import Duty, Keeper
from inference_operator.runtime.slot import Slot
from tests.operator.builders import deployment_document, environment_document
from tests.operator.test_loop import DONE

DELETED = "2026-11-24T12:00:00Z"


class Watched:
    """An object and its environment, that the watch has told of."""

    def __init__(self) -> None:
        self.keeper = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1))
        self.object, self.environment = deployment_document(), environment_document()
        self.slot = Slot()
        self.keeper.notice(self.object, self.slot)
        self.keeper.environment_noticed(self.environment, Slot())
        self.health = Health(slots=self.keeper.kept)

    def complaints_after(self, *lists: list[dict[str, Any]]) -> list[str]:
        for documents in lists:
            self.health.compare([document["metadata"] for document in documents])
        return self.health.complaints(0.0)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def changed(document: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {**document["metadata"], "generation": 2}}


def test_a_watch_that_tells_all_is_well(watched: Watched) -> None:
    assert watched.complaints_after(*[[watched.object, watched.environment]] * 3) == []


@pytest.mark.parametrize("which", ["object", "environment"])
def test_a_watch_that_does_not_tell_of_a_change_is_deaf_when_that_is_seen_twice(watched: Watched, which: str) -> None:
    listed = [watched.object, watched.environment]
    listed.append(changed(listed.pop(0 if which == "object" else 1)))
    assert watched.complaints_after(listed) == []
    assert watched.complaints_after(listed) == ["the watch does not tell of 1 objects that have changed or are gone"]
    assert watched.complaints_after([watched.object, watched.environment]) == []


@pytest.mark.parametrize("which", ["object", "environment"])
def test_a_watch_that_does_not_tell_of_an_end_is_deaf_when_that_is_seen_twice(watched: Watched, which: str) -> None:
    """It was interrupted, and what was deleted meanwhile it never tells."""
    left = [watched.environment if which == "object" else watched.object]
    assert watched.complaints_after(left) == []
    assert watched.complaints_after(left) == ["the watch does not tell of 1 objects that have changed or are gone"]


def test_a_watch_that_is_a_moment_late_is_not_deaf(watched: Watched) -> None:
    """The object changes between two lists, each time just before the second is asked for."""
    first, second = changed(watched.object), {"metadata": {**watched.object["metadata"], "generation": 3}}
    assert watched.complaints_after([first, watched.environment], [second, watched.environment]) == []


def test_an_object_that_goes_while_it_is_taken_away_is_not_missed(watched: Watched) -> None:
    """The watch tells of its end when that is done."""
    watched.object["metadata"]["deletionTimestamp"] = DELETED
    watched.keeper.notice(watched.object, watched.slot)
    assert watched.complaints_after(*[[watched.environment]] * 3) == []


@pytest.mark.parametrize("which", ["object", "environment"])
def test_what_has_been_taken_away_is_no_longer_kept_though_the_watch_does_not_tell_of_its_end(
    watched: Watched, which: str
) -> None:
    document = watched.object if which == "object" else watched.environment
    asyncio.run(watched.keeper.finish(document, Slot(), Duty(mock.Mock(), lambda *_: DONE)))
    kept = {document["kind"] for _, document in watched.keeper.kept()}
    assert kept == {"InferenceDeployment", "InferenceEnvironment"} - {document["kind"]}
    assert set(watched.keeper.environments) == ({"default"} if which == "object" else set())


@pytest.mark.parametrize("which", ["shop/recommender", "default"])
def test_a_turn_that_does_not_come_is_told(watched: Watched, which: str) -> None:
    slot = next(s for s, document in watched.keeper.kept() if document["metadata"]["name"] in which)
    slot.due = 1000.0
    assert watched.health.complaints(1000.0 + OVERDUE_AFTER) == []
    (complaint,) = watched.health.complaints(1001.0 + OVERDUE_AFTER)
    assert complaint == f"1 objects have been due for more than 900 s, {which} among them"
    slot.due = None  # its pass has begun, and may last
    assert watched.health.complaints(1001.0 + OVERDUE_AFTER) == []


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")])
def test_the_kubelet_is_answered_at_the_address_that_a_pod_has_of_ipv4_or_ipv6(
    family: socket.AddressFamily, host: str
) -> None:
    try:
        with socket.create_server((host.strip("[]"), 0), family=family):
            pass
    except OSError as error:
        pytest.skip(f"this machine has no address of {family.name}: {error}")

    async def asked() -> bytes:
        server = await serve(Health(slots=tuple), 0)
        ports = {":" in address[0]: address[1] for address in server.addresses}
        url = f"http://{host}:{ports[family == socket.AF_INET6]}/readyz"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return await answer.read()
        finally:
            await server.cleanup()

    assert asyncio.run(asked()) == b"ok\n"
