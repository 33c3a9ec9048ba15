"""Objects and environments as Prometheus shows them, read from their last status when it asks: no series outlives what
it is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Document = Mapping[str, Any]

TOLD = ("Accepted", "Ready", "Progressing", "Degraded", "Stalled")
"""Conditions that have series of their own: one for each object."""
TOLD_OF_ENVIRONMENTS = ("Ready", "Verified")


class Fleet(Collector):
    """`documents` gives the metadata, the spec and the last status of each object and environment."""

    def __init__(self, documents: Callable[[], Iterable[Document]]) -> None:
        self._documents = documents

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self._families().values()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        families = self._families()
        states: Counter[str] = Counter()
        for document in self._documents():
            metadata, status = document["metadata"], document.get("status") or {}
            conditions = {c["type"]: c for c in status.get("conditions", ())}
            if "namespace" not in metadata:
                for type_ in TOLD_OF_ENVIRONMENTS:
                    families["environment"].add_metric([metadata["name"], type_], _is_true(conditions, type_))
                continue
            name = [metadata["namespace"], metadata["name"]]
            for type_ in TOLD:
                families["condition"].add_metric([*name, type_], _is_true(conditions, type_))
            reason = conditions.get("Ready", {}).get("reason", "Unknown")
            families["reason"].add_metric([*name, reason], 1.0)
            families["replicas"].add_metric(name, float(status.get("replicas", 0)))
            families["ready_replicas"].add_metric(name, float(status.get("readyReplicas", 0)))
            states[(status.get("deployment") or {}).get("state") or "None"] += 1
        for state, count in states.items():
            families["rollouts"].add_metric([state], float(count))
        yield from families.values()

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily]:
        one, object_ = "inference_operator_object_", ["namespace", "name"]
        return {
            "condition": GaugeMetricFamily(
                f"{one}condition", "1 while the condition is True.", labels=[*object_, "type"]
            ),
            "reason": GaugeMetricFamily(
                f"{one}reason", "1 for the reason of the condition Ready.", labels=[*object_, "reason"]
            ),
            "replicas": GaugeMetricFamily(f"{one}replicas", "Tasks that run or come up.", labels=object_),
            "ready_replicas": GaugeMetricFamily(
                f"{one}ready_replicas", "Tasks that run and get requests.", labels=object_
            ),
            "rollouts": GaugeMetricFamily(
                "inference_operator_rollouts", "Objects, by the state of their latest rollout.", labels=["state"]
            ),
            "environment": GaugeMetricFamily(
                "inference_operator_environment_condition",
                "1 while the condition of an environment is True.",
                labels=["environment", "type"],
            ),
        }


def _is_true(conditions: Mapping[str, Mapping[str, Any]], type_: str) -> float:
    return float(conditions.get(type_, {}).get("status") == "True")
