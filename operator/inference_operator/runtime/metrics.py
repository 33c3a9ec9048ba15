"""What the operator counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

RECONCILES = Counter("inference_operator_reconciles_total", "Passes over an object, by how they ended.", ["result"])
RECONCILE_SECONDS = Histogram("inference_operator_reconcile_seconds", "Duration of a pass over an object.")
AWS_CALLS = Counter(
    "inference_operator_aws_calls_total", "Calls to AWS, by operation and answer.", ["operation", "code"]
)
AWS_CALL_SECONDS = Histogram("inference_operator_aws_call_seconds", "Duration of calls to AWS.", ["operation"])


def aws_call(*, operation: str, code: str, seconds: float) -> None:
    """The observer for `aws.clients.connect`."""
    AWS_CALLS.labels(operation=operation, code=code).inc()
    AWS_CALL_SECONDS.labels(operation=operation).observe(seconds)
