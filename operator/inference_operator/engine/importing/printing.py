"""An imported service as people and kubectl read it: YAML, and in its comments what there is to know first. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import yaml

from inference_operator.engine import plan
from inference_operator.engine.importing import Imported
from inference_operator.engine.importing.live import Live
from inference_operator.engine.offline import ObjectPlan
from inference_operator.engine.plan import Create, Update
from inference_operator.resources.service import Services
from inference_operator.resources.service_input import BEGINS_DEPLOYMENT, FORCE

WIDTH = 120


def text(live: Live, found: Imported, planned: ObjectPlan) -> str:
    documents = [each for each in (found.deployment, found.environment) if each is not None]
    comments = "\n".join(_comments(live, found, planned))
    return f"{comments}\n{yaml.safe_dump_all(documents, sort_keys=False, width=WIDTH, allow_unicode=True)}"


def _comments(live: Live, found: Imported, planned: ObjectPlan) -> Iterator[str]:
    yield f"# Made from the ECS service {live.cluster}/{live.name} in {live.region}."
    if found.remarks:
        yield from ("#", f"# Otherwise than now, or guessed ({len(found.remarks)}):")
    for remark in found.remarks:
        yield textwrap.fill(
            str(remark),
            WIDTH,
            initial_indent="# - ",
            subsequent_indent="#   ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    if found.added:
        yield "#"
        yield from _paragraph(f"Set besides, where nothing is set now: {', '.join(found.added)}.")
    yield "#"
    yield from _paragraph(outcome(planned))
    if planned.results:
        yield from ("#", *(f"#   {line}" for line in plan.text(planned.results).splitlines()))


def outcome(planned: ObjectPlan) -> str:
    """What becomes of the service when the manifest is applied as it is."""
    if planned.refusal is not None:
        return f"Applied, it would be refused: {planned.refusal}"
    step = next((each.step for each in planned.results if each.kind == Services.name), None)
    if isinstance(step, Create):
        return "Applied, it makes a service of its own, and the one that there is stays as it is:"
    if isinstance(step, Update) and {*BEGINS_DEPLOYMENT, FORCE} & set(step.change.paths):
        return "Applied, it takes the service over and begins one deployment:"
    if isinstance(step, plan.Hold):
        return "Applied, it waits for somebody:"
    return "Applied, it takes the service over, and no deployment begins:"


def _paragraph(sentence: str) -> list[str]:
    lines = textwrap.wrap(sentence, WIDTH - 2, break_on_hyphens=False, break_long_words=False)
    return [f"# {line}" for line in lines]
