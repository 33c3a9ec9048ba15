"""The runtimes, by the name that `model.json` calls them. Each is imported only when a model asks for it."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from inference_server.repository.model_config import ModelError
from inference_server.runtimes.base import Runtime

ENTRY_POINT_GROUP = "inference_server.runtimes"

_BUILT_IN = {
    "lightgbm": ("inference_server.runtimes.lightgbm", "LightGBM"),
    "mlflow": ("inference_server.runtimes.mlflow", "MLflow"),
    "numpy_topn": ("inference_server.runtimes.numpy_topn", "NumpyTopN"),
    "onnx": ("inference_server.runtimes.onnx", "Onnx"),
    "sklearn_pickle": ("inference_server.runtimes.sklearn", "SklearnPickle"),
    "sklearn_skops": ("inference_server.runtimes.sklearn", "SklearnSkops"),
    "torch": ("inference_server.runtimes.torch", "Torch"),
    "xgboost": ("inference_server.runtimes.xgboost", "XGBoost"),
}

_AFTER_FORK = frozenset({"torch"})


def must_load_after_fork(name: str) -> bool:
    """Whether a runtime is known to start threads; what others do shows when they load."""
    return name in _AFTER_FORK


def find_runtime(name: str) -> type[Runtime]:
    """The class of a runtime. Raises ModelError that lists the known names, or says what is not installed."""
    built_in = _BUILT_IN.get(name)
    try:
        if built_in is not None:
            module, attribute = built_in
            runtime = getattr(importlib.import_module(module), attribute)
        else:
            (entry_point,) = entry_points(group=ENTRY_POINT_GROUP, name=name) or (None,)
            if entry_point is None:
                plug_ins = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}
                known = ", ".join(sorted(plug_ins | _BUILT_IN.keys()))
                raise ModelError(f"runtime {name!r} is not known; this server has {known}")
            runtime = entry_point.load()
    except ImportError as error:
        raise ModelError(f"runtime {name!r} can't be imported in this image: {error}") from None
    if not (isinstance(runtime, type) and issubclass(runtime, Runtime)):
        raise ModelError(f"runtime {name!r} is {runtime!r}, which is not a Runtime class")
    return runtime
