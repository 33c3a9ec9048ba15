"""With MLServer's codecs, whose requests have null for what is not set. Run in its environment, with the server's
URL."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec  # type: ignore[import-not-found]  # only in its own environment
from mlserver.types import (  # type: ignore[import-not-found]  # see above
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    RepositoryIndexResponse,
)

from tests.foreign_clients.points import expect, point, run


def post(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  (loopback)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (the same)
        content: bytes = answer.read()
    return content


def infer(url: str, model: str, tensor: Any) -> Any:
    body = InferenceRequest(inputs=[tensor]).model_dump_json().encode()
    return InferenceResponse.model_validate_json(post(f"{url}/v2/models/{model}/infer", body))


@point
def null_members_are_taken_as_absent(url: str) -> None:
    request = InferenceRequest(inputs=[NumpyCodec.encode_input("x", np.ones((1, 4), np.float32))])
    # As its models are dumped where nobody asks for unset members to be left out.
    body = json.dumps(request.model_dump(exclude_unset=False, exclude_none=False))
    expect('"outputs": null' in body, True)
    expect(InferenceResponse.model_validate_json(post(f"{url}/v2/models/linear/infer", body.encode())).id, None)


@point
def arrays_come_back(url: str) -> None:
    array = np.array([3, -4])
    # The codec makes a column of a vector.
    answer = infer(url, "matrix-INT64", NumpyCodec.encode_input("x", array))
    expect(NumpyCodec.decode_output(answer.outputs[0]).tolist(), [[3], [-4]])


@point
def strings_come_back(url: str) -> None:
    answer = infer(url, "matrix-BYTES", StringCodec.encode_input("x", ["ä", ""], use_bytes=False))
    expect(StringCodec.decode_output(answer.outputs[0]), ["ä", ""])


@point
def vectors_may_be_sent_as_its_columns(url: str) -> None:
    answer = infer(url, "echo-INT64", NumpyCodec.encode_input("x", np.array([3, -4])))
    expect(NumpyCodec.decode_output(answer.outputs[0]).tolist(), [3, -4])
    answer = infer(url, "echo-BYTES", StringCodec.encode_input("x", ["ä", ""], use_bytes=False))
    expect(StringCodec.decode_output(answer.outputs[0]), ["ä", ""])


@point
def a_number_may_be_missing(url: str) -> None:
    rows = np.array([[1, np.nan, 0, 0]], np.float32)
    body = InferenceRequest(inputs=[NumpyCodec.encode_input("x", rows)]).model_dump_json().encode()
    expect(b"null" in body, True)
    try:
        post(f"{url}/v2/models/linear/infer", body)
    except urllib.error.HTTPError as error:  # it has been read, and what comes of it is not a number either
        expect("has NaN" in json.loads(error.read())["error"], True)
    else:
        raise AssertionError("it answered")


@point
def base64_is_undone(url: str) -> None:
    answer = infer(url, "echo-BYTES", Base64Codec.encode_input("x", ["ä".encode()], use_bytes=False))
    expect(StringCodec.decode_output(answer.outputs[0]), ["ä"])


@point
def metadata_and_index_fit_its_types(url: str) -> None:
    with urllib.request.urlopen(f"{url}/v2/models/linear", timeout=30) as answer:  # noqa: S310  (loopback)
        expect(MetadataModelResponse.model_validate_json(answer.read()).versions, ["1"])
    index = RepositoryIndexResponse.model_validate_json(post(f"{url}/v2/repository/index", b""))
    expect("linear" in [entry.name for entry in index.root], True)


if __name__ == "__main__":
    run()
