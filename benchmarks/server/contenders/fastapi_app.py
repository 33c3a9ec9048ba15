"""The work in FastAPI. The body is read as bytes, as models of pydantic would cost it a third of its speed."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found]  # only in its own environment

from benchmarks.server.contenders.codec import answer
from benchmarks.server.contenders.work import MODEL_VARIABLE, load

predict = load(Path(os.environ[MODEL_VARIABLE]))
application = FastAPI()


@application.post("/v2/models/{name}/infer")  # type: ignore[untyped-decorator]  # see the import
async def infer(name: str, request: Request) -> Response:
    del name
    return Response(answer(predict, await request.body()), media_type="application/json")
