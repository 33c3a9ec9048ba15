"""The protocol's codec: what it reads, what it refuses and with which words, what it writes."""

from __future__ import annotations

import json
import math
import struct
from typing import Any, get_args

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_server.protocol.datatypes import DATATYPES, DatatypeName, narrow_to_bf16, widen_bf16
from inference_server.protocol.errors import InvalidRequestError, NotSupportedError
from inference_server.protocol.request import InferRequest, Limits, Reader
from inference_server.protocol.response import write_response
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.protocol.usual import UsualReader

MATRIX = Signature.of([TensorSpec("x", "FP32", (-1, 2))], [TensorSpec("y", "FP32", (-1, 2))])


def vector(datatype: str) -> Signature:
    return Signature.of([TensorSpec("x", datatype, (-1,))], [TensorSpec("x", datatype, (-1,))])


def read(document: Any, signature: Signature = MATRIX, **limits: int) -> InferRequest:
    return Reader(signature, Limits(**limits)).read(json.dumps(document).encode(), None)


def one(data: Any, shape: list[Any], datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}], **more}


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [1.0, 2, 3.0, 4]])
def test_json_data_may_be_flat_or_nested(data: list[Any]) -> None:
    array = read(one(data, [2, 2])).inputs["x"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[1, 2], [3, 4]])


@pytest.mark.parametrize("data", [[1, 2, 3], [[1], [2], [3]], [1.0, 2.0, 3.0]])
def test_a_vector_may_come_as_the_column_that_mlserver_makes_of_it(data: list[Any]) -> None:
    array = read(one(data, [3, 1], "INT64"), vector("INT64")).inputs["x"]
    assert array.shape == (3,)
    assert array.tolist() == [1, 2, 3]
    assert read(one([], [0, 1], "INT64"), vector("INT64")).inputs["x"].shape == (0,)


def test_a_vector_may_come_as_a_binary_column() -> None:
    tensor = {"name": "x", "datatype": "INT8", "shape": [2, 1], "parameters": {"binary_data_size": 2}}
    head = json.dumps({"inputs": [tensor]}).encode()
    array = Reader(vector("INT8"), Limits()).read(head + b"\1\2", f" {len(head)}\t").inputs["x"]
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("shape", "of"), [([1, 3], (-1,)), ([3, 1, 1], (-1,)), ([3, 1], (-1, 2)), ([3, 1], (4,)), ([1], ())]
)
def test_no_other_shape_is_taken_for_another(shape: list[int], of: tuple[int, ...]) -> None:
    signature = Signature.of([TensorSpec("x", "FP32", of)], [])
    with pytest.raises(InvalidRequestError, match="the model takes"):
        read(one([0] * int(np.prod(shape)), shape), signature)


@pytest.mark.parametrize("data", [[[1, 2], [3, 4]], [[1], [2, 3]], [[[1]], [[2]]], [[], []], [[1], 2]])
def test_what_is_no_column_is_not_taken_for_one(data: list[Any]) -> None:
    with pytest.raises(InvalidRequestError):
        read(one(data, [2, 1]), vector("FP32"))


def test_bytes_may_be_base64_if_they_are_said_to_be() -> None:
    def as_sent(parameters: Any) -> list[bytes]:
        document = one(["/wA=", ""], [2], "BYTES")
        document["inputs"][0]["parameters"] = parameters
        elements: list[bytes] = read(document, vector("BYTES")).inputs["x"].tolist()
        return elements

    assert as_sent({"content_type": "base64"}) == [b"\xff\0", b""]
    for other in ({"content_type": "str"}, {"content_type": None}, {}, None):
        assert as_sent(other) == [b"/wA=", b""]


@pytest.mark.parametrize("kind", ["np", "pd"])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_null_is_nan_if_a_codec_of_mlserver_has_written_it(kind: str, datatype: str) -> None:
    document = one([1, None], [2, 1], datatype)
    for holder in (document, document["inputs"][0]):
        with pytest.raises(InvalidRequestError, match="null"):
            read(document, vector(datatype))
        holder["parameters"] = {"content_type": kind}
        array = read(document, vector(datatype)).inputs["x"]
        np.testing.assert_array_equal(array, [1, np.nan])
        del holder["parameters"]


