"""The usual request, a JSON body that holds the inputs, all as numbers, perhaps an id, and nothing else; and the usual
answer, whose outputs are numbers too.

Pure, and quick, as what has to be known of a tensor is looked up: most have a shape that has been there before. What is
not usual, or not right, is left to `request.py` and `response.py`, which read and write the usual ones alike.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from inference_server.protocol.errors import InvalidRequestError
from inference_server.protocol.request import Limits
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.protocol.tensors import flatten

_Layout = tuple[str, tuple[int, ...], np.dtype[np.generic], int, Callable[..., None]]
"""How an array is made of numbers: its input's name, its shape and type, how many numbers it has, and what writes so
many."""

_Output = tuple[TensorSpec, np.dtype[np.generic], dict[tuple[int, ...], bytes]]
"""An output, the type of its array, and by its shape what comes before its numbers."""

_MOST_LAYOUTS = 1000
_NOT_USUAL = (KeyError, TypeError, OverflowError, struct.error, orjson.JSONDecodeError, InvalidRequestError)
_R, _L = b"rl"


class UsualReader:
    """Of one model's requests."""

    def __init__(self, signature: Signature, limits: Limits) -> None:
        self._inputs = signature.inputs
        self._count = len(signature.inputs) or -1  # none is usual without any
        self._rows = limits.rows
        self._elements = limits.elements // max(1, len(signature.inputs))  # so that all have room together
        self._layouts: dict[tuple[Any, ...], _Layout] = {}
        """By name, datatype and shape of an input, as they are given."""

    def read(self, body: bytes) -> tuple[dict[str, np.ndarray], int, str | None] | None:
        """The inputs, the number of rows and the id; None if the request is not usual."""
        # To write numbers is to write booleans too. One letter of each word is looked for first, as most bodies have
        # neither, and a letter is found much sooner.
        if (_R in body and body.find(b"true") >= 0) or (_L in body and body.find(b"false") >= 0):
            return None
        known = self._layouts
        arrays: dict[str, np.ndarray] = {}
        try:
            document = orjson.loads(body)
            entries = document["inputs"]
            for entry in entries:
                key = (entry["name"], entry["datatype"], *entry["shape"])
                name, shape, dtype, count, put = known.get(key) or self._learn(key)
                data = entry["data"]
                if len(data) != count or type(data[0]) is list:
                    data = flatten(data, self._inputs[name], shape)
                arrays[name] = array = np.empty(shape, dtype)
                # What is no number, or does not fit, it refuses; so nobody has to look at each.
                put(array, 0, *data)
                if "parameters" in entry:
                    return None
        except _NOT_USUAL:
            return None
        if len(arrays) != self._count or len(entries) != self._count:
            return None
        request_id = None
        if len(document) > 1:
            request_id = document.get("id")
            if type(request_id) is not str or len(document) > 2:  # noqa: PLR2004  (the inputs and the id)
                return None
        return arrays, entries[0]["shape"][0], request_id

    def _learn(self, key: tuple[Any, ...]) -> _Layout:
        """Raises KeyError if there is none."""
        name, datatype, *shape = key
        spec = self._inputs[name]
        if datatype != spec.datatype or not spec.type.code or not shape or not spec.admits(shape):
            raise KeyError(name)
        count = math.prod(shape)
        if not 0 < count <= self._elements or (self._rows is not None and shape[0] > self._rows):
            raise KeyError(name)
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        put = struct.Struct(f"={count}{spec.type.code}").pack_into
        self._layouts[key] = layout = (name, tuple(shape), spec.type.array, count, put)
        return layout


class UsualWriter:
    """Of one model's answers."""

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        self._start = orjson.dumps({"model_name": model, "model_version": version})[:-1]
        wanted = [signature.outputs[name] for name in signature.all_outputs[False]]
        self._outputs: list[_Output] = [(spec, spec.type.array, {}) for spec in wanted]
        self._usual = bool(wanted) and all(spec.type.code for spec in wanted)

    def write(self, arrays: Mapping[str, np.ndarray], request_id: str | None) -> bytes | None:
        """The answer with all outputs; None if it is not usual."""
        if not self._usual:
            return None
        text = self._start if request_id is None else self._start + b',"id":' + orjson.dumps(request_id)
        for spec, dtype, heads in self._outputs:
            array = arrays.get(spec.name)
            if array is None or array.dtype is not dtype:
                return None
            head = heads.get(array.shape) or self._head(spec, array.shape, heads)
            data = orjson.dumps(array.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
            if data.find(b"n") >= 0:  # NaN and infinity are written as null
                return None
            text += head + data
        return text + b"}]}"

    def _head(self, spec: TensorSpec, shape: tuple[int, ...], heads: dict[tuple[int, ...], bytes]) -> bytes:
        """What comes before the numbers."""
        if len(heads) >= _MOST_LAYOUTS:
            heads.clear()
        described = orjson.dumps({"name": spec.name, "datatype": spec.datatype, "shape": shape})[:-1]
        heads[shape] = head = (b',"outputs":[' if spec is self._outputs[0][0] else b"},") + described + b',"data":'
        return head
