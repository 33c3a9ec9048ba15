"""Reads the body of an inference request: JSON, JSON followed by binary tensors, or one raw binary tensor.

Source: Open Inference Protocol, "Inference Request JSON Object"; Triton, "Binary Tensor Data Extension". Every fault of
the body is an `InvalidRequestError` that names the tensor, the value and what would be right. Arrays made from binary
tensors are read-only views of the body; nothing is copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import orjson

from inference_server.protocol.errors import InvalidRequestError, NotSupportedError
from inference_server.protocol.signature import MAX_DIMENSION, Signature, TensorSpec, WantedOutputs
from inference_server.protocol.tensors import array_of_bytes, from_binary, from_json
from inference_server.protocol.wording import json_type, names_of, quoted, show

_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
_SHARED_MEMORY = ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size")
NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})
_NO_TAIL = memoryview(b"")


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
        return rows_of(self.inputs)

    @property
    def timeout_seconds(self) -> float | None:
        """The caller's own deadline, from the reserved parameter `timeout` (microseconds)."""
        timeout = self.parameters.get("timeout")
        if timeout is None:
            return None
        if type(timeout) not in (int, float) or timeout < 0:
            raise InvalidRequestError(f"parameter 'timeout' is {show(timeout)}; give microseconds, 0 for none")
        return timeout / 1_000_000 or None


def rows_of(inputs: Mapping[str, np.ndarray]) -> int:
    """The size of the batch: the first dimension of the first input, 1 for a scalar or without any input."""
    for array in inputs.values():
        return len(array) if array.ndim else 1
    return 1


class Reader:
    """Reads the requests to one model, whatever is in them."""

    def __init__(self, signature: Signature, limits: Limits) -> None:
        self._signature = signature
        self._limits = limits

    def read(self, body: bytes, header_length: str | None) -> InferRequest:
        """Read `body`, whose JSON part is `header_length` bytes long (None: all of it; "0": none, one raw tensor)."""
        if header_length is not None:
            return _from_parts(body, _header_length(header_length, len(body)), self._signature, self._limits)
        return _from_document(_parse(body), _NO_TAIL, self._signature, self._limits)


def _from_parts(body: bytes, length: int, signature: Signature, limits: Limits) -> InferRequest:
    if length == 0:
        return _from_raw(body, signature, limits)
    view = memoryview(body)
    return _from_document(_parse(view[:length]), view[length:], signature, limits)


def _header_length(text: str, body_length: int) -> int:
    text = text.strip(" \t")  # which may stand around the value of a header
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(body_length)) or int(text) > body_length:
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {show(text)}; "
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
        raise InvalidRequestError(f"the body is a JSON {json_type(document)}; send an object with 'inputs'")
    return document


def _from_document(document: dict[str, Any], tail: memoryview, signature: Signature, limits: Limits) -> InferRequest:
    content_type = _content_type(document, "the request", None)
    inputs = _read_inputs(document.get("inputs"), tail, signature, limits, content_type)
    return _with_options(inputs, document, signature)


def _with_options(inputs: Mapping[str, np.ndarray], document: dict[str, Any], signature: Signature) -> InferRequest:
    request_id = document.get("id")
    if request_id is not None and type(request_id) is not str:
        raise InvalidRequestError(f"'id' is {show(request_id)}; it must be a string")
    parameters = NO_PARAMETERS
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
        raise InvalidRequestError(f"'parameters' of {where} is a JSON {json_type(parameters)}; it must be an object")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, where: str, *, default: bool) -> bool:
    value = parameters.get(name)
    if value is None:
        return default
    if type(value) is not bool:
        raise InvalidRequestError(f"parameter '{name}' of {where} is {show(value)}; it must be true or false")
    return value


def _read_inputs(
    entries: Any, tail: memoryview, signature: Signature, limits: Limits, content_type: str | None
) -> dict[str, np.ndarray]:
    if type(entries) is not list:
        raise InvalidRequestError(f"'inputs' is a JSON {json_type(entries)}; it must be an array of tensors")
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
            arrays[name] = from_json(data, spec, shape, count, kind)
        else:
            arrays[name] = from_binary(tail[:size], spec, shape, count)
            tail = tail[size:]
    if tail:
        raise InvalidRequestError(f"the body has {len(tail)} bytes after the last binary tensor; remove them")
    if len(arrays) < len(signature.inputs):
        missing = [name for name, spec in signature.inputs.items() if name not in arrays and not spec.optional]
        if missing:
            raise InvalidRequestError(
                f"input {quoted(missing)} is missing; the model takes {names_of(signature.inputs)}"
            )
    return arrays


def _read_header(entry: Any, signature: Signature, limits: Limits) -> tuple[TensorSpec, tuple[int, ...], int]:
    """Name, datatype and shape of an input, held against what the model wants; and its number of elements."""
    if type(entry) is not dict:
        raise InvalidRequestError(f"an element of 'inputs' is a JSON {json_type(entry)}; it must be an object")
    name = entry.get("name")
    spec = signature.inputs.get(name) if type(name) is str else None
    if spec is None:
        raise InvalidRequestError(f"input {show(name)} is not known; the model takes {names_of(signature.inputs)}")
    if entry.get("datatype") != spec.datatype:
        raise InvalidRequestError(
            f"input '{name}' has datatype {show(entry.get('datatype'))}; the model takes {spec.datatype}"
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
            f"input '{name}' has shape {show(entry.get('shape'))}, whose other dimensions are too large"
        )
    return spec, shape, count


