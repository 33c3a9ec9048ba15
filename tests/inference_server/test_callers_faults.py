"""What a model can't do with its inputs is told their caller, as a 400; what is wrong with the model stays a 500."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from inference_server.catalog import Catalog, LoadedModel
from inference_server.loading import Loader
from inference_server.protocol.errors import InvalidRequestError, UnavailableError
from inference_server.repository.scan import scan
from tests.inference_server.models import need, published, write_version
from tests.inference_server.running import running

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")

Shapes = dict[str, tuple[int, list[Any] | None]]
"""ONNX type and dimensions of tensors, by their names. None: of any shape."""

FLOAT, INT, TEXT, BF16 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING, TensorProto.BFLOAT16
WEIGHTS = [
    helper.make_tensor("table", FLOAT, [3, 2], [0.0] * 6),
    *(helper.make_tensor(f"gates{gates}", FLOAT, [1, gates, 2], [0.0] * gates * 2) for gates in (3, 4)),
    *(helper.make_tensor(f"again{gates}", FLOAT, [1, gates, 1], [0.0] * gates) for gates in (3, 4)),
]


def write_onnx(root: Path, nodes: list[NodeProto], inputs: Shapes, outputs: Shapes) -> Path:
    takes, gives = (
        [helper.make_tensor_value_info(name, *what) for name, what in tensors.items()] for tensors in (inputs, outputs)
    )
    graph = helper.make_graph(nodes, "faults", takes, gives, WEIGHTS)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return write_version(root, "model", 1, {"model.onnx": model.SerializeToString()}, {"runtime": "onnx"})


def loaded(root: Path) -> LoadedModel:
    (version,) = scan(published(root)).versions
    catalog = Catalog()
    Loader(catalog, root.parent / "scratch", {version.key: version.manifest.digest}).load_all(scan(root))
    return catalog.find("model")


def texts(*elements: bytes) -> np.ndarray:
    return np.array(elements, dtype=object)


def rows(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


node = helper.make_node
ADD = [node("Add", ["x", "y"], ["z"])]
JOIN = [node("Concat", ["x", "y"], ["z"], axis=1)]
PRODUCT = [node("MatMul", ["x", "y"], ["z"])]
LOOK_UP = helper.make_graph(
    [node("Gather", ["table", "x"], ["found"])], "branch", [], [helper.make_tensor_value_info("found", FLOAT, None)]
)
ENCODE = [node("OneHotEncoder", ["x"], ["z"], domain="ai.onnx.ml", cats_int64s=[1, 2], zeros=0)]

REFUSED: dict[str, tuple[list[NodeProto], Shapes, dict[str, np.ndarray], str]] = {
    "a dimension of one name": (
        ADD,
        {"x": (FLOAT, ["n"]), "y": (FLOAT, ["n"])},
        {"x": rows(2), "y": rows(3)},
        "the inputs must agree in 'n', and it is 2 in input 'x' (dimension 0), 3 in input 'y' (dimension 0)",
    ),
    "an inner dimension of one name": (
        PRODUCT,
        {"x": (FLOAT, ["n", "k"]), "y": (FLOAT, ["k", "m"])},
        {"x": rows(2, 3), "y": rows(4, 3)},
        "the inputs must agree in 'k', and it is 3 in input 'x' (dimension 1), 4 in input 'y' (dimension 0)",
    ),
    "rows without a name": (
        JOIN,
        {"x": (FLOAT, [None, 1]), "y": (FLOAT, [None, 1])},
        {"x": rows(2, 1), "y": rows(3, 1)},
        "the inputs must agree in rows, and it is 2 in input 'x' (dimension 0), 3 in input 'y' (dimension 0)",
    ),
    "an index beyond the end": (
        [node("Gather", ["table", "x"], ["z"])],
        {"x": (INT, ["n"])},
        {"x": np.array([99])},
        "the model's Gather does not take these inputs: indices element out of data bounds, idx=99",
    ),
    "an index beyond the end, in a branch": (
        [node("If", ["yes"], ["z"], then_branch=LOOK_UP, else_branch=LOOK_UP)],
        {"yes": (TensorProto.BOOL, []), "x": (INT, ["n"])},
        {"yes": np.array(True), "x": np.array([99])},
        "the model's Gather does not take these inputs: indices element out of data bounds, idx=99",
    ),
    "an index beyond the end of a row": (
        [node("GatherElements", ["table", "x"], ["z"])],
        {"x": (INT, ["n", 2])},
        {"x": np.array([[99, 0]])},
        "the model's GatherElements does not take these inputs",
    ),
    "whole numbers divided by zero": (
        [node("Mod", ["x", "y"], ["z"])],
        {"x": (INT, ["n"]), "y": (INT, ["n"])},
        {"x": np.array([1]), "y": np.array([0])},
        "the model's Mod does not take these inputs: ",
    ),
    "fewer elements than are to be chosen": (
        [node("Constant", [], ["k"], value_ints=[2]), node("TopK", ["x", "k"], ["z", "items"])],
        {"x": (FLOAT, ["n", "m"])},
        {"x": rows(1, 1)},
        "the model's TopK does not take these inputs: k argument [2]",
    ),
    "a size below zero": (
        [node("ConstantOfShape", ["x"], ["z"])],
        {"x": (INT, ["n"])},
        {"x": np.array([-5])},
        "the model's ConstantOfShape does not take these inputs: ",
    ),
    "a dimension that is not there": (
        [node("ReduceSum", ["table", "x"], ["z"])],
        {"x": (INT, ["n"])},
        {"x": np.array([9])},
        "the model's ReduceSum does not take these inputs: axis 9 is not in valid range",
    ),
    "a category that the model does not know": (
        ENCODE,
        {"x": (INT, ["n"])},
        {"x": np.array([7])},
        "the model's OneHotEncoder does not take these inputs: Unknown Category",
    ),
    "a text that is no number": (
        [node("Cast", ["x"], ["z"], to=FLOAT)],
        {"x": (TEXT, ["n"])},
        {"x": texts(b"abc")},
        "the model's Cast does not take these inputs",
    ),
    "an input without elements": (
        [node("ArgMax", ["x"], ["z"], axis=1)],
        {"x": (FLOAT, ["n", "m"])},
        {"x": rows(2, 0)},
        "input 'x' has shape [2, 0]: this model takes none without elements",
    ),
    "a text that is longer than the model has places for": (
        [node("Add", ["x", "table"], ["z"])],
        {"x": (FLOAT, ["n", "length", 2])},
        {"x": rows(1, 4, 2)},
        "the model's Add does not take inputs of these shapes, 'x' [1, 4, 2]: Attempting to broadcast an axis",
    ),
    "an image that is too small": (
        [node("MaxPool", ["x"], ["z"], kernel_shape=[4, 4])],
        {"x": (FLOAT, ["n", 1, "height", "width"])},
        {"x": rows(1, 1, 2, 2)},
        "the model's MaxPool does not take inputs of these shapes, 'x' [1, 1, 2, 2]: ",
    ),
    "sizes that do not divide": (
        [node("Constant", [], ["shape"], value_ints=[-1, 2]), node("Reshape", ["x", "shape"], ["z"])],
        {"x": (FLOAT, ["n", "m"])},
        {"x": rows(1, 3)},
        "the model's Reshape does not take inputs of these shapes, 'x' [1, 3]: The input tensor cannot be reshaped",
    ),
    "nothing to choose from, which would end the process": (
        [node("Constant", [], ["k"], value_ints=[2]), node("TopK", ["x", "k"], ["z", "items"])],
        {"x": (FLOAT, ["n", "m"])},
        {"x": rows(0, 3)},
        "input 'x' has shape [0, 3]: this model takes none without elements",
    ),
    "nothing to choose from, in a model with BF16": (
        [
            node("Constant", [], ["k"], value_ints=[2]),
            node("Cast", ["x"], ["f"], to=FLOAT),
            node("TopK", ["f", "k"], ["z", "items"]),
        ],
        {"x": (BF16, ["n", "m"])},
        {"x": rows(0, 3)},
        "input 'x' has shape [0, 3]: this model takes none without elements",
    ),
    "a batch of none for an LSTM": (
        [node("LSTM", ["x", "gates4", "again4"], ["z"], hidden_size=1)],
        {"x": (FLOAT, ["steps", "n", 2])},
        {"x": rows(5, 0, 2)},
        "input 'x' has shape [5, 0, 2]: this model takes none without elements",
    ),
    "no steps for a GRU": (
        [node("GRU", ["x", "gates3", "again3"], ["z"], hidden_size=1)],
        {"x": (FLOAT, ["steps", "n", 2])},
        {"x": rows(0, 1, 2)},
        "input 'x' has shape [0, 1, 2]: this model takes none without elements",
    ),
    "a sound of no length to make longer": (
        [
            node("Constant", [], ["w"], value=helper.make_tensor("w", FLOAT, [1, 1, 2], [1, 1])),
            node("ConvTranspose", ["x", "w"], ["z"]),
        ],
        {"x": (FLOAT, ["n", 1, "length"])},
        {"x": rows(1, 1, 0)},
        "input 'x' has shape [1, 1, 0]: this model takes none without elements",
    ),
    "a signal of no length": (
        [node("DFT", ["x"], ["z"], axis=1)],
        {"x": (FLOAT, ["n", "length", 1])},
        {"x": rows(1, 0, 1)},
        "input 'x' has shape [1, 0, 1]: this model takes none without elements",
    ),
    "a vector of nothing to make one long": (
        [node("LpNormalization", ["x"], ["z"])],
        {"x": (FLOAT, ["n", "m"])},
        {"x": rows(1, 0)},
        "input 'x' has shape [1, 0]: this model takes none without elements",
    ),
    "a dimension of one name, in a model with BF16": (
        [node("Cast", ["x"], ["f"], to=FLOAT), node("Add", ["f", "y"], ["z"])],
        {"x": (BF16, ["n"]), "y": (FLOAT, ["n"])},
        {"x": rows(2), "y": rows(3)},
        "the inputs must agree in 'n', and it is 2 in input 'x' (dimension 0), 3 in input 'y' (dimension 0)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_inputs_that_an_onnx_model_can_do_nothing_with_are_told_what_is_wrong(tmp_path: Path, what: str) -> None:
    nodes, inputs, given, words = REFUSED[what]
    kind = INT if nodes[-1].op_type in {"ArgMax", "Mod"} else FLOAT
    write_onnx(tmp_path / "models", nodes, inputs, {"z": (kind, None)})
    model = loaded(tmp_path / "models")
    with pytest.raises(InvalidRequestError) as refusal:
        model.predict(given, ["z"], {})
    assert str(refusal.value).startswith(words)


def test_what_an_onnx_model_can_do_with_inputs_that_disagree_is_its_own_business(tmp_path: Path) -> None:
    write_onnx(tmp_path / "models", ADD, {"x": (FLOAT, ["n"]), "y": (FLOAT, ["n"])}, {"z": (FLOAT, ["n"])})
    model = loaded(tmp_path / "models")
    assert model.predict({"x": rows(1), "y": rows(3)}, ["z"], {}).outputs["z"].shape == (3,)


def test_an_onnx_model_that_does_not_take_what_it_says_is_at_fault_itself(tmp_path: Path) -> None:
    """It was exported with rows of any number, and makes one of them."""
    shape = node("Constant", [], ["shape"], value=helper.make_tensor("s", INT, [2], [1, 2]))
    nodes = [shape, node("Reshape", ["x", "shape"], ["z"])]
    write_onnx(tmp_path / "models", nodes, {"x": (FLOAT, ["n", 2])}, {"z": (FLOAT, [1, 2])})
    model = loaded(tmp_path / "models")
    model.predict({"x": rows(1, 2)}, ["z"], {})
    with pytest.raises(Exception, match="Reshape") as failure:
        model.predict({"x": rows(3, 2)}, ["z"], {})
    assert not isinstance(failure.value, InvalidRequestError)


def test_what_a_model_lacks_in_other_inputs_than_its_first_is_its_own_business(tmp_path: Path) -> None:
    """As of the past of a text that begins, in models that choose experts."""
    best = [node("Constant", [], ["k"], value_ints=[1]), node("TopK", ["x", "k"], ["best", "items"])]
    nodes = [*best, node("Concat", ["past", "best"], ["z"], axis=1)]
    given = {"x": rows(1, 3), "past": rows(1, 0)}
    write_onnx(tmp_path / "models", nodes, {"x": (FLOAT, ["n", 3]), "past": (FLOAT, ["n", "p"])}, {"z": (FLOAT, None)})
    assert loaded(tmp_path / "models").predict(given, ["z"], {}).outputs["z"].tolist() == [[1.0]]


def test_an_onnx_model_without_inputs_may_give_a_number_without_dimensions(tmp_path: Path) -> None:
    write_onnx(tmp_path / "models", [node("Constant", [], ["z"], value_float=3.0)], {}, {"z": (FLOAT, [])})
    assert loaded(tmp_path / "models").predict({}, ["z"], {}).outputs["z"] == 3


def test_such_a_request_is_a_400_and_no_error_in_the_log(tmp_path: Path) -> None:
    write_onnx(tmp_path / "models", ADD, {"x": (FLOAT, ["n"]), "y": (FLOAT, ["n"])}, {"z": (FLOAT, ["n"])})
    entries = [
        {"name": name, "datatype": "FP32", "shape": [size], "data": [1] * size} for name, size in (("x", 2), ("y", 3))
    ]
    with running(published(tmp_path / "models"), log_level="DEBUG") as server:
        response = server.post("/v2/models/model/infer", json={"inputs": entries})
        server.process.terminate()
        assert server.wait() == 0
    assert response.status_code == 400
    assert "2 in input 'x' (dimension 0), 3 in input 'y' (dimension 0)" in response.json()["error"]
    assert not [line for line in server.lines if b"BroadcastIterator" in line]


@pytest.mark.parametrize("rows", ["n", None])
def test_an_input_without_rows_has_an_answer_without_rows_and_ends_no_worker(tmp_path: Path, rows: str | None) -> None:
    """Onnxruntime's TopK ends the process that asks for the best of none. Some converters give rows no name."""
    best = node("Constant", [], ["k"], value=helper.make_tensor("k", INT, [1], [2]))
    nodes = [best, node("TopK", ["x", "k"], ["scores", "items"])]
    outputs: Shapes = {"scores": (FLOAT, [rows, 2]), "items": (INT, [rows, 2])}
    write_onnx(tmp_path / "models", nodes, {"x": (FLOAT, [rows, 3])}, outputs)
    entry = {"name": "x", "datatype": "FP32", "shape": [0, 3], "data": []}
    with running(published(tmp_path / "models")) as server:
        response = server.post("/v2/models/model/infer", json={"inputs": [entry]})
        assert response.status_code == 200
        assert response.json()["outputs"] == [
            {"name": "scores", "datatype": "FP32", "shape": [0, 2], "data": []},
            {"name": "items", "datatype": "INT64", "shape": [0, 2], "data": []},
        ]
        entry |= {"shape": [1, 3], "data": [1, 3, 2]}
        response = server.post("/v2/models/model/infer", json={"inputs": [entry], "outputs": [{"name": "items"}]})
        assert response.json()["outputs"][0]["data"] == [1, 2]


