"""Events of ECS reach the running operator: soon, once, and none is lost that matters."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from inference_sandbox.tasks.scripted import Script
from tests.operator.live import ENVIRONMENTS, GOES_OFF, OBJECT, PROGRAM, Stage

WORSE = "registry.example.com/inference-server:broken"
BRIEF = timedelta(milliseconds=30)


def environment(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.custom.get_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.namespace)
    return found


def conditions(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in document.get("status", {}).get("conditions", ())}


def listen(stage: Stage) -> None:
    """The environment asks for events, and they are heard."""
    stage.change_environment(events={"queue": stage.namespace})
    stage.until(lambda: "EventRuleReady" in conditions(environment(stage)))
    assert conditions(environment(stage))["EventRuleReady"] == ("True", "AsSpecified")
    stage.until(lambda: heard(stage))


def heard(stage: Stage) -> bool:
    from tests.operator.test_runtime import metrics  # noqa: PLC0415 kubernetes is an extra, which the fixtures look for

    return metrics(stage).get(f'inference_operator_events_heard{{environment="{stage.namespace}"}}') == 1


def outcome_of(stage: Stage, outcome: str) -> float:
    from tests.operator.test_runtime import metrics  # noqa: PLC0415 as above

    name = f'inference_operator_events_total{{environment="{stage.namespace}",outcome="{outcome}"}}'
    return metrics(stage).get(name, 0)


def fails(stage: Stage) -> None:
    """What is called WORSE does not come up."""

    def script(launch: Any) -> Script:
        if any(container.definition["image"] == WORSE for container in launch.containers):
            return Script(starts_after=BRIEF, exits_after=BRIEF, exit_code=3, stops_after=BRIEF)
        return Script(starts_after=BRIEF, stops_after=BRIEF)

    stage.live.runner.script = script


def until_verdict(stage: Stage, name: str) -> float:
    """When ECS gave the deployment up."""
    ecs = stage.live.account.client("ecs")

    def given_up() -> bool:
        shown = ecs.describe_services(cluster="inference", services=[f"{stage.namespace}_{name}"])["services"][0]
        return any(d["rolloutState"] == "FAILED" for d in shown["deployments"])

    deadline = time.monotonic() + GOES_OFF
    while not given_up():
        assert time.monotonic() < deadline
    return time.monotonic()


def test_a_verdict_is_in_the_condition_long_before_the_next_look_without_events(stage: Stage) -> None:
    stage.operator.program = PROGRAM  # with its waits as they are: five seconds, fifteen where events come
    fails(stage)
    with stage.operator:
        listen(stage)
        stage.apply("recommender")
        stage.until_ready("recommender")
        stage.patch("recommender", {"spec": {"image": WORSE}})
        verdict = until_verdict(stage, "recommender")
        stage.until(lambda: stage.stands("recommender") == ("False", "RolledBack"))
        took = time.monotonic() - verdict
        assert took < 5, f"{took:.2f} s"
        status = stage.get("recommender")["status"]
        assert {task["exitCode"] for task in status["stoppedTasks"]} == {3}
        stage.until(lambda: queue_is_empty(stage))


def queue_is_empty(stage: Stage) -> bool:
    sqs = stage.live.account.client("sqs")
    url = sqs.get_queue_url(QueueName=stage.namespace)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return all(int(found[name]) == 0 for name in names)


def test_why_a_task_stopped_while_the_operator_was_down_is_told_though_ecs_has_forgotten_it(stage: Stage) -> None:
    with stage.operator:
        listen(stage)
        stage.apply("recommender")
        stage.until_ready("recommender")
        assert stage.operator.stop() == 0
        sqs = stage.live.account.client("sqs")
        url = sqs.get_queue_url(QueueName=stage.namespace)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(forgotten(stage)))
        stage.operator.start()

        def told() -> bool:
            tasks = stage.get("recommender")["status"].get("stoppedTasks", ())
            return [(t["task"], t["cause"], t["exitCode"]) for t in tasks] == [("0" * 32, "OutOfMemory", 137)]

        stage.until(told)
        stage.until(lambda: queue_is_empty(stage))


def forgotten(stage: Stage) -> dict[str, Any]:
    ecs = "arn:aws:ecs:eu-west-1:123456789012"
    return {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "account": "123456789012",
        "time": "2026-11-24T12:00:00Z",
        "region": "eu-west-1",
        "resources": [f"{ecs}:task/inference/{'0' * 32}"],
        "detail": {
            "taskArn": f"{ecs}:task/inference/{'0' * 32}",
            "clusterArn": f"{ecs}:cluster/inference",
            "group": f"service:{stage.namespace}_recommender",
            "taskDefinitionArn": f"{ecs}:task-definition/{stage.namespace}_recommender:1",
            "lastStatus": "STOPPED",
            "desiredStatus": "STOPPED",
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
            "stoppedAt": "2026-11-24T11:59:59Z",
            "version": 6,
            "containers": [{"name": "app", "exitCode": 137, "reason": "OutOfMemoryError: Container killed"}],
        },
    }


@pytest.mark.parametrize("disturbance", ["purged", "doubled and shuffled"])
def test_nothing_is_lost_when_events_are(stage: Stage, disturbance: str) -> None:
    fails(stage)
    with stage.operator:
        listen(stage)
        sqs = stage.live.account.client("sqs")
        url = sqs.get_queue_url(QueueName=stage.namespace)["QueueUrl"]
        if disturbance == "purged":  # as if: what comes goes elsewhere
            stage.live.account.client("events").disable_rule(Name=stage.namespace)
        else:
            stage.live.cloud.disturb_events(duplicates=0.5)
        stage.apply("recommender")
        stage.until_ready("recommender")
        stage.patch("recommender", {"spec": {"image": WORSE}})
        if disturbance == "purged":
            sqs.purge_queue(QueueUrl=url)
        stage.until(lambda: stage.stands("recommender") == ("False", "RolledBack"))
        failure = stage.get("recommender")["status"]["lastFailure"]
        assert (failure["container"], failure["exitCode"]) == ("app", 3)
        if disturbance != "purged":
            stage.until(lambda: outcome_of(stage, "repeated") > 0)


def test_a_queue_that_is_deleted_is_missed_and_objects_are_looked_at_all_the_same(stage: Stage) -> None:
    with stage.operator:
        listen(stage)
        sqs = stage.live.account.client("sqs")
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=stage.namespace)["QueueUrl"])
        stage.until(lambda: conditions(environment(stage))["EventQueueReady"] == ("False", "Waiting"))
        assert not heard(stage)
        stage.apply("recommender")
        stage.until_ready("recommender")
        assert "sqs:CreateQueue" in stage.live.calls(), "AWS keeps the name for a minute; then it is made again"


def raises(look: Any) -> bool:
    try:
        return not look()
    except Exception:  # noqa: BLE001 not there yet
        return True


def test_queue_and_rule_go_with_the_environment_even_if_it_is_deleted_while_the_operator_is_down(stage: Stage) -> None:
    events, sqs = stage.live.account.client("events"), stage.live.account.client("sqs")
    with stage.operator:
        listen(stage)
        assert stage.operator.stop() == 0
        stage.custom.delete_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.namespace)
        assert environment(stage)["metadata"]["deletionTimestamp"]
        stage.operator.start()
        stage.until(lambda: raises(lambda: environment(stage)))
    assert events.list_rules()["Rules"] == []
    assert sqs.list_queues().get("QueueUrls", []) == []
    stage.custom.create_cluster_custom_object(
        *OBJECT, ENVIRONMENTS, stage.live.account.environment(stage.namespace) | {"metadata": {"name": stage.namespace}}
    )


def test_people_are_told_of_a_rollout_that_fails_and_that_it_is_well_again_each_once(stage: Stage) -> None:
    fails(stage)
    sns, sqs = stage.live.account.client("sns"), stage.live.account.client("sqs")
    topic = sns.create_topic(Name="people")["TopicArn"]
    queue = sqs.create_queue(QueueName="people")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    stage.change_environment(notifications=[{"sns": {"topicArn": topic}}])
    told: list[str] = []

    def hears(*kinds: str) -> bool:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", ())
        told.extend(json.loads(message["Body"])["type"] for message in messages)
        return sorted(told) == sorted(kinds)

    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        stage.until(lambda: hears("RolloutStarted"))
        stage.patch("recommender", {"spec": {"image": WORSE}})
        stage.until(lambda: hears("RolloutStarted", "RolloutStarted", "RolledBack"))
        # Two that are told within a moment may get through in either order.
        stage.until(lambda: "RolledBack" in [n["type"] for n in stage.get("recommender")["status"]["notified"]])
        stage.operator.stop()
        stage.operator.start()
        stage.patch("recommender", {"spec": {"image": "registry.example.com/inference-server:mended"}})
        stage.until_ready("recommender")
        stage.until(lambda: hears(*["RolloutStarted"] * 3, "RolledBack", "Recovered"))
        assert conditions(environment(stage))["NotificationsReady"] == ("True", "AsSpecified")
