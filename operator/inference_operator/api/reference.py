"""The reference page of the API, in Markdown, from the same models as the definitions.

`python -m inference_operator.api.reference [FILE]` writes it.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from inference_operator.api.crd import KINDS, Kind
from inference_operator.api.fargate import SIZES
from inference_operator.api.meta import (
    ADOPT,
    API_VERSION,
    CONTINUE_AT,
    PAUSED,
    RECONCILE_AT,
    RESERVED_ENV,
    RESERVED_ENV_PREFIXES,
    ROLLBACK_AT,
)
from inference_operator.api.prose import default, limit, type_name
from inference_operator.api.schema import structural_schema

PAGE: Final = Path("docs/reference/api.md")


_HEAD: Final = f"""\
<!-- Generated from the models in operator/inference_operator/api: edit those, then `make manifests`. -->

# API reference

Both kinds are of `{API_VERSION}`. A field without a default may be left out, unless it is required. Times are UTC,
`2026-11-24T09:30:00Z`.
"""

_TAIL: Final = f"""\
## Annotations

`{RECONCILE_AT}`: any new value makes the operator look again at once, try a held failed revision again, and, unless
all images are named by digest and there are no secrets, replace the tasks by new ones of the same revision.
`status.lastReconcileAt` shows the value that was last honoured.

`{ROLLBACK_AT}`: any new value stops the rollout that is under way and goes back to the deployment that completed last,
whether or not `rollout.circuitBreaker.rollback` is on. `status.lastRollbackAt` shows the value that was last honoured.

`{CONTINUE_AT}`: any new value lets a rollout that is paused go on. `status.lastContinueAt` shows the value that was
last honoured.

A value of these two that finds no such rollout is honoured, too, and an Event tells (`NothingToRollBack`,
`NothingToContinue`). While nothing can or may be done to the service, it waits.

What these three have when an object has no status yet counts as honoured: whether it is new, from a backup, or from
another cluster, nothing was asked of it yet.

`{PAUSED}`: while it is `true`, and nothing else, nothing is written to AWS; the condition `Paused` is there then.

`{ADOPT}`: while it is `true`, what has a name that the object would use, and nobody's tags, is taken over.

An annotation that is misspelt does nothing, nor does another value of the last two. An Event tells
(`AnnotationIgnored`).

## Reserved environment variables

`env` may not set what the operator sets: {", ".join(f"`{name}`" for name in RESERVED_ENV)}; nor a name that begins as
those of Fargate do: {", ".join(f"`{prefix}`" for prefix in RESERVED_ENV_PREFIXES)}.
"""

_SIZES: Final = """\
## Fargate sizes

`cpu` and `memory` of a service are one of these pairs. Other ways to write the same amounts will do: `500m` for `0.5`,
`2048Mi` for `2Gi`.
"""


def reference_page() -> str:
    return "\n".join([_HEAD, *itertools.chain.from_iterable(_kind(kind) for kind in KINDS), _SIZES, _sizes(), _TAIL])


def _kind(kind: Kind) -> Iterator[str]:
    yield f"## {kind.kind}\n"
    yield f"{kind.description} Short name `{kind.short_name}`; {kind.scope.lower()}.\n"
    for root, model in (("spec", kind.spec), ("status", kind.status)):
        yield f"### {kind.kind} {root}\n"
        yield _table(
            ("Field", "Type", "Default", "Limit", "Description"),
            (_row(path, node, required=required) for path, node, required in _fields(root, structural_schema(model))),
        )


def _fields(path: str, node: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Every member at or below `node`, parents first, with its path and whether its parent requires it."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child, name in node.get("required", ())
        yield from _fields(f"{path}.{name}", child)
        yield from _fields(f"{path}.{name}[]", child.get("items", {}))
        yield from _fields(f"{path}.{name}{{}}", child.get("additionalProperties", {}))


def _row(path: str, node: Mapping[str, Any], *, required: bool) -> tuple[str, ...]:
    value = default(node)
    shown_default = "required" if required else f"`{value}`" if value else ""
    of_each = limit(node.get("items", {}))
    limits = "; each ".join(part for part in (limit(node), of_each) if part)
    return f"`{path}`", type_name(node), shown_default, limits, node.get("description", "")


def _sizes() -> str:
    by_cpu = itertools.groupby(SIZES, key=lambda size: size.cpu)
    return _table(
        ("cpu", "memory"), ((f"`{cpu}`", ", ".join(f"`{size.memory}`" for size in sizes)) for cpu, sizes in by_cpu)
    )


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def write_reference(page: Path) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(reference_page(), encoding="utf-8")


def is_current(page: Path) -> bool:
    return page.is_file() and page.read_text(encoding="utf-8") == reference_page()


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
