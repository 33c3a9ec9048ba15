"""What the demo makes of an InferenceDeployment and its tasks while a service comes up."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from demo.progress import display, progress
from demo.services import Service, changes, read

SERVICE = "arn:aws:ecs:eu-west-1:123456789012:service/inference/shop_digits"


def deployment(
    *, generation: int = 1, observed: int = 1, ready: str = "True", running: str = "/digits/v1", **status: Any
) -> dict[str, Any]:
    def condition(name: str, value: str, message: str) -> dict[str, str]:
        return {"type": name, "status": value, "reason": "Because", "message": message}

    return {
        "metadata": {"name": "digits", "namespace": "shop", "generation": generation},
        "spec": {"models": {"path": "/digits/v1"}},
        "status": {
            "observedGeneration": observed,
            "url": "http://127.0.0.1:1/shop/digits",
            "running": {"model": running},
            "resources": {"service": SERVICE},
            "conditions": [
                condition("Ready", ready, "1 of 1 tasks run"),
                condition("LogGroupReady", "True", "/inference/shop/digits"),
                condition("ServiceReady", ready, "shop_digits:1"),
            ],
            **status,
        },
    }


def task(
    name: str, *, revision: int = 1, status: str = "RUNNING", group: str = "service:shop_digits"
) -> dict[str, str]:
    return {
        "taskArn": f"arn:aws:ecs:eu-west-1:123456789012:task/inference/{name}",
        "taskDefinitionArn": f"arn:aws:ecs:eu-west-1:123456789012:task-definition/shop_digits:{revision}",
        "lastStatus": status,
        "group": group,
    }


def test_a_service_is_up_when_it_is_ready_with_the_model_asked_for_and_runs_nothing_else() -> None:
    stopped = task("c" * 32, revision=1, status="STOPPED")

    assert read(deployment(), [task("a" * 32), task("b" * 32), stopped]).is_up


@pytest.mark.parametrize(
    ("document", "tasks"),
    [
        pytest.param(deployment(ready="False"), [task("a" * 32)], id="not ready"),
        pytest.param(deployment(generation=2), [task("a" * 32)], id="the status speaks of an older spec"),
        pytest.param(deployment(running="/digits/v0"), [task("a" * 32)], id="another model is served"),
        pytest.param(deployment(), [], id="no task"),
        pytest.param(
            deployment(),
            [task("a" * 32, revision=2), task("b" * 32, status="DEACTIVATING")],
            id="an old task drains",
        ),
        pytest.param(deployment(), [task("a" * 32, revision=2), task("b" * 32)], id="two revisions run"),
        pytest.param(
            {"metadata": {"name": "digits", "generation": 1}, "spec": {"models": {"path": "/digits/v1"}}},
            [],
            id="no status yet",
        ),
    ],
)
def test_a_service_is_not_up(document: dict[str, Any], tasks: list[dict[str, str]]) -> None:
    assert not read(document, tasks).is_up


def test_tasks_of_other_services_are_not_counted() -> None:
    service = read(deployment(), [task("a" * 32), task("b" * 32, group="service:shop_digits-two")])

    assert list(service.tasks) == ["aaaaaaaa"]


def test_a_service_is_stuck_when_it_says_so_of_the_spec_as_it_is_now() -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "RolledBack", "message": "it failed"}

    assert read(deployment(conditions=[stalled]), []).is_stuck
    assert not read(deployment(conditions=[stalled], generation=2), []).is_stuck
    assert not read(deployment(), []).is_stuck


def refused(reason: str) -> dict[str, str]:
    return {"type": "Ready", "status": "False", "reason": reason, "message": "it can't go on"}


@pytest.mark.parametrize(
    ("status", "given_up"),
    [
        pytest.param({"lastFailure": {"generation": 1, "cause": "OutOfMemory"}}, True, id="failed, and rolled back"),
        pytest.param({"lastFailure": {"generation": 0, "cause": "OutOfMemory"}}, False, id="an older cause"),
        pytest.param(
            {
                "lastFailure": {"generation": 1, "cause": "OutOfMemory"},
                "conditions": [refused("RolledBack"), {**refused("RolledBack"), "type": "Reconciling"}],
            },
            False,
            id="ECS is still going back",
        ),
        pytest.param({"conditions": [refused("VerificationFailed")]}, True, id="kept back"),
        pytest.param({"conditions": [refused("RollingOut")]}, False, id="under way"),
    ],
)
def test_a_release_is_given_up_when_it_was_rolled_back_with_its_cause_or_kept_back(
    status: dict[str, Any], given_up: bool
) -> None:
    document = deployment(**{"conditions": [refused("RolledBack")], **status})

    assert read(document, [task("a" * 32)]).is_given_up is given_up
    assert not read(document, [task("a" * 32), task("b" * 32, revision=2)]).is_given_up, "two revisions run"


def test_only_what_has_changed_is_told() -> None:
    before = read(deployment(ready="False"), [task("a" * 32, status="PENDING")])
    after = read(deployment(), [task("a" * 32), task("b" * 32, status="PROVISIONING")])

    assert list(changes(before, after)) == [
        "Service is ready: shop_digits:1",
        "task aaaaaaaa of shop_digits:1: PENDING -> RUNNING",
        "task bbbbbbbb of shop_digits:1 is PROVISIONING",
        "Ready is True: 1 of 1 tasks run",
    ]
    assert list(changes(after, after)) == []


def test_without_a_terminal_each_change_is_a_line_and_what_was_known_is_not_told_again() -> None:
    output = io.StringIO()
    before = read(deployment(ready="False"), [])
    after = read(deployment(), [])

    with progress(Console(file=output, width=40), {"digits": before}) as show:
        show({"digits": before}, "5 requests sent")
        show({"digits": after}, "9 requests sent")
        show({"digits": after}, "12 requests sent")

    lines = output.getvalue().splitlines()
    assert [line[10:] for line in lines] == [
        "digits       Service is ready: shop_digits:1",
        "digits       Ready is True: 1 of 1 tasks run",
        "9 requests sent",
    ]


def shown(service: Service) -> str:
    output = io.StringIO()
    Console(file=output, width=100).print(display({service.name: service}, "7 requests sent", 3.2))
    return output.getvalue()


def test_on_a_terminal_resources_and_living_tasks_are_seen_at_a_glance() -> None:
    service = read(deployment(ready="False"), [task("a" * 32), task("b" * 32, status="STOPPED")])

    picture = shown(service)

    assert "… digits  1 of 1 tasks run" in picture
    assert "✓ LogGroup  … Service" in picture
    assert "aaaaaaaa  shop_digits:1  RUNNING" in picture
    assert "bbbbbbbb" not in picture
    assert "3 s  7 requests sent" in picture


def test_messages_with_brackets_are_shown_as_they_are() -> None:
    service = read(
        deployment(conditions=[{"type": "Ready", "status": "False", "reason": "No", "message": "a [bold] word"}]), []
    )

    assert "a [bold] word" in shown(service)
