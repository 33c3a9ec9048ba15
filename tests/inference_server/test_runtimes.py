"""Every runtime: predictions of the real server, through JSON and binary, are those of the library itself.

Each kind of model is skipped where its library is not installed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference_server.catalog import Catalog, LoadedModel
from inference_server.loading import Loader
from inference_server.protocol.errors import InvalidRequestError, UnavailableError
from inference_server.repository.scan import scan
from tests.inference_server.models import need, published, write_linear, write_version
from tests.inference_server.running import RunningServer, running

# MLflow warns of everything, its own parts included.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(120, 5))
LABELS = (ROWS[:, 0] + ROWS[:, 1] * ROWS[:, 2] > 0).astype(np.int64)
ASKED = RNG.normal(size=(7, 5))

Expected = dict[str, np.ndarray]
Made = tuple[str, dict[str, Any], Expected]
"""Runtime, model.json less the runtime, and what the library itself answers for ASKED, by output."""


def onnx(folder: Path) -> Made:
    need("skl2onnx", "sklearn")
    import onnxruntime  # noqa: PLC0415
    from skl2onnx import to_onnx  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    model = LogisticRegression().fit(ROWS, LABELS)
    exported = to_onnx(model, ROWS[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    (folder / "model.onnx").write_bytes(exported)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    answers = session.run(names, {session.get_inputs()[0].name: ASKED.astype(np.float32)})
    return "onnx", {}, dict(zip(names, answers, strict=True))


def lightgbm(folder: Path) -> Made:
    need("lightgbm")
    import lightgbm as library  # noqa: PLC0415

    booster = library.train({"objective": "binary", "verbose": -1}, library.Dataset(ROWS, LABELS), 20)
    booster.save_model(str(folder / "model.txt"))
    return "lightgbm", {}, {"predict": np.asarray(booster.predict(ASKED))}


def lightgbm_of_classes(folder: Path) -> Made:
    need("lightgbm")
    import lightgbm as library  # noqa: PLC0415

    parameters = {"objective": "multiclass", "num_class": 3, "verbose": -1}
    booster = library.train(parameters, library.Dataset(ROWS, np.arange(len(ROWS)) % 3), 5)
    booster.save_model(str(folder / "model.txt"))
    model_json = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 5]}]}
    return "lightgbm", model_json, {"predict": np.asarray(booster.predict(ASKED.astype(np.float32)))}


def xgboost(folder: Path) -> Made:
    need("xgboost")
    import xgboost as library  # noqa: PLC0415

    booster = library.train({"objective": "binary:logistic", "nthread": 1}, library.DMatrix(ROWS, LABELS), 20)
    booster.save_model(folder / "model.ubj")
    return "xgboost", {}, {"predict": booster.predict(library.DMatrix(ASKED.astype(np.float32)))}


def xgboost_margin_in_json(folder: Path) -> Made:
    need("xgboost")
    import xgboost as library  # noqa: PLC0415

    booster = library.train({"objective": "binary:logistic", "nthread": 1}, library.DMatrix(ROWS, LABELS), 5)
    booster.save_model(folder / "booster.json")
    expected = booster.predict(library.DMatrix(ASKED.astype(np.float32)), output_margin=True)
    return "xgboost", {"file": "booster.json", "parameters": {"margin": True}}, {"predict": expected}


def xgboost_stopped_early(folder: Path) -> Made:
    """By scikit-learn's interface, which answers with the best iteration, not with the last."""
    need("xgboost", "sklearn")
    import xgboost as library  # noqa: PLC0415

    model = library.XGBClassifier(learning_rate=1, early_stopping_rounds=3, n_jobs=1)
    model.fit(ROWS[:80], LABELS[:80], eval_set=[(ROWS[80:], LABELS[80:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(folder / "model.ubj")
    return "xgboost", {}, {"predict": model.predict_proba(ASKED)[:, 1]}


def xgboost_of_classes(folder: Path) -> Made:
    """Stopped early as well, by the library's own interface, which answers with all that it has."""
    need("xgboost")
    import xgboost as library  # noqa: PLC0415

    parameters = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
    rows = library.DMatrix(ROWS, np.arange(len(ROWS)) % 3)
    booster = library.train(parameters, rows, 5)
    booster.set_attr(best_iteration="2")
    booster.save_model(folder / "model.json")
    return "xgboost", {}, {"predict": booster.predict(library.DMatrix(ASKED.astype(np.float32)))}


def skops_pipeline(folder: Path) -> Made:
    need("skops", "sklearn")
    import skops.io  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS)
    skops.io.dump(model, folder / "model.skops")
    expected = {name: getattr(model, name)(ASKED) for name in ("predict", "predict_proba", "decision_function")}
    return "sklearn_skops", {}, expected


def skops_threaded(folder: Path) -> Made:
    """Of a library whose OpenMP threads do not survive a fork."""
    need("skops", "sklearn")
    import skops.io  # noqa: PLC0415
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415

    names = np.array(["no", "yes"])[LABELS]
    model = HistGradientBoostingClassifier(max_iter=10).fit(ROWS, names)
    skops.io.dump(model, folder / "model.skops")
    trusted = skops.io.get_untrusted_types(file=folder / "model.skops")
    expected = {"predict": model.predict(ASKED), "predict_proba": model.predict_proba(ASKED)}
    return "sklearn_skops", {"parameters": {"trusted": trusted}}, expected


def skops_parallel(folder: Path) -> Made:
    need("skops", "sklearn")
    import skops.io  # noqa: PLC0415
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415

    model = RandomForestRegressor(10, n_jobs=4, random_state=1).fit(ROWS, ROWS[:, :2])
    skops.io.dump(model, folder / "model.skops")
    trusted = skops.io.get_untrusted_types(file=folder / "model.skops")
    return "sklearn_skops", {"parameters": {"trusted": trusted}}, {"predict": model.predict(ASKED)}


def skops_of_targets(folder: Path) -> Made:
    """It tells two things of each row, of which one has three classes and one has two."""
    need("skops", "sklearn")
    import skops.io  # noqa: PLC0415
    from sklearn.neighbors import KNeighborsClassifier  # noqa: PLC0415

    model = KNeighborsClassifier(3).fit(ROWS, np.stack([np.arange(len(ROWS)) % 3, LABELS], axis=1))
    skops.io.dump(model, folder / "model.skops")
    trusted = skops.io.get_untrusted_types(file=folder / "model.skops")
    of_three, of_two = model.predict_proba(ASKED)
    expected = {"predict": model.predict(ASKED), "predict_proba": np.concatenate([of_three, of_two], axis=1)}
    return "sklearn_skops", {"parameters": {"trusted": trusted}}, expected


def joblib(folder: Path) -> Made:
    need("sklearn")
    import joblib as library  # noqa: PLC0415
    from sklearn.linear_model import Ridge  # noqa: PLC0415

    model = Ridge().fit(ROWS, ROWS[:, 0])
    library.dump(model, folder / "model.joblib")
    return "sklearn_pickle", {}, {"predict": model.predict(ASKED)}


def mlflow_tensor(folder: Path) -> Made:
    need("mlflow", "pandas")
    import mlflow.pyfunc  # noqa: PLC0415
    from mlflow.models import infer_signature  # noqa: PLC0415

    class Doubling(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # the library has no types here
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            del context, params
            return np.asarray(model_input).sum(axis=1) * 2

    folder.rmdir()
    mlflow.pyfunc.save_model(
        str(folder), python_model=Doubling(), signature=infer_signature(ASKED), pip_requirements=[]
    )
    return "mlflow", {}, {"predictions": ASKED.sum(axis=1) * 2}


def torch(folder: Path) -> Made:
    need("torch")
    import torch as library  # noqa: PLC0415

    layer = library.nn.Sequential(library.nn.Linear(5, 4), library.nn.ReLU(), library.nn.Linear(4, 2)).eval()
    example = library.from_numpy(ASKED.astype(np.float32))
    program = library.export.export(layer, (example,), dynamic_shapes=[{0: library.export.Dim("n", min=1, max=1024)}])
    library.export.save(program, folder / "model.pt2")
    model_json = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 5]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    return "torch", model_json, {"y": layer(example).detach().numpy()}


def torch_of_halves(folder: Path) -> Made:
    """In bfloat16 inside, with its results in a dictionary."""
    need("torch")
    import torch as library  # noqa: PLC0415

    class Halves(library.nn.Module):  # type: ignore[misc]  # the library has no types here
        def forward(self, x: Any) -> dict[str, Any]:
            half = x.to(library.bfloat16)
            return {"double": half + half, "sum": x.sum(dim=1)}

    example = library.from_numpy(ASKED.astype(np.float32))
    program = library.export.export(
        Halves(), (example,), dynamic_shapes=[{0: library.export.Dim("n", min=1, max=1024)}]
    )
    library.export.save(program, folder / "model.pt2")
    model_json = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 5]}],
        "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [-1]},
            {"name": "double", "datatype": "FP32", "shape": [-1, 5]},
        ],
    }
    half = example.to(library.bfloat16)
    return "torch", model_json, {"sum": example.sum(dim=1).numpy(), "double": (half + half).float().numpy()}