@pytest.mark.parametrize("kind", ["np", "pd", "str", None, 7])
def test_null_is_no_other_element(kind: Any) -> None:
    for datatype in ("INT64", "BOOL", "BYTES"):
        with pytest.raises(InvalidRequestError, match="null"):
            read(one([None], [1], datatype, parameters={"content_type": kind}), vector(datatype))


@pytest.mark.parametrize("element", ["/w", "_-==", "ä", "a b="])
def test_what_is_not_the_base64_that_it_is_said_to_be_is_refused(element: str) -> None:
    document = one([element], [1], "BYTES")
    document["inputs"][0]["parameters"] = {"content_type": "base64"}
    with pytest.raises(InvalidRequestError, match="is not base64"):
        read(document, vector("BYTES"))


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("BOOL", [True, False], [True, False]),
        ("BOOL", [1.0, 0], [True, False]),
        ("UINT8", [255, 0], [255, 0]),
        ("UINT64", [2**64 - 1], [2**64 - 1]),
        ("INT64", [-(2**63), 2**53 + 1], [-(2**63), 2**53 + 1]),
        ("INT8", [-128, 7.0], [-128, 7]),
        ("FP16", [0.5, 2], [0.5, 2]),
        ("FP64", [1e300], [1e300]),
        ("BYTES", ["é", ""], ["é".encode(), b""]),
    ],
)
def test_every_datatype_of_json_arrives_as_its_array(datatype: str, data: list[Any], expected: list[Any]) -> None:
    array = read(one(data, [len(data)], datatype), vector(datatype)).inputs["x"]
    assert array.dtype == DATATYPES[datatype].array
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("datatype", "data", "words"),
    [
        ("UINT8", [256], "does not fit UINT8"),
        ("UINT8", [-1], "does not fit UINT8"),
        ("INT32", [1.5], "1.5 is not a whole number"),
        ("UINT8", [1.0, 256.0], "does not fit UINT8: 256.0 is out of its range"),
        ("INT64", [1e19], "does not fit INT64"),
        ("FP32", [1e39], "does not fit FP32: 1e.39 is out of its range"),
        ("FP16", [70000], "does not fit FP16"),
        ("FP16", [1e5], "does not fit FP16"),
        ("FP32", [True], "boolean"),
        ("FP32", [False], "boolean"),
        ("FP32", ["1"], "string"),
        ("FP32", [None], "null"),
        ("FP32", [{}], "object"),
        ("BOOL", [2], "neither true nor false"),
        ("BYTES", [1], "number"),
        ("BF16", [1.0], "JSON can't carry"),
    ],
)
def test_an_element_that_does_not_fit_is_refused(datatype: str, data: list[Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        read(one(data, [len(data)], datatype), vector(datatype))


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_a_usual_request_is_read_without_care(data: list[Any]) -> None:
    reader = UsualReader(MATRIX, Limits())
    for request_id in ("a", "", None):
        more = {} if request_id is None else {"id": request_id}
        request = reader.read(json.dumps(one(data, [2, 2], **more)).encode())
        assert request is not None
        arrays, rows, told = request
        assert arrays["x"].tolist() == [[1, 2], [3, 4]]
        assert (rows, told) == (2, request_id)


@pytest.mark.parametrize(
    "document",
    [
        one([1, 2, 3, 4], [2, 2], parameters={}),
        one([1, 2, 3, 4], [2, 2], outputs=[{"name": "y"}]),
        one([1, 2, 3, 4], [2, 2], id=5),
        one([1, 2, 3, 4], [2, 2], id=None),
        one([1, 2, True, 4], [2, 2]),
        one([1, 2, 3, 4], [2, True]),
        one([1, 2, 3, "4"], [2, 2]),
        one([1, 2, 3], [2, 2]),
        one([1, 2, 3, 1e300], [2, 2]),
        one([1, 2, 3, 4], [4]),
        one([1, 2, 3, 4], [-2, -2]),
        one([], [0, 2]),
        one([1, 2, 3, 4], [2.0, 2]),
        one([1, 2, 3, 4], [2, [2]]),
        one([1, 2] * 3, [3, 2]),
        {"inputs": [*one([1, 2], [1, 2])["inputs"], *one([1, 2], [1, 2])["inputs"]]},
        {"inputs": [{**one([1, 2], [1, 2])["inputs"][0], "parameters": {"binary_data_size": 4}}]},
        {"inputs": {}},
        {"inputs": []},
        {"inputs": None},
        {"inputs": "x"},
        {},
        [],
        1,
        None,
    ],
)
def test_what_is_unusual_or_wrong_is_left_to_who_reads_with_care(document: Any) -> None:
    assert UsualReader(MATRIX, Limits(rows=2)).read(json.dumps(document).encode()) is None


def test_a_model_without_inputs_has_no_usual_request() -> None:
    assert UsualReader(Signature.of([], []), Limits()).read(b'{"inputs": []}') is None


def test_inputs_that_are_too_large_together_are_left_to_who_reads_with_care() -> None:
    reader = UsualReader(Signature.of([TensorSpec(n, "FP32", (-1,)) for n in "ab"], []), Limits(elements=4))

    def ask(size: int) -> object:
        inputs = [{"name": n, "datatype": "FP32", "shape": [size], "data": [1] * size} for n in "ab"]
        return reader.read(json.dumps({"inputs": inputs}).encode())

    assert ask(2) is not None
    assert ask(3) is None


def test_what_is_remembered_of_requests_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_server.protocol.usual._MOST_LAYOUTS", 3)
    reader = UsualReader(MATRIX, Limits())
    for rows in (1, 2, 3, 4, 1):
        request = reader.read(json.dumps(one([1, 2] * rows, [rows, 2])).encode())
        assert request is not None
        assert request[0]["x"].shape == (rows, 2)
        assert len(reader._layouts) <= 3


def test_two_inputs_that_are_right_alone_may_be_too_large_together() -> None:
    signature = Signature.of([TensorSpec("a", "FP32", (-1,)), TensorSpec("b", "FP32", (-1,))], [])
    reader = Reader(signature, Limits(elements=5))

    def ask(first: int, second: int) -> InferRequest:
        inputs = [
            {"name": name, "datatype": "FP32", "shape": [size], "data": [1] * size}
            for name, size in (("a", first), ("b", second))
        ]
        return reader.read(json.dumps({"inputs": inputs}).encode(), None)

    ask(3, 2)
    ask(2, 3)
    with pytest.raises(InvalidRequestError, match="more than 5 elements"):
        ask(3, 3)


def test_bf16_goes_into_json_if_there_is_none_of_it() -> None:
    array = read(one([], [0], "BF16"), vector("BF16")).inputs["x"]
    assert (array.shape, array.dtype) == ((0,), np.dtype(np.float32))


def test_json_data_may_be_written_to_by_the_model() -> None:
    assert read(one([1, 2], [1, 2])).inputs["x"].flags.writeable
    assert read(one([[1, 2]], [1, 2])).inputs["x"].flags.writeable


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "JSON array"),
        ({}, "'inputs' is a JSON null"),
        ({"inputs": {}}, "'inputs' is a JSON object"),
        ({"inputs": [1]}, "JSON number"),
        ({"inputs": []}, "'x' is missing"),
        ({"inputs": [{"name": "z"}]}, "\"z\" is not known; the model takes 'x'"),
        ({"inputs": [{"name": ["x"]}]}, "is not known"),
        (one([1, 2], [1, 2], "FP64"), 'datatype "FP64"; the model takes FP32'),
        (one([1, 2], [2]), r"shape \[2\]; the model takes \[-1, 2\]"),
        (one([1, 2], [1, 3]), r"the model takes \[-1, 2\]"),
        (one([1, 2], [-1, 2]), "0 to 2"),
        (one([1, 2], [0.5, 2]), "whole numbers"),
        (one([1, 2], [True, 2]), "whole numbers"),
        (one([1, 2], [2**64, 2]), "0 to 2"),
        (one([1, 2], "1,2"), "must be an array"),  # type: ignore[arg-type]  # that is the fault
        (one([1, 2, 3], [1, 2]), "has 3 elements"),
        (one([[1, 2]], [2, 2]), "nested otherwise"),
        (one([[1], [2, 3, 4]], [2, 2]), "nested otherwise"),
        (one([[1, 2], 3], [2, 2]), "nested otherwise"),
        (one([[[1], [2]]], [1, 2]), "array"),
        (one(None, [1, 2]), "neither 'data' nor 'binary_data_size'"),
        (one("ab", [1, 2]), "JSON string"),
        (one([1, 2], [1, 2], id=7), "'id' is 7"),
        (one([1, 2], [1, 2], parameters=[]), "'parameters' of the request"),
        (one([1, 2], [1, 2], parameters={"binary_data_output": 1}), "must be true or false"),
        (one([1, 2], [1, 2], outputs=[{"name": "z"}]), "output \"z\" is not known; the model gives 'y'"),
        (one([1, 2], [1, 2], outputs=[{"name": "y"}, {"name": "y"}]), "asked for twice"),
        (one([1, 2], [1, 2], outputs="y"), "'outputs' is a JSON string"),
        (one([1, 2], [1, 2], outputs={}), "'outputs' is {}; it must be an array"),
        (one([1, 2], [1, 2], outputs=["y"]), "JSON string"),
        (one([1, 2], [1, 2], outputs=[{"name": "y", "parameters": {"binary_data": "yes"}}]), "must be true or false"),
        ({"inputs": one([1, 2], [1, 2])["inputs"] * 2}, "given twice"),
    ],
)
def test_a_malformed_request_is_refused_with_words_that_help(document: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        read(document)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"inputs": NaN}', b"nul"])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="the body is not JSON" if body else "the body is empty"):
        Reader(MATRIX, Limits()).read(body, None)


