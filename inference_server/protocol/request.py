"""Reads the body of an inference request: JSON, JSON followed by binary tensors, or one raw binary tensor.

Source: Open Inference Protocol, "Inference Request JSON Object"; Triton, "Binary Tensor Data Extension". Every fault of
the body is an `InvalidRequestError` that names the tensor, the value and what would be right. Arrays made from binary
tensors are read-only views of the body; nothing is copied.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import orjson

from inference_server.protocol.datatypes import widen_bf16
from inference_server.protocol.errors import InvalidRequestError, NotSupportedError
from inference_server.protocol.signature import MAX_DIMENSION, Signature, TensorSpec, WantedOutputs

_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
_SHARED_MEMORY = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")
_LENGTH_PREFIX = 4
_SHOWN = 40
_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})
_NO_TAIL = memoryview(b"")
_NULL_IS_NAN = frozenset({"np", "pd"})
"""Content types of MLServer's codecs for NumPy and pandas, which write a missing number so."""
_MOST_KNOWN = 1000
"""Inputs that a reader remembers."""
_R, _L = b"rl"


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a request may be, beside the size of its body."""

    elements: int = 16_777_216
    """In all tensors together."""
    rows: int | None = None
    """First dimension of any input; None is no limit."""


@dataclass(slots=True)
class InferRequest:
    """A request that has been read and fits its model's signature."""

    inputs: Mapping[str, np.ndarray]
    outputs: WantedOutputs
    id: str | None
    parameters: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """The size of the batch: the first dimension of the first input, 1 for a scalar or without any input."""
        try:
            return len(next(iter(self.inputs.values())))
        except (StopIteration, TypeError):
            return 1

    @property
    def timeout_seconds(self) -> float | None:
        """The caller's own deadline, from the reserved parameter `timeout` (microseconds)."""
        timeout = self.parameters.get("timeout")
        if timeout is None:
            return None
        if type(timeout) not in (int, float) or timeout < 0:
            raise InvalidRequestError(f"parameter 'timeout' is {_show(timeout)}; give microseconds, 0 for none")
        return timeout / 1_000_000 or None


_Layout = tuple[TensorSpec, tuple[int, ...], np.dtype[np.generic], int, Callable[..., None]]
"""How an array is made of numbers: its input, shape and type, how many numbers it has, and what writes so many."""


class Reader:
    """Reads the requests to one model. Remembers how those that were right began, as most others begin alike."""

    def __init__(self, signature: Signature, limits: Limits) -> None:
        self._signature = signature
        self._limits = limits
        self._known: dict[tuple[str | int, ...], _Layout] = {}
        """Of inputs that fit the model and the limits, by name, datatype and shape as they are given."""

    def read(self, body: bytes, header_length: str | None) -> InferRequest:
        """Read `body`, whose JSON part is `header_length` bytes long (None: all of it; "0": none, one raw tensor)."""
        if header_length is not None:
            return _from_parts(body, _header_length(header_length, len(body)), self._signature, self._limits)
        document = _parse(body)
        inputs = None if _may_have_booleans(body) else self._read_known(document.get("inputs"))
        if inputs is None:
            request = _from_document(document, _NO_TAIL, self._signature, self._limits)
            self._remember(request.inputs)
            return request
        if len(document) == 1:
            return InferRequest(inputs, self._signature.all_outputs[False], None, _NO_PARAMETERS)
        return _with_options(inputs, document, self._signature)

    def _read_known(self, entries: Any) -> dict[str, np.ndarray] | None:
        """The inputs, if they are known and their data fits. None: they are to be read with care.

        There must be no booleans, which `struct` takes for numbers. What is no number it refuses, or does not fit, and
        so nobody has to look at the elements.
        """
        if type(entries) is not list or len(entries) != len(self._signature.inputs):
            return None
        known = self._known
        arrays: dict[str, np.ndarray] = {}
        try:
            for entry in entries:
                spec, shape, dtype, count, put = known[entry["name"], entry["datatype"], *entry["shape"]]
                if "parameters" in entry:
                    return None
                data = entry["data"]
                if len(data) != count:
                    data = _flatten(data, spec, shape)
                arrays[spec.name] = array = np.empty(shape, dtype)
                put(array, 0, *data)
        except (KeyError, TypeError, struct.error, OverflowError, InvalidRequestError):
            return None
        return arrays if len(arrays) == len(entries) else None

    def _remember(self, inputs: Mapping[str, np.ndarray]) -> None:
        most = self._limits.elements // max(1, len(self._signature.inputs))  # so that all have room together
        for name, array in inputs.items():
            spec = self._signature.inputs[name]
            key = (name, spec.datatype, *array.shape)
            if spec.type.code and array.ndim and 0 < array.size <= most and key not in self._known:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                put = struct.Struct(f"={array.size}{spec.type.code}").pack_into
                self._known[key] = (spec, array.shape, spec.type.array, array.size, put)


