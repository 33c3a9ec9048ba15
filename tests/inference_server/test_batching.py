"""Requests that wait for a model together: who shares a call with whom, and what each gets of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from inference_server.batching import Batcher
from inference_server.protocol.errors import InvalidRequestError
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes.base import Prediction, Runtime
from tests.eventually import eventually
from tests.inference_server.models import linear, published, write_linear
from tests.inference_server.running import running


class Doubling(Runtime):
    """Gives y = 2x; its first call lasts until it is let go. Refuses negative numbers."""

    platform = "test"

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.let_go = threading.Event()
        self.entered = threading.Event()

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        raise NotImplementedError

    @property
    def signature(self) -> Signature:
        return Signature.of([TensorSpec("x", "FP32", (-1, -1))], [TensorSpec("y", "FP32", (-1, -1))])

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        self.calls.append(len(inputs["x"]))
        self.entered.set()
        assert self.let_go.wait(10)
        if (inputs["x"] < 0).any():
            raise InvalidRequestError("a number is negative")
        return Prediction({"y": inputs["x"] * 2})


class Crowd:
    """Callers of one batcher, each in a thread of its own."""

    def __init__(self, max_rows: int) -> None:
        self.model = Doubling()
        self.batcher = Batcher(self.model, self.model.signature, max_rows)
        self._pool = ThreadPoolExecutor(20)

    def ask(self, rows: np.ndarray, **parameters: Any) -> Future[Prediction]:
        return self._pool.submit(self.batcher.predict, {"x": rows}, ["y"], parameters)

    def occupy(self) -> Future[Prediction]:
        """Ask first, so that the model is busy."""
        first = self.ask(np.zeros((1, 2), dtype=np.float32))
        assert self.model.entered.wait(10)
        return first

    def waiting(self) -> int:
        """Requests in batches that are still open."""
        return sum(len(batch.requests) for batch in list(self.batcher._open.values()))


def rows(count: int, value: float, columns: int = 2) -> np.ndarray:
    return np.full((count, columns), value, dtype=np.float32)


def test_those_who_come_while_the_model_is_busy_share_a_call_and_get_their_own_rows() -> None:
    crowd = Crowd(max_rows=100)
    crowd.occupy()
    answers = [crowd.ask(rows(count, count)) for count in (1, 2, 3, 4)]
    eventually(lambda: crowd.waiting() == 4, 10)
    crowd.model.let_go.set()
    for count, answer in zip((1, 2, 3, 4), answers, strict=True):
        np.testing.assert_array_equal(answer.result(10).outputs["y"], rows(count, 2 * count))
    assert crowd.model.calls == [1, 10]


def test_nobody_waits_for_company() -> None:
    crowd = Crowd(max_rows=100)
    crowd.model.let_go.set()
    for _ in range(3):
        np.testing.assert_array_equal(crowd.ask(rows(2, 1)).result(10).outputs["y"], rows(2, 2))
    assert crowd.model.calls == [2, 2, 2]


def test_a_batch_has_no_more_rows_than_it_may() -> None:
    crowd = Crowd(max_rows=5)
    first = crowd.occupy()
    answers = [crowd.ask(rows(2, number)) for number in range(6)]
    eventually(lambda: crowd.waiting() == 2, 10)
    crowd.model.let_go.set()
    assert sorted(float(answer.result(10).outputs["y"][0, 0]) for answer in (*answers, first)) == [0, 0, 2, 4, 6, 8, 10]
    assert max(crowd.model.calls) <= 5
    assert sum(crowd.model.calls) == 13


def test_requests_that_differ_in_more_than_rows_do_not_meet() -> None:
    crowd = Crowd(max_rows=100)
    crowd.occupy()
    narrow, wide = crowd.ask(rows(1, 1, columns=2)), crowd.ask(rows(1, 1, columns=3))
    eventually(lambda: crowd.waiting() == 2, 10)
    crowd.model.let_go.set()
    assert narrow.result(10).outputs["y"].shape == (1, 2)
    assert wide.result(10).outputs["y"].shape == (1, 3)
    assert crowd.model.calls == [1, 1, 1]


def test_one_bad_request_of_a_batch_fails_alone() -> None:
    crowd = Crowd(max_rows=100)
    crowd.occupy()
    good, bad, other = crowd.ask(rows(1, 1)), crowd.ask(rows(1, -1)), crowd.ask(rows(1, 2))
    eventually(lambda: crowd.waiting() == 3, 10)
    crowd.model.let_go.set()
    assert good.result(10).outputs["y"][0, 0] == 2
    assert other.result(10).outputs["y"][0, 0] == 4
    with pytest.raises(InvalidRequestError, match="negative"):
        bad.result(10)


def test_a_request_with_parameters_of_its_own_is_asked_alone() -> None:
    crowd = Crowd(max_rows=100)
    crowd.occupy()
    answers = [crowd.ask(rows(1, 1), k=3), crowd.ask(rows(1, 1), k=4)]
    crowd.model.let_go.set()
    for answer in answers:
        answer.result(10)
    assert crowd.model.calls == [1, 1, 1]


def test_a_model_whose_tensors_are_no_rows_is_refused() -> None:
    model = Doubling()
    signature = Signature.of([TensorSpec("k", "INT64", (1,))], [])
    with pytest.raises(ModelError, match=r"input 'k' has shape \[1\], whose first dimension is not -1"):
        Batcher(model, signature, 8)


def test_a_server_with_batching_answers_many_callers_rightly(tmp_path: Path) -> None:
    root = tmp_path / "models"
    write_linear(root, batching={"max_rows": 16})
    with running(published(root), workers=1, threads=8) as server:
        config = server.get("/v2/models/linear/config").json()
        assert config["max_batch_size"] == 16
        assert [tensor["dims"] for tensor in (*config["input"], *config["output"])] == [[4], [3]]
        assert server.get("/v2/models/linear").json()["inputs"][0]["shape"] == [-1, 4]

        def ask(number: int) -> None:
            row = np.array([[number, 1, 2, number / 2]])
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row.ravel().tolist()}
            answer = server.post("/v2/models/linear/infer", json={"inputs": [tensor]})
            np.testing.assert_allclose(answer.json()["outputs"][0]["data"], linear(row)[0], rtol=1e-4, atol=1e-4)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(ask, range(200)))
        counted = server.get("/metrics").text
        assert 'inference_requests_total{code="200",model="linear",version="1"} 200.0' in counted
        server.process.terminate()
        assert server.wait() == 0
