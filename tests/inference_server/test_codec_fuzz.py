"""Requests that were right until something about them was changed: the codec answers or refuses, and does nothing else.

`pytest --hypothesis-profile=long` tries twenty thousand of each kind, for about ten minutes.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_server.compression import choose_encoding, compress, inflate
from inference_server.protocol.datatypes import DATATYPES, narrow_to_bf16
from inference_server.protocol.errors import InvalidRequestError, RequestError
from inference_server.protocol.request import InferRequest, Limits, Reader
from inference_server.protocol.response import write_response
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.protocol.usual import UsualReader, UsualWriter

T = TypeVar("T")

LIMITS = Limits(elements=10_000, rows=50)
INTEGERS = {name: np.iinfo(str(kind.array)) for name, kind in DATATYPES.items() if kind.array.kind in "iu"}
WIDTHS: dict[str, Any] = {"FP16": 16, "FP32": 32, "FP64": 64}


def elements(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BOOL":
        return st.booleans()
    if datatype in INTEGERS:
        return st.integers(int(INTEGERS[datatype].min), int(INTEGERS[datatype].max))
    if datatype == "BF16":  # whose largest number is a little smaller than float32's
        return st.floats(-(2.0**127), 2.0**127, width=32)
    if datatype in WIDTHS:
        return st.floats(width=WIDTHS[datatype], allow_nan=False, allow_infinity=False)
    return st.text(max_size=6).map(str.encode)


def attempt(action: Callable[[], T]) -> T | RequestError:
    """What it gives, or the error by which it refuses; any other exception is a failure."""
    try:
        return action()
    except RequestError as error:
        return error


class Tensor(NamedTuple):
    spec: TensorSpec
    array: np.ndarray
    binary: bool


@st.composite
def tensors(draw: st.DrawFn, name: str, *, usual: bool) -> Tensor:
    datatype = draw(st.sampled_from(sorted({*INTEGERS, *WIDTHS}) if usual else list(DATATYPES)))
    shape = tuple(draw(st.lists(st.integers(int(usual), 4), min_size=int(usual), max_size=3)))
    values = draw(st.lists(elements(datatype), min_size=math.prod(shape), max_size=math.prod(shape)))
    array = np.empty(len(values), dtype=DATATYPES[datatype].array)
    array[:] = values
    stated = tuple(draw(st.sampled_from([size, -1])) for size in shape)
    binary = not usual and (datatype == "BF16" or draw(st.booleans()))
    optional = not usual and draw(st.booleans())
    return Tensor(TensorSpec(name, datatype, stated, optional=optional), array.reshape(shape), binary)


class Case(NamedTuple):
    signature: Signature
    tensors: list[Tensor]
    document: dict[str, Any]
    tail: bytes


def entry_of(tensor: Tensor, *, nested: bool) -> tuple[dict[str, Any], bytes]:
    """The tensor's part of the JSON document, and its binary data."""
    spec, array = tensor.spec, tensor.array
    entry: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape)}
    if not tensor.binary:
        data = array if nested and array.ndim else array.ravel()
        entry["data"] = json.loads(json.dumps(data.tolist(), default=bytes.decode))
        return entry, b""
    if spec.datatype == "BYTES":
        raw = b"".join(len(element).to_bytes(4, "little") + element for element in array.ravel())
    elif spec.datatype == "BF16":
        raw = narrow_to_bf16(array).tobytes()
    else:
        raw = array.tobytes()
    entry["parameters"] = {"binary_data_size": len(raw)}
    return entry, raw


@st.composite
def cases(draw: st.DrawFn, *, usual: bool = False) -> Case:
    """A signature, and a request that fits it."""
    chosen = [draw(tensors(name, usual=usual)) for name in "abc"[: draw(st.integers(1, 3))]]
    signature = Signature.of([tensor.spec for tensor in chosen], [tensor.spec for tensor in chosen])
    parts = [entry_of(tensor, nested=draw(st.booleans())) for tensor in chosen]
    document: dict[str, Any] = {"inputs": [entry for entry, _ in parts]}
    if draw(st.booleans()):
        document["id"] = draw(st.text(max_size=5))
    if usual:
        return Case(signature, chosen, document, b"")
    if draw(st.booleans()):
        document["outputs"] = [{"name": "a", "parameters": {"binary_data": draw(st.booleans())}}]
    if draw(st.booleans()):
        document["parameters"] = {"binary_data_output": draw(st.booleans()), "timeout": draw(st.integers(0, 10**7))}
    return Case(signature, chosen, document, b"".join(raw for _, raw in parts))


@given(cases())
def test_a_request_that_fits_arrives_as_it_was_meant(case: Case) -> None:
    head = orjson.dumps(case.document)
    request = Reader(case.signature, LIMITS).read(head + case.tail, str(len(head)))
    assert request.id == case.document.get("id")
    for spec, array, _ in case.tensors:
        arrived = request.inputs[spec.name]
        assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
        if spec.datatype == "BF16":
            np.testing.assert_allclose(arrived, array, rtol=2**-8, atol=1e-38)
        else:
            np.testing.assert_array_equal(arrived, array)


