"""What a test of the sandbox's AWS says of the real one, for `docs/sandbox-fidelity.md`.

`python -m tests.sandbox.aws.fidelity` writes the page from the tests beside this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


def follows(_documentation: str) -> Callable[[Test], Test]:
    """The documentation that the behaviour follows: a page of the API reference or a guide, by its title."""
    return lambda test: test


def differs(_how: str) -> Callable[[Test], Test]:
    """Where the real AWS is known to do something else, or does not say what it does."""
    return lambda test: test
