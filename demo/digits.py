"""Trains classifiers of handwritten digits (the data set that scikit-learn bundles) and exports them to ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

INPUT = "pixels"
"""FP32 [n, 64]: eight rows of eight pixels, 0 (white) to 16 (black)."""
OUTPUT = "label"
"""INT64 [n]: the digit."""
HELD_OUT = 0.3
"""Share of the digits that no classifier is trained on."""


@dataclass(frozen=True, kw_only=True)
class Digits:
    """`pixels` float32 [n, 64] and `labels` int64 [n]."""

    pixels: np.ndarray
    labels: np.ndarray


def split() -> tuple[Digits, Digits]:
    """The digits to train on, and those held out; always the same ones."""
    pixels, labels = load_digits(return_X_y=True)
    parts = train_test_split(pixels.astype(np.float32), labels, test_size=HELD_OUT, random_state=0, stratify=labels)
    return Digits(pixels=parts[0], labels=parts[2]), Digits(pixels=parts[1], labels=parts[3])


def train(digits: Digits, version: int) -> bytes:
    """Version 1 is a linear classifier, version 2 a small neural network. Returns the ONNX model."""
    classifiers = {
        1: lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        2: lambda: make_pipeline(MinMaxScaler(), MLPClassifier((128,), max_iter=500, random_state=0)),
    }
    classifier = classifiers[version]().fit(digits.pixels, digits.labels)
    model: Any = to_onnx(
        classifier,
        initial_types=[(INPUT, FloatTensorType([None, digits.pixels.shape[1]]))],
        options={"zipmap": False},  # a plain tensor of probabilities instead of a list of maps
        target_opset=21,  # the newest that the pinned onnxruntime is sure to have
    )
    content: bytes = model.SerializeToString()
    return content
