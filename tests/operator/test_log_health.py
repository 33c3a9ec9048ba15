"""What the log routers tell of themselves, and what becomes of it in the status."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from inference_operator.api.destinations import Destination
from inference_operator.api.v1alpha1 import InferenceDeploymentStatus
from inference_operator.aws.errors import AwsError
from inference_operator.domain.conditions import find
from inference_operator.engine import log_health
from inference_operator.engine.log_health import Look
from inference_operator.fluentbit import prices
from inference_operator.fluentbit.reports import Flow, Said, report
from inference_operator.resources.base import Context
from tests.operator.builders import NOW, deployment_document
from tests.operator.world import DESTINATIONS, REGION, Object, World

BUDGET = 0.05
"""Calls of AWS that the logs of a service at rest may cost in a minute."""

ROUTES = [{"match": {"levels": ["ERROR"]}, "to": ["errors", "archive"]}, {"to": ["archive"]}]
REFUSAL = "[2026/11/24 11:59:00.1] [error] [output:s3:archive] PutObject request failed: AccessDenied"


def counters(**of_errors: int) -> str:
    """A line of Fluent Bit's, as /api/v1/metrics has it."""
    nothing = dict.fromkeys(
        ["proc_records", "proc_bytes", "errors", "retries", "retries_failed", "dropped_records", "retried_records"], 0
    )
    outputs = {"errors": {**nothing, **of_errors}, "archive": nothing, "null.2": {**nothing, "proc_records": 9}}
    return json.dumps({"input": {"forward.0": {"records": 1, "bytes": 1}}, "filter": {}, "output": outputs})


def told(*lines: tuple[int, str], stream: str = "log_router/log_router/1") -> list[Said]:
    """Lines with the minutes before now at which they were written."""
    return [Said(stream=stream, at=NOW - timedelta(minutes=minutes), text=text) for minutes, text in lines]


def test_two_lines_of_a_router_make_a_rate() -> None:
    lines = told((10, counters(proc_records=100, proc_bytes=1000)), (5, counters(proc_records=200, proc_bytes=3000)))
    flow = report(lines).flows["errors"]
    assert flow.records_per_day == pytest.approx(100 * 24 * 12)
    assert flow.bytes_per_day == pytest.approx(2000 * 24 * 12)


def test_one_line_counts_from_the_start_five_minutes_before() -> None:
    assert report(told((5, counters(proc_bytes=10)))).flows["errors"].bytes_per_day == pytest.approx(10 * 24 * 12)


def test_routers_add_up() -> None:
    lines = told((5, counters(proc_bytes=10))) + told((5, counters(proc_bytes=20)), stream="other")
    found = report(lines)
    assert found.routers == 2
    assert found.flows["errors"].bytes_per_day == pytest.approx(30 * 24 * 12)


def test_what_was_dropped_before_is_not_told_again() -> None:
    lines = told((10, counters(dropped_records=7)), (5, counters(dropped_records=7)))
    assert report(lines).dropped == {}
    assert report([*lines, *told((0, counters(dropped_records=9)))]).dropped == {"errors": 2}


@pytest.mark.parametrize("noise", ["", "{", "[1]", '{"output": 3}', '{"output": {"errors": null}}', "[ info] started"])
def test_other_lines_are_passed_over(noise: str) -> None:
    assert report(told((5, noise))) == report([])


def test_outputs_that_drop_on_purpose_are_no_destination() -> None:
    assert set(report(told((5, counters()))).flows) == {"archive", "errors"}