@given(st.sampled_from(sorted({*INTEGERS, *WIDTHS})), st.data())
def test_numbers_become_what_numpy_makes_of_them_or_are_refused(datatype: str, data: st.DataObject) -> None:
    whole = st.integers(-(2**66), 2**66)
    others = whole | whole.map(float) if datatype in INTEGERS else whole | st.floats(-1e300, 1e300)
    drawn = data.draw(st.lists(elements(datatype) | others, min_size=1, max_size=LIMITS.rows))
    entry = {"name": "a", "datatype": datatype, "shape": [len(drawn)], "data": drawn}
    body = json.dumps({"inputs": [entry]}).encode()
    numbers = orjson.loads(body)["inputs"][0]["data"]
    signature = Signature.of([TensorSpec("a", datatype, (-1,))], [])
    outcome = attempt(lambda: Reader(signature, LIMITS).read(body, None))
    usual = UsualReader(signature, LIMITS).read(body)
    try:
        with np.errstate(over="raise"):
            expected = np.array([int(n) if datatype in INTEGERS else n for n in numbers], DATATYPES[datatype].array)
    except (OverflowError, FloatingPointError):
        assert isinstance(outcome, RequestError)
        assert "is out of its range" in str(outcome)
        assert usual is None
    else:
        if usual is not None:
            np.testing.assert_array_equal(usual[0]["a"], expected)
        assert isinstance(outcome, InferRequest)
        np.testing.assert_array_equal(outcome.inputs["a"], expected)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**66), 2**66)
    | st.sampled_from([0, 1, -1, 2**31, 2**32, 2**62, 2**63, 2**64, 1.0, 1e308, -0.0, "", "a", "NaN", "BYTES", "FP32"])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a document with a key into it."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def changed(draw: st.DrawFn, original: dict[str, Any]) -> dict[str, Any]:
    """A document after up to three changes."""
    document: dict[str, Any] = json.loads(json.dumps(original))
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(document))
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["replace", "remove", "repeat"])):
            case "replace":
                container[key] = draw(JUNK)
            case "remove":
                del container[key]
            case _:
                container[key] = [container[key]] * draw(st.integers(0, 3))
    return document


@st.composite
def broken_cases(draw: st.DrawFn) -> tuple[Case, bytes, str | None]:
    """A case, its body after some changes, and the header that tells the length of the JSON."""
    case = draw(cases())
    head = json.dumps(draw(changed(case.document))).encode()
    body = bytearray(head + case.tail)
    length: str | None = str(len(head))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["put in", "cut out", "cut off", "length"])):
            case "put in":
                body[at:at] = draw(st.binary(max_size=5) | st.sampled_from([b"{", b"]", b'"', b"\\ud800", b"\xff"]))
            case "cut out":
                del body[at : at + draw(st.integers(1, 8))]
            case "cut off":
                del body[at:]
            case _:
                length = draw(st.none() | st.integers(-1, len(body) + 1).map(str) | st.text(max_size=3))
    return case, bytes(body), length


@given(broken_cases())
def test_a_request_that_was_changed_is_read_or_refused(broken: tuple[Case, bytes, str | None]) -> None:
    case, body, length = broken
    outcome = attempt(lambda: Reader(case.signature, LIMITS).read(body, length))
    if isinstance(outcome, RequestError):
        assert outcome.status in {400, 501}
        assert 0 < len(str(outcome)) < 2000
    else:
        check_fits(outcome, case.signature)


@given(cases(usual=True), st.data())
def test_what_passes_for_usual_is_what_reading_with_care_gives(case: Case, data: st.DataObject) -> None:
    usual = UsualReader(case.signature, LIMITS)
    right = orjson.dumps(case.document)
    has_words = b"true" in right or b"false" in right  # an id may be one
    assert (usual.read(right) is None) == has_words
    document = data.draw(changed(case.document))
    body = json.dumps(document).encode()
    read = usual.read(body)
    if read is None:
        assert body != json.dumps(case.document).encode() or has_words  # as texts: false is 0.0 to Python
        return
    arrays, rows, request_id = read
    request = Reader(case.signature, LIMITS).read(body, None)
    assert (rows, request_id) == (request.rows, request.id)
    assert (request.outputs, request.parameters) == (case.signature.all_outputs[False], {})
    assert arrays.keys() == request.inputs.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (request.inputs[name].dtype, request.inputs[name].shape)
        np.testing.assert_array_equal(array, request.inputs[name])


