"""Asks a service for predictions over HTTP, in the V2 protocol, with JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from demo.failure import DemoFailed

_DATATYPES = {"int64": "INT64", "float32": "FP32"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    model_version: str
    outputs: Mapping[str, np.ndarray]
    """In the shape that the service gave."""


def path_of(model: str) -> str:
    """The path of inference, below a service's URL."""
    return f"/v2/models/{model}/infer"


def request(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The body of an inference request."""
    return {
        "inputs": [
            {"name": name, "datatype": _DATATYPES[str(array.dtype)], "shape": list(array.shape), "data": array.tolist()}
            for name, array in inputs.items()
        ]
    }


def read(document: Mapping[str, Any]) -> Answer:
    """From the body of an inference response."""
    return Answer(
        model_version=document["model_version"],
        outputs={output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in document["outputs"]},
    )


def ask(http: httpx.Client, url: str, model: str, inputs: Mapping[str, np.ndarray]) -> Answer:
    """`url` is the service's. Raises DemoFailed if there is no prediction in the answer, or no answer."""
    try:
        response = http.post(url + path_of(model), json=request(inputs))
    except httpx.HTTPError as error:
        raise DemoFailed(f"no answer from {url}: {error!r}") from error
    if response.status_code != httpx.codes.OK:
        raise DemoFailed(f"{response.url} answered {response.status_code}: {response.text[:500]}")
    return read(response.json())
