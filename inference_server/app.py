"""The Flask application: health, metadata, statistics, inference on paths that the fast way does not know, errors."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from inference_server.catalog import Catalog
from inference_server.compression import inflate
from inference_server.exchange import ENVIRON_KEY, Exchange
from inference_server.http import Answer, answer_for, error_answer, json_answer
from inference_server.inference import Inference
from inference_server.metadata import SERVER_NAME, model_config, model_metadata, model_statistics
from inference_server.metrics.exposition import Metrics
from inference_server.model_control import ModelControl
from inference_server.openapi import example_request, openapi_document
from inference_server.protocol.errors import InvalidRequestError, RequestError
from inference_server.readiness import Readiness

EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics", "model_configuration", "parameters"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application speaks for."""

    catalog: Catalog
    readiness: Readiness
    inference: Inference
    metrics: Metrics
    control: ModelControl
    version: str
    max_body_bytes: int


def make_app(parts: Parts) -> Flask:
    app = Flask("inference_server", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # it would redirect, which clients of the protocol do not follow
    _add_health(app, parts)
    _add_metadata(app, parts)
    _add_statistics(app, parts)
    _add_repository(app, parts)
    _add_inference(app, parts)
    _add_documentation(app, parts)
    _add_errors(app)
    return app


def _add_health(app: Flask, parts: Parts) -> None:
    @app.get("/healthz")
    @app.get("/v2/health/live")
    def live() -> Response:
        return _response(json_answer(200, {"live": True}))

    @app.get("/readyz")
    @app.get("/v2/health/ready")
    def ready() -> Response:
        document = parts.readiness.document()
        return _response(json_answer(200 if document["ready"] else 503, document))

    @app.get("/metrics")
    def metrics() -> Response:
        body, content_type = parts.metrics.scrape(request.headers.get("Accept", ""))
        return _response(Answer(200, body, content_type))


def _add_metadata(app: Flask, parts: Parts) -> None:
    catalog = parts.catalog

    @app.get("/v2")
    def server() -> Response:
        return _response(json_answer(200, {"name": SERVER_NAME, "version": parts.version, "extensions": EXTENSIONS}))

    @app.get("/v2/models")
    def models() -> Response:
        return _response(json_answer(200, {"models": catalog.names()}))

    @app.get("/v2/models/<name>")
    @app.get("/v2/models/<name>/versions/<version>")
    def metadata(name: str, version: str | None = None) -> Response:
        return _response(json_answer(200, model_metadata(catalog.find(name, version), sorted(catalog.models[name]))))

    @app.get("/v2/models/<name>/ready")
    @app.get("/v2/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> Response:
        return _response(json_answer(200, {"name": catalog.find(name, version).name, "ready": True}))

    @app.get("/v2/models/<name>/config")
    @app.get("/v2/models/<name>/versions/<version>/config")
    def config(name: str, version: str | None = None) -> Response:
        return _response(json_answer(200, model_config(catalog.find(name, version))))


def _add_statistics(app: Flask, parts: Parts) -> None:
    @app.get("/v2/models/stats")
    @app.get("/v2/models/<name>/stats")
    @app.get("/v2/models/<name>/versions/<version>/stats")
    def statistics(name: str | None = None, version: str | None = None) -> Response:
        totals = parts.metrics.totals()
        asked = None if name is None else parts.catalog.find(name, version)
        chosen = [
            model
            for versions in parts.catalog.models.values()
            for model in versions.values()
            if asked is None or model is asked or (version is None and model.name == name)
        ]
        return _response(json_answer(200, {"model_stats": [model_statistics(model, totals) for model in chosen]}))


def _add_repository(app: Flask, parts: Parts) -> None:
    @app.post("/v2/repository/index")
    def index() -> Response:
        only_ready = _body_object(parts.max_body_bytes).get("ready")
        if only_ready is not None and not isinstance(only_ready, bool):
            raise InvalidRequestError("'ready' must be true or false")
        entries = parts.catalog.index()
        return _response(json_answer(200, [entry for entry in entries if not only_ready or entry["state"] == "READY"]))

    @app.post("/v2/repository/models/<name>/load")
    def load(name: str) -> Response:
        parts.control.load(name, _body_object(parts.max_body_bytes))
        return _response(json_answer(200, {}))

    @app.post("/v2/repository/models/<name>/unload")
    def unload(name: str) -> Response:
        _body_object(parts.max_body_bytes)  # nothing in it makes a difference, but what can't be read is refused
        parts.control.unload(name)
        return _response(json_answer(200, {}))


def _add_inference(app: Flask, parts: Parts) -> None:
    @app.post("/v2/models/<name>/infer")
    @app.post("/v2/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        exchange: Exchange = request.environ[ENVIRON_KEY]
        exchange.inference = True
        model = parts.catalog.find(name, version)
        return _response(parts.inference.answer(model, request.get_data(), request.environ, exchange))


def _add_documentation(app: Flask, parts: Parts) -> None:
    @app.get("/openapi.json")
    def openapi() -> Response:
        models = [model for versions in parts.catalog.models.values() for model in versions.values()]
        return _response(json_answer(200, openapi_document(parts.version, models)))

    @app.get("/docs")
    def docs() -> Response:
        page = resources.files("inference_server").joinpath("docs.html").read_bytes()
        policy = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
        return _response(Answer(200, page, "text/html; charset=utf-8", [("Content-Security-Policy", policy)]))

    @app.get("/docs/examples/<name>")
    def example(name: str) -> Response:
        return _response(json_answer(200, example_request(parts.catalog.find(name))))


def _body_object(limit: int) -> dict[str, Any]:
    """The body, which may be empty, as a JSON object; of no more than `limit` bytes once inflated."""
    body = request.get_data()
    encoding = request.headers.get("Content-Encoding")
    if encoding:
        body = inflate(body, encoding, limit)
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidRequestError("the body must be empty or a JSON object")
    return document


def _add_errors(app: Flask) -> None:
    @app.errorhandler(RequestError)
    def request_error(error: RequestError) -> Response:
        return _response(answer_for(error))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        answer = error_answer(error.code or 500, f"{error.name}: {request.method} {request.path}")
        answer.headers = [(name, value) for name, value in error.get_headers() if name == "Allow"]
        return _response(answer)


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, list(answer.headers), content_type=answer.content_type)
