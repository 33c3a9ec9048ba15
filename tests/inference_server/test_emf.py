"""Metrics as lines of the log, in the format that CloudWatch reads."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from inference_server.metrics import store
from inference_server.metrics.emf import EmfReporter, emf_record, quantile
from inference_server.metrics.store import Store, read_stores
from tests.eventually import eventually
from tests.inference_server.models import published, write_linear
from tests.inference_server.running import DEADLINE, running

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}]}


def test_a_record_has_the_members_that_the_specification_asks_for(tmp_path: Path) -> None:
    counters = Store(tmp_path / "a.counters", [("m", "3")], 1)
    row = counters.row(("m", "3"))
    for code, seconds in [(200, 0.004), (200, 0.002), (400, 0.001), (503, 0.2), (504, 0.793)]:
        counters.observe(row, code, (seconds, 0, 0, 0, 0, 2 if code == store.OK else 0, 10, 10), 0)
    record = emf_record("Shop/Models", ("m", "3"), read_stores(tmp_path)["m", "3"], 1_700_000_000_000)
    (directive,) = record["_aws"]["CloudWatchMetrics"]
    assert record["_aws"]["Timestamp"] == 1_700_000_000_000
    assert directive["Namespace"] == "Shop/Models"
    assert all(name in record for dimensions in directive["Dimensions"] for name in dimensions)
    values = {metric["Name"]: record[metric["Name"]] for metric in directive["Metrics"]}
    assert values == {
        "Requests": 5,
        "ClientErrors": 1,
        "ServerErrors": 2,
        "Rows": 4,
        "Duration": 200,
        "DurationP99": 1000,
    }


def test_what_is_not_offered_is_the_callers_error(tmp_path: Path) -> None:
    counters = Store(tmp_path / "a.counters", [("m", "3")], 1)
    row = counters.row(("m", "3"))
    for code in (501, 417, 500):
        counters.observe(row, code, (0.1, 0, 0, 0, 0, 0, 0, 0), 0)
    record = emf_record("Shop", ("m", "3"), read_stores(tmp_path)["m", "3"], 0)
    assert (record["ClientErrors"], record["ServerErrors"]) == (2, 1)


def test_a_quantile_is_the_bound_of_its_bucket() -> None:
    counts = [0.0] * (len(store.BUCKETS) + 1)
    counts[0], counts[3] = 98, 2
    assert quantile(counts, 0.5) == store.BUCKETS[0]
    assert quantile(counts, 0.99) == store.BUCKETS[3]
    assert quantile([0.0] * len(store.BUCKETS) + [1.0], 0.99) > store.BUCKETS[-1]


def test_what_was_told_is_known_though_a_worker_dies_while_it_notes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    counters = Store(tmp_path / "a.counters", [("m", "3")], 1)
    reporter = EmfReporter(tmp_path, "Shop", lambda: read_stores(tmp_path))

    def count_and_report() -> list[int]:
        counters.observe(counters.row(("m", "3")), 200, (0.1, 0, 0, 0, 0, 0, 0, 0), 0)
        reporter.report()
        return [json.loads(line)["Requests"] for line in capfd.readouterr().err.splitlines()]

    def die_half_way(path: Path, text: str) -> int:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise SystemExit

    assert count_and_report() == [1]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", die_half_way)
        with pytest.raises(SystemExit):
            count_and_report()
    assert count_and_report() == [2]


def test_what_two_processes_report_at_the_same_time_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As the first workers of two generations do, while one takes over from the other."""
    counters = Store(tmp_path / "a.counters", [("m", "3")], 1)

    def count() -> None:
        counters.observe(counters.row(("m", "3")), 200, (0.1, 0, 0, 0, 0, 0, 0, 0), 0)

    def read_slowly() -> dict[store.Key, list[float]]:
        read = read_stores(tmp_path)
        count()
        meanwhile.start()
        meanwhile.join(0.2)  # which it may not be able to end in
        return read

    meanwhile = threading.Thread(target=EmfReporter(tmp_path, "Shop", lambda: read_stores(tmp_path)).report)
    count()
    EmfReporter(tmp_path, "Shop", read_slowly).report()
    meanwhile.join()
    assert [json.loads(line)["Requests"] for line in capfd.readouterr().err.splitlines()] == [1, 1]


def test_a_process_that_has_reported_for_the_last_time_leaves_what_comes_to_the_next(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its other thread might note what it does not live to log."""
    counters = Store(tmp_path / "a.counters", [("m", "3")], 1)
    ending, next_one = (EmfReporter(tmp_path, "Shop", lambda: read_stores(tmp_path)) for _ in range(2))

    def told_by(report: Callable[[], None]) -> list[int]:
        counters.observe(counters.row(("m", "3")), 200, (0.1, 0, 0, 0, 0, 0, 0, 0), 0)
        report()
        return [json.loads(line)["Requests"] for line in capfd.readouterr().err.splitlines()]

    assert told_by(partial(ending.report, last=True)) == [1]
    assert told_by(ending.report) == []
    assert told_by(next_one.report) == [2]


def test_every_request_is_told_once_also_when_the_server_ends(tmp_path: Path) -> None:
    root = tmp_path / "models"
    write_linear(root)
    with running(published(root), emf_namespace="Shop", emf_seconds=1) as server:

        def ask(times: int) -> None:
            for _ in range(times):
                assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200

        ask(7)
        eventually(lambda: server.logged("metrics"), DEADLINE)
        ask(5)
        server.process.terminate()
        assert server.wait() == 0
    assert sum(record["Requests"] for record in server.logged("metrics")) == 12
    assert {record["Model"] for record in server.logged("metrics")} == {"linear"}


def test_metrics_that_cant_be_told_are_told_later(tmp_path: Path) -> None:
    root, scratch = tmp_path / "models", tmp_path / "scratch"
    scratch.mkdir()
    write_linear(root)
    with running(published(root), emf_namespace="Shop", emf_seconds=1, scratch_dir=scratch) as server:
        assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200
        (folder,) = scratch.iterdir()
        told = folder / "emf.json"
        eventually(told.exists, DEADLINE)
        kept = told.rename(folder / "kept")
        told.mkdir()  # so that nothing can be written there, as on a disk that is full
        eventually(lambda: server.logged("metrics can't be told"), DEADLINE)
        told.rmdir()
        kept.rename(told)
        assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200
        eventually(lambda: sum(record["Requests"] for record in server.logged("metrics")) == 2, DEADLINE)


def test_the_counters_have_their_room_on_the_disk_from_the_start(tmp_path: Path) -> None:
    """Memory that is mapped to a file ends who writes to it, once the disk has no room for what is not there yet."""
    Store(tmp_path / "a.counters", [("m", str(number)) for number in range(100)], 100)
    found = (tmp_path / "a.counters").stat()
    assert found.st_blocks * 512 >= found.st_size > 1_000_000
