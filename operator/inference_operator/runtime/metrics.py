"""What the operator counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter("inference_operator_reconciles_total", "Passes over an object, by how they ended.", ["result"])
RECONCILE_SECONDS = Histogram("inference_operator_reconcile_seconds", "Duration of a pass over an object.")
QUEUE_SECONDS = Histogram(
    "inference_operator_queue_seconds",
    "From the moment that an object should be looked at to the start of the pass.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900),
)
LEADER = Gauge("inference_operator_leader", "1 in the replica that works, 0 in those that stand by.")
AWS_CALLS = Counter(
    "inference_operator_aws_calls_total", "Calls to AWS, by operation and answer.", ["operation", "code"]
)
AWS_CALL_SECONDS = Histogram("inference_operator_aws_call_seconds", "Duration of calls to AWS.", ["operation"])

EVENTS = Counter(
    "inference_operator_events_total",
    "Messages read from the queues of environments: mine, repeated, foreign (of no object here) or junk.",
    ["environment", "outcome"],
)
EVENT_AGE_SECONDS = Histogram(
    "inference_operator_event_age_seconds",
    "Age of an event about an object of ours when it was read.",
    ["environment"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)
EVENT_LAST_SECONDS = Gauge(
    "inference_operator_event_last_timestamp_seconds", "When the latest event was read, in Unix time.", ["environment"]
)
EVENTS_HEARD = Gauge(
    "inference_operator_events_heard",
    "1 while the queue of an environment that asks for events can be read, else 0.",
    ["environment"],
)

NOTIFICATIONS = Counter(
    "inference_operator_notifications_total",
    "Notifications by channel (sns, webhook) and outcome (delivered, failed: it is tried again).",
    ["environment", "channel", "outcome"],
)


def events_asked_for(environment: str, *, asked: bool) -> None:
    """Only of an environment that asks for events is it told whether they are heard: 0 until they are."""
    if asked:
        EVENTS_HEARD.labels(environment=environment)
    else:
        EVENTS_HEARD.remove(environment)


def aws_call(*, operation: str, code: str, seconds: float) -> None:
    """The observer for `aws.clients.connect`."""
    AWS_CALLS.labels(operation=operation, code=code).inc()
    AWS_CALL_SECONDS.labels(operation=operation).observe(seconds)