KINDS = [
    onnx,
    lightgbm,
    lightgbm_of_classes,
    xgboost,
    xgboost_margin_in_json,
    xgboost_stopped_early,
    xgboost_of_classes,
    skops_pipeline,
    skops_threaded,
    skops_parallel,
    joblib,
    mlflow_tensor,
    torch,
    torch_of_halves,
]


@contextmanager
def serving(root: Path, make: Callable[[Path], Made]) -> Iterator[tuple[RunningServer, Expected]]:
    folder = root / "model/1"
    folder.mkdir(parents=True)
    runtime, model_json, expected = make(folder)
    (root / "model/model.json").write_text(json.dumps({"runtime": runtime, **model_json}))
    (version,) = scan(published(root)).versions
    pins = f"model/1={version.manifest.digest}"
    with running(root, unsafe_models=pins, log_level="DEBUG") as server:
        yield server, expected


def ask(server: RunningServer, wanted: list[str], *, binary: bool) -> Expected:
    """Ask for ASKED, in the model's own datatype."""
    (tensor,) = server.get("/v2/models/model").json()["inputs"]
    kinds = {"FP32": "<f4", "FP64": "<f8"}
    raw = ASKED.astype(kinds[tensor["datatype"]])
    entry: dict[str, Any] = {"name": tensor["name"], "datatype": tensor["datatype"], "shape": [7, 5]}
    document: dict[str, Any] = {
        "inputs": [entry],
        "outputs": [{"name": name, "parameters": {"binary_data": binary}} for name in wanted],
    }
    headers = {}
    if binary:
        entry["parameters"] = {"binary_data_size": raw.nbytes}
        head = json.dumps(document).encode()
        headers["Inference-Header-Content-Length"] = str(len(head))
        content = head + raw.tobytes()
    else:
        entry["data"] = raw.ravel().tolist()
        content = json.dumps(document).encode()
    response = server.post("/v2/models/model/infer", content=content, headers=headers)
    assert response.status_code == 200, response.text
    return read(response.content, response.headers.get("Inference-Header-Content-Length"))