@dataclass
class Logs:
    """CloudWatch Logs, as far as it is asked."""

    lines: list[Said]
    calls: list[dict[str, Any]] = field(default_factory=list)
    refuses: bool = False
    most: int = 10_000
    """In a page."""

    def filter_log_events(self, **members: Any) -> dict[str, Any]:
        self.calls.append(members)
        if self.refuses:
            raise AwsError(code="AccessDeniedException", message="no", operation="logs:FilterLogEvents")
        terms = re.findall(r'"([^"]+)"', members["filterPattern"])
        lines = [line for line in self.lines if any(term in line.text for term in terms)]
        start = int(members.get("nextToken", 0))
        following = {"nextToken": str(start + self.most)} if len(lines) > start + self.most else {}
        found = [
            {"logStreamName": line.stream, "timestamp": int(line.at.timestamp() * 1000), "message": line.text}
            for line in lines[start : start + self.most]
        ]
        return {"events": found, **following}


def context(world: World, logs: Logs, at: datetime = NOW, **spec: Any) -> Context:
    ctx = world.context(**{"logging": {"routes": ROUTES}, **spec})
    return replace(ctx, now=at, aws=replace(ctx.aws, logs=logs))  # type: ignore[arg-type]  # of the port it has one method


def stands(look: Look | None) -> tuple[str, str]:
    said = log_health.said(look)
    return said.status, said.reason


def test_all_is_well(world: World) -> None:
    logs = Logs(told((5, counters(proc_records=1, proc_bytes=1))))
    seen = log_health.look(context(world, logs), None, running=1)
    assert stands(seen) == ("True", "LogsFlowing")


def test_dropped_lines_and_the_router_s_error_are_told(world: World) -> None:
    seen = log_health.look(context(world, Logs(told((5, counters(dropped_records=3)), (4, REFUSAL)))), None, running=1)
    assert stands(seen) == ("False", "LogsLost")
    message = log_health.said(seen).message
    assert "lines were dropped (3 for errors)" in message
    assert "PutObject request failed: AccessDenied" in message


def test_an_error_without_a_loss_is_a_delay(world: World) -> None:
    seen = log_health.look(context(world, Logs(told((5, counters()), (4, REFUSAL)))), None, running=1)
    assert stands(seen) == ("False", "LogsDelayed")


def test_retries_are_a_delay(world: World) -> None:
    seen = log_health.look(context(world, Logs(told((5, counters(retries=2))))), None, running=1)
    assert stands(seen) == ("False", "LogsDelayed")
    assert "errors is not reached at once" in log_health.said(seen).message


GIVEN_UP = "[2026/11/24 11:40:00.1] [ warn] [output:s3:archive] Chunk file failed to send 6 times, will not retry"


def test_objects_that_are_given_up_are_lost_lines(world: World) -> None:
    logs = Logs(told((20, GIVEN_UP), (19, GIVEN_UP), (10, counters()), (5, counters())))
    seen = log_health.look(context(world, logs), None, running=1)
    assert stands(seen) == ("False", "LogsLost")
    assert "lines were dropped (those of 2 objects for archive)" in log_health.said(seen).message


TOO_LONG = [
    "[ warn] [output:cloudwatch_logs:errors] Discarding massive log record",
    "[ warn] [output:kinesis_firehose:stream] [size=1100255] Discarding record which is larger than max size, logs",
    "[ warn] [output:kinesis_firehose:stream] Discarding large or unprocessable record, logs",
]
"""Of one line each, which Firehose's output tells of twice."""


def test_lines_that_are_too_long_for_their_destination_are_lost_lines(world: World) -> None:
    logs = Logs(told(*((20, text) for text in TOO_LONG), (10, counters()), (5, counters())))
    seen = log_health.look(context(world, logs), None, running=1)
    assert stands(seen) == ("False", "LogsLost")
    assert "lines were dropped (1 too long for errors, 1 too long for stream)" in log_health.said(seen).message
    assert seen is not None
    assert not seen.fine