# --- scikit-learn -----------------------------------------------------------------------------------------------------

COLUMNS = np.array([[1.0, 0.5], [2.0, 0.25], [3.0, 2.0], [1.0, 4.0]])
LABELS = np.array([0, 1, 1, 0])


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415

    return RandomForestClassifier(2, random_state=1).fit(COLUMNS, LABELS)


def categories() -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder  # noqa: PLC0415

    return make_pipeline(OneHotEncoder(), LogisticRegression()).fit(COLUMNS, LABELS)


def positive() -> Any:
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import PowerTransformer  # noqa: PLC0415

    return make_pipeline(PowerTransformer("box-cox"), LinearRegression()).fit(COLUMNS, LABELS)


def write_joblib(root: Path, make: Callable[[], Any], **model_json: Any) -> Path:
    need("sklearn", "joblib")
    import joblib  # noqa: PLC0415

    folder = write_version(root, "model", 1, {}, {"runtime": "sklearn_pickle", **model_json})
    joblib.dump(make(), folder / "model.joblib")
    return folder


STATED = [
    {"name": "predict", "datatype": "INT64", "shape": [-1]},
    {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]},
    {"name": "decision_function", "datatype": "FP64", "shape": [-1]},
]
ONE = [{"name": "predict", "datatype": "FP64", "shape": [-1]}]


