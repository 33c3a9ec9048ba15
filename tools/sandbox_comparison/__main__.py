"""Writes docs/sandbox-comparison.md: one walk through ECS against this project's sandbox and against ministack.

ministack pins its own botocore, so it lives in a virtual environment of its own and is spoken to over HTTP only:

    python -m venv /tmp/ministack && /tmp/ministack/bin/pip install ministack
    python -m tools.sandbox_comparison --ministack /tmp/ministack
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import click

from tools.sandbox_comparison.stand_ins import WAITS, ministack, sandbox, walk_through
from tools.sandbox_comparison.walk import STEPS, Step

PAGE = Path(__file__).parents[2] / "docs" / "sandbox-comparison.md"

Seen = Mapping[str, str]


@click.command()
@click.option(
    "--ministack",
    "environment",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A virtual environment with the package ministack.",
)
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), default=PAGE, show_default=True)
def main(*, environment: Path, page: Path) -> None:
    with sandbox() as world:
        ours = walk_through(world)
    with ministack(environment) as world:
        theirs = walk_through(world)
    page.write_text(_page(ours, theirs, version=_version(environment)))
    click.echo(
        f"{page}: {len(STEPS)} steps, {sum(ours[step.title] != theirs[step.title] for step in STEPS)} differences"
    )


def _version(environment: Path) -> str:
    code = (
        "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in ('ministack', 'botocore')}))"
    )
    told = subprocess.run([environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    versions = json.loads(told.stdout)
    return f"{versions['ministack']} (with botocore {versions['botocore']})"


def _page(ours: Seen, theirs: Seen, *, version: str) -> str:
    differ = [step for step in STEPS if ours[step.title] != theirs[step.title]]
    alike = [step for step in STEPS if step not in differ]
    kept = {
        name: sum(step.is_as_documented(seen[step.title]) for step in STEPS)
        for name, seen in (("o", ours), ("t", theirs))
    }
    return f"""\
# The sandbox beside ministack

<!-- Written by `python -m tools.sandbox_comparison`. Do not edit. -->

The same {len(STEPS)} steps, in the same order, with the same boto3, against this sandbox and against
ministack {version}, each on its own endpoint. What AWS documents decides:
each row links to the page. ✓ is as documented, ✗ is not.

As documented: sandbox {kept["o"]} of {len(STEPS)}, ministack {kept["t"]} of {len(STEPS)}. They differ in {len(differ)}.

ministack ran without a Docker daemon, so its tasks were records; with one it runs containers, and of rollouts it may
then show more. It is an emulator of very many services, of which this walk looks at a corner: the corner that an
inference service on Fargate needs. The sandbox's time was let pass at once (`inference-sandbox advance`), ministack had
{WAITS:.0f} seconds for whatever takes AWS minutes.

## Where they differ

| step | AWS documents | sandbox | ministack |
|---|---|---|---|
{_rows(differ, ours, theirs)}

## Where they agree

| step | AWS documents | both |
|---|---|---|
{_rows(alike, ours)}
"""


def _rows(steps: list[Step], *seen: Seen) -> str:
    return "\n".join(
        f"| {step.title} | [{step.documented}]({step.source}) | "
        + " | ".join(
            f"{'✓' if step.is_as_documented(each[step.title]) else '✗'} {_cell(each[step.title])}" for each in seen
        )
        + " |"
        for step in steps
    )


def _cell(seen: str) -> str:
    return seen.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main()