@pytest.mark.parametrize("name", ["archive", "s3.0"], ids=["a destination", "an output of one's own"])
def test_what_s3_s_output_counts_as_dropped_but_sends_again_is_late(world: World, name: str) -> None:
    def told_of(**counted: int) -> str:
        return counters(**counted).replace('"archive"', '"x"').replace('"errors": {"proc', f'"{name}": {{"proc')

    failed = (6, f"[2026/11/24 11:54:00.1] [error] [output:s3:{name}] PutObject request failed")
    again = Logs(told((10, told_of()), failed, (5, told_of(dropped_records=5, errors=1))))
    assert stands(log_health.look(context(world, again), None, running=1)) == ("False", "LogsDelayed")
    never = Logs(told((10, told_of()), failed, (5, told_of(dropped_records=9, retries_failed=1))))
    assert f"(9 for {name})" in log_health.said(log_health.look(context(world, never), None, running=1)).message


def test_what_was_late_and_is_no_longer_is_over(world: World) -> None:
    late = told((16, REFUSAL), (15, counters(retries=2)), (11, REFUSAL), (10, counters(retries=4)))
    assert stands(log_health.look(context(world, Logs(late)), None, running=1)) == ("False", "LogsDelayed")
    mended = [*late, *told((5, counters(retries=4)))]
    assert stands(log_health.look(context(world, Logs(mended)), None, running=1)) == ("True", "LogsFlowing")


def test_the_troubles_of_a_router_that_was_replaced_are_over(world: World) -> None:
    old = told((20, counters()), (16, REFUSAL), (15, counters(retries=2)), stream="old")
    logs = Logs([*old, *told((5, counters()), stream="new")])
    assert stands(log_health.look(context(world, logs), None, running=1)) == ("True", "LogsFlowing")


def test_of_errors_the_one_that_an_output_tells_is_shown(world: World) -> None:
    vain = "[2026/11/24 11:59:30.1] [error] [engine] chunk '1-1.flb' cannot be retried: task_id=0, output=s3.1"
    seen = log_health.look(context(world, Logs(told((5, counters()), (4, REFUSAL), (3, vain)))), None, running=1)
    assert "a router says: [output:s3:archive] PutObject request failed" in log_health.said(seen).message


BULK = (
    '{"took":1,"errors":true,"items":[{"create":{"_id":"1","status":409,"error":{"type":"version_conflict_engine_'
    'exception","reason":"exists"}}},{"create":{"_id":"2","status":400,"error":{"type":"mapper_parsing_exception",'
    '"reason":"failed to parse field [at] of type [date]. Preview of field\'s value: \'private\'"}}}]}'
)
DENIAL = '{"Message":"User: arn:aws:sts::1:assumed-role/task/x is not authorized to perform: es:ESHttpPost"}'
VAIN = "[error] [output:cloudwatch_logs:errors] Failed to send events"
NO_CONNECTION = "[error] [aws_client] connection initialization error"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["[error] [output:opensearch:search] error: Output", BULK], "parse field [at] of type [date]."),
        (["[error] [output:opensearch:search] HTTP status=403 URI=/_bulk, response:", DENIAL], "es:ESHttpPost."),
        (["[error] [output:cloudwatch_logs:errors] Log Group /a not found and so on", VAIN], "/a not found and so on."),
        (
            ["[ warn] [net] getaddrinfo(host='logs.example.com', err=4): Domain name not found", NO_CONNECTION, VAIN],
            "events getaddrinfo(host='logs.example.com', err=4): Domain name not found.",
        ),
        (["[error] [output:kinesis_firehose:s] Throughput limits may have been exceeded, s", VAIN], "exceeded, s."),
        (["[error] [upstream] connection #1 to tcp://a:443 timed out after 10 seconds", VAIN], "after 10 seconds."),
    ],
    ids=["a mapping", "a denial", "a log group", "a name", "too fast", "no answer"],
)
def test_why_a_destination_is_not_reached_is_told_wherever_it_stands(world: World, lines: list[str], says: str) -> None:
    logs = Logs(told((5, counters(retries=1)), *((4, line) for line in lines)))
    message = log_health.said(log_health.look(context(world, logs), None, running=1)).message
    assert f"{says} Next:" in message
    assert "private" not in message
    assert "a destination" not in message


