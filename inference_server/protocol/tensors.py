"""The data of one input tensor, JSON or binary, as an array. What does not fit the tensor is an `InvalidRequestError`.

Source: Open Inference Protocol, "Tensor Data"; Triton, "Binary Tensor Data Extension". Knows no request around it.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference_server.protocol.datatypes import widen_bf16
from inference_server.protocol.errors import InvalidRequestError
from inference_server.protocol.signature import TensorSpec
from inference_server.protocol.wording import json_type, show, type_name

_LENGTH_PREFIX = 4
_NULL_IS_NAN = frozenset({"np", "pd"})
"""Content types of MLServer's codecs for NumPy and pandas, which write a missing number so."""


# --- JSON tensors -----------------------------------------------------------------------------------------------------


def from_json(data: Any, spec: TensorSpec, shape: tuple[int, ...], count: int, content_type: str | None) -> np.ndarray:
    """The `count` numbers or texts of `data`. `content_type` says how MLServer's clients have put them into JSON."""
    if content_type in _NULL_IS_NAN and spec.type.array.kind == "f" and type(data) is list:
        data = [math.nan if element is None else element for element in data]
    array = _plain(data, spec, shape, count)
    return _undo_base64(array, spec.name) if content_type == "base64" and spec.datatype == "BYTES" else array


def _plain(data: Any, spec: TensorSpec, shape: tuple[int, ...], count: int) -> np.ndarray:
    if type(data) is not list:
        raise InvalidRequestError(f"'data' of input '{spec.name}' is a JSON {json_type(data)}; it must be an array")
    types = set(map(type, data))
    if list in types:
        data = flatten(data, spec, shape)
        types = set(map(type, data))
    if len(data) != count:
        raise InvalidRequestError(
            f"'data' of input '{spec.name}' has {len(data)} elements; shape {list(shape)} wants {count}"
        )
    if not types <= spec.type.json_types:
        raise InvalidRequestError(_wrong_type(types, spec))
    if not data:
        return np.empty(shape, spec.type.array)
    if spec.datatype == "BYTES":
        return array_of_bytes([element.encode() for element in data], shape)
    if spec.datatype == "BOOL":
        return np.array([_truth(element, spec) for element in data], bool).reshape(shape)
    return _numbers(data, types, spec, shape)


def _undo_base64(array: np.ndarray, name: str) -> np.ndarray:
    try:
        return array_of_bytes([base64.b64decode(element, validate=True) for element in array.flat], array.shape)
    except binascii.Error as error:
        raise InvalidRequestError(
            f"'data' of input '{name}' is not base64, as its content_type says: {error}"
        ) from None


def _wrong_type(types: set[type], spec: TensorSpec) -> str:
    if not spec.type.json_types:
        return f"input '{spec.name}' is {spec.datatype}, which JSON can't carry; send it as binary data"
    wrong = sorted(type_name(kind) for kind in types - spec.type.json_types)
    return (
        f"'data' of input '{spec.name}' has elements of JSON type {', '.join(wrong)}; its datatype is {spec.datatype}"
    )


def flatten(data: list[Any], spec: TensorSpec, shape: tuple[int, ...]) -> list[Any]:
    """Nested rows -> one row-major list. The nesting must be that of the shape, or of a vector's column."""
    level: list[Any] = [data]
    for size in shape:
        if set(map(type, level)) - {list} or set(map(len, level)) - {size}:
            raise InvalidRequestError(f"'data' of input '{spec.name}' is nested otherwise than its shape {list(shape)}")
        level = list(itertools.chain.from_iterable(level))
    if len(shape) == 1 and set(map(type, level)) == {list} and set(map(len, level)) == {1}:
        level = list(itertools.chain.from_iterable(level))
    return level


def _numbers(data: list[Any], types: set[type], spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    whole = float in types and spec.type.array.kind in "iu"
    numbers = [_whole(element, spec) for element in data] if whole else data
    array = np.empty(shape, spec.type.array)
    buffer: Any = array  # which NumPy's types tell only from Python 3.12 on
    try:  # twice as fast as `np.array`, which looks at each element for what it might be
        struct.pack_into(f"={len(numbers)}{spec.type.code}", buffer, 0, *numbers)
    except (struct.error, OverflowError):
        wrong = next(element for element, number in zip(data, numbers, strict=True) if not _fits(number, spec))
        raise _misfit(spec, f"{show(wrong)} is out of its range") from None
    return array


def _fits(element: float, spec: TensorSpec) -> bool:
    try:
        struct.pack(f"={spec.type.code}", element)
    except (struct.error, OverflowError):
        return False
    return True


def _whole(element: float, spec: TensorSpec) -> int:
    if type(element) is float and not element.is_integer():
        raise _misfit(spec, f"{element!r} is not a whole number")
    return int(element)


def _truth(element: float, spec: TensorSpec) -> bool:
    if element not in (0, 1):
        raise _misfit(spec, f"{element!r} is neither true nor false, 0 nor 1")
    return bool(element)


def _misfit(spec: TensorSpec, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"'data' of input '{spec.name}' does not fit {spec.datatype}: {why}")


def array_of_bytes(elements: Sequence[bytes], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


# --- Binary tensors ---------------------------------------------------------------------------------------------------


def from_binary(raw: memoryview, spec: TensorSpec, shape: tuple[int, ...], count: int) -> np.ndarray:
    """A read-only view of `raw` where that can be."""
    wire = spec.type.wire
    if wire is None:
        return array_of_bytes(_split_bytes(raw, spec.name, count), shape)
    if len(raw) != count * wire.itemsize:
        raise InvalidRequestError(
            f"input '{spec.name}' has {len(raw)} bytes of binary data; {spec.datatype} of shape {list(shape)} "
            f"has {count * wire.itemsize}"
        )
    array = np.frombuffer(raw, wire).reshape(shape)
    if not (array.flags.aligned and count):  # without elements it counts as aligned, which not every library believes
        array = array.copy()
    if spec.datatype == "BF16":
        array = widen_bf16(array)
    if spec.datatype == "BOOL":
        array = np.not_equal(array, 0)
    # Of an array without dimensions NumPy's operators make a scalar, which is none to every library.
    return np.asarray(array, spec.type.array)


def _split_bytes(raw: memoryview, name: str, count: int) -> list[bytes]:
    """BYTES elements are each a little-endian 32-bit length and that many bytes."""
    elements: list[bytes] = []
    position = 0
    while len(elements) < count:
        start = position + _LENGTH_PREFIX
        size = int.from_bytes(raw[position:start], "little")
        position = start + size
        if start > len(raw) or position > len(raw):
            raise InvalidRequestError(f"binary data of input '{name}' ends inside element {len(elements)} of {count}")
        elements.append(bytes(raw[start:position]))
    if position != len(raw):
        raise InvalidRequestError(
            f"binary data of input '{name}' has {len(raw) - position} bytes after its last element"
        )
    return elements