def read(content: bytes, header_length: str | None) -> Expected:
    length = len(content) if header_length is None else int(header_length)
    tail = content[length:]
    outputs = {}
    for output in json.loads(content[:length])["outputs"]:
        data = output.get("data")
        if data is None:
            size = output["parameters"]["binary_data_size"]
            data, tail = decode(tail[:size], output["datatype"]), tail[size:]
        outputs[output["name"]] = np.array(data).reshape(output["shape"])
    return outputs


def decode(raw: bytes, datatype: str) -> Any:
    if datatype == "BYTES":
        elements = []
        while raw:
            end = 4 + int.from_bytes(raw[:4], "little")
            elements.append(raw[4:end].decode())
            raw = raw[end:]
        return elements
    return np.frombuffer(raw, {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}[datatype])


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_predictions_are_those_of_the_library(tmp_path: Path, make: Callable[[Path], Made]) -> None:
    with serving(tmp_path, make) as (server, expected):
        ready = server.get("/readyz")
        assert ready.status_code == 200, ready.text
        for binary in (False, True, False, True):
            answer = ask(server, list(expected), binary=binary)
            assert answer.keys() == expected.keys()
            for name, array in expected.items():
                if array.dtype.kind == "f":
                    np.testing.assert_allclose(answer[name], array, rtol=1e-6, atol=1e-6)
                else:
                    np.testing.assert_array_equal(answer[name], array)
        server.process.terminate()
        assert server.wait() == 0


