"""With open-inference-openapi, which sends every number as a float. Run in its environment, with the server's URL."""

from __future__ import annotations

from open_inference.openapi.client import OpenInferenceClient  # type: ignore[import-not-found]  # in its environment
from open_inference.openapi.core.api_error import ApiError  # type: ignore[import-not-found]  # see above
from open_inference.openapi.errors import BadRequestError  # type: ignore[import-not-found]  # see above
from open_inference.openapi.types import InferenceRequest  # type: ignore[import-not-found]  # see above

from tests.foreign_clients.points import expect, point, run


def ask(url: str, model: str, kind: str, shape: list[int], data: list[object], name: str = "x") -> object:
    tensor = {"name": name, "shape": shape, "datatype": kind, "data": data}
    answer = OpenInferenceClient(base_url=url).model_infer(model, request=InferenceRequest(inputs=[tensor]))
    data_out = answer.outputs[0].data
    return getattr(data_out, "__root__", data_out)


@point
def health_and_metadata(url: str) -> None:
    client = OpenInferenceClient(base_url=url)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("linear")
    client.check_model_version_readiness("linear", "1")
    expect(client.read_server_metadata().name != "", True)
    expect(client.read_model_metadata("linear").versions, ["1"])
    expect(client.read_model_version_metadata("linear", "1").name, "linear")


@point
def integers_and_booleans_may_be_written_as_floats(url: str) -> None:
    expect(ask(url, "echo-INT64", "INT64", [2], [3.0, -4.0]), [3, -4])
    expect(ask(url, "echo-INT8", "INT8", [2], [3.0, -4.0]), [3, -4])
    expect(ask(url, "echo-BOOL", "BOOL", [2], [1.0, 0.0]), [True, False])


@point
def strings_come_back(url: str) -> None:
    expect(ask(url, "echo-BYTES", "BYTES", [2], ["ä", ""]), ["ä", ""])


@point
def a_bad_request_and_an_unknown_model_are_its_own_errors(url: str) -> None:
    try:
        ask(url, "linear", "FP32", [1, 4], [1.0, 2.0, 3.0, 4.0], name="z")
    except BadRequestError as error:
        expect(type(error.body["error"]), str)
    else:
        raise AssertionError("it answered")
    try:
        ask(url, "nobody", "FP32", [1], [1.0])
    except ApiError as error:
        expect(error.status_code, 404)
    else:
        raise AssertionError("it answered")


if __name__ == "__main__":
    run()