def _shape(given: Any, spec: TensorSpec) -> tuple[int, ...]:
    if type(given) is list and spec.admits(given):
        return tuple(given)
    if type(given) is not list:
        raise InvalidRequestError(f"input '{spec.name}' has shape {show(given)}; it must be an array of whole numbers")
    for size in given:
        # Some generated clients send every number as a float.
        if type(size) is not int and not (type(size) is float and size.is_integer()):
            raise InvalidRequestError(f"input '{spec.name}' has shape {show(given)}; dimensions must be whole numbers")
        if not 0 <= size < MAX_DIMENSION:
            raise InvalidRequestError(f"input '{spec.name}' has shape {show(given)}; dimensions must be 0 to 2^63-1")
    shape = tuple(map(int, given))
    if shape[1:] == (1,) and spec.admits(shape[:1]):
        # MLServer's codecs make a column of every vector. What it holds is the same.
        return shape[:1]
    if not spec.admits(shape):
        raise InvalidRequestError(
            f"input '{spec.name}' has shape {show(given)}; the model takes {list(spec.shape)} (-1 is any size)"
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
            f"'binary_data_size' of input '{name}' is {show(given)}; it must be a number of bytes"
        )
    if size > available:
        raise InvalidRequestError(f"'binary_data_size' of input '{name}' is {size}; only {available} bytes are left")
    return size


def _refuse_without_data(parameters: Mapping[str, Any], name: str) -> NoReturn:
    for parameter in _SHARED_MEMORY:
        if parameter in parameters:
            raise NotSupportedError(f"input '{name}' uses '{parameter}': shared memory is not supported; send the data")
    raise InvalidRequestError(f"input '{name}' has neither 'data' nor 'binary_data_size'")


def _content_type(holder: dict[str, Any], where: str, default: str | None) -> str | None:
    """How MLServer's clients have put something into JSON. Source: MLServer, "Content Types"."""
    if "parameters" not in holder:
        return default
    value = _parameters(holder, where).get("content_type")
    return value if type(value) is str else default


# --- One raw tensor ---------------------------------------------------------------------------------------------------


def _from_raw(body: bytes, signature: Signature, limits: Limits) -> InferRequest:
    """A request without JSON: the body is the one input, and all outputs are binary."""
    if len(signature.inputs) != 1:
        raise InvalidRequestError(
            f"a raw binary request is for models of one input; this one takes {names_of(signature.inputs)}"
        )
    (spec,) = signature.inputs.values()
    wire = spec.type.wire
    if wire is None:
        if spec.shape not in {(1,), (-1,)}:
            raise InvalidRequestError(f"a raw binary BYTES request is for inputs of shape [1], not {list(spec.shape)}")
        array = array_of_bytes([bytes(body)], (1,))
    else:
        shape = _raw_shape(len(body), wire.itemsize, spec)
        if math.prod(shape) > limits.elements:
            raise InvalidRequestError(f"the input has more than {limits.elements} elements, the limit")
        if limits.rows is not None and shape and shape[0] > limits.rows:
            raise InvalidRequestError(f"input '{spec.name}' has {shape[0]} rows; the limit is {limits.rows}")
        array = from_binary(memoryview(body), spec, shape, math.prod(shape))
    return InferRequest({spec.name: array}, signature.all_outputs[True], None, NO_PARAMETERS)


def _raw_shape(size: int, itemsize: int, spec: TensorSpec) -> tuple[int, ...]:
    """The shape of a raw tensor of `size` bytes: its one open dimension is what is left."""
    if spec.shape.count(-1) > 1:
        raise InvalidRequestError(f"a raw binary request needs at most one open dimension; shape is {list(spec.shape)}")
    unit = itemsize * math.prod(dimension for dimension in spec.shape if dimension != -1)
    rows, rest = divmod(size, unit) if unit else (0, size)
    if rest or (rows != 1 and -1 not in spec.shape):
        takes = f"a multiple of {unit}" if -1 in spec.shape else unit
        raise InvalidRequestError(f"the body has {size} bytes; input '{spec.name}' takes {takes}")
    return tuple(rows if dimension == -1 else dimension for dimension in spec.shape)


# --- Outputs ----------------------------------------------------------------------------------------------------------


def _read_outputs(entries: Any, parameters: Mapping[str, Any], signature: Signature) -> WantedOutputs:
    binary = _flag(parameters, "binary_data_output", "the request", default=False) if parameters else False
    if not entries:
        if entries is None or entries == []:
            return signature.all_outputs[binary]
        raise InvalidRequestError(f"'outputs' is {show(entries)}; it must be an array of outputs")
    if type(entries) is not list:
        raise InvalidRequestError(f"'outputs' is a JSON {json_type(entries)}; it must be an array of outputs")
    wanted: dict[str, bool] = {}
    for entry in entries:
        name, as_binary = _read_output(entry, signature, default=binary)
        if name in wanted:
            raise InvalidRequestError(f"output '{name}' is asked for twice")
        wanted[name] = as_binary
    return wanted


def _read_output(entry: Any, signature: Signature, *, default: bool) -> tuple[str, bool]:
    if type(entry) is not dict:
        raise InvalidRequestError(f"an element of 'outputs' is a JSON {json_type(entry)}; it must be an object")
    name = entry.get("name")
    if type(name) is not str or name not in signature.outputs:
        raise InvalidRequestError(f"output {show(name)} is not known; the model gives {names_of(signature.outputs)}")
    where = f"output '{name}'"
    parameters = _parameters(entry, where)
    if parameters.get("classification"):
        raise NotSupportedError(f"{where} asks for 'classification', which is not supported; read the scores")
    for parameter in _SHARED_MEMORY:
        if parameter in parameters:
            raise NotSupportedError(f"{where} uses '{parameter}': shared memory is not supported")
    return name, _flag(parameters, "binary_data", where, default=default)
