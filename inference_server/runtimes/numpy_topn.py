"""Top-N recommendations from a matrix factorisation, by NumPy. The file is `factors.npz`.

Arrays of factors.npz (`np.savez`; no pickles, so strings are `U` or `S` arrays). U users, I items, F factors:

| array | dtype, shape | meaning |
|---|---|---|
| `user_factors` | float32 [U, F] | |
| `item_factors` | float32 [I, F] | |
| `user_ids` | int64 or strings [U] | what callers call a user; unique |
| `item_ids` | int64 or strings [I] | what callers call an item; unique |
| `popularity` | integers [I] | item positions, most popular first: the answer for users not in `user_ids` |
| `item_bias` | float32 [I], optional | added to every score |
| `user_bias` | float32 [U], optional | added to the user's scores: changes no order |
| `titles` | strings [I], optional | gives the output `titles` |
| `seen_indptr` | integers [U+1], optional | where each user's part of `seen_indices` begins and ends (CSR) |
| `seen_indices` | integers [n], with it | positions of items that the users know already |

A request is a batch of n users; the answer has a row for each.

| input | datatype, shape | meaning |
|---|---|---|
| `user` | INT64 or BYTES (as `user_ids`) [-1] | the users |
| `k` | INT64 [1], optional | items a user; 1 to `max_k`, default `default_k` |
| `exclude_seen` | BOOL [1], optional | leave out what the user knows already; default `exclude_seen` of model.json |

| output | datatype, shape | meaning |
|---|---|---|
| `items` | INT64 or BYTES (as `item_ids`) [n, k] | best first; equal scores in the order of `item_ids` |
| `scores` | FP32 [n, k] | user · item + biases; for an unknown user 1/rank |
| `titles` | BYTES [n, k] | only if factors.npz has titles |

Where fewer than k items are left for a user, the row is filled with item -1 (or "") and score 0. If any user was
unknown, `parameters` of the answer has `fallback: "popularity"` and `fallback_rows`, their rows as text: `"0,3"`.

A request may ask for 16,777,216 items in all, n times k.

`parameters` of model.json: `default_k` (10), `max_k` (1000), `exclude_seen` (false).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from inference_server.protocol.errors import InvalidRequestError
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes.base import Prediction, Runtime, model_file, read_parameters

MODEL_FILE = "factors.npz"

_SCORES_AT_ONCE = 16_777_216
"""Users are scored in chunks of this many scores (64 MiB of float32), so that a large batch takes no more memory."""

_MOST_ITEMS = 16_777_216
"""In one answer, as many as a request may have elements: some bytes for each user may ask for thousands of items."""


class TopNParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    default_k: Annotated[int, Field(ge=1)] = 10
    max_k: Annotated[int, Field(ge=1)] = 1000
    exclude_seen: bool = False


@dataclass(frozen=True, slots=True)
class Factors:
    """The arrays of factors.npz, checked against one another."""

    user_factors: np.ndarray
    item_factors: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray
    popularity: np.ndarray
    user_bias: np.ndarray | None = None
    item_bias: np.ndarray | None = None
    titles: np.ndarray | None = None
    seen_indptr: np.ndarray | None = None
    seen_indices: np.ndarray | None = None


class NumpyTopN(Runtime):
    platform = "numpy_topn"

    def __init__(self, factors: Factors, parameters: TopNParameters) -> None:
        self._factors = factors
        self._parameters = parameters
        # Searching a sorted array costs no Python object a user, so that workers share it whole.
        self._order, self._sorted_ids = _sorted(factors.user_ids)
        user, item = (_id_datatype(ids) for ids in (factors.user_ids, factors.item_ids))
        outputs = [TensorSpec("items", item, (-1, -1)), TensorSpec("scores", "FP32", (-1, -1))]
        if factors.titles is not None:
            outputs.append(TensorSpec("titles", "BYTES", (-1, -1)))
        inputs = [
            TensorSpec("user", user, (-1,)),
            TensorSpec("k", "INT64", (1,), optional=True),
            TensorSpec("exclude_seen", "BOOL", (1,), optional=True),
        ]
        self._signature = Signature.of(inputs, outputs)

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        parameters = read_parameters(TopNParameters, config)
        factors = read_factors(model_file(folder, config, MODEL_FILE))
        if parameters.exclude_seen and factors.seen_indptr is None:
            raise ModelError("parameter exclude_seen is true, but the file has no seen_indptr and seen_indices")
        return cls(factors, parameters)

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del wanted, parameters
        k = self._k(inputs.get("k"), len(inputs["user"]))
        exclude_seen = self._excludes_seen(inputs.get("exclude_seen"))
        users, known = self._look_up(inputs["user"])
        items = np.full((len(users), k), -1, dtype=np.int64)
        scores = np.zeros((len(users), k), dtype=np.float32)
        found = min(k, len(self._factors.item_ids))
        items[~known, :found] = self._factors.popularity[:found]
        scores[~known, :found] = 1 / np.arange(1, found + 1, dtype=np.float32)
        rows = np.flatnonzero(known)
        chunk = max(1, _SCORES_AT_ONCE // len(self._factors.item_ids))
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            items[part, :found], scores[part, :found] = self._top(users[part], found, exclude_seen=exclude_seen)
        answer = {"items": _named(items, self._factors.item_ids), "scores": scores}
        if self._factors.titles is not None:
            answer["titles"] = _named(items, self._factors.titles)
        if known.all():
            return Prediction(answer)
        unknown = ",".join(map(str, np.flatnonzero(~known).tolist()))
        return Prediction(answer, {"fallback": "popularity", "fallback_rows": unknown})

    def _k(self, given: np.ndarray | None, users: int) -> int:
        k = self._parameters.default_k if given is None else int(given[0])
        if not 1 <= k <= self._parameters.max_k:
            raise InvalidRequestError(f"input 'k' is {k}; it must be from 1 to {self._parameters.max_k}")
        if users * k > _MOST_ITEMS:
            raise InvalidRequestError(f"{users} users with k = {k} are more than {_MOST_ITEMS} items, the limit")
        return k

    def _excludes_seen(self, given: np.ndarray | None) -> bool:
        wanted = self._parameters.exclude_seen if given is None else bool(given[0])
        if wanted and self._factors.seen_indptr is None:
            raise InvalidRequestError("input 'exclude_seen' is true, but this model does not know what users have seen")
        return wanted

    def _look_up(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of users, and which of them are known; the position of an unknown one means nothing."""
        if not len(self._sorted_ids) or not len(ids):
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        # In the type of the model's own ids, or NumPy would copy all of those, each as wide as the longest one given.
        # What this cuts off, and a NUL at the end, which is nothing to NumPy, tells when whole ids are compared.
        wanted = ids.astype(self._sorted_ids.dtype, copy=False)
        slots = np.minimum(np.searchsorted(self._sorted_ids, wanted), len(self._sorted_ids) - 1)
        return slots if self._order is None else self._order[slots], self._sorted_ids[slots].astype(ids.dtype) == ids

    def _top(self, users: np.ndarray, k: int, *, exclude_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each user (positions) and their scores, best first. -1 and 0 where none is left."""
        factors = self._factors
        scores = factors.user_factors[users] @ factors.item_factors.T
        if factors.item_bias is not None:
            scores += factors.item_bias
        if factors.user_bias is not None:
            scores += factors.user_bias[users, np.newaxis]
        if exclude_seen and factors.seen_indptr is not None and factors.seen_indices is not None:
            for row, user in enumerate(users):
                scores[row, factors.seen_indices[factors.seen_indptr[user] : factors.seen_indptr[user + 1]]] = -np.inf
        best = _best(scores, k)
        values = np.take_along_axis(scores, best, axis=1)
        gone = np.isneginf(values)
        return np.where(gone, -1, best), np.where(gone, np.float32(0), values)


def _sorted(ids: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Ids in ascending order, and the position of each among those given; None if they are in order already."""
    order = np.argsort(ids, kind="stable")
    if (order[1:] > order[:-1]).all():
        return None, ids
    return order, ids[order]


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k largest of each row, largest first; equal ones in ascending position."""
    count = scores.shape[1]
    if k < count:
        # The k-th value decides who is in; among its equals the lowest positions are, whatever partition picked.
        threshold = np.partition(scores, count - k, axis=1)[:, count - k, np.newaxis]
        above = scores > threshold
        room = k - above.sum(axis=1, keepdims=True)
        ties = scores == threshold
        chosen = above | (ties & (np.cumsum(ties, axis=1) <= room))
        candidates = np.nonzero(chosen)[1].reshape(len(scores), k)
    else:
        candidates = np.broadcast_to(np.arange(count), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, candidates, axis=1), axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)


def _named(items: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Positions -> ids or titles; -1 -> -1 or an empty string."""
    if names.dtype.kind != "S":
        return np.asarray(np.where(items < 0, np.int64(-1), names[items]))
    named: np.ndarray = names[items].astype(object)
    named[items < 0] = b""
    return named


def _id_datatype(ids: np.ndarray) -> str:
    return "BYTES" if ids.dtype.kind == "S" else "INT64"


def read_factors(path: Path) -> Factors:
    """Read factors.npz. Raises ModelError that names the array, what it is and what it must be."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise ModelError(f"{path.name} can't be read: {error}; write it with numpy.savez, without objects") from None
    return _check(arrays)


_REQUIRED = ("user_factors", "item_factors", "user_ids", "item_ids", "popularity")
_OPTIONAL = ("user_bias", "item_bias", "titles", "seen_indptr", "seen_indices")


def _check(arrays: dict[str, np.ndarray]) -> Factors:
    missing = [name for name in _REQUIRED if name not in arrays]
    unknown = sorted(arrays.keys() - {*_REQUIRED, *_OPTIONAL})
    if missing:
        raise ModelError(f"the file lacks {', '.join(missing)}")
    if unknown:
        raise ModelError(f"the file has {', '.join(unknown)}, which this runtime does not know; remove them")
    users, items = _matrix(arrays, "user_factors"), _matrix(arrays, "item_factors")
    if users.shape[1] != items.shape[1]:
        raise ModelError(
            f"user_factors has {users.shape[1]} factors and item_factors {items.shape[1]}; they must agree"
        )
    if not len(items):
        raise ModelError("item_factors has no item")
    popularity = _positions(arrays, "popularity", len(items), len(items))
    if len(np.unique(popularity)) != len(items):
        raise ModelError("popularity must name every item position once")
    pointers, indices = _seen(arrays, len(users), len(items))
    return Factors(
        user_factors=users,
        item_factors=items,
        user_ids=_ids(arrays, "user_ids", len(users)),
        item_ids=_ids(arrays, "item_ids", len(items)),
        popularity=popularity,
        user_bias=_vector(arrays, "user_bias", len(users)),
        item_bias=_vector(arrays, "item_bias", len(items)),
        titles=_titles(arrays, len(items)),
        seen_indptr=pointers,
        seen_indices=indices,
    )


def _matrix(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    array = arrays[name]
    if array.ndim != 2 or array.dtype.kind != "f":  # noqa: PLR2004  (a matrix has two dimensions)
        raise ModelError(f"{name} is {_kind(array)}; it must be a matrix of floats")
    return _finite(name, array)


def _vector(arrays: Mapping[str, np.ndarray], name: str, size: int) -> np.ndarray | None:
    array = arrays.get(name)
    if array is None:
        return None
    if array.shape != (size,) or array.dtype.kind != "f":
        raise ModelError(f"{name} is {_kind(array)}; it must be {size} floats")
    return _finite(name, array)


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(single).all():
        raise ModelError(f"{name} has NaN, infinity or a number that float32 can't hold")
    return single


def _positions(arrays: Mapping[str, np.ndarray], name: str, size: int | None, limit: int) -> np.ndarray:
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in "iu" or (size is not None and len(array) != size):
        wanted = "integers" if size is None else f"{size} integers"
        raise ModelError(f"{name} is {_kind(array)}; it must be {wanted}")
    if len(array) and (array.min() < 0 or array.max() >= limit):
        raise ModelError(f"{name} has values from {array.min()} to {array.max()}; they must be from 0 to {limit - 1}")
    return array.astype(np.int64)


def _seen(arrays: Mapping[str, np.ndarray], users: int, items: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    if ("seen_indptr" in arrays) != ("seen_indices" in arrays):
        raise ModelError("seen_indptr and seen_indices go together; one of them is missing")
    if "seen_indptr" not in arrays:
        return None, None
    indices = _positions(arrays, "seen_indices", None, items)
    pointers = _positions(arrays, "seen_indptr", users + 1, len(indices) + 1)
    if pointers[0] != 0 or pointers[-1] != len(indices) or (np.diff(pointers) < 0).any():
        raise ModelError(f"seen_indptr must rise from 0 to the length of seen_indices, {len(indices)}")
    return pointers, indices


def _ids(arrays: Mapping[str, np.ndarray], name: str, size: int) -> np.ndarray:
    array = arrays[name]
    if array.shape != (size,) or array.dtype.kind not in "iuUS":
        raise ModelError(f"{name} is {_kind(array)}; it must be {size} integers or strings")
    if array.dtype.kind == "u" and size and array.max() > np.iinfo(np.int64).max:
        raise ModelError(f"{name} has {array.max()}, which INT64 can't hold; make strings of the ids")
    ids = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
    ids = ids if ids.dtype.kind == "S" else ids.astype(np.int64)
    if len(np.unique(ids)) != size:
        raise ModelError(f"{name} has the same id more than once")
    return ids


def _titles(arrays: Mapping[str, np.ndarray], size: int) -> np.ndarray | None:
    array = arrays.get("titles")
    if array is None:
        return None
    if array.shape != (size,) or array.dtype.kind not in "US":
        raise ModelError(f"titles is {_kind(array)}; it must be {size} strings")
    return np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
