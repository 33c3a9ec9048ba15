"""The Flask application: health, metadata, and errors. Inference itself goes past it, in `application.py`."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from inference_server.catalog import Catalog, LoadedModel
from inference_server.http import Answer, answer_for, error_answer, json_answer
from inference_server.protocol.errors import RequestError
from inference_server.readiness import Readiness

SERVER_NAME = "inference-server"


def make_app(catalog: Catalog, readiness: Readiness, version: str) -> Flask:
    app = Flask("inference_server", static_folder=None)
    app.url_map.strict_slashes = False
    _add_health(app, readiness)
    _add_metadata(app, catalog, version)
    _add_errors(app)
    return app


def _add_health(app: Flask, readiness: Readiness) -> None:
    @app.get("/healthz")
    @app.get("/v2/health/live")
    def live() -> Response:
        return _response(json_answer(200, {"live": True}))

    @app.get("/readyz")
    @app.get("/v2/health/ready")
    def ready() -> Response:
        document = readiness.document()
        return _response(json_answer(200 if document["ready"] else 503, document))


def _add_metadata(app: Flask, catalog: Catalog, version: str) -> None:
    @app.get("/v2")
    def server() -> Response:
        document = {"name": SERVER_NAME, "version": version, "extensions": ["binary_tensor_data"]}
        return _response(json_answer(200, document))

    @app.get("/v2/models")
    def models() -> Response:
        return _response(json_answer(200, {"models": catalog.names()}))

    @app.get("/v2/models/<name>")
    @app.get("/v2/models/<name>/versions/<model_version>")
    def model(name: str, model_version: str | None = None) -> Response:
        found = catalog.find(name, model_version)
        return _response(json_answer(200, metadata(found, sorted(catalog.models[name]))))

    @app.get("/v2/models/<name>/ready")
    @app.get("/v2/models/<name>/versions/<model_version>/ready")
    def model_ready(name: str, model_version: str | None = None) -> Response:
        found = catalog.find(name, model_version)
        return _response(json_answer(200, {"name": found.name, "ready": True}))


def metadata(model: LoadedModel, versions: list[int]) -> dict[str, Any]:
    signature = model.runtime.signature
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


def _add_errors(app: Flask) -> None:
    @app.errorhandler(RequestError)
    def request_error(error: RequestError) -> Response:
        return _response(answer_for(error))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        answer = error_answer(error.code or 500, f"{error.name}: {error.description}")
        answer.headers += [(name, value) for name, value in error.get_headers() if name == "Allow"]
        return _response(answer)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, content_type=answer.content_type)
