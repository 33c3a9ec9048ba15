"""The counters as Prometheus reads them. Every scrape, whichever worker answers it, tells of all workers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from inference_server.catalog import Catalog
from inference_server.metrics import store
from inference_server.metrics.store import Key, read_stores


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What the process manager knows of one worker."""

    number: int
    requests: int
    respawns: int
    resident_bytes: int


class Metrics(Collector):
    def __init__(
        self, folder: Path, catalog: Catalog, workers: Callable[[], Iterable[WorkerFacts]], waiting: Callable[[], int]
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._workers = workers
        self._waiting = waiting

    def totals(self) -> dict[Key, list[float]]:
        """The counters of every model."""
        return read_stores(self._folder)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """The answer to a scrape and its Content-Type, in the format that the scraper accepts."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        try:
            # Of a header in several lines it would put the line ends into its answer.
            encode, content_type = choose_encoder(" ".join(accept.split()))
        except (TypeError, ValueError):  # it stumbles over a version that is none
            encode, content_type = choose_encoder("")
        return encode(registry), content_type

    def collect(self) -> Iterator[Metric]:
        totals = self.totals()
        yield from _requests(totals)
        yield from _durations(totals)
        yield from _amounts(totals)
        yield from _models(self._catalog)
        yield from _processes(self._workers(), self._waiting())


def _requests(totals: dict[Key, list[float]]) -> Iterator[Metric]:
    family = CounterMetricFamily(
        "inference_requests", "Inference requests by HTTP status.", labels=("model", "version", "code")
    )
    for key, cells in totals.items():
        for code, count in store.by_code(cells).items():
            if count or code == store.OK:
                family.add_metric((*key, "other" if code == store.OTHER else str(code)), count)
    yield family


def _durations(totals: dict[Key, list[float]]) -> Iterator[Metric]:
    whole = HistogramMetricFamily(
        "inference_request_duration_seconds",
        "From the request's first byte in a worker to its answer.",
        labels=("model", "version"),
    )
    stages = SummaryMetricFamily(
        "inference_stage_duration_seconds",
        "Parts of successful requests: waiting for a worker, reading, predicting, writing.",
        labels=("model", "version", "stage"),
    )
    bounds = [*(repr(bound) for bound in store.BUCKETS), "+Inf"]
    for key, cells in totals.items():
        counts = itertools.accumulate(cells[store.DURATION])
        whole.add_metric(key, list(zip(bounds, counts, strict=True)), cells[store.DURATION_SUM])
        successes = int(store.by_code(cells)[store.OK])
        for stage, seconds in zip(store.STAGES, cells[store.STAGE_SUMS], strict=True):
            stages.add_metric((*key, stage), successes, seconds)
    yield whole
    yield stages


def _amounts(totals: dict[Key, list[float]]) -> Iterator[Metric]:
    for name, text, column in (
        ("inference_rows", "Rows (first dimension of the first input) of successful requests.", store.ROWS),
        ("inference_request_bytes", "Bytes of request bodies, as sent.", store.REQUEST_BYTES),
        ("inference_response_bytes", "Bytes of response bodies, as sent.", store.RESPONSE_BYTES),
    ):
        family = CounterMetricFamily(name, text, labels=("model", "version"))
        for key, cells in totals.items():
            family.add_metric(key, cells[column])
        yield family


def _models(catalog: Catalog) -> Iterator[Metric]:
    ready = GaugeMetricFamily("inference_model_ready", "1 if the model is loaded.", labels=("model", "version"))
    seconds = GaugeMetricFamily(
        "inference_model_load_seconds", "Time to copy, verify and load the model.", labels=("model", "version")
    )
    info = InfoMetricFamily("inference_model", "What serves the model.", labels=("model", "version"))
    for name, versions in catalog.models.items():
        for version, model in versions.items():
            key = (name, str(version))
            ready.add_metric(key, 1)
            seconds.add_metric(key, model.load_seconds)
            info.add_metric(key, {"platform": model.runtime.platform})
    for problem in catalog.problems:
        if problem.model:
            ready.add_metric((problem.model, str(problem.version or "")), 0)
    yield ready
    yield seconds
    yield info


def _processes(workers: Iterable[WorkerFacts], waiting: int) -> Iterator[Metric]:
    yield GaugeMetricFamily("inference_waiting_connections", "Connections that no worker has taken yet.", waiting)
    requests = CounterMetricFamily("inference_worker_requests", "Requests of any kind.", labels=("worker",))
    respawns = CounterMetricFamily("inference_worker_respawns", "Times a worker was replaced.", labels=("worker",))
    memory = GaugeMetricFamily(
        "inference_worker_resident_bytes", "Resident memory, shared pages included.", labels=("worker",)
    )
    for worker in workers:
        label = (str(worker.number),)
        requests.add_metric(label, worker.requests)
        respawns.add_metric(label, worker.respawns)
        memory.add_metric(label, worker.resident_bytes)
    yield requests
    yield respawns
    yield memory
