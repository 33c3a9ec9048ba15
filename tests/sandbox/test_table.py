"""A status as people read it: on a screen of any size, and in lines."""

from __future__ import annotations

import io
from typing import Any

import pytest

pytest.importorskip("rich", reason="the extra `sandbox` is not installed")

from rich.console import Console

from inference_sandbox import table


def event(number: int, message: str, at: str = "2026-11-24T10:00:00+00:00") -> dict[str, Any]:
    return {"id": str(number), "createdAt": at, "message": message}


def task(number: int, **members: Any) -> dict[str, Any]:
    return {
        "taskArn": f"arn:aws:ecs:r:1:task/inference/{number:032x}",
        "taskDefinitionArn": "arn:aws:ecs:r:1:task-definition/web:3",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "healthStatus": "HEALTHY",
        "runsAs": "process",
        "createdAt": "2026-11-24T09:58:30+00:00",
        "containers": [{"name": "app"}],
    } | members


def service(name: str = "web", **members: Any) -> dict[str, Any]:
    return {
        "serviceName": name,
        "status": "ACTIVE",
        "desiredCount": 3,
        "runningCount": 2,
        "pendingCount": 1,
        "taskDefinition": "arn:aws:ecs:r:1:task-definition/web:3",
        "deployments": [],
        "events": [],
        "tasks": [],
    } | members


def status(*services: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "at": "2026-11-24T10:00:00+00:00",
        "secondsAhead": 0,
        "services": list(services),
        "moreServices": 0,
        "tasks": [],
        "droppedLogLines": 0,
    } | members


def screen(found: dict[str, Any], *, lines: int, columns: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=lines, color_system=None)
    with console.capture() as shown:
        console.print(table.tables(found, lines=lines))
    return shown.get().splitlines()


@pytest.mark.parametrize("lines", [24, 50])
def test_a_big_status_fits_on_the_screen_and_says_what_it_leaves_out(lines: int) -> None:
    big = [
        service(f"web-{number}", tasks=[task(each) for each in range(9)], events=[event(1, "x" * 300)] * 20)
        for number in range(40)
    ]
    shown = screen(status(*big), lines=lines)
    assert len(shown) < lines
    assert max(len(line) for line in shown) <= 100
    assert any(line.startswith("… ") and line.rstrip().endswith(" more") for line in shown)
    assert any("EVENT" in line for line in shown)


def test_a_small_status_leaves_the_room_to_its_events() -> None:
    shown = screen(status(service(events=[event(number, f"event {number}") for number in range(20)])), lines=40)
    assert sum("event " in line for line in shown) == 20


def test_in_text_nothing_is_cut_off() -> None:
    message = f"(service web) has started 10 tasks: {' '.join(f'(task {number:032x})' for number in range(10))}."
    assert message in table.text(status(service(events=[event(1, message)])))


def test_a_task_that_stopped_says_why_with_its_containers() -> None:
    stopped = task(
        1,
        lastStatus="STOPPED",
        stoppedReason="Essential container in task exited",
        containers=[{"name": "app", "exitCode": 137, "reason": "OutOfMemoryError: …"}, {"name": "log", "exitCode": 0}],
    )
    (line,) = (line for line in table.text(status(service(tasks=[stopped]))).splitlines() if "137" in line)
    assert line.split("1m 30s  ")[1] == "Essential container in task exited; OutOfMemoryError: …; app exited with 137"


def test_a_reason_that_task_and_container_share_is_told_once() -> None:
    failed = task(
        1,
        stoppedReason="CannotPullContainerError: x",
        containers=[{"name": "app", "reason": "CannotPullContainerError: x"}],
    )
    assert table.text(status(service(tasks=[failed]))).count("CannotPullContainerError") == 1


def test_the_heading_tells_what_is_out_of_the_ordinary() -> None:
    usual = table.text(status(service())).splitlines()[0]
    assert usual == "2026-11-24 10:00:00 UTC, services: 1"
    odd = table.text(status(service(), secondsAhead=660, moreServices=4, droppedLogLines=7)).splitlines()[0]
    assert odd == "2026-11-24 10:00:00 UTC, 11m ahead, services: 5, not shown: 4, log lines dropped: 7"


def test_each_event_is_told_once_and_the_oldest_first_whatever_the_service() -> None:
    seen: set[str] = set()
    first = status(
        service("a", events=[event(2, "a second"), event(1, "a first")]),
        service("b", events=[event(3, "b earlier", at="2026-11-24T09:59:59+00:00")]),
    )
    assert table.new_events(first, seen) == ["09:59:59 b earlier", "10:00:00 a first", "10:00:00 a second"]
    assert table.new_events(first, seen) == []
    later = status(service("a", events=[event(4, "a third"), event(2, "a second")]))
    assert table.new_events(later, seen) == ["10:00:00 a third"]


def test_a_long_reason_is_cut_off_and_leaves_the_other_columns_whole() -> None:
    why = "OutOfMemoryError: Container killed due to memory usage; " * 5
    shown = screen(status(service(tasks=[task(1, stoppedReason=why)], events=[event(1, why)])), lines=30, columns=140)
    (row,) = (line for line in shown if "00000000" in line)
    assert row.split()[:6] == ["web", "00000000", "RUNNING", "RUNNING", "HEALTHY", "process"]
    assert row.rstrip().endswith("…")
    (event_line,) = (line for line in shown if line.startswith("10:00:00"))
    assert event_line.rstrip().endswith("…")


def test_a_narrow_screen_does_without_some_columns_so_that_the_reason_can_be_read() -> None:
    why = "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref"
    stopped = task(1, lastStatus="STOPPED", desiredStatus="STOPPED", healthStatus="UNKNOWN", stoppedReason=why)
    shown = screen(status(service(tasks=[stopped])), lines=24, columns=80)
    (row,) = (line for line in shown if "00000000" in line)
    assert why[:39] in row
    assert row.split()[:3] == ["web", "00000000", "STOPPED"]
    assert max(len(line) for line in shown) <= 80
    (calm,) = (line for line in screen(status(service(tasks=[task(1)])), lines=24) if "00000000" in line)
    assert calm.split() == ["web", "00000000", "RUNNING", "RUNNING", "HEALTHY", "process", "web:3", "1m", "30s"]
