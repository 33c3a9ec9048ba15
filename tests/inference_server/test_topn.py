"""The top-N runtime, held against a plain computation of the same scores."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_server.protocol.errors import InvalidRequestError
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes import numpy_topn
from inference_server.runtimes.numpy_topn import NumpyTopN
from tests.inference_server.models import write_top_n


def load(folder: Path, parameters: dict[str, Any]) -> NumpyTopN:
    return NumpyTopN.load(folder, ModelConfig(runtime="numpy_topn", parameters=parameters))


@pytest.fixture
def model(tmp_path: Path) -> NumpyTopN:
    return load(write_top_n(tmp_path), {})


def ask(
    model: NumpyTopN, users: list[Any], k: int | None = None, *, exclude_seen: bool | None = None
) -> dict[str, Any]:
    inputs = {"user": np.array(users) if users and isinstance(users[0], int) else np.array(users, dtype=object)}
    if k is not None:
        inputs["k"] = np.array([k])
    if exclude_seen is not None:
        inputs["exclude_seen"] = np.array([exclude_seen])
    prediction = model.predict(inputs, list(model.signature.outputs), {})
    answer: dict[str, Any] = {name: array.tolist() for name, array in prediction.outputs.items()}
    return answer | {"parameters": dict(prediction.parameters or {})}


def test_each_user_gets_the_best_items_first(model: NumpyTopN) -> None:
    answer = ask(model, [20, 30], 2)
    assert answer["items"] == [[b"d", b"c"], [b"a", b"b"]]
    assert answer["scores"] == [[4.0, 2.0], [1.0, 0.0]]
    assert answer["titles"] == [[b"D", b"C"], [b"A", "Bé".encode()]]
    assert answer["parameters"] == {}


def test_an_unknown_user_gets_what_is_popular_and_is_told_so(model: NumpyTopN) -> None:
    answer = ask(model, [10, 99, 7], 2)
    assert answer["items"] == [[b"d", b"c"], [b"c", b"a"], [b"c", b"a"]]
    assert answer["scores"][1] == [1.0, 0.5]
    assert answer["parameters"] == {"fallback": "popularity", "fallback_rows": "1,2"}


def test_seen_items_are_left_out_when_asked_for(model: NumpyTopN) -> None:
    answer = ask(model, [10, 20, 30], 3, exclude_seen=True)
    assert answer["items"] == [[b"c", b"b", b"a"], [b"d", b"c", b"b"], [b"d", b"", b""]]
    assert answer["scores"][2] == [-2.0, 0.0, 0.0]
    assert answer["titles"][2] == [b"D", b"", b""]


def test_more_items_than_there_are_fill_the_row_up(model: NumpyTopN) -> None:
    answer = ask(model, [20, 99], 6)
    assert answer["items"] == [[b"d", b"c", b"b", b"a", b"", b""], [b"c", b"a", b"d", b"b", b"", b""]]
    assert answer["scores"][1][4:] == [0.0, 0.0]


def test_no_users_get_no_rows(model: NumpyTopN) -> None:
    assert ask(model, [], 3)["scores"] == []


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_k_out_of_range_names_the_range(model: NumpyTopN, k: int) -> None:
    with pytest.raises(InvalidRequestError, match="from 1 to 1000"):
        ask(model, [10], k)


def test_more_items_than_an_answer_may_have_are_refused(model: NumpyTopN, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_topn, "_MOST_ITEMS", 6)
    assert len(ask(model, [10, 20, 99], 2)["items"]) == 3
    with pytest.raises(InvalidRequestError, match="3 users with k = 3 are more than 6 items"):
        ask(model, [10, 20, 99], 3)


def test_the_defaults_come_from_model_json(tmp_path: Path) -> None:
    model = load(write_top_n(tmp_path), {"default_k": 1, "exclude_seen": True})
    assert ask(model, [10])["items"] == [[b"c"]]
    assert ask(model, [10], exclude_seen=False)["items"] == [[b"d"]]


def save(folder: Path, **changes: Any) -> Path:
    """A minimal factors.npz with string users and integer items, changed."""
    arrays: dict[str, Any] = {
        "user_factors": np.ones((2, 1), dtype=np.float32),
        "item_factors": np.ones((3, 1), dtype=np.float64),
        "user_ids": np.array(["ann", "bob"]),
        "item_ids": np.array([5, 6, 7], dtype=np.int32),
        "popularity": np.array([2, 1, 0], dtype=np.uint8),
    }
    folder.mkdir(exist_ok=True)
    np.savez(folder / "factors.npz", **{name: value for name, value in (arrays | changes).items() if value is not None})
    return folder


def test_ids_may_be_strings_or_integers(tmp_path: Path) -> None:
    model = load(save(tmp_path), {})
    assert [spec.datatype for spec in model.signature.inputs.values()] == ["BYTES", "INT64", "BOOL"]
    answer = ask(model, [b"bob", b"ann", b"carl", b"bo", b""], 4)
    assert answer["items"] == [[5, 6, 7, -1]] * 2 + [[7, 6, 5, -1]] * 3
    assert "titles" not in answer


def test_a_user_is_known_by_the_whole_of_the_id(tmp_path: Path) -> None:
    answer = ask(load(save(tmp_path), {}), [b"ann", b"anna", b"ann\0", b"ann\0\0b", b"\0ann", b"bobb"], 1)
    assert answer["parameters"]["fallback_rows"] == "1,2,3,4,5"


def test_a_long_id_costs_no_more_than_its_length(tmp_path: Path) -> None:
    users, length = 1000, 100_000
    model = load(
        save(tmp_path, user_factors=np.ones((users, 1)), user_ids=np.arange(users).astype(str)), {"default_k": 1}
    )
    tracemalloc.start()
    answer = ask(model, [b"x" * length, b"7"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer["parameters"]["fallback_rows"] == "0"
    assert peak < 10 * length


def test_biases_are_added(tmp_path: Path) -> None:
    model = load(save(tmp_path, item_bias=np.array([0, 0.5, 0.25]), user_bias=np.array([10.0, 20.0])), {"default_k": 3})
    answer = ask(model, [b"bob"])
    assert answer["items"] == [[6, 7, 5]]
    assert answer["scores"] == [[21.5, 21.25, 21.0]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"popularity": None}, "lacks popularity"),
        ({"extra": np.ones(1)}, "has extra"),
        ({"user_factors": np.ones((2, 2))}, "has 2 factors and item_factors 1"),
        ({"user_factors": np.ones(2)}, "float64 [2]; it must be a matrix"),
        ({"user_factors": np.full((2, 1), np.nan)}, "NaN"),
        ({"item_factors": np.full((3, 1), 1e39)}, "a number that float32 can't hold"),
        ({"item_ids": np.array([1, 2, 2**63], np.uint64)}, "item_ids has 9223372036854775808, which INT64 can't hold"),
        ({"user_ids": np.array(["ann"])}, "must be 2 integers or strings"),
        ({"user_ids": np.array(["ann", "ann"])}, "the same id more than once"),
        ({"user_ids": np.array([1.0, 2.0])}, "must be 2 integers or strings"),
        ({"popularity": np.array([0, 1, 3])}, "from 0 to 3; they must be from 0 to 2"),
        ({"popularity": np.array([0, 1, 1])}, "every item position once"),
        ({"titles": np.array(["a"])}, "must be 3 strings"),
        ({"item_bias": np.array([1, 2, 3])}, "must be 3 floats"),
        ({"seen_indptr": np.array([0, 0, 0])}, "go together"),
        ({"seen_indptr": np.array([0, 2, 1]), "seen_indices": np.array([0])}, "from 0 to 2"),
        ({"seen_indptr": np.array([0, 1, 0]), "seen_indices": np.array([0])}, "must rise from 0"),
        ({"user_ids": np.array([{}, {}], dtype=object)}, "without objects"),
        ({"item_factors": np.ones((0, 1)), "item_ids": np.array([], dtype=int)}, "no item"),
    ],
)
def test_a_faulty_array_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(save(tmp_path, **changes), {})
    assert words in str(caught.value)


def test_parameters_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="default_k"):
        load(save(tmp_path), {"default_k": 0})
    with pytest.raises(ModelError, match="has no seen_indptr"):
        load(save(tmp_path), {"exclude_seen": True})


@given(
    scores=st.lists(st.lists(st.integers(-3, 3), min_size=7, max_size=7), min_size=1, max_size=4),
    k=st.integers(1, 7),
    seen=st.lists(st.integers(0, 6), max_size=6, unique=True),
)
def test_the_order_is_that_of_a_full_sort(
    tmp_path_factory: pytest.TempPathFactory, scores: list[list[int]], k: int, seen: list[int]
) -> None:
    """One factor an item, so that a user's factors are the scores; ties go by position."""
    users = len(scores)
    folder = save(
        tmp_path_factory.mktemp("topn"),
        user_factors=np.array(scores, dtype=np.float32),
        item_factors=np.eye(7, dtype=np.float32),
        user_ids=np.arange(users),
        item_ids=np.arange(7),
        popularity=np.arange(7),
        seen_indptr=np.arange(users + 1) * len(seen),
        seen_indices=np.array(seen * users, dtype=int),
    )
    answer = ask(load(folder, {}), list(range(users)), k, exclude_seen=True)
    for row, items in zip(scores, answer["items"], strict=True):
        left = [item for item in range(7) if item not in seen]
        expected = sorted(left, key=lambda item: (-row[item], item))[:k]
        assert items == expected + [-1] * (k - len(expected))


def test_a_large_batch_is_scored_in_parts(model: NumpyTopN, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ask(model, [10, 20, 99, 30, 20], 2)
    monkeypatch.setattr(numpy_topn, "_SCORES_AT_ONCE", 5)
    assert ask(model, [10, 20, 99, 30, 20], 2) == whole
