from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_operator.domain.ecs_events import JunkError, News, Seen, read
from inference_operator.domain.failures import stopped_task

ECS = "arn:aws:ecs:eu-west-1:222222222222"


def event(detail_type: str, resource: str, detail: dict[str, Any], **members: Any) -> str:
    return json.dumps(
        {
            "version": "0",
            "id": "1",
            "detail-type": detail_type,
            "source": "aws.ecs",
            "account": "222222222222",
            "time": "2026-11-24T12:00:00Z",
            "region": "eu-west-1",
            "resources": [f"{ECS}:{resource}"],
            "detail": detail,
            **members,
        }
    )


def task_event(**detail: Any) -> str:
    task = f"{ECS}:task/inference/0123"
    told = {
        "taskArn": task,
        "clusterArn": f"{ECS}:cluster/inference",
        "group": "service:shop_recommender",
        "startedBy": "ecs-svc/1",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "taskDefinitionArn": f"{ECS}:task-definition/shop_recommender:3",
        "version": 4,
        "containers": [{"name": "app", "lastStatus": "RUNNING", "surprise": {"is": ["new"]}}],
        **detail,
    }
    return event("ECS Task State Change", "task/inference/0123", told)


STOPPED = {
    "lastStatus": "STOPPED",
    "desiredStatus": "STOPPED",
    "stopCode": "EssentialContainerExited",
    "stoppedReason": "Essential container in task exited",
    "stoppedAt": "2026-11-24T11:59:58.123Z",
    "containers": [
        {"name": "app", "exitCode": 137, "reason": "OutOfMemoryError: Container killed due to memory usage"}
    ],
}


def test_a_deployment_and_an_action_name_their_service_in_their_resources() -> None:
    for kind in ("ECS Deployment State Change", "ECS Service Action"):
        body = event(kind, "service/inference/shop_recommender", {"eventName": "SERVICE_DEPLOYMENT_FAILED"})
        assert read(body) == News(id="1", at=datetime(2026, 11, 24, 12, tzinfo=UTC), service="shop_recommender")


def test_a_task_names_its_service_in_its_group() -> None:
    told = read(task_event())
    assert told is not None
    assert (told.service, told.version, told.stopped) == ("shop_recommender", 4, None)
    assert told.task == f"{ECS}:task/inference/0123"


def test_a_stopped_task_is_told_as_describe_tasks_would() -> None:
    told = read(task_event(**STOPPED))
    assert told is not None
    assert told.stopped is not None
    task = stopped_task(told.stopped)
    assert (task.task, task.cause, task.exit_code, task.container) == ("0123", "OutOfMemory", 137, "app")
    assert task.at == datetime(2026, 11, 24, 11, 59, 58, tzinfo=UTC)


def test_a_task_that_stopped_as_a_matter_of_routine_is_only_a_reason_to_look() -> None:
    told = read(task_event(**STOPPED | {"stoppedReason": "Scaling activity initiated by (deployment ecs-svc/1)"}))
    assert told is not None
    assert told.stopped is None


def test_a_task_of_no_service_is_no_news() -> None:
    assert read(task_event(group="family:cron")) is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "body: json_invalid"),
        ("null", "body: model_type"),
        ("[]", "body: model_type"),
        ('{"password": "hunter2"}', "id: missing"),
        (event("EC2 Instance State-change Notification", "service/a/b", {}), "detail-type: literal_error"),
        (event("ECS Service Action", "service/a/b", {}, source="my.app"), "source: literal_error"),
        (event("ECS Service Action", "service/a/b", {}, time="yesterday"), "time: datetime_from_date_parsing"),
        (event("ECS Service Action", "service/a/b", {}, resources=[]), "resources: too_short"),
        (event("ECS Task State Change", "task/a/b", {}), "detail.taskArn: missing"),
        (task_event(version="newest"), "detail.version: int_parsing"),
        (task_event(stoppedReason="x" * 5000), "detail.stoppedReason: string_too_long"),
    ],
)
def test_junk_is_refused_by_the_name_of_what_is_wrong_and_never_shown(body: str, why: str) -> None:
    with pytest.raises(JunkError) as caught:
        read(body)
    assert str(caught.value) == why


@given(st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_comes_is_news_or_junk(body: str) -> None:
    with pytest.raises(JunkError):
        read(body)


def news(number: int, *, task: str | None = None, version: int = 0) -> News:
    return News(id=str(number), at=datetime(2026, 11, 24, tzinfo=UTC), service="s", task=task, version=version)


def test_an_event_is_news_once() -> None:
    seen = Seen()
    assert [seen.is_news(news(n)) for n in (1, 2, 1, 2, 3)] == [True, True, False, False, True]


def test_a_task_as_it_was_before_is_no_news() -> None:
    seen = Seen()
    told = [news(1, task="t", version=3), news(2, task="t", version=5), news(3, task="t", version=4)]
    assert [seen.is_news(it) for it in told] == [True, True, False]
    assert not seen.is_news(news(4, task="t", version=5)), "in another event, and still as it was"
    assert seen.is_news(news(5, task="another", version=1))


def test_what_is_remembered_is_bounded() -> None:
    seen = Seen(limit=100)
    for number in range(1000):
        seen.is_news(news(number, task=f"t{number}", version=1))
    assert len(seen._events) == len(seen._versions) == 100
    assert seen.is_news(news(0)), "long forgotten"
    assert not seen.is_news(news(999))