def test_a_member_of_another_type_is_no_trouble(world: World) -> None:
    odd = "[2026/11/24 11:59:30.1] [error] flb_typecast_value_conv: src type is not int"
    seen = log_health.look(context(world, Logs(told((5, counters()), (4, odd)))), None, running=1)
    assert stands(seen) == ("True", "LogsFlowing")


def test_errors_without_end_do_not_hide_the_counters(world: World) -> None:
    logs = Logs([*told(*[(30, REFUSAL)] * 5000), *told((5, counters(retries=2)))], most=1000)
    seen = log_health.look(context(world, logs), None, running=1)
    assert seen is not None
    assert seen.report.routers == 1
    assert stands(seen) == ("False", "LogsDelayed")
    assert len(logs.calls) == 4


def test_silence_is_not_taken_for_health(world: World) -> None:
    assert stands(log_health.look(context(world, Logs([])), None, running=1)) == ("Unknown", "LogsNotReported")


def test_a_call_that_aws_denies_is_told_with_its_action(world: World) -> None:
    seen = log_health.look(context(world, Logs([], refuses=True)), None, running=1)
    assert stands(seen) == ("Unknown", "LogsNotReported")
    assert "logs:FilterLogEvents" in log_health.said(seen).message


def test_at_rest_one_call_in_half_an_hour_is_enough(world: World) -> None:
    logs = Logs(told((5, counters(proc_records=1))))
    seen = None
    for minutes in range(0, 180, 5):
        seen = log_health.look(context(world, logs, NOW + timedelta(minutes=minutes)), seen, running=1)
    assert len(logs.calls) == 6


def test_while_something_is_wrong_it_is_looked_at_every_five_minutes(world: World) -> None:
    logs = Logs(told((5, counters(retries=2))))
    seen = None
    for minutes in range(0, 30, 5):
        seen = log_health.look(context(world, logs, NOW + timedelta(minutes=minutes)), seen, running=1)
    assert len(logs.calls) == 6


def test_what_does_not_get_better_is_looked_at_every_half_hour(world: World) -> None:
    logs = Logs([])
    seen = None
    for minutes in range(0, 600, 5):
        seen = log_health.look(context(world, logs, NOW + timedelta(minutes=minutes)), seen, running=1)
    assert len(logs.calls) < 6 + 600 / 30


def test_without_tasks_nobody_is_asked(world: World) -> None:
    logs = Logs([])
    assert log_health.look(context(world, logs), None, running=0) is None
    assert logs.calls == []


def test_the_status_has_what_goes_where_and_what_it_costs(world: World) -> None:
    gib = 2**30 // (24 * 12)
    logs = Logs(told((5, counters(proc_records=288, proc_bytes=gib))))
    ctx = context(world, logs)
    state = log_health.state(ctx, log_health.look(ctx, None, running=1))
    assert state is not None
    errors = next(flow for flow in state.destinations if flow.name == "errors")
    assert errors.bytes_per_day == pytest.approx(2**30, rel=0.03)
    assert errors.usd_per_day == "0.57"


def test_a_service_without_routes_has_no_such_condition(world: World) -> None:
    it = Object(world)
    it.live(lambda: it.ready)
    status = InferenceDeploymentStatus.model_validate(it.status)
    assert find(status.conditions, "LogsFlowing") is None
    assert status.logs is None


def test_a_service_with_routes_has_it_from_the_first_pass_on(world: World) -> None:
    it = Object(world, deployment_document(logging={"routes": ROUTES}))
    it.look()
    assert it.stands("LogsFlowing") == ("Unknown", "LogsNotReported")


