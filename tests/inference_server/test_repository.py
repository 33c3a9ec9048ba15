"""The model repository: what is found, what is refused and why, what publishing writes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from inference_server.catalog import Catalog
from inference_server.loading import Loader
from inference_server.repository.manifest import MANIFEST_FILE, read_manifest
from inference_server.repository.model_config import ModelError
from inference_server.repository.publish import publish
from inference_server.repository.scan import FoundVersion, scan
from inference_server.repository.staging import stage
from tests.inference_server.models import published, write_linear, write_version


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def reasons(root: Path) -> dict[str, str]:
    return {problem.model: problem.reason for problem in scan(root).problems}


def served(root: Path) -> list[tuple[str, int]]:
    return [(version.model, version.version) for version in scan(root).versions]


def load(root: Path, folder: Path) -> Catalog:
    catalog = Catalog()
    Loader(catalog, folder / "scratch").load_all(scan(root))
    return catalog


def only_version(root: Path) -> FoundVersion:
    (version,) = scan(root).versions
    return version


def test_the_highest_published_version_is_served_unless_the_policy_says_otherwise(root: Path) -> None:
    for version in (1, 2, 10):
        write_linear(root, version=version)
    published(root)
    (root / "linear/10" / MANIFEST_FILE).unlink()
    assert served(root) == [("linear", 2)]
    (root / "linear/model.json").write_text('{"runtime": "onnx", "version_policy": "all"}')
    assert served(root) == [("linear", 1), ("linear", 2)]
    (root / "linear/model.json").write_text('{"runtime": "onnx", "version_policy": {"latest": 2}}')
    assert served(root) == [("linear", 1), ("linear", 2)]
    (root / "linear/model.json").write_text('{"runtime": "onnx", "version_policy": {"specific": [1, 10, 11]}}')
    assert served(root) == [("linear", 1)]
    problems = {problem.version: problem.reason for problem in scan(root).problems}
    assert "not published" in problems[10]
    assert "folder is missing" in problems[11]


@pytest.mark.parametrize(
    ("model_json", "words"),
    [
        ("", "not valid"),
        ("[]", "not valid"),
        ('{"runtime": "onnx", "colour": 1}', "colour: Extra inputs are not permitted"),
        ('{"runtime": 3}', "runtime: Input should be a valid string"),
        ('{"runtime": "onnx", "inputs": [{"name": "x", "datatype": "FLOAT", "shape": [1]}]}', "inputs.0.datatype"),
        ('{"runtime": "onnx", "version_policy": {"latest": 0}}', "greater than or equal to 1"),
        ('{"runtime": "onnx", "default_version": 7}', "default_version 7 is none of the versions"),
        ('{"runtime": "onnx", "file": "a/b"}', "file: it must be the name of a file in the version's folder"),
    ],
)
def test_a_faulty_model_json_is_named_with_its_field(root: Path, model_json: str, words: str) -> None:
    write_linear(root)
    (root / "linear/model.json").write_text(model_json)
    for version in (root / "linear").glob("*/"):
        publish_one(version)
    assert words in reasons(root)["linear"]


def test_of_a_large_value_in_model_json_the_beginning_is_told(root: Path) -> None:
    write_linear(root)
    (root / "linear/model.json").write_text(json.dumps({"runtime": "onnx", "learner": {"trees": [0.5] * 1000}}))
    assert reasons(root)["linear"].endswith(
        'learner: Extra inputs are not permitted (it is {"trees":[0.5,0.5,0.5,0.5,0.5,0.5,0.5,0…)'
    )


def publish_one(version: Path) -> None:
    entry = {"file": "model.onnx", "bytes": 1, "sha256": "0" * 64}
    (version / MANIFEST_FILE).write_text(json.dumps({"files": [entry]}))


def test_a_model_without_a_published_version_says_how_to_publish(root: Path) -> None:
    write_linear(root, "unpublished")
    (root / "empty").mkdir()
    (root / "empty/model.json").write_text('{"runtime": "onnx"}')
    (root / "bare").mkdir()
    (root / "bad name").mkdir()
    (root / ".hidden").mkdir()
    found = reasons(root)
    assert "inference-server publish" in found["unpublished"]
    assert "no version" in found["empty"]
    assert "model.json is missing" in found["bare"]
    assert "letters, digits" in found["bad name"]
    assert ".hidden" not in found


@pytest.mark.parametrize("name", ["v1", "001", "2026-11-24"])
def test_a_version_whose_name_is_no_number_is_told_and_not_passed_over(root: Path, name: str) -> None:
    write_linear(root)
    write_linear(root, "other").rename(root / "other" / name)
    assert "<version>/, a whole number such as 1" in reasons(root)["other"]
    with pytest.raises(ModelError, match=r"model other: it has no version: .* a whole number such as 1"):
        publish(root)


def test_a_model_is_not_taken_for_a_repository(root: Path) -> None:
    model = write_linear(root).parent
    assert reasons(model)["1"].endswith(f"{model} has one and so is a model itself: the repository is the folder above")


def test_a_model_of_triton_is_told_what_it_lacks(root: Path) -> None:
    write_linear(root)
    (root / "linear/model.json").rename(root / "linear/config.pbtxt")
    assert reasons(root)["linear"] == (
        'model.json is missing, and Triton\'s config.pbtxt is not read; the least is {"runtime": "onnx"}'
    )


def test_a_missing_or_empty_repository_is_a_problem_of_no_model(root: Path) -> None:
    assert "has no model" in reasons(root)[""]
    assert "can't be read" in reasons(root / "nowhere")[""]


@pytest.mark.parametrize("file", ["../x", "/etc/passwd", "a//b", "./a", "a\\b", ""])
def test_a_manifest_cannot_reach_out_of_its_folder(root: Path, file: str) -> None:
    version = write_linear(root)
    (version / MANIFEST_FILE).write_text(json.dumps({"files": [{"file": file, "bytes": 1, "sha256": "0" * 64}]}))
    assert "manifest.json is not valid" in reasons(root)["linear"]


def test_publishing_lists_every_file_with_size_and_checksum(root: Path) -> None:
    version = write_version(root, "m", 1, {"a.txt": b"abc", ".hidden": b""}, {"runtime": "onnx"})
    (version / "deep").mkdir()
    (version / "deep/b.txt").write_bytes(b"")
    assert [entry.state for entry in publish(root)] == ["published"]
    manifest = read_manifest(version)
    assert manifest is not None
    assert [(entry.file, entry.bytes) for entry in manifest.files] == [("a.txt", 3), ("deep/b.txt", 0)]
    assert manifest.files[0].sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sorted(path.name for path in version.iterdir()) == [".hidden", "a.txt", "deep", "manifest.json"]
    assert [entry.state for entry in publish(root)] == ["unchanged"]


def test_a_published_version_does_not_change_unless_it_is_asked_for(root: Path) -> None:
    version = write_linear(root)
    publish(root)
    (version / "model.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match="model linear, version 1: its files differ"):
        publish(root)
    assert [entry.state for entry in publish(root, replace=True)] == ["published"]


def test_publishing_nothing_is_an_error(root: Path) -> None:
    with pytest.raises(ModelError, match="no <model>/<version> folder"):
        publish(root)
    write_version(root, "m", 1, {}, {"runtime": "onnx"})
    with pytest.raises(ModelError, match="model m, version 1: the folder has no file"):
        publish(root)


@pytest.mark.parametrize(("name", "words"), [(b"mod\xe8le", "must be UTF-8"), (b"a\\b", "must be a path below")])
def test_a_file_whose_name_no_manifest_can_have_is_not_published(root: Path, name: bytes, words: str) -> None:
    folder = write_linear(root)
    (folder / os.fsdecode(name)).touch()
    with pytest.raises(ModelError, match=f"model linear, version 1: file '.*' can't be published: file: .*{words}"):
        publish(root)
    assert read_manifest(folder) is None


def test_a_version_that_can_not_be_published_keeps_the_others_back(root: Path) -> None:
    version = write_linear(root)
    write_version(root, "zero", 1, {}, {"runtime": "onnx"})
    with pytest.raises(ModelError, match="model zero, version 1: the folder has no file"):
        publish(root)
    assert read_manifest(version) is None


def test_what_would_not_be_served_is_not_published(root: Path) -> None:
    version = write_linear(root)
    (version / "weights").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="model linear, version 1: file weights is a link out of the version's folder"):
        publish(root)
    (version / "weights").unlink()
    (version / "weights").symlink_to("model.onnx")
    write_linear(root, "with blanks")
    with pytest.raises(ModelError, match="model with blanks: the name of a model is 1 to 128 letters"):
        publish(root)
    shutil.rmtree(root / "with blanks")
    assert [entry.state for entry in publish(root)] == ["published"]


def test_a_version_that_the_policy_names_twice_is_served_once(root: Path) -> None:
    write_linear(root, version_policy={"specific": [1, 1]})
    assert served(published(root)) == [("linear", 1)]


def test_staging_copies_what_the_manifest_lists(root: Path, tmp_path: Path) -> None:
    version = write_version(root, "m", 1, {"a.txt": b"abc"}, {"runtime": "onnx"})
    publish(root)
    (version / "later.txt").write_bytes(b"not published")
    copy = stage(only_version(root), tmp_path / "scratch")
    assert [path.name for path in copy.iterdir()] == ["a.txt"]
    assert (copy / "a.txt").read_bytes() == b"abc"


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.unlink(), "a.txt is missing, though manifest.json lists it"),
        (lambda path: path.write_bytes(b"ab"), "has 2 bytes; manifest.json says 3"),
        (lambda path: path.write_bytes(b"abd"), "a.txt is corrupt"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/hostname")), "a link out of the version's folder"),
        (lambda path: (path.unlink(), path.mkdir()), "a.txt is no regular file"),
        (become_a_pipe, "a.txt is no regular file"),
    ],
)
def test_staging_refuses_files_that_are_not_those_published(
    root: Path, tmp_path: Path, harm: object, words: str
) -> None:
    version = write_version(root, "m", 1, {"a.txt": b"abc"}, {"runtime": "onnx"})
    publish(root)
    assert callable(harm)
    harm(version / "a.txt")
    with pytest.raises(ModelError, match=words):
        stage(only_version(root), tmp_path / "scratch")
    assert list((tmp_path / "scratch/m").iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_named(root: Path, tmp_path: Path) -> None:
    version = write_version(root, "m", 1, {"a.txt": b"abc"}, {"runtime": "onnx"})
    publish(root)
    (version / "a.txt").chmod(0)
    with pytest.raises(ModelError, match=r"a\.txt can't be copied: Permission denied"):
        stage(only_version(root), tmp_path / "scratch")


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"inputs": [{"name": "z", "datatype": "FP32", "shape": [-1, 4]}]}, "states input 'z'; the model has x"),
        ({"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]}, "as FP64 [-1, 4]; the model has FP32"),
        ({"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 5]}]}, "the model has FP32 [-1, 3]"),
        ({"outputs": []}, "does not state output y"),
        ({"runtime": "nonsense"}, "runtime 'nonsense' is not known; this server has lightgbm, mlflow"),
        ({"parameters": {"threads": 2}}, "threads: Extra inputs are not permitted"),
    ],
)
def test_a_model_that_is_not_what_model_json_states_is_not_served(
    root: Path, tmp_path: Path, stated: dict[str, Any], words: str
) -> None:
    write_linear(root, **stated)
    catalog = load(published(root), tmp_path)
    assert not catalog.ready
    (problem,) = catalog.problems
    assert words in problem.reason


def test_a_model_that_agrees_with_model_json_is_served(root: Path, tmp_path: Path) -> None:
    write_linear(root, inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, -1]}])
    assert load(published(root), tmp_path).ready


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x12\x0c"])
def test_a_file_that_is_no_model_is_refused_by_its_runtime(root: Path, tmp_path: Path, content: bytes) -> None:
    write_version(root, "broken", 1, {"model.onnx": content}, {"runtime": "onnx"})
    write_version(root, "factors", 1, {"factors.npz": content}, {"runtime": "numpy_topn"})
    catalog = load(published(root), tmp_path)
    found = {problem.model: problem.reason for problem in catalog.problems}
    assert "onnxruntime can't load model.onnx" in found["broken"]
    assert "factors.npz can't be read" in found["factors"]


def test_an_optional_model_may_fail_without_making_the_server_unready(root: Path, tmp_path: Path) -> None:
    write_linear(root)
    write_version(root, "extra", 1, {"model.onnx": b"junk"}, {"runtime": "onnx", "required": False})
    catalog = load(published(root), tmp_path)
    assert catalog.ready
    assert [problem.model for problem in catalog.problems] == ["extra"]
