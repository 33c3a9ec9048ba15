"""Models of MLServer, as they lie there: `model-settings.json` with the files beside it, or in folders by version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference_server.repository.model_config import TensorConfig
from inference_server.repository.scan import scan
from tests.inference_server.models import published


def write(root: Path, settings: Any, *files: str) -> Path:
    folder = root / "iris"
    folder.mkdir()
    (folder / "model-settings.json").write_text(json.dumps(settings))
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(b"x")
    return root


SETTINGS: dict[str, Any] = {
    "name": "iris",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "max_batch_size": 10,
    "parallel_workers": 2,
    "inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 4], "parameters": {"content_type": "np"}}],
    "parameters": {"uri": "./model.joblib", "version": "v3", "content_type": "np"},
}


def test_the_files_beside_the_settings_are_its_one_version(tmp_path: Path) -> None:
    (version,) = scan(published(write(tmp_path, SETTINGS, "model.joblib"))).versions
    assert (version.model, version.version, version.folder) == ("iris", 3, tmp_path / "iris")
    assert version.config.runtime == "sklearn_pickle"
    assert version.config.file == "model.joblib"
    assert version.config.inputs == [TensorConfig(name="input-0", datatype="FP32", shape=[-1, 4])]
    assert [entry.file for entry in version.manifest.files] == ["model-settings.json", "model.joblib"]


def test_folders_by_version_are_taken_as_elsewhere(tmp_path: Path) -> None:
    found = scan(published(write(tmp_path, SETTINGS, "1/model.joblib", "2/model.joblib")))
    assert [version.version for version in found.versions] == [2]


def test_our_own_file_goes_before_theirs(tmp_path: Path) -> None:
    root = write(tmp_path, SETTINGS, "1/model.onnx")
    (root / "iris/model.json").write_text('{"runtime": "onnx"}')
    (version,) = scan(published(root)).versions
    assert version.config.runtime == "onnx"


@pytest.mark.parametrize("uri", ["./model.json", "."])
def test_a_model_of_xgboost_that_is_called_as_our_own_file_is_not_taken_for_that(tmp_path: Path, uri: str) -> None:
    settings = SETTINGS | {"implementation": "mlserver_xgboost.XGBoostModel", "parameters": {"uri": uri}}
    root = write(tmp_path, settings)
    (root / "iris/model.json").write_text('{"learner":{"attributes":{}},"version":[3,2,0]}')
    (version,) = scan(published(root)).versions
    assert version.config.runtime == "xgboost"
    assert "model.json" in [entry.file for entry in version.manifest.files]


@pytest.mark.parametrize(
    ("change", "runtime", "file"),
    [
        (
            {"implementation": "mlserver_lightgbm.LightGBMModel", "parameters": {"uri": "model.bst"}},
            "lightgbm",
            "model.bst",
        ),
        ({"implementation": "mlserver_xgboost.XGBoostModel", "parameters": None}, "xgboost", None),
        ({"implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": "."}}, "mlflow", None),
    ],
)
def test_each_implementation_has_its_runtime(
    tmp_path: Path, change: dict[str, Any], runtime: str, file: str | None
) -> None:
    (version,) = scan(published(write(tmp_path, {**SETTINGS, **change}, "model.bst"))).versions
    assert (version.config.runtime, version.config.file, version.version) == (runtime, file, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "model-settings.json is not valid"),
        ({"name": "x"}, "implementation: Field required"),
        (
            {"implementation": "models.MyRuntime"},
            "implementation models.MyRuntime of model-settings.json has no counterpart",
        ),
        ({**SETTINGS, "inputs": [{"name": "x", "datatype": "FLOAT", "shape": [1]}]}, "inputs.0.datatype"),
        ({**SETTINGS, "parameters": {"uri": "../other/model.joblib"}}, "file: it must be the name of a file"),
        ({**SETTINGS, "parameters": {"uri": "s3://bucket/model.joblib"}}, "file: it must be the name of a file"),
    ],
)
def test_what_has_no_counterpart_is_named(tmp_path: Path, settings: Any, words: str) -> None:
    (problem,) = scan(write(tmp_path, settings)).problems
    assert problem.model == "iris"
    assert words in problem.reason
