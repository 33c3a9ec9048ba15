"""Argo CD's view of an object: its health script, run by a Lua of the version that Argo CD has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa import lua51

CHECKS = Path(__file__).parents[1] / "argocd" / "resource_customizations"


def health(script: Path, document: dict[str, Any]) -> dict[str, str]:
    """Argo CD gives a script the object as the global `obj`, and takes the table that it returns."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(document, recursive=True)
    return dict(lua.execute(script.read_text()))


def health_of(document: dict[str, Any]) -> str:
    """The health that Argo CD shows for an object of either kind."""
    group = document["apiVersion"].partition("/")[0]
    return health(CHECKS / group / document["kind"] / "health.lua", document)["status"]
