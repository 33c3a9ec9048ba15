"""What a definition's words mean for a process on this machine."""

from __future__ import annotations

import pytest

from inference_sandbox.ports import EfsMount
from inference_sandbox.tasks.host_view import HostView

MOUNTS = [
    EfsMount(container_path="/models", host_path="/host/a", read_only=True),
    EfsMount(container_path="/models/big/", host_path="/host/b/", read_only=True),
]
VIEW = HostView("127.70.0.9", MOUNTS)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("/models", "/host/a"),
        ("/models/x/y", "/host/a/x/y"),
        ("/models/big/x", "/host/b/x"),
        ("/models/bigger", "/host/a/bigger"),
        ("/models2", "/models2"),
        ("/opt/models", "/opt/models"),
        ("--dir=/models", "--dir=/host/a"),
        ("/usr/lib:/models/lib", "/usr/lib:/host/a/lib"),
        ("test -f '/models/a' && cat /models/b", "test -f '/host/a/a' && cat /host/a/b"),
        ('{"path": "/models/a"}', '{"path": "/host/a/a"}'),
        ("https://files.example/models/a", "https://files.example/models/a"),
        ("", ""),
    ],
)
def test_words_that_are_or_begin_with_a_container_path_become_the_host_folder(text: str, seen: str) -> None:
    assert VIEW.of(text) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("127.0.0.1", "127.70.0.9"),
        ("curl -f http://localhost:8080/healthz || exit 1", "curl -f http://127.70.0.9:8080/healthz || exit 1"),
        ("0.0.0.0", "127.70.0.9"),
        ("0.0.0.0:8080", "127.70.0.9:8080"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0", "10.0.0.0"),
        ("127.0.0.11", "127.0.0.11"),
        ("localhost.example", "localhost.example"),
        ("my-localhost", "my-localhost"),
    ],
)
def test_the_container_s_own_address_becomes_the_task_s(text: str, seen: str) -> None:
    assert VIEW.of(text) == seen


def test_without_mounts_paths_are_left_alone() -> None:
    assert HostView("127.70.0.9", []).of("/models") == "/models"