def _from_parts(body: bytes, length: int, signature: Signature, limits: Limits) -> InferRequest:
    if length == 0:
        return _from_raw(body, signature, limits)
    view = memoryview(body)
    return _from_document(_parse(view[:length]), view[length:], signature, limits)


def _header_length(text: str, body_length: int) -> int:
    text = text.strip(" \t")  # which may stand around the value of a header
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(body_length)) or int(text) > body_length:
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {_show(text)}; "
            f"it must be a whole number from 0 to the length of the body, {body_length}"
        )
    return int(text)


def _parse(text: bytes | memoryview) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not text:
            raise InvalidRequestError("the body is empty; send a JSON object with 'inputs'") from None
        raise InvalidRequestError(f"the body is not JSON: {error}") from None
    if type(document) is not dict:
        raise InvalidRequestError(f"the body is a JSON {_json_type(document)}; send an object with 'inputs'")
    return document


def _from_document(document: dict[str, Any], tail: memoryview, signature: Signature, limits: Limits) -> InferRequest:
    content_type = _content_type(document, "the request", None)
    inputs = _read_inputs(document.get("inputs"), tail, signature, limits, content_type)
    return _with_options(inputs, document, signature)


def _with_options(inputs: Mapping[str, np.ndarray], document: dict[str, Any], signature: Signature) -> InferRequest:
    request_id = document.get("id")
    if request_id is not None and type(request_id) is not str:
        raise InvalidRequestError(f"'id' is {_show(request_id)}; it must be a string")
    parameters = _NO_PARAMETERS
    if "parameters" in document:
        parameters = _parameters(document, "the request")
        for name in _SEQUENCES:
            if parameters.get(name):
                raise NotSupportedError(f"parameter '{name}': sequences are not supported; leave it out")
    outputs = _read_outputs(document.get("outputs"), parameters, signature)
    return InferRequest(inputs, outputs, request_id, parameters)