@pytest.mark.parametrize(
    "document",
    [
        one([1, 2], [1, 2], parameters={"sequence_id": 5}),
        one([1, 2], [1, 2], outputs=[{"name": "y", "parameters": {"classification": 3}}]),
        one([1, 2], [1, 2], outputs=[{"name": "y", "parameters": {"shared_memory_region": "r"}}]),
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"shared_memory_region": "r"}}]},
    ],
)
def test_parts_of_the_protocol_that_are_not_offered_are_named(document: Any) -> None:
    with pytest.raises(NotSupportedError, match="not supported"):
        read(document)


def test_null_stands_for_every_optional_member() -> None:
    request = read(one([1, 2], [1.0, 2.0], id=None, parameters=None, outputs=None))
    assert request.id is None
    assert request.outputs == {"y": False}


def test_limits_on_elements_and_rows_hold_before_data_is_looked_at() -> None:
    with pytest.raises(InvalidRequestError, match="more than 9 elements"):
        read(one([], [5, 2]), elements=9)
    with pytest.raises(InvalidRequestError, match="has 5 rows; the limit is 4"):
        read(one([], [5, 2]), rows=4)


def test_the_shape_of_a_huge_tensor_costs_nothing() -> None:
    with pytest.raises(InvalidRequestError, match="more than"):
        read(one([], [2**62, 2]))


