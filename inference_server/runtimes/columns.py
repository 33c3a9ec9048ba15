"""What the runtimes share whose models take a table of named columns: an input [-1] for each, made into a DataFrame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from inference_server.protocol.errors import InvalidRequestError


def data_frame(inputs: Mapping[str, np.ndarray], names: Iterable[str]) -> Any:
    """The inputs of these names, in their order, as a DataFrame of pandas. Raises InvalidRequestError."""
    import pandas as pd  # noqa: PLC0415  (only models with columns need it)

    if len({len(array) for array in inputs.values()}) > 1:
        rows = ", ".join(f"{len(array)} in '{name}'" for name, array in inputs.items())
        raise InvalidRequestError(f"the inputs must agree in rows, and there are {rows}")
    return pd.DataFrame({name: _column(inputs[name]) for name in names if name in inputs})


def _column(array: np.ndarray) -> Any:
    return texts(array) if array.dtype == object else array


def texts(array: np.ndarray) -> list[str]:
    return [element.decode(errors="replace") for element in array]
