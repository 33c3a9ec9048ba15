"""The command `inference-sandbox`: reads the command line and prints.

- `life`: up, exec, down, build
- `rehearsal`: what is done to one that is up: status, calls, advance, faults, fail, modes, metric, reset
- `options`: what both share
"""

from __future__ import annotations

import click

from inference_sandbox.cli import life, rehearsal

__all__ = ["main"]


class _InOrder(click.Group):
    """Lists its commands as they are used, not by the alphabet."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kubernetes and AWS on this machine: a real API server, and an ECS whose services really run.

    Start one with `inference-sandbox up`, and use it from another terminal: `inference-sandbox exec -- kubectl …`,
    `inference-sandbox fail SERVICE oom`, `inference-sandbox advance 10m`. It ends with `inference-sandbox down`.
    """


for _command in (*life.COMMANDS, *rehearsal.COMMANDS):
    main.add_command(_command)
