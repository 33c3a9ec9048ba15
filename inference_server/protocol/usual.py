"""Reads the usual request: a JSON body that holds the inputs, all as numbers, perhaps an id, and nothing else.

Pure, and quick, as what has to be known of an input is looked up: most ask for a shape that has been there before.
What is not usual, or not right, it leaves to `request.py`, which reads the usual ones alike.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from inference_server.protocol.errors import InvalidRequestError
from inference_server.protocol.request import Limits, rows_of
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.protocol.tensors import flatten

_Layout = tuple[TensorSpec, tuple[int, ...], np.dtype[np.generic], int, Callable[..., None]]
"""How an array is made of numbers: its input, shape and type, how many numbers it has, and what writes so many."""

_MOST_LAYOUTS = 1000
_NOT_USUAL = (KeyError, TypeError, OverflowError, struct.error, orjson.JSONDecodeError, InvalidRequestError)
_R, _L = b"rl"


class UsualReader:
    """Of one model's requests."""

    def __init__(self, signature: Signature, limits: Limits) -> None:
        self._inputs = signature.inputs
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
                spec, shape, dtype, count, put = known.get(key) or self._learn(key)
                data = entry["data"]
                if len(data) != count or type(data[0]) is list:
                    data = flatten(data, spec, shape)
                arrays[spec.name] = array = np.empty(shape, dtype)
                # What is no number, or does not fit, it refuses; so nobody has to look at each.
                put(array, 0, *data)
                if "parameters" in entry:
                    return None
        except _NOT_USUAL:
            return None
        if not len(entries) == len(arrays) == len(self._inputs) > 0:
            return None
        request_id = None
        if len(document) > 1:
            request_id = document.get("id")
            if type(request_id) is not str or len(document) > 2:  # noqa: PLR2004  (the inputs and the id)
                return None
        return arrays, rows_of(arrays), request_id

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
        self._layouts[key] = layout = (spec, tuple(shape), spec.type.array, count, put)
        return layout