@pytest.mark.parametrize(
    ("make", "outputs", "row", "words"),
    [
        (forest, None, [1e39, 0.0], "Input X contains infinity or a value too large for dtype('float32')."),
        (categories, STATED, [9.0, 0.5], "Found unknown categories"),
        (positive, ONE, [-1.0, 1.0], "The Box-Cox transformation can only be applied to strictly positive data"),
    ],
    ids=["too large", "an unknown category", "not positive"],
)
def test_a_value_that_an_estimator_does_not_take_is_told_in_its_own_words(
    tmp_path: Path, make: Callable[[], Any], outputs: list[dict[str, Any]] | None, row: list[float], words: str
) -> None:
    write_joblib(tmp_path / "models", make, outputs=outputs)
    model = loaded(tmp_path / "models")
    assert len(model.predict({"x": COLUMNS}, ["predict"], {}).outputs["predict"]) == len(COLUMNS)
    with pytest.raises(InvalidRequestError) as refusal:
        model.predict({"x": np.array([row])}, ["predict"], {})
    assert str(refusal.value).startswith(f"the model does not take input 'x': {words}")


def test_an_estimator_that_takes_no_zeros_needs_its_outputs_stated(tmp_path: Path) -> None:
    write_joblib(tmp_path / "models", positive)
    with pytest.raises(UnavailableError, match=r"if it takes no zeros, state outputs in model\.json"):
        loaded(tmp_path / "models")