@pytest.mark.parametrize(
    "make",
    [
        onnx,
        lightgbm,
        lightgbm_of_classes,
        xgboost,
        xgboost_of_classes,
        skops_pipeline,
        skops_parallel,
        skops_of_targets,
    ],
    ids=lambda make: make.__name__,
)
def test_no_rows_get_no_predictions(tmp_path: Path, make: Callable[[Path], Made]) -> None:
    model, expected = loaded(tmp_path, make)
    (tensor,) = model.signature.inputs.values()
    answer = model.predict({tensor.name: np.empty((0, 5), tensor.type.array)}, list(expected), {}).outputs
    assert {name: array.shape for name, array in answer.items()} == {
        name: (0, *array.shape[1:]) for name, array in expected.items()
    }
    assert all(array.dtype == model.signature.outputs[name].type.array for name, array in answer.items())


def test_the_classes_of_several_targets_are_side_by_side_and_rows_come_first(tmp_path: Path) -> None:
    model, expected = loaded(tmp_path, skops_of_targets)
    assert model.signature.outputs["predict_proba"].shape == (-1, 5)
    answer = model.predict({"x": ASKED}, list(expected), {}).outputs
    for name, array in expected.items():
        np.testing.assert_allclose(answer[name], array)


def of_columns(folder: Path) -> Made:
    need("sklearn", "skops", "pandas")
    import pandas as pd  # noqa: PLC0415
    import skops.io  # noqa: PLC0415
    from sklearn.compose import make_column_transformer  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder  # noqa: PLC0415

    table = pd.DataFrame({"city": ["Łódź", "Oslo", "Rome"] * 4, "age": range(12), "income": ROWS[:12, 0]})
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(table, LABELS[:12])
    skops.io.dump(model, folder / "model.skops")
    trusted = skops.io.get_untrusted_types(file=folder / "model.skops")
    kinds = {"income": "FP64", "age": "INT64", "city": "BYTES"}
    inputs = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in kinds.items()]
    model_json = {"inputs": inputs, "parameters": {"trusted": trusted}}
    return "sklearn_skops", model_json, {"predict_proba": model.predict_proba(table[:7])}


def test_what_picks_the_columns_of_a_dataframe_by_name_takes_each_as_an_input(tmp_path: Path) -> None:
    model, expected = loaded(tmp_path, of_columns)
    cities = np.array([city.encode() for city in ("Łódź", "Oslo", "Rome") * 3][:7], object)
    asked = {"income": ROWS[:7, 0], "age": np.arange(7), "city": cities}
    for rows in (7, 1, 0):
        answer = model.predict({name: array[:rows] for name, array in asked.items()}, ["predict_proba"], {}).outputs
        np.testing.assert_allclose(answer["predict_proba"], expected["predict_proba"][:rows])
    with pytest.raises(
        InvalidRequestError, match="must agree in rows, and there are 7 in 'income', 1 in 'age', 7 in 'c"
    ):
        model.predict({**asked, "age": np.arange(1)}, ["predict"], {})
    with pytest.raises(InvalidRequestError, match="input 'income' has NaN or infinity"):
        model.predict({**asked, "income": np.full(7, np.nan)}, ["predict"], {})


