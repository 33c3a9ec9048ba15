"""The state of moto as a value, to have it again: an account takes thirty calls to prepare and a millisecond to copy.

What the state means is not known here.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from moto.core.base_backend import BackendDict
from moto.moto_api._internal import mock_random


@dataclass(frozen=True)
class Checkpoint:
    _places: list[tuple[Any, str, str]]
    """Service, account and region of each backend."""
    _backends: list[Any]
    """Copied together, for they refer to one another."""
    _random: Any
    """From here on, ids repeat too."""

    @classmethod
    def take(cls) -> Checkpoint:
        services: Any = BackendDict
        found = [
            (service, account, region, backend)
            for service in services._instances  # noqa: SLF001 - moto has no other list of those in use
            for account, region, backend in service.iter_backends()
        ]
        places = [(service, account, region) for service, account, region, _ in found]
        return cls(places, copy.deepcopy([backend for *_, backend in found]), mock_random.getstate())

    def restore(self) -> None:
        """Into a moto that has forgotten everything."""
        for (service, account, region), backend in zip(self._places, copy.deepcopy(self._backends), strict=True):
            service[account][region] = backend
        mock_random.setstate(self._random)
