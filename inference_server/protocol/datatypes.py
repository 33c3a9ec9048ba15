"""The datatypes of the protocol, and what each is in NumPy and on the wire.

Source: Open Inference Protocol, "Tensor Data Types"; Triton's binary tensor extension for sizes and byte order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

DatatypeName = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype.

    `array` is the dtype of the array that a model sees. `wire` is the little-endian dtype of the binary extension. They
    differ for BF16, which NumPy lacks (models see float32), and for BYTES, whose elements carry their own length
    (models see an object array of `bytes`).
    """

    name: str
    array: np.dtype[np.generic]
    wire: np.dtype[np.generic] | None
    json_types: frozenset[type]
    """The Python types that a JSON element of it may have."""
    code: str = ""
    """Of numbers: the character of `struct` for one. Else empty."""


_NUMBER = frozenset({int, float})


def _number(name: str, wire: str, code: str) -> Datatype:
    return Datatype(name, np.dtype(np.dtype(wire).type), np.dtype(wire), _NUMBER, code)


DATATYPES: dict[str, Datatype] = {
    "BOOL": Datatype("BOOL", np.dtype(np.bool_), np.dtype("|u1"), frozenset({bool, int, float})),
    "UINT8": _number("UINT8", "|u1", "B"),
    "UINT16": _number("UINT16", "<u2", "H"),
    "UINT32": _number("UINT32", "<u4", "I"),
    "UINT64": _number("UINT64", "<u8", "Q"),
    "INT8": _number("INT8", "|i1", "b"),
    "INT16": _number("INT16", "<i2", "h"),
    "INT32": _number("INT32", "<i4", "i"),
    "INT64": _number("INT64", "<i8", "q"),
    "FP16": _number("FP16", "<f2", "e"),
    "FP32": _number("FP32", "<f4", "f"),
    "FP64": _number("FP64", "<f8", "d"),
    "BF16": Datatype("BF16", np.dtype(np.float32), np.dtype("<u2"), frozenset()),
    "BYTES": Datatype("BYTES", np.dtype(object), None, frozenset({str})),
}


def widen_bf16(raw: np.ndarray) -> np.ndarray:
    """`uint16` bfloat16 bits -> float32, exactly: bfloat16 is the upper half of a float32."""
    return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)


def narrow_to_bf16(values: np.ndarray) -> np.ndarray:
    """float32 -> `uint16` bfloat16 bits, rounding to nearest, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    quiet_nan = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet_nan, rounded).astype("<u2")