def _parameters(holder: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise InvalidRequestError(f"'parameters' of {where} is a JSON {_json_type(parameters)}; it must be an object")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, where: str, *, default: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if type(value) is not bool:
        raise InvalidRequestError(f"parameter '{name}' of {where} is {_show(value)}; it must be true or false")
    return value


def _read_inputs(
    entries: Any, tail: memoryview, signature: Signature, limits: Limits, content_type: str | None
) -> dict[str, np.ndarray]:
    if type(entries) is not list:
        raise InvalidRequestError(f"'inputs' is a JSON {_json_type(entries)}; it must be an array of tensors")
    arrays: dict[str, np.ndarray] = {}
    room = limits.elements
    for entry in entries:
        spec, shape, count = _read_header(entry, signature, limits)
        name = spec.name
        if name in arrays:
            raise InvalidRequestError(f"input '{name}' is given twice")
        room -= count
        if room < 0:
            raise InvalidRequestError(f"the inputs have more than {limits.elements} elements together, the limit")
        data = entry.get("data")
        size = _binary_size(entry, name, len(tail)) if data is None or "parameters" in entry else None
        if size is None:
            kind = _content_type(entry, f"input '{name}'", content_type)
            arrays[name] = _from_codec(data, spec, shape, count, kind)
        else:
            arrays[name] = _from_binary(tail[:size], spec, shape, count)
            tail = tail[size:]
    if tail:
        raise InvalidRequestError(f"the body has {len(tail)} bytes after the last binary tensor; remove them")
    if len(arrays) < len(signature.inputs):
        missing = [name for name, spec in signature.inputs.items() if name not in arrays and not spec.optional]
        if missing:
            raise InvalidRequestError(
                f"input {_quoted(missing)} is missing; the model takes {_names(signature.inputs)}"
            )
    return arrays


def _read_header(entry: Any, signature: Signature, limits: Limits) -> tuple[TensorSpec, tuple[int, ...], int]:
    """Name, datatype and shape of an input, held against what the model wants; and its number of elements."""
    if type(entry) is not dict:
        raise InvalidRequestError(f"an element of 'inputs' is a JSON {_json_type(entry)}; it must be an object")
    name = entry.get("name")
    spec = signature.inputs.get(name) if type(name) is str else None
    if spec is None:
        raise InvalidRequestError(f"input {_show(name)} is not known; the model takes {_names(signature.inputs)}")
    if entry.get("datatype") != spec.datatype:
        raise InvalidRequestError(
            f"input '{name}' has datatype {_show(entry.get('datatype'))}; the model takes {spec.datatype}"
        )
    shape = _shape(entry.get("shape"), spec)
    if limits.rows is not None and shape and shape[0] > limits.rows:
        raise InvalidRequestError(
            f"input '{name}' has {shape[0]} rows; the limit is {limits.rows}: send several requests"
        )
    count = math.prod(shape)
    if not count and math.prod(size for size in shape if size) > limits.elements:
        # NumPy can't hold such a shape, though there is nothing in it.
        raise InvalidRequestError(
            f"input '{name}' has shape {_show(entry.get('shape'))}, whose other dimensions are too large"
        )
    return spec, shape, count


def _shape(given: Any, spec: TensorSpec) -> tuple[int, ...]:
    if type(given) is list and spec.admits(given):
        return tuple(given)
    if type(given) is not list:
        raise InvalidRequestError(f"input '{spec.name}' has shape {_show(given)}; it must be an array of whole numbers")
    for size in given:
        # Some generated clients send every number as a float.
        if type(size) is not int and not (type(size) is float and size.is_integer()):
            raise InvalidRequestError(f"input '{spec.name}' has shape {_show(given)}; dimensions must be whole numbers")
        if not 0 <= size < MAX_DIMENSION:
            raise InvalidRequestError(f"input '{spec.name}' has shape {_show(given)}; dimensions must be 0 to 2^63-1")
    shape = tuple(map(int, given))
    if shape[1:] == (1,) and spec.admits(shape[:1]):
        # MLServer's codecs make a column of every vector. What it holds is the same.
        return shape[:1]
    if not spec.admits(shape):
        raise InvalidRequestError(
            f"input '{spec.name}' has shape {_show(given)}; the model takes {list(spec.shape)} (-1 is any size)"
        )
    return shape


def _binary_size(entry: dict[str, Any], name: str, available: int) -> int | None:
    """How many bytes of binary data the input has; None if its data is JSON."""
    parameters = _parameters(entry, f"input '{name}'") if "parameters" in entry else {}
    given = parameters.get("binary_data_size")
    if given is None:
        if entry.get("data") is None:
            _refuse_without_data(parameters, name)
        return None
    if entry.get("data") is not None:
        raise InvalidRequestError(f"input '{name}' has both 'data' and 'binary_data_size'; send one of them")
    size = int(given) if type(given) is float and given.is_integer() else given
    if type(size) is not int or size < 0:
        raise InvalidRequestError(
            f"'binary_data_size' of input '{name}' is {_show(given)}; it must be a number of bytes"
        )
    if size > available:
        raise InvalidRequestError(f"'binary_data_size' of input '{name}' is {size}; only {available} bytes are left")
    return size


def _refuse_without_data(parameters: Mapping[str, Any], name: str) -> NoReturn:
    for parameter in _SHARED_MEMORY:
        if parameter in parameters:
            raise NotSupportedError(f"input '{name}' uses '{parameter}': shared memory is not supported; send the data")
    raise InvalidRequestError(f"input '{name}' has neither 'data' nor 'binary_data_size'")


# --- JSON tensors -----------------------------------------------------------------------------------------------------


def _may_have_booleans(body: bytes) -> bool:
    """Looks for one letter of each word first, as most bodies have neither and a letter is found much sooner."""
    return (_R in body and body.find(b"true") >= 0) or (_L in body and body.find(b"false") >= 0)


def _from_json(data: Any, spec: TensorSpec, shape: tuple[int, ...], count: int) -> np.ndarray:
    if type(data) is not list:
        raise InvalidRequestError(f"'data' of input '{spec.name}' is a JSON {_json_type(data)}; it must be an array")
    types = set(map(type, data))
    if list in types:
        data = _flatten(data, spec, shape)
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
        return _array_of_bytes([element.encode() for element in data], shape)
    if spec.datatype == "BOOL":
        return np.array([_truth(element, spec) for element in data], bool).reshape(shape)
    return _numbers(data, types, spec, shape)


def _content_type(holder: dict[str, Any], where: str, default: str | None) -> str | None:
    """How MLServer's clients have put something into JSON. Source: MLServer, "Content Types"."""
    if "parameters" not in holder:
        return default
    value = _parameters(holder, where).get("content_type")
    return value if type(value) is str else default


def _from_codec(
    data: Any, spec: TensorSpec, shape: tuple[int, ...], count: int, content_type: str | None
) -> np.ndarray:
    if content_type in _NULL_IS_NAN and spec.type.array.kind == "f" and type(data) is list:
        data = [math.nan if element is None else element for element in data]
    array = _from_json(data, spec, shape, count)
    return _undo_base64(array, spec.name) if content_type == "base64" and spec.datatype == "BYTES" else array


def _undo_base64(array: np.ndarray, name: str) -> np.ndarray:
    try:
        return _array_of_bytes([base64.b64decode(element, validate=True) for element in array.flat], array.shape)
    except binascii.Error as error:
        raise InvalidRequestError(
            f"'data' of input '{name}' is not base64, as its content_type says: {error}"
        ) from None


def _wrong_type(types: set[type], spec: TensorSpec) -> str:
    if not spec.type.json_types:
        return f"input '{spec.name}' is {spec.datatype}, which JSON can't carry; send it as binary data"
    wrong = sorted(_JSON_TYPES.get(kind, kind.__name__) for kind in types - spec.type.json_types)
    return (
        f"'data' of input '{spec.name}' has elements of JSON type {', '.join(wrong)}; its datatype is {spec.datatype}"
    )


def _flatten(data: list[Any], spec: TensorSpec, shape: tuple[int, ...]) -> list[Any]:
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
        raise _misfit(spec, f"{_show(wrong)} is out of its range") from None
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


def _array_of_bytes(elements: Sequence[bytes], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


# --- Binary tensors ---------------------------------------------------------------------------------------------------


def _from_binary(raw: memoryview, spec: TensorSpec, shape: tuple[int, ...], count: int) -> np.ndarray:
    wire = spec.type.wire
    if wire is None:
        return _array_of_bytes(_split_bytes(raw, spec.name, count), shape)
    if len(raw) != count * wire.itemsize:
        raise InvalidRequestError(
            f"input '{spec.name}' has {len(raw)} bytes of binary data; {spec.datatype} of shape {list(shape)} "
            f"has {count * wire.itemsize}"
        )
    array = np.frombuffer(raw, wire).reshape(shape)
    if not array.flags.aligned:
        array = array.copy()
    if spec.datatype == "BF16":
        return widen_bf16(array)
    if spec.datatype == "BOOL":
        return np.not_equal(array, 0)
    return array.astype(spec.type.array, copy=False)


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


def _from_raw(body: bytes, signature: Signature, limits: Limits) -> InferRequest:
    """A request without JSON: the body is the one input, and all outputs are binary."""
    if len(signature.inputs) != 1:
        raise InvalidRequestError(
            f"a raw binary request is for models of one input; this one takes {_names(signature.inputs)}"
        )
    (spec,) = signature.inputs.values()
    wire = spec.type.wire
    if wire is None:
        if spec.shape not in {(1,), (-1,)}:
            raise InvalidRequestError(f"a raw binary BYTES request is for inputs of shape [1], not {list(spec.shape)}")
        array = _array_of_bytes([bytes(body)], (1,))
    else:
        shape = _raw_shape(len(body), wire.itemsize, spec)
        if math.prod(shape) > limits.elements:
            raise InvalidRequestError(f"the input has more than {limits.elements} elements, the limit")
        if limits.rows is not None and shape and shape[0] > limits.rows:
            raise InvalidRequestError(f"input '{spec.name}' has {shape[0]} rows; the limit is {limits.rows}")
        array = _from_binary(memoryview(body), spec, shape, math.prod(shape))
    return InferRequest({spec.name: array}, signature.all_outputs[True], None, _NO_PARAMETERS)


def _raw_shape(size: int, itemsize: int, spec: TensorSpec) -> tuple[int, ...]:
    """The shape of a raw tensor of `size` bytes: its one open dimension is what is left."""
    if spec.shape.count(-1) > 1:
        raise InvalidRequestError(f"a raw binary request needs at most one open dimension; shape is {list(spec.shape)}")
    unit = itemsize * math.prod(dimension for dimension in spec.shape if dimension != -1)
    rows, rest = divmod(size, unit) if unit else (0, size)
    if rest or (rows != 1 and -1 not in spec.shape):
        raise InvalidRequestError(f"the body has {size} bytes; input '{spec.name}' takes a multiple of {unit}")
    return tuple(rows if dimension == -1 else dimension for dimension in spec.shape)


# --- Outputs ----------------------------------------------------------------------------------------------------------


def _read_outputs(entries: Any, parameters: Mapping[str, Any], signature: Signature) -> WantedOutputs:
    binary = _flag(parameters, "binary_data_output", "the request", default=False) if parameters else False
    if not entries:
        if entries is None or entries == []:
            return signature.all_outputs[binary]
        raise InvalidRequestError(f"'outputs' is {_show(entries)}; it must be an array of outputs")
    if type(entries) is not list:
        raise InvalidRequestError(f"'outputs' is a JSON {_json_type(entries)}; it must be an array of outputs")
    wanted: dict[str, bool] = {}
    for entry in entries:
        name, as_binary = _read_output(entry, signature, default=binary)
        if name in wanted:
            raise InvalidRequestError(f"output '{name}' is asked for twice")
        wanted[name] = as_binary
    return wanted


def _read_output(entry: Any, signature: Signature, *, default: bool) -> tuple[str, bool]:
    if type(entry) is not dict:
        raise InvalidRequestError(f"an element of 'outputs' is a JSON {_json_type(entry)}; it must be an object")
    name = entry.get("name")
    if type(name) is not str or name not in signature.outputs:
        raise InvalidRequestError(f"output {_show(name)} is not known; the model gives {_names(signature.outputs)}")
    where = f"output '{name}'"
    parameters = _parameters(entry, where)
    if parameters.get("classification"):
        raise NotSupportedError(f"{where} asks for 'classification', which is not supported; read the scores")
    for parameter in _SHARED_MEMORY:
        if parameter in parameters:
            raise NotSupportedError(f"{where} uses '{parameter}': shared memory is not supported")
    return name, _flag(parameters, "binary_data", where, default=default)


# --- Words for messages -----------------------------------------------------------------------------------------------

_JSON_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def _json_type(value: Any) -> str:
    return _JSON_TYPES.get(type(value), type(value).__name__)


def _show(value: Any) -> str:
    """A value as JSON, cut short: it is the caller's, and may be long."""
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = _json_type(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _names(specs: Mapping[str, TensorSpec]) -> str:
    return _quoted(list(specs)) or "none"
