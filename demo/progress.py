"""Shows how services come up: a display that moves on a terminal, lines elsewhere. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.services import Service, changes

Show = Callable[[Mapping[str, Service], str], None]
"""Takes the services by name, and a note for the last line, which may be empty."""

_MARKS = {"True": ("✓", "green"), "False": ("…", "yellow")}


@contextmanager
def progress(console: Console, before: Mapping[str, Service]) -> Iterator[Show]:
    """What is given to be called, again and again, with how things are. `before` is known already and not told."""
    started = time.monotonic()
    if not console.is_terminal:
        yield _Lines(console, started, before).show
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield lambda services, note: live.update(display(services, note, time.monotonic() - started))


class _Lines:
    """Tells what has changed since the last call."""

    def __init__(self, console: Console, started: float, before: Mapping[str, Service]) -> None:
        self._console = console
        self._started = started
        self._before = before

    def show(self, services: Mapping[str, Service], note: str) -> None:
        told = [
            f"{time.monotonic() - self._started:6.1f} s  {name:<12} {change}"
            for name, service in services.items()
            for change in changes(self._before.get(name), service)
        ]
        if told and note:
            told.append(f"{'':10}{note}")
        self._before = dict(services)
        for line in told:
            self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def display(services: Mapping[str, Service], note: str, seconds: float) -> RenderableType:
    """How things are, at a glance: a block for each service."""
    blocks: list[RenderableType] = []
    for service in services.values():
        mark, colour = _MARKS.get(service.ready.status, ("…", "yellow"))
        blocks.append(Text.assemble((f"{mark} {service.name}", f"bold {colour}"), f"  {service.ready.message}"))
        blocks.append(Text("  ").append(Text("  ").join(_resource(*item) for item in _statuses(service))))
        blocks.append(_tasks(service))
    blocks.append(Text(f"{seconds:.0f} s" + (f"  {note}" if note else ""), style="dim"))
    return Group(*blocks)


def _statuses(service: Service) -> Iterator[tuple[str, str]]:
    for kind, condition in service.resources().items():
        yield kind, condition.status


def _resource(kind: str, status: str) -> Text:
    mark, colour = _MARKS.get(status, ("…", "yellow"))
    return Text(f"{mark} {kind}", style=colour)


def _tasks(service: Service) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, task in service.tasks.items():
        if task.status != "STOPPED":
            table.add_row("  task", name, task.revision, task.status)
    return table
