"""The HTTP interface as an OpenAPI document: what clients are generated from, what the docs page shows, what is fuzzed.

Pure. The paths are those of `app.py`; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from inference_server.catalog import LoadedModel
from inference_server.protocol.datatypes import DATATYPES
from inference_server.protocol.signature import TensorSpec

Document = dict[str, Any]

_EXAMPLE_ROWS = 1
_EXAMPLE_SIZE = 16
"""The most elements that an example tensor may have."""


def openapi_document(version: str, models: Iterable[LoadedModel]) -> Document:
    """The document for the models that are served; one of them, whose inputs are small, is its example."""
    shown = next((model for model in models if _is_small(model)), None)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "inference-server",
            "version": version,
            "description": "Open Inference Protocol (V2): predictions, metadata, health and statistics.",
        },
        # Relative, as a load balancer may serve this under a path of its own.
        "servers": [{"url": "."}],
        "paths": _paths(shown),
        "components": {"schemas": _SCHEMAS, "responses": _RESPONSES},
    }


def example_request(model: LoadedModel) -> Document:
    """A request of the right form: one row, zeros or empty strings."""
    inputs = [_example_tensor(spec) for spec in model.signature.inputs.values() if not spec.optional]
    return {"inputs": inputs}


def _example_tensor(spec: TensorSpec) -> Document:
    shape = [_EXAMPLE_ROWS if size == -1 else size for size in spec.shape]
    zero: Any = {"BYTES": "", "BOOL": False}.get(spec.datatype, 0)
    return {"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": [zero] * math.prod(shape)}


def _paths(shown: LoadedModel | None) -> Document:
    paths: Document = {
        "/healthz": _get("Liveness: the process answers", "Live"),
        "/readyz": _get(
            "Readiness: every required model is loaded, and the server is not draining", "Ready", not_ready=True
        ),
        "/v2/health/live": _get("Liveness", "Live"),
        "/v2/health/ready": _get("Readiness", "Ready", not_ready=True),
        "/v2": _get("What this server is", "ServerMetadata"),
        "/v2/models": _get("The models", "ModelNames"),
        "/v2/models/stats": _get("Statistics of every model", "Statistics"),
        "/v2/repository/index": _index(),
    }
    for prefix, parameters in (
        ("/v2/models/{model}", [_model_parameter(shown)]),
        ("/v2/models/{model}/versions/{version}", [_model_parameter(shown), _version_parameter(shown)]),
    ):
        paths[prefix] = _get("Inputs, outputs and versions of a model", "ModelMetadata", parameters)
        paths[f"{prefix}/ready"] = _get("Whether a model can be asked", "ModelReady", parameters)
        paths[f"{prefix}/config"] = _get("Triton's configuration of a model", "ModelConfig", parameters)
        paths[f"{prefix}/stats"] = _get("Triton's statistics of a model", "Statistics", parameters)
        paths[f"{prefix}/infer"] = _infer(parameters, shown)
    for action in ("load", "unload"):
        paths[f"/v2/repository/models/{{model}}/{action}"] = _control(action, shown)
    return paths


def _get(summary: str, schema: str, parameters: list[Document] | None = None, *, not_ready: bool = False) -> Document:
    operation: Document = {"summary": summary, "responses": {"200": _json(schema, "As asked")}}
    if parameters:
        operation["parameters"] = parameters
        operation["responses"] |= _references(404, 503)
    if not_ready:
        operation["responses"]["503"] = _json(schema, "Not ready: `error` and `problems` say why")
    return {"get": operation}


def _infer(parameters: list[Document], shown: LoadedModel | None) -> Document:
    content: Document = {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}
    if shown is not None:
        content["example"] = example_request(shown)
    return {
        "post": {
            "summary": "Ask a model for predictions",
            "description": "JSON, or JSON followed by binary tensors (Inference-Header-Content-Length). Bodies may be "
            "compressed: Content-Encoding gzip or deflate, and Accept-Encoding likewise.",
            "parameters": parameters,
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": {
                "200": {
                    "description": "The predictions",
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/InferenceResponse"}},
                        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                    },
                },
                **_references(400, 404, 408, 413, 415, 417, 500, 501, 503, 504),
            },
        }
    }


def _index() -> Document:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/IndexRequest"}}}}
    responses = {"200": _json("RepositoryIndex", "As asked"), **_references(400, 413, 415)}
    return {"post": {"summary": "Every version, its state and the reason", "requestBody": body, "responses": responses}}


def _control(action: str, shown: LoadedModel | None) -> Document:
    return {
        "post": {
            "summary": f"{action.capitalize()} a model, if INFERENCE_MODEL_CONTROL allows it",
            "parameters": [_model_parameter(shown)],
            "responses": {"200": _json("Empty", "Done"), **_references(400, 403, 404, 413, 415, 503)},
        }
    }


def _model_parameter(shown: LoadedModel | None) -> Document:
    return _path_parameter("model", None if shown is None else shown.name)


def _version_parameter(shown: LoadedModel | None) -> Document:
    return _path_parameter("version", None if shown is None else shown.version_text)


def _path_parameter(name: str, example: str | None) -> Document:
    parameter: Document = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return parameter if example is None else parameter | {"example": example}


def _is_small(model: LoadedModel) -> bool:
    """Whether a request for the model can be shown on a page."""
    return all(
        spec.type.json_types and math.prod(max(size, 1) for size in spec.shape) <= _EXAMPLE_SIZE
        for spec in model.signature.inputs.values()
    )


def _json(schema: str, description: str) -> Document:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": reference}}}


def _references(*codes: int) -> Document:
    return {str(code): {"$ref": f"#/components/responses/{code}"} for code in codes}


_MEANINGS: Mapping[int, str] = {
    400: "The request is wrong; the text says where",
    403: "Not allowed on this server",
    404: "No such model, version or path",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The Content-Encoding is not known",
    417: "Expect may be 100-continue alone",
    500: "The model failed",
    501: "A part of the protocol that is not offered",
    503: "Not now: the model is not ready, or the server is full; see Retry-After",
    504: "The model did not answer in time",
}
_RESPONSES: Document = {str(code): _json("Error", meaning) for code, meaning in _MEANINGS.items()}


def _object(needed: list[str], **properties: Document) -> Document:
    """An object type with these properties, of which some are `needed`."""
    kind: Document = {"type": "object", "properties": properties}
    return kind | {"required": needed} if needed else kind


def _array(items: Document) -> Document:
    return {"type": "array", "items": items}


def _or_null(kind: Document) -> Document:
    """Some clients send null for what they could leave out."""
    return {**kind, "nullable": True}


_TEXT: Document = {"type": "string"}
_FLAG: Document = {"type": "boolean"}
_COUNT: Document = {"type": "integer", "minimum": 0}
_PARAMETERS: Document = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
}
_ANY_PARAMETERS: Document = {"type": "object", "description": "Those that the server does not know go to the model."}
_DATATYPE: Document = {"type": "string", "enum": list(DATATYPES)}
_SHAPE: Document = _array({"type": "integer", "minimum": 0})
_DATA: Document = _array({})

_SCHEMAS: Document = {
    "Error": _object(["error"], error=_TEXT),
    "Empty": {"type": "object"},
    "Live": _object(["live"], live=_FLAG),
    "Ready": _object(
        ["live", "ready"],
        live=_FLAG,
        ready=_FLAG,
        error=_TEXT,
        problems=_array(
            _object(
                ["model", "reason", "required"],
                model=_TEXT,
                version={"type": "integer", "nullable": True},
                reason=_TEXT,
                required=_FLAG,
            )
        ),
    ),
    "ServerMetadata": _object(["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions=_array(_TEXT)),
    "ModelNames": _object(["models"], models=_array(_TEXT)),
    "ModelReady": _object(["name", "ready"], name=_TEXT, ready=_FLAG),
    "TensorMetadata": _object(
        ["name", "datatype", "shape"],
        name=_TEXT,
        datatype=_DATATYPE,
        shape=_array({"type": "integer", "minimum": -1}),
    ),
    "ModelMetadata": _object(
        ["name", "versions", "platform", "inputs", "outputs"],
        name=_TEXT,
        versions=_array(_TEXT),
        platform=_TEXT,
        inputs=_array({"$ref": "#/components/schemas/TensorMetadata"}),
        outputs=_array({"$ref": "#/components/schemas/TensorMetadata"}),
        properties={"type": "object", "additionalProperties": _TEXT},
    ),
    "ModelConfig": {"type": "object"},
    "Statistics": _object(
        ["model_stats"],
        model_stats=_array(
            _object(
                ["name", "version", "last_inference", "inference_count", "execution_count", "inference_stats"],
                name=_TEXT,
                version=_TEXT,
                last_inference=_COUNT,
                inference_count=_COUNT,
                execution_count=_COUNT,
                inference_stats={
                    "type": "object",
                    "additionalProperties": _object(["count", "ns"], count=_COUNT, ns=_COUNT),
                },
            )
        ),
    ),
    "IndexRequest": _object([], ready=_or_null(_FLAG)),
    "RepositoryIndex": _array(
        _object(
            ["name", "version", "state", "reason"],
            name=_TEXT,
            version=_TEXT,
            state={"type": "string", "enum": ["READY", "UNAVAILABLE"]},
            reason=_TEXT,
        )
    ),
    "RequestInput": _object(
        ["name", "datatype", "shape"],
        name=_TEXT,
        datatype=_DATATYPE,
        shape=_SHAPE,
        parameters=_or_null(_ANY_PARAMETERS),
        data=_or_null(_DATA),
    ),
    "RequestOutput": _object(["name"], name=_TEXT, parameters=_or_null(_ANY_PARAMETERS)),
    "InferenceRequest": _object(
        ["inputs"],
        id=_or_null(_TEXT),
        parameters=_or_null(_ANY_PARAMETERS),
        inputs=_array({"$ref": "#/components/schemas/RequestInput"}),
        outputs=_or_null(_array({"$ref": "#/components/schemas/RequestOutput"})),
    ),
    "ResponseOutput": _object(
        ["name", "datatype", "shape"],
        name=_TEXT,
        datatype=_DATATYPE,
        shape=_SHAPE,
        parameters=_PARAMETERS,
        data=_DATA,
    ),
    "InferenceResponse": _object(
        ["model_name", "model_version", "outputs"],
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_PARAMETERS,
        outputs=_array({"$ref": "#/components/schemas/ResponseOutput"}),
    ),
}
