"""Writes the demo's models as repositories of the inference server, ready to be published.

    <models folder>/recommender/v1/recommender/model.json
                                  /recommender/1/factors.npz
                   /digits/v1/digits/model.json, /digits/1/model.onnx
                   /digits/v2/digits/model.json, /digits/2/model.onnx

One repository for each release, so that `models.path` of an InferenceDeployment says what is served.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from demo import digits
from demo.movielens import Ratings
from demo.recommender import factorise

RECOMMENDER = Path("recommender/v1")
DIGITS = {1: Path("digits/v1"), 2: Path("digits/v2")}
"""Repositories by the version of the classifier, relative to the models folder."""


def write_recommender(models: Path, ratings: Ratings) -> Path:
    """Train the recommender and write its repository; returns the repository."""
    stars = ratings.matrix()
    users, items = factorise(stars)
    by_user = np.argsort(ratings.users, kind="stable")
    repository = models / RECOMMENDER
    version = _version_folder(
        repository, "recommender", 1, {"runtime": "numpy_topn", "parameters": {"default_k": 10, "exclude_seen": True}}
    )
    np.savez(
        version / "factors.npz",
        user_factors=users,
        item_factors=items,
        user_ids=ratings.user_ids,
        item_ids=ratings.item_ids,
        popularity=np.argsort(-np.count_nonzero(stars, axis=0), kind="stable"),
        titles=ratings.titles,
        seen_indptr=np.concatenate(([0], np.cumsum(np.count_nonzero(stars, axis=1)))),
        seen_indices=ratings.items[by_user],
    )
    return repository


def write_digits(models: Path, training: digits.Digits, version: int) -> Path:
    """Train a version of the classifier and write its repository; returns the repository."""
    repository = models / DIGITS[version]
    folder = _version_folder(repository, "digits", version, {"runtime": "onnx"})
    (folder / "model.onnx").write_bytes(digits.train(training, version))
    return repository


def write_broken(models: Path, repository: str) -> Path:
    """Write a repository whose model is no ONNX file; returns it."""
    where = models / repository.strip("/")
    folder = _version_folder(where, "digits", 1, {"runtime": "onnx"})
    (folder / "model.onnx").write_bytes(b"not a model")
    return where


def _version_folder(repository: Path, model: str, version: int, config: Mapping[str, Any]) -> Path:
    folder = repository / model / str(version)
    folder.mkdir(parents=True)
    (repository / model / "model.json").write_text(json.dumps(config, indent=1) + "\n")
    return folder


def main(folder: Path) -> None:
    """The first release of the classifier, for whoever tries things by hand."""
    training, _held_out = digits.split()
    print(f"Trained on {len(training.labels)} handwritten digits: {write_digits(folder, training, 1)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
