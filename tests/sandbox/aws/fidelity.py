"""What a test of the sandbox's AWS says of the real one, for `docs/sandbox-fidelity.md`.

`python -m tests.sandbox.aws.fidelity` writes the page from the tests beside this file.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])

HERE = Path(__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "sandbox-fidelity.md"
NAMES = {
    "efs": "EFS",
    "ecs": "ECS",
    "iam": "IAM",
    "fargate": "Fargate",
    "firelens": "FireLens",
    "eventbridge": "EventBridge",
    "spot": "Spot",
    "awslogs": "awslogs",
}
"""Words of a test's name that are written otherwise in a sentence."""

BEGINNING = """\
# How far the sandbox's AWS goes

Generated from the tests in `tests/sandbox/aws` by `python -m tests.sandbox.aws.fidelity`; do not edit it.

Each line is a behaviour of AWS that the sandbox has, tested through boto3, with the documentation that it follows.
AWS itself was not called: where the documentation is silent or the real service is known to do something else, the
line says so, and {differences} of {count} do. "Developer guide" is the Amazon ECS developer guide, "API reference" the
Amazon ECS API reference.
"""


def follows(_documentation: str) -> Callable[[Test], Test]:
    """The documentation that the behaviour follows: a page of the API reference or a guide, by its title."""
    return lambda test: test


def differs(_how: str) -> Callable[[Test], Test]:
    """Where the real AWS is known to do something else, or does not say what it does."""
    return lambda test: test


@dataclass(frozen=True)
class Behaviour:
    sentence: str
    documentation: str
    difference: str | None
    test: str


@dataclass(frozen=True)
class Chapter:
    title: str
    behaviours: list[Behaviour]


def chapters() -> Iterator[Chapter]:
    """One for each file of tests, its title the first sentence of the file's docstring."""
    for path in sorted(HERE.glob("test_*.py")):
        tree = ast.parse(path.read_text())
        title = (ast.get_docstring(tree) or path.stem).split("\n\n")[0].split(" (")[0].split(": ")[0]
        constants = dict(_constants(tree))
        found = [each for node in tree.body if (each := _behaviour(node, path.name, constants)) is not None]
        if found:
            yield Chapter(" ".join(title.split()).rstrip("."), found)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The strings named at the top of a file."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value.value


def _behaviour(node: ast.stmt, file: str, constants: dict[str, str]) -> Behaviour | None:
    if not isinstance(node, ast.FunctionDef):
        return None
    said = dict(_decorators(node, constants))
    if "follows" not in said:
        return None
    return Behaviour(_sentence(node.name), said["follows"], said.get("differs"), f"{file}::{node.name}")


def _decorators(node: ast.FunctionDef, constants: dict[str, str]) -> Iterator[tuple[str, str]]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
            [argument] = decorator.args
            if isinstance(argument, ast.Name):
                yield decorator.func.id, constants[argument.id]
            elif isinstance(argument, ast.Constant):
                yield decorator.func.id, str(argument.value)


def _sentence(name: str) -> str:
    words = [NAMES.get(word, word) for word in name.removeprefix("test_").split("_")]
    return " ".join([words[0] if words[0] in NAMES.values() else words[0].capitalize(), *words[1:]]) + "."


def page() -> str:
    written = list(chapters())
    count = sum(len(chapter.behaviours) for chapter in written)
    differences = sum(behaviour.difference is not None for chapter in written for behaviour in chapter.behaviours)
    lines = [BEGINNING.format(count=count, differences=differences)]
    for chapter in written:
        lines += [f"## {chapter.title}", "", "| behaviour | follows | test |", "|---|---|---|"]
        for each in chapter.behaviours:
            text = each.sentence + (f" *{each.difference}*" if each.difference else "")
            lines.append(f"| {text} | {each.documentation} | `{each.test.split('::')[0]}` |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
