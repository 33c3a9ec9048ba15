"""An OpenSearch of the tests' own: its _bulk API, behind TLS under the domain's own name.

Source: OpenSearch, "Bulk" API reference; Elastic's and OpenSearch's shape of an answer's items.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from inference_sandbox.tasks.egress import Egress

Document = dict[str, Any]


@dataclass(kw_only=True)
class Index:
    """What arrived."""

    takes: Callable[[Document], bool] = lambda _: True
    """Whether a document fits the index's mapping."""
    documents: dict[str, Document] = field(default_factory=dict)
    """By id."""
    requests: list[Mapping[str, str]] = field(default_factory=list)
    """The headers of each, with its path as `path`."""
    actions: list[Document] = field(default_factory=list)
    denies: bool = False

    def bulk(self, body: bytes) -> Document:
        lines = [json.loads(line) for line in body.splitlines()]
        items = [self._item(action, document) for action, document in zip(lines[::2], lines[1::2], strict=True)]
        errors = any(each["create"]["status"] >= 400 for each in items)
        return {"took": 1, "errors": errors, "items": items}

    def _item(self, action: Document, document: Document) -> Document:
        self.actions.append(action)
        asked = action["create"]
        told = {"_index": asked["_index"], "_id": asked.get("_id") or uuid.uuid4().hex}
        if told["_id"] in self.documents:
            why = {"type": "version_conflict_engine_exception", "reason": "document already exists"}
            return {"create": {**told, "status": 409, "error": why}}
        if not self.takes(document):
            why = {"type": "mapper_parsing_exception", "reason": "failed to parse field"}
            return {"create": {**told, "status": 400, "error": why}}
        self.documents[told["_id"]] = document
        shards = {"total": 2, "successful": 2, "failed": 0}
        return {"create": {**told, "_version": 1, "result": "created", "_shards": shards, "status": 201}}


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            index.requests.append({**{name.lower(): value for name, value in self.headers.items()}, "path": self.path})
            if index.denies:
                self._answer(403, {"Message": "User: anonymous is not authorized to perform: es:ESHttpPost"})
                return
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self._answer(200, index.bulk(body))

        def _answer(self, status: int, document: Document) -> None:
            body = json.dumps(document, separators=(",", ":")).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    return Handler


@dataclass(frozen=True, kw_only=True)
class Way:
    """To the domain, for a program."""

    proxy: str
    authority: Path


@contextmanager
def serving(index: Index, folder: Path) -> Iterator[Way]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(index)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        egress = Egress(folder, {})
        egress.upstream = f"http://127.0.0.1:{server.server_port}"
        try:
            proxy = asyncio.run_coroutine_threadsafe(egress.url("127.0.0.1"), loop).result(10)
            yield Way(proxy=proxy, authority=egress.certificate)
        finally:
            asyncio.run_coroutine_threadsafe(egress.close(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            server.shutdown()