@pytest.mark.parametrize("shape", [[2**62, 0], [0, 2**63 - 1], [2**20, 2**20, 0, 2**20]])
def test_an_empty_tensor_may_not_claim_to_be_huge_in_its_other_dimensions(shape: list[int]) -> None:
    signature = Signature.of([TensorSpec("x", "FP32", (-1,) * len(shape))], [])
    with pytest.raises(InvalidRequestError, match="too large"):
        read(one([], shape), signature)
    assert read(one([], [0, 3]), Signature.of([TensorSpec("x", "FP32", (-1, -1))], [])).inputs["x"].shape == (0, 3)


def test_an_optional_input_may_be_left_out() -> None:
    signature = Signature.of([TensorSpec("x", "FP32", (-1, 2)), TensorSpec("k", "INT64", (1,), optional=True)], [])
    assert read(one([1, 2], [1, 2]), signature).inputs.keys() == {"x"}


@pytest.mark.parametrize(("timeout", "seconds"), [(None, None), (0, None), (1_500_000, 1.5)])
def test_the_reserved_parameter_timeout_is_microseconds(timeout: int | None, seconds: float | None) -> None:
    assert read(one([1, 2], [1, 2], parameters={"timeout": timeout})).timeout_seconds == seconds


@pytest.mark.parametrize("timeout", [-1, "5", True])
def test_a_timeout_that_is_no_span_of_time_is_refused(timeout: Any) -> None:
    request = read(one([1, 2], [1, 2], parameters={"timeout": timeout}))
    with pytest.raises(InvalidRequestError, match=r"parameter 'timeout' is .*; give microseconds"):
        _ = request.timeout_seconds


