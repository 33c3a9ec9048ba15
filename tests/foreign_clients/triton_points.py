"""With tritonclient[http]. Run in its environment, with the server's URL."""

from __future__ import annotations

import asyncio

import numpy as np
import tritonclient.http as triton  # type: ignore[import-not-found]  # only in its own environment
import tritonclient.http.aio as asynchronous  # type: ignore[import-not-found]  # see above
from tritonclient.utils import InferenceServerException  # type: ignore[import-not-found]  # see above

from tests.foreign_clients.points import expect, point, run

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
KINDS = {
    "FP16": np.array([1.5, -2.0], np.float16),
    "BOOL": np.array([True, False]),
    "INT8": np.array([-128, 127], np.int8),
    "INT64": np.array([-(2**63), 2**63 - 1]),
    "BYTES": np.array(["ä", ""], dtype=object),
}


def client(url: str) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(url.removeprefix("http://"))


def tensor(name: str, array: np.ndarray, kind: str, *, binary: bool) -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), kind)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


@point
def health_metadata_and_configuration(url: str) -> None:
    it = client(url)
    expect((it.is_server_live(), it.is_server_ready(), it.is_model_ready("linear", "1")), (True, True, True))
    expect(it.get_model_metadata("linear")["inputs"], [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}])
    expect("binary_tensor_data" in it.get_server_metadata()["extensions"], True)
    expect(it.get_model_config("linear", "1")["name"], "linear")


@point
def json_and_binary_tensors_answer_alike(url: str) -> None:
    answers = []
    for sent in (True, False):
        for got in (True, False):
            outputs = [triton.InferRequestedOutput("y", binary_data=got)]
            inputs = [tensor("x", ROWS, "FP32", binary=sent)]
            answers.append(client(url).infer("linear", inputs, outputs=outputs).as_numpy("y"))
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], atol=1e-6)


@point
def an_id_of_any_script_comes_back(url: str) -> None:
    answer = client(url).infer("linear", [tensor("x", ROWS, "FP32", binary=True)], request_id="ä語")
    expect(answer.get_response()["id"], "ä語")


@point
def every_datatype_comes_back_as_it_went_in_binary(url: str) -> None:
    for kind, array in KINDS.items():
        answer = client(url).infer(f"echo-{kind}", [tensor("x", array, kind, binary=True)]).as_numpy("y")
        got = [one.decode() for one in answer] if kind == "BYTES" else answer.tolist()
        expect(got, array.tolist())


@point
def strings_and_integers_come_back_as_they_went_as_json(url: str) -> None:
    for kind in ("BOOL", "INT8", "INT64", "BYTES"):
        outputs = [triton.InferRequestedOutput("y", binary_data=False)]
        inputs = [tensor("x", KINDS[kind], kind, binary=False)]
        answer = client(url).infer(f"echo-{kind}", inputs, outputs=outputs).get_response()
        expect(answer["outputs"][0]["data"], KINDS[kind].tolist())


@point
def both_directions_can_be_compressed(url: str) -> None:
    for name in ("gzip", "deflate"):
        inputs = [tensor("x", np.ones((2000, 4), np.float32), "FP32", binary=True)]
        options = {"request_compression_algorithm": name, "response_compression_algorithm": name}
        expect(client(url).infer("linear", inputs, **options).as_numpy("y").shape, (2000, 3))


@point
def requests_may_be_asked_for_side_by_side(url: str) -> None:
    with triton.InferenceServerClient(url.removeprefix("http://"), concurrency=8) as it:
        asked = [it.async_infer("linear", [tensor("x", ROWS + n, "FP32", binary=n % 2 == 0)]) for n in range(40)]
        answers = [one.get_result(timeout=30).as_numpy("y") for one in asked]
    for n, answer in enumerate(answers):
        alone = client(url).infer("linear", [tensor("x", ROWS + n, "FP32", binary=True)]).as_numpy("y")
        np.testing.assert_allclose(answer, alone, atol=1e-5)


@point
def the_client_for_asyncio_gets_the_same(url: str) -> None:
    async def ask(name: str) -> np.ndarray:
        async with asynchronous.InferenceServerClient(url.removeprefix("http://")) as it:
            options = {"request_compression_algorithm": name, "response_compression_algorithm": name} if name else {}
            answer = await it.infer("linear", [tensor("x", ROWS, "FP32", binary=True)], **options)
            array: np.ndarray = answer.as_numpy("y")
            return array

    async def ask_all() -> list[np.ndarray]:
        return await asyncio.gather(*map(ask, ("", "gzip", "deflate")))

    alone = client(url).infer("linear", [tensor("x", ROWS, "FP32", binary=True)]).as_numpy("y")
    for answer in asyncio.run(ask_all()):
        np.testing.assert_allclose(answer, alone, atol=1e-6)


@point
def a_model_is_unloaded_and_loaded(url: str) -> None:
    it = client(url)
    it.unload_model("echo-FP16")
    expect((it.is_model_ready("echo-FP16"), it.is_model_ready("linear")), (False, True))
    it.load_model("echo-FP16")
    expect(it.is_model_ready("echo-FP16"), True)


@point
def errors_are_text(url: str) -> None:
    for model, status in (("nobody", "404"), ("linear", "400")):
        try:
            client(url).infer(model, [tensor("z", ROWS, "FP32", binary=True)])
        except InferenceServerException as error:
            expect((error.status(), bool(error.message())), (status, True))
        else:
            raise AssertionError(f"{model} answered")


@point
def the_index_and_statistics_can_be_read(url: str) -> None:
    states = {entry["name"]: entry["state"] for entry in client(url).get_model_repository_index()}
    expect(states["linear"], "READY")
    expect(client(url).get_inference_statistics("linear")["model_stats"][0]["name"], "linear")


@point
def loading_with_a_configuration_of_the_callers_is_refused(url: str) -> None:
    for more in ({"config": "{}"}, {"files": {"file:1/model.onnx": b"x"}, "config": "{}"}):
        try:
            client(url).load_model("linear", **more)
        except InferenceServerException as error:
            expect((error.status(), "config" in error.message()), ("400", True))
        else:
            raise AssertionError("it was loaded")


if __name__ == "__main__":
    run()