def test_a_sparse_matrix_is_answered_with_its_numbers(tmp_path: Path) -> None:
    def encoder() -> Any:
        from sklearn.preprocessing import OneHotEncoder  # noqa: PLC0415

        return OneHotEncoder(handle_unknown="ignore").fit(COLUMNS[:, :1])

    write_joblib(tmp_path / "models", encoder)
    model = loaded(tmp_path / "models")
    assert model.signature.outputs["transform"].describe() == {
        "name": "transform",
        "datatype": "FP64",
        "shape": [-1, 3],
    }
    answer = model.predict({"x": COLUMNS[:, :1]}, ["transform"], {}).outputs["transform"]
    np.testing.assert_array_equal(answer, np.eye(3)[[0, 1, 2, 0]])


# --- XGBoost, MLflow --------------------------------------------------------------------------------------------------


def test_an_xgboost_model_that_cant_be_asked_is_refused_without_a_stack_trace(tmp_path: Path) -> None:
    need("xgboost")
    import xgboost  # noqa: PLC0415

    parameters = {"booster": "gblinear", "objective": "binary:logistic", "nthread": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix(COLUMNS, LABELS), 1)
    folder = write_version(tmp_path / "models", "model", 1, {}, {"runtime": "xgboost"})
    booster.save_model(folder / "model.ubj")
    with pytest.raises(
        UnavailableError, match=r"XGBoost can't load model.ubj: .*Inplace predict is not supported"
    ) as refusal:
        loaded(tmp_path / "models")
    assert "\n" not in str(refusal.value)
    assert "Stack trace" not in str(refusal.value)