@pytest.mark.parametrize(("shape", "rows"), [((3, 2), 3), ((), 1)])
def test_a_request_has_as_many_rows_as_its_first_input_and_a_number_is_one(shape: tuple[int, ...], rows: int) -> None:
    signature = Signature.of([TensorSpec("x", "FP32", shape)], [])
    assert read(one([0] * math.prod(shape), [*shape]), signature).rows == rows
    assert InferRequest({}, {}, None, {}).rows == 1


def test_an_id_and_the_outputs_asked_for_are_kept() -> None:
    request = read(one([1, 2], [1, 2], id="a", outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
    assert (request.id, request.outputs) == ("a", {"y": True})
    assert read(one([1, 2], [1, 2], outputs=[])).outputs == {"y": False}


# --- Binary -----------------------------------------------------------------------------------------------------------


def binary(inputs: list[dict[str, Any]], tail: bytes, **more: Any) -> tuple[bytes, str]:
    head = json.dumps({"inputs": inputs, **more}).encode()
    return head + tail, str(len(head))


def test_json_and_binary_tensors_may_be_mixed_in_one_request() -> None:
    signature = Signature.of([TensorSpec(n, "INT16", (-1,)) for n in "abc"], [])
    entries: list[dict[str, Any]] = [
        {"name": "a", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": 4}},
        {"name": "b", "datatype": "INT16", "shape": [1], "data": [5]},
        {"name": "c", "datatype": "INT16", "shape": [1], "parameters": {"binary_data_size": 2.0}},
    ]
    body, length = binary(entries, struct.pack("<hhh", 1, -2, 7))
    inputs = Reader(signature, Limits()).read(body, length).inputs
    assert {name: array.tolist() for name, array in inputs.items()} == {"a": [1, -2], "b": [5], "c": [7]}


def test_binary_tensors_are_aligned_wherever_the_json_ends() -> None:
    signature = vector("FP64")
    for padding in range(8):
        entry = {
            "name": "x",
            "datatype": "FP64",
            "shape": [1],
            "parameters": {"binary_data_size": 8, "p": "x" * padding},
        }
        body, length = binary([entry], struct.pack("<d", 1.5))
        array = Reader(signature, Limits()).read(body, length).inputs["x"]
        assert array.flags.aligned
        assert array.tolist() == [1.5]


@pytest.mark.parametrize("datatype", [name for name, kind in DATATYPES.items() if kind.wire is not None])
def test_a_binary_tensor_without_dimensions_is_an_array_as_well(datatype: str) -> None:
    wire = DATATYPES[datatype].wire
    assert wire is not None
    signature = Signature.of([TensorSpec("x", datatype, ())], [])
    entry = {"name": "x", "datatype": datatype, "shape": [], "parameters": {"binary_data_size": wire.itemsize}}
    body, length = binary([entry], np.ones((), wire).tobytes())
    array = Reader(signature, Limits()).read(body, length).inputs["x"]
    assert (type(array), array.dtype, array.shape) == (np.ndarray, DATATYPES[datatype].array, ())


@pytest.mark.parametrize(
    ("size", "tail", "words"),
    [
        (8, b"\0" * 7, "only 7 bytes are left"),
        (8, b"\0" * 9, "1 bytes after the last binary tensor"),
        (4, b"\0" * 4, "has 4 bytes of binary data"),
        (-1, b"", "must be a number of bytes"),
        ("8", b"\0" * 8, "must be a number of bytes"),
        (1.5, b"\0" * 8, "must be a number of bytes"),
    ],
)
def test_a_binary_size_that_does_not_agree_is_refused(size: Any, tail: bytes, words: str) -> None:
    entry = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": size}}
    body, length = binary([entry], tail)
    with pytest.raises(InvalidRequestError, match=words):
        Reader(MATRIX, Limits()).read(body, length)


def test_data_and_binary_data_exclude_each_other() -> None:
    entry = {**one([1, 2], [1, 2])["inputs"][0], "parameters": {"binary_data_size": 8}}
    body, length = binary([entry], b"\0" * 8)
    with pytest.raises(InvalidRequestError, match="both"):
        Reader(MATRIX, Limits()).read(body, length)


@pytest.mark.parametrize("length", ["-1", "x", "", "99", "1.0", "٣", "9" * 5000, "+3"])
def test_a_header_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(InvalidRequestError, match="Inference-Header-Content-Length"):
        Reader(MATRIX, Limits()).read(b"{}", length)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x02\0\0\0a", "ends inside element 0 of 2"),
        (b"\x01\0\0\0a\x01\0", "ends inside element 1 of 2"),
        (b"\x01\0\0\0a\x01\0\0\0bc", "1 bytes after its last element"),
        (b"\xff\xff\xff\xff", "ends inside element 0"),
    ],
)
def test_bytes_elements_that_do_not_add_up_are_refused(raw: bytes, words: str) -> None:
    entry = {"name": "x", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    body, length = binary([entry], raw)
    with pytest.raises(InvalidRequestError, match=words):
        Reader(vector("BYTES"), Limits()).read(body, length)


def test_a_raw_request_takes_its_open_dimension_from_its_size() -> None:
    request = Reader(MATRIX, Limits()).read(struct.pack("<4f", 1, 2, 3, 4), "0")
    np.testing.assert_array_equal(request.inputs["x"], [[1, 2], [3, 4]])
    assert request.outputs == {"y": True}


def test_a_raw_request_may_have_as_many_rows_as_the_limit_and_no_more() -> None:
    reader = Reader(MATRIX, Limits(rows=2))
    assert reader.read(b"\0" * 16, "0").rows == 2
    with pytest.raises(InvalidRequestError, match="input 'x' has 3 rows; the limit is 2"):
        reader.read(b"\0" * 24, "0")


@pytest.mark.parametrize("size", [1, -1])
def test_a_raw_bytes_request_is_one_element(size: int) -> None:
    signature = Signature.of([TensorSpec("x", "BYTES", (size,))], [])
    assert Reader(signature, Limits()).read(b"ab\0", "0").inputs["x"].tolist() == [b"ab\0"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([TensorSpec("a", "FP32", (1,)), TensorSpec("b", "FP32", (1,))], "for models of one input"),
        ([TensorSpec("a", "FP32", (-1, -1))], "at most one open dimension"),
        ([TensorSpec("a", "FP32", (-1, 3))], "takes a multiple of 12"),
        ([TensorSpec("a", "FP32", (1,))], "has 8 bytes; input 'a' takes 4$"),
        ([TensorSpec("a", "FP32", (-1, 0))], "takes a multiple of 0"),
        ([TensorSpec("a", "BYTES", (-1, 2))], r"of shape \[1\], not \[-1, 2\]"),
    ],
)
def test_a_raw_request_that_no_shape_fits_is_refused(inputs: list[TensorSpec], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        Reader(Signature.of(inputs, []), Limits()).read(b"\0" * 8, "0")


def test_a_raw_request_to_a_model_of_one_shape_has_its_size() -> None:
    signature = Signature.of([TensorSpec("x", "FP32", (1, 2))], [])
    assert Reader(signature, Limits()).read(b"\0" * 8, "0").inputs["x"].shape == (1, 2)


# --- Responses --------------------------------------------------------------------------------------------------------


def write(array: np.ndarray, datatype: str, *, binary: bool) -> tuple[dict[str, Any], bytes]:
    signature = Signature.of([], [TensorSpec("y", datatype, (-1,) * array.ndim)])
    body, header_length = write_response({"model_name": "m"}, {"y": array}, {"y": binary}, signature)
    length = len(body) if header_length is None else header_length
    return orjson.loads(body[:length]), body[length:]


def test_a_json_output_is_flat_and_carries_its_shape() -> None:
    document, tail = write(np.array([[1, 2], [3, 4]], dtype=np.float64).T, "FP32", binary=False)
    expected = {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 3.0, 2.0, 4.0]}
    assert document == {"model_name": "m", "outputs": [expected]}
    assert tail == b""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_json_cannot_carry_goes_as_binary_only(value: float) -> None:
    array = np.array([1, value], dtype=np.float32)
    with pytest.raises(InvalidRequestError, match="ask for it with binary_data"):
        write(array, "FP32", binary=False)
    _, tail = write(array, "FP32", binary=True)
    np.testing.assert_array_equal(np.frombuffer(tail, "<f4"), array)
    with pytest.raises(InvalidRequestError, match="BF16"):
        write(array[:1], "BF16", binary=False)
    with pytest.raises(InvalidRequestError, match="UTF-8"):
        write(np.array([b"\xff"], dtype=object), "BYTES", binary=False)


def test_an_empty_output_has_a_binary_size_of_zero() -> None:
    document, tail = write(np.zeros((0, 3), dtype=np.float32), "FP32", binary=True)
    assert document["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [0, 3], "parameters": {"binary_data_size": 0}}
    ]
    assert tail == b""


def test_the_table_of_datatypes_is_the_list_of_their_names() -> None:
    assert list(DATATYPES) == list(get_args(DatatypeName))


@given(st.lists(st.floats(width=32)))
def test_bfloat16_rounds_to_the_nearest(values: list[float]) -> None:
    exact = np.array(values, dtype=np.float32)
    rounded = widen_bf16(narrow_to_bf16(exact))
    np.testing.assert_array_equal(np.isnan(rounded), np.isnan(exact))
    finite = np.isfinite(rounded)
    np.testing.assert_allclose(rounded[finite], exact[finite], rtol=2**-8, atol=1e-38)
    np.testing.assert_array_equal(widen_bf16(narrow_to_bf16(rounded)), rounded)


# --- Properties -------------------------------------------------------------------------------------------------------

_INTEGERS = {name: np.iinfo(str(kind.array)) for name, kind in DATATYPES.items() if kind.array.kind in "iu"}
_WIDTHS: dict[str, Any] = {"FP16": 16, "FP32": 32, "FP64": 64}


def elements(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BOOL":
        return st.booleans()
    if datatype in _INTEGERS:
        return st.integers(int(_INTEGERS[datatype].min), int(_INTEGERS[datatype].max))
    if datatype in _WIDTHS:
        return st.floats(width=_WIDTHS[datatype], allow_nan=False, allow_infinity=False)
    return st.text().map(str.encode)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    datatype = draw(st.sampled_from([name for name in DATATYPES if name != "BF16"]))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(np.prod(shape, dtype=int))
    values = draw(st.lists(elements(datatype), min_size=count, max_size=count))
    array = np.empty(count, dtype=DATATYPES[datatype].array)
    array[:] = values
    return datatype, array.reshape(shape)


@given(tensors(), st.booleans())
def test_what_is_written_can_be_read_again(tensor: tuple[str, np.ndarray], binary: bool) -> None:
    datatype, array = tensor
    signature = Signature.of([TensorSpec("y", datatype, (-1,) * array.ndim)], [])
    document, tail = write(array, datatype, binary=binary)
    head = orjson.dumps({"inputs": document["outputs"]})
    again = Reader(signature, Limits()).read(head + tail, str(len(head))).inputs["y"]
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)