@given(cases(usual=True), st.text(max_size=5), st.sampled_from(["nothing", "a number", "a type", "an output"]))
def test_what_is_usually_written_is_what_writing_with_care_gives(case: Case, model: str, wrong: str) -> None:
    arrays = {tensor.spec.name: tensor.array for tensor in case.tensors}
    request_id = case.document.get("id")
    document = {"model_name": model, "model_version": "1"} | ({} if request_id is None else {"id": request_id})
    text, _ = write_response(document, arrays, case.signature.all_outputs[False], case.signature)
    writer = UsualWriter(model, "1", case.signature)
    assert [writer.write(arrays, request_id) for _ in range(2)] == [text] * 2
    name, array = arrays.popitem()
    match wrong:
        case "a number":
            arrays[name] = np.full(array.shape, np.nan if array.dtype.kind == "f" else 1, array.dtype)
        case "a type":
            arrays[name] = array.astype(np.complex128)
    if wrong != "nothing":
        assert (writer.write(arrays, request_id) is None) == (wrong != "a number" or array.dtype.kind == "f")


@given(JUNK, st.binary(max_size=20), st.none() | st.integers(-1, 99).map(str))
def test_junk_is_refused(document: Any, tail: bytes, length: str | None) -> None:
    signature = Signature.of([TensorSpec("a", "FP32", (-1, 2))], [TensorSpec("a", "FP32", (-1, 2))])
    outcome = attempt(lambda: Reader(signature, LIMITS).read(json.dumps(document).encode() + tail, length))
    if not isinstance(outcome, RequestError):
        check_fits(outcome, signature)


def check_fits(request: InferRequest, signature: Signature) -> None:
    for spec in signature.inputs.values():
        if spec.name in request.inputs:
            array = request.inputs[spec.name]
            assert array.dtype == spec.type.array
            assert spec.admits(array.shape)
            assert array.size <= LIMITS.elements
        else:
            assert spec.optional
    assert request.outputs.keys() <= signature.outputs.keys()
    assert request.rows >= 0


@given(cases(), st.data())
def test_whatever_a_model_gives_is_written_or_refused(case: Case, data: st.DataObject) -> None:
    arrays: dict[str, np.ndarray] = {tensor.spec.name: tensor.array for tensor in case.tensors}
    spoiled = [name for name, array in arrays.items() if array.dtype.kind == "f" and array.size]
    if spoiled and data.draw(st.sampled_from([True, False])):
        array = arrays[spoiled[0]].copy()
        array.flat[0] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        arrays[spoiled[0]] = array
    wanted = {name: data.draw(st.booleans()) for name in arrays}
    encoded = attempt(lambda: write_response({"model_name": "m"}, arrays, wanted, case.signature))
    if isinstance(encoded, RequestError):
        assert not all(wanted.values()), encoded
        return
    body, header_length = encoded
    document = json.loads(body[:header_length])
    rest = len(body) - (header_length or len(body))
    for (name, binary), entry in zip(wanted.items(), document["outputs"], strict=True):
        assert tuple(entry["shape"]) == arrays[name].shape
        if binary:
            rest -= entry["parameters"]["binary_data_size"]
        else:
            assert len(entry["data"]) == arrays[name].size
            assert None not in entry["data"]
    assert rest == 0


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@given(plain=st.binary(max_size=300), data=st.data())
def test_a_compressed_body_that_was_changed_is_inflated_or_refused(
    encoding: str, pack: Any, plain: bytes, data: st.DataObject
) -> None:
    assert inflate(compress(plain, encoding), encoding, 300) == plain
    body = bytearray(pack(plain))
    at = data.draw(st.integers(0, len(body)))
    body[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    outcome = attempt(lambda: inflate(bytes(body), encoding, 200))
    if isinstance(outcome, RequestError):
        assert outcome.status in {400, 413}
    else:
        assert len(outcome) <= 200


def test_a_body_may_have_several_members_of_any_length() -> None:
    parts = [b"", bytes(range(256)) * 1000, b"x"]
    assert inflate(b"".join(gzip.compress(part, 0) for part in parts), "gzip", 10**6) == b"".join(parts)


def test_a_body_of_very_many_members_is_refused_before_it_costs_much() -> None:
    """Of 60 MB; each member once copied the rest, which took minutes."""
    with pytest.raises(InvalidRequestError, match="10000 gzip members or more"):
        inflate(gzip.compress(b"") * 3_000_000, "gzip", 10**6)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("gzip;q=0.5, identity", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity, deflate", "deflate"),
        ("gzip;q=0.2, deflate;q=0.8, *;q=0", "deflate"),
        ("identity;q=0.5, *;q=0.1", None),
        ("*", "gzip"),
    ],
)
def test_the_encoding_that_a_caller_likes_best_is_chosen(header: str, encoding: str | None) -> None:
    assert choose_encoding(header) == encoding


@given(
    st.text(max_size=40) | st.lists(st.sampled_from(["gzip", "deflate", "*", ";", "q=", "0", ",", " "])).map("".join)
)
def test_any_accept_encoding_is_understood(header: str) -> None:
    assert choose_encoding(header) in {"gzip", "deflate", None}