@pytest.mark.parametrize("blanks", range(4))
def test_binary_data_without_rows_is_right_wherever_it_is_in_the_body(tmp_path: Path, blanks: int) -> None:
    """XGBoost looks at where it would begin."""
    need("xgboost")
    import xgboost  # noqa: PLC0415

    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(COLUMNS, LABELS), 1)
    folder = write_version(tmp_path / "models", "model", 1, {}, {"runtime": "xgboost"})
    booster.save_model(folder / "model.ubj")
    model = loaded(tmp_path / "models")
    entry = {"name": "x", "datatype": "FP32", "shape": [0, 2], "parameters": {"binary_data_size": 0}}
    body = json.dumps({"inputs": [entry]}).encode() + b" " * blanks
    request = model.reader.read(body, str(len(body)))
    assert model.predict(request.inputs, ["predict"], {}).outputs["predict"].shape == (0,)


def write_mlflow(root: Path) -> None:
    """A model with a column signature, which adds two columns."""
    need("mlflow", "pandas")
    import mlflow.pyfunc  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from mlflow.models import infer_signature  # noqa: PLC0415

    class Adding(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # the library has no types here
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            del context, params
            return (model_input["a"] + model_input["b"]).to_numpy()

    example = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    folder = root / "model/1"
    folder.parent.mkdir(parents=True)
    mlflow.pyfunc.save_model(
        str(folder), python_model=Adding(), signature=infer_signature(example), pip_requirements=[]
    )
    (root / "model/model.json").write_text(json.dumps({"runtime": "mlflow"}))


def test_columns_of_an_mlflow_model_that_disagree_in_rows_are_told(tmp_path: Path) -> None:
    write_mlflow(tmp_path / "models")
    model = loaded(tmp_path / "models")
    answer = model.predict({"a": np.array([1.0]), "b": np.array([2.0])}, ["predictions"], {}).outputs["predictions"]
    np.testing.assert_array_equal(answer, [3.0])
    with pytest.raises(InvalidRequestError, match="the inputs must agree in rows, and there are 1 in 'a', 2 in 'b'"):
        model.predict({"a": np.array([1.0]), "b": np.array([2.0, 3.0])}, ["predictions"], {})
