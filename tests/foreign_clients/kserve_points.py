"""With KServe's InferRequest and InferenceRESTClient. Run in its environment, with the server's URL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
from kserve import (  # type: ignore[import-not-found]  # only in its own environment
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)

from tests.foreign_clients.points import expect, point, run

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def ask(use: Callable[[Any], Awaitable[Any]]) -> Any:
    async def inside() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            return await use(client)

    return asyncio.run(inside())


def request(model: str, array: np.ndarray, kind: str, *, binary: bool, **more: Any) -> Any:
    tensor = InferInput("x", list(array.shape), kind)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [tensor], **more)


def infer(url: str, model: str, array: np.ndarray, kind: str, *, binary: bool, **more: Any) -> Any:
    wanted = request(model, array, kind, binary=binary, **more)
    return ask(lambda client: client.infer(url, wanted, model_name=model))


@point
def health(url: str) -> None:
    expect(ask(lambda client: client.is_server_live(url)), True)
    expect(ask(lambda client: client.is_server_ready(url)), True)
    expect(ask(lambda client: client.is_model_ready(url, "linear")), True)
    expect(ask(lambda client: client.is_model_ready(url, "nobody")), False)


@point
def json_and_binary_tensors_answer_alike(url: str) -> None:
    one, other = (infer(url, "linear", ROWS, "FP32", binary=binary).outputs[0].as_numpy() for binary in (True, False))
    expect(one.shape, (2, 3))
    np.testing.assert_allclose(one, other, atol=1e-6)


@point
def half_floats_come_back_binary(url: str) -> None:
    array = np.array([1.5, -2.0], np.float16)
    answer = infer(url, "echo-FP16", array, "FP16", binary=True, parameters={"binary_data_output": True})
    expect(answer.outputs[0].as_numpy().tolist(), array.tolist())


@point
def an_id_comes_back(url: str) -> None:
    expect(infer(url, "linear", ROWS, "FP32", binary=False, request_id="ä").id, "ä")


@point
def an_error_is_read(url: str) -> None:
    try:
        infer(url, "nobody", ROWS, "FP32", binary=False)
    except httpx.HTTPStatusError as error:
        expect(error.response.status_code, 404)
        expect("nobody" in str(error), True)
    else:
        raise AssertionError("it answered")


if __name__ == "__main__":
    run()
