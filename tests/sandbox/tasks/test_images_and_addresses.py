"""The image store's look-up, and addresses that no two tasks of this machine share."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from inference_sandbox.tasks.addresses import NETWORK, claim_address
from inference_sandbox.tasks.images import ProcessImage, find_image

SANDBOX = str(Path(__file__).parents[3] / "sandbox")


def test_the_first_pattern_that_fits_a_reference_counts() -> None:
    narrow, wide = ProcessImage(command=["narrow"]), ProcessImage(command=["wide"])
    images = {"a.example/x:1.*": narrow, "a.example/*": wide}

    assert find_image(images, "a.example/x:1.2") is narrow
    assert find_image(images, "a.example/x:2") is wide
    assert find_image(images, "b.example/x:1.2") is None


@pytest.mark.parametrize(
    ("entrypoint", "command", "argv"),
    [
        ([], [], ["e", "c"]),
        ([], ["x"], ["e", "x"]),
        (["y"], [], ["y"]),
        (["y"], ["x"], ["y", "x"]),
    ],
)
def test_a_definition_replaces_an_image_s_words_as_docker_does(
    entrypoint: list[str], command: list[str], argv: list[str]
) -> None:
    image = ProcessImage(entrypoint=["e"], command=["c"])

    assert image.argv(entrypoint=entrypoint, command=command) == argv


def test_placeholders_of_an_image_are_filled_and_other_braces_kept() -> None:
    image = ProcessImage(command=["--bind={address}"], environment={"JSON": '{"a": 1}', "TMP": "{workdir}/t"})

    filled = image.at(address="127.70.0.9", workdir="/w")

    assert filled.command == ["--bind=127.70.0.9"]
    assert filled.environment == {"JSON": '{"a": 1}', "TMP": "/w/t"}


def test_a_claimed_address_is_in_the_range_and_free_again_once_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "randrange", lambda *_: 77_777)
    claimed = claim_address()

    assert IPv4Address(claimed.address) in NETWORK
    with pytest.raises(OSError, match="no free task address"):
        claim_address()
    claimed.release()
    claim_address().release()


def test_another_process_can_not_claim_an_address_that_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "randrange", lambda *_: 88_888)
    claimed = claim_address()
    program = (
        "import random\n"
        "from inference_sandbox.tasks import addresses\n"
        "random.randrange = lambda *_: 88_888\n"
        "print(addresses.claim_address().address)"
    )

    def try_it() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": SANDBOX},
            capture_output=True,
            text=True,
            check=False,
        )

    assert "no free task address" in try_it().stderr
    claimed.release()
    assert try_it().stdout.strip() == claimed.address
