"""What the protocol tells of a model: metadata, Triton's model configuration, Triton's statistics. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inference_server.catalog import LoadedModel
from inference_server.metrics import store
from inference_server.protocol.signature import TensorSpec
from inference_server.repository.model_config import LatestVersions, SpecificVersions

SERVER_NAME = "inference-server"

_NANOSECONDS = 1_000_000_000


def model_metadata(model: LoadedModel, versions: list[int]) -> dict[str, Any]:
    signature = model.signature
    document: dict[str, Any] = {
        "name": model.name,
        "versions": [str(version) for version in versions],
        "platform": model.runtime.platform,
        "inputs": [spec.describe() for spec in signature.inputs.values()],
        "outputs": [spec.describe() for spec in signature.outputs.values()],
    }
    if model.config.labels:
        document["properties"] = model.config.labels
    return document


def model_config(model: LoadedModel) -> dict[str, Any]:
    """Triton's ModelConfig as JSON. Source: Triton, "Model Configuration Extension"; model_config.proto."""
    signature = model.signature
    batch = model.config.batching.max_rows if model.config.batching is not None else 0
    return {
        "name": model.name,
        "platform": model.runtime.platform,
        "backend": model.config.runtime,
        "version_policy": _version_policy(model),
        "max_batch_size": batch,
        "input": [_tensor(spec, batched=batch > 0) | {"optional": spec.optional} for spec in signature.inputs.values()],
        "output": [_tensor(spec, batched=batch > 0) for spec in signature.outputs.values()],
        "parameters": {name: {"string_value": _as_text(value)} for name, value in model.config.parameters.items()},
    }


def _as_text(value: Any) -> str:
    """As model.json has it: text by itself, all else in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _tensor(spec: TensorSpec, *, batched: bool) -> dict[str, Any]:
    """Without the first dimension if the model is batched: for Triton it goes without saying then."""
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": list(spec.shape[1:] if batched else spec.shape)}


def _version_policy(model: LoadedModel) -> dict[str, Any]:
    match model.config.version_policy:
        case LatestVersions(latest=count):
            return {"latest": {"num_versions": count}}
        case SpecificVersions(specific=versions):
            return {"specific": {"versions": versions}}
        case _:
            return {"all": {}}


def model_statistics(model: LoadedModel, totals: Mapping[store.Key, list[float]]) -> dict[str, Any]:
    """Triton's statistics of one version. Source: Triton, "Statistics Extension"."""
    cells = totals.get(model.key, [0.0] * store.COLUMNS)
    counts = store.by_code(cells)
    success = int(counts[store.OK])
    failed = int(sum(counts.values())) - success
    stages = dict(zip(store.STAGES, cells[store.STAGE_SUMS], strict=True))
    return {
        "name": model.name,
        "version": model.version_text,
        "last_inference": int(cells[store.LAST] * 1000),
        "inference_count": int(cells[store.ROWS]),
        "execution_count": success,
        "inference_stats": {
            "success": _duration(success, sum(stages.values())),
            "fail": _duration(failed, max(0.0, cells[store.DURATION_SUM] - sum(stages.values()))),
            "queue": _duration(success, stages["queue"]),
            "compute_input": _duration(success, stages["decode"]),
            "compute_infer": _duration(success, stages["predict"]),
            "compute_output": _duration(success, stages["encode"]),
            # There is no cache; clients of Triton may read these nevertheless.
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * _NANOSECONDS)}