def let_log(world: World) -> None:
    """Make what routes lead to, and give the task role its rights: it is looked at before a rollout."""
    where = {"LocationConstraint": REGION}
    world.client("s3").create_bucket(Bucket="inference-logs", CreateBucketConfiguration=where)
    rights = {"Effect": "Allow", "Action": ["logs:*", "s3:*", "elasticfilesystem:*"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
    world.client("iam").put_role_policy(RoleName="inference-task", PolicyName="logs", PolicyDocument=policy)


def test_a_service_at_rest_is_asked_about_its_logs_within_the_budget(world: World) -> None:
    let_log(world)
    it = Object(world, deployment_document(logging={"routes": ROUTES}))
    it.live(lambda: it.ready)
    it.live_on(timedelta(hours=1))
    before = world.mark
    it.live_on(timedelta(hours=12))
    about_logs = ("FilterLogEvents", "DescribeLogGroups", "ListTagsForResource")
    calls = Counter(call.operation for call in world.calls(since=before) if call.operation in about_logs)
    assert sum(calls.values()) / (12 * 60) < BUDGET, calls


def test_debugging_ends_by_itself_at_its_time(world: World) -> None:
    let_log(world)
    until = world.clock.now() + timedelta(hours=1)
    logging = {"routes": ROUTES, "debugUntil": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
    it = Object(world, deployment_document(logging=logging))
    it.live(lambda: it.ready)
    during = it.status["running"]["revision"]
    it.live(lambda: world.clock.now() >= until - timedelta(minutes=1))
    assert it.status["running"]["revision"] == during
    it.live(lambda: it.ready and it.status["running"]["revision"] != during)
    assert world.clock.now() < until + timedelta(minutes=10)
    assert debugged(world, during)
    assert not debugged(world, it.status["running"]["revision"])


def debugged(world: World, revision: str) -> bool:
    containers = world.client("ecs").describe_task_definition(taskDefinition=revision)["taskDefinition"]
    router = next(c for c in containers["containerDefinitions"] if "firelensConfiguration" in c)
    text = next(each["value"] for each in router["environment"] if each["name"] == "ROUTER_CONF")
    return "debug_until" in text


GIB = 2**30


@pytest.mark.parametrize(
    ("name", "flow", "dollars"),
    [
        ("errors", Flow(bytes_per_day=10 * GIB, records_per_day=1e7), 7.60),
        ("archive", Flow(bytes_per_day=10 * GIB, records_per_day=1e7), 0.25 + 2 * 1440 * 0.0047 / 1000),
        ("archive", Flow(), 0),
    ],
)
def test_the_price_of_a_day_in_tokyo(name: str, flow: Flow, dollars: float) -> None:
    destination = Destination.model_validate(DESTINATIONS[name])
    assert prices.per_day(destination, flow, region="ap-northeast-1", routers=1, routes=2) == pytest.approx(dollars)


def test_the_worked_example_on_the_page_is_what_the_prices_make() -> None:
    """Ten services, 5 GiB a day each, a hundredth of it errors."""
    page = Path(__file__).parents[2].joinpath("docs/logging.md").read_text()

    def day(name: str, gib: float) -> float:
        flow = Flow(bytes_per_day=gib * GIB, records_per_day=1e9)
        destination = Destination.model_validate(DESTINATIONS[name])
        return prices.per_day(destination, flow, region="ap-northeast-1", routers=10, routes=2) or 0

    everything, routed = day("errors", 50), day("errors", 0.5) + day("archive", 50)
    assert f" $0.76 | ${everything:.2f} | ${everything * 30:,.0f} |" in page
    assert f"everything to S3** | **${routed:.2f}** | **${routed * 30:.0f}** |" in page


def test_firehose_counts_each_record_in_steps_of_5_kib() -> None:
    destination = Destination.model_validate({"firehose": {"deliveryStream": "x"}})
    flow = Flow(bytes_per_day=500 * 1e6, records_per_day=1e6)
    price = prices.per_day(destination, flow, region="us-east-1", routers=1, routes=1)
    assert price == pytest.approx(0.029 * 1e6 * 5120 / GIB)