@pytest.mark.parametrize("stated", [0, 2])
def test_a_model_that_picks_columns_by_name_says_which_inputs_to_state(tmp_path: Path, stated: int) -> None:
    def unstated(folder: Path) -> Made:
        runtime, model_json, expected = of_columns(folder)
        return runtime, {**model_json, "inputs": model_json["inputs"][:stated] or None}, expected

    with pytest.raises(UnavailableError, match=r"state an input \[-1\] for each in model.json: city, age, income"):
        loaded(tmp_path, unstated)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_an_estimator_does_not_take_is_the_callers_error(tmp_path: Path, wrong: float) -> None:
    model, _ = loaded(tmp_path, skops_pipeline)
    with pytest.raises(InvalidRequestError, match="input 'x' has NaN or infinity"):
        model.predict({"x": np.full((1, 5), wrong)}, ["predict"], {})


def loaded(root: Path, make: Callable[[Path], Made]) -> tuple[LoadedModel, Expected]:
    folder = root / "models/model/1"
    folder.mkdir(parents=True)
    runtime, model_json, expected = make(folder)
    (root / "models/model/model.json").write_text(json.dumps({"runtime": runtime, **model_json}))
    catalog = Catalog()
    Loader(catalog, root / "scratch").load_all(scan(published(root / "models")))
    return catalog.find("model"), expected


def test_recommendations_are_those_of_plain_numpy(tmp_path: Path) -> None:
    users, items = RNG.normal(size=(50, 8)).astype(np.float32), RNG.normal(size=(200, 8)).astype(np.float32)
    folder = tmp_path / "models/model/1"
    folder.mkdir(parents=True)
    ids = RNG.permutation(1000)[:50]
    np.savez(
        folder / "factors.npz",
        user_factors=users,
        item_factors=items,
        user_ids=ids,
        item_ids=np.arange(1000, 1200),
        popularity=np.arange(200),
    )
    (folder.parent / "model.json").write_text('{"runtime": "numpy_topn"}')
    scores = users @ items.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    expected = {"items": best + 1000, "scores": np.take_along_axis(scores, best, axis=1)}
    with running(published(tmp_path / "models")) as server:
        for binary in (False, True):
            entry: dict[str, Any] = {"name": "user", "datatype": "INT64", "shape": [50]}
            document = {"inputs": [entry], "parameters": {"binary_data_output": binary}}
            headers, tail = {}, b""
            if binary:
                tail = ids.astype("<i8").tobytes()
                entry["parameters"] = {"binary_data_size": len(tail)}
                headers["Inference-Header-Content-Length"] = str(len(json.dumps(document)))
            else:
                entry["data"] = ids.tolist()
            response = server.post(
                "/v2/models/model/infer", content=json.dumps(document).encode() + tail, headers=headers
            )
            answer = read(response.content, response.headers.get("Inference-Header-Content-Length"))
            np.testing.assert_array_equal(answer["items"], expected["items"])
            np.testing.assert_allclose(answer["scores"], expected["scores"], rtol=1e-6, atol=1e-6)


# --- What is refused --------------------------------------------------------------------------------------------------


def reason(root: Path, pins: dict[str, str] | None = None) -> str:
    catalog = Catalog()
    Loader(catalog, root.parent / "scratch", pins or {}).load_all(scan(published(root)))
    assert not catalog.models
    return catalog.problems[0].reason


def test_a_pickle_is_refused_unless_its_content_is_pinned(tmp_path: Path) -> None:
    need("sklearn")
    root = tmp_path / "models"
    folder = root / "model/1"
    folder.mkdir(parents=True)
    joblib(folder)
    (root / "model/model.json").write_text('{"runtime": "sklearn_pickle"}')
    (version,) = scan(published(root)).versions
    pin = f"INFERENCE_UNSAFE_MODELS=model/1={version.manifest.digest}"
    assert pin in reason(root)
    assert pin in reason(root, {"model/1": "0" * 64})
    assert pin in reason(root, {"model/2": version.manifest.digest})
    catalog = Catalog()
    Loader(catalog, tmp_path / "scratch", {"model/1": version.manifest.digest}).load_all(scan(root))
    assert catalog.ready


def test_skops_types_are_refused_unless_they_are_trusted(tmp_path: Path) -> None:
    need("skops", "sklearn")
    root = tmp_path / "models"
    (root / "model/1").mkdir(parents=True)
    skops_threaded(root / "model/1")
    (root / "model/model.json").write_text('{"runtime": "sklearn_skops"}')
    assert "TreePredictor; list them in parameters.trusted" in reason(root)


@pytest.mark.parametrize(
    ("runtime", "file", "content", "words"),
    [
        ("lightgbm", "model.txt", b"tree\nversion=v4\nnum_class=1\n", "no whole LightGBM model"),
        ("lightgbm", "model.txt", b"\x00\xff", "no whole LightGBM model"),
        ("lightgbm", "other.txt", b"", "model.txt or model.lgb.txt or model.bst is missing"),
        ("xgboost", "model.ubj", b"{L", "XGBoost can't load model.ubj"),
        ("xgboost", "model.json", b"{}", "XGBoost can't load model.json"),
        ("sklearn", "model.skops", b"PK", "skops can't load model.skops"),
        ("mlflow", "model.txt", b"", "MLmodel is missing"),
    ],
)
def test_a_file_that_is_no_model_of_its_kind_is_refused(
    tmp_path: Path, runtime: str, file: str, content: bytes, words: str
) -> None:
    need(*{"sklearn": ("sklearn", "skops"), "mlflow": ("mlflow", "pandas")}.get(runtime, (runtime,)))
    root = tmp_path / "models"
    name = "sklearn_skops" if runtime == "sklearn" else runtime
    write_version(root, "model", 1, {file: content}, {"runtime": name})
    (version,) = scan(published(root)).versions
    assert words in reason(root, {"model/1": version.manifest.digest})


def test_a_truncated_lightgbm_model_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    need("lightgbm")
    (tmp_path / "whole").mkdir()
    lightgbm(tmp_path / "whole")
    text = (tmp_path / "whole/model.txt").read_bytes()
    end = text.index(b"end of trees")
    for number, cut in enumerate(range(0, end, max(1, end // 5))):
        root = tmp_path / f"models{number}"
        write_version(root, "model", 1, {"model.txt": text[: cut + 1]}, {"runtime": "lightgbm"})
        assert "no whole LightGBM model" in reason(root)


def test_a_library_that_is_not_installed_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("xgboost") is not None:
        pytest.skip("xgboost is installed")
    root = tmp_path / "models"
    write_version(root, "model", 1, {"model.ubj": b""}, {"runtime": "xgboost"})
    assert "can't be imported in this image: No module named 'xgboost'" in reason(root)


# --- Warm-up ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}', None),
        (b'{"inputs": []}', "warm-up request warm.json is refused: input 'x' is missing"),
        (None, "warm-up request warm.json is missing"),
    ],
)
def test_a_warm_up_request_that_fails_is_a_reason(tmp_path: Path, content: bytes | None, words: str | None) -> None:
    root = tmp_path / "models"
    folder = write_linear(root, warmup=["warm.json"])
    if content is not None:
        (folder / "warm.json").write_bytes(content)
    catalog = Catalog()
    Loader(catalog, tmp_path / "scratch").load_all(scan(published(root)))
    assert catalog.ready is (words is None)
    for problem in catalog.problems:
        assert problem.reason.startswith(str(words))
