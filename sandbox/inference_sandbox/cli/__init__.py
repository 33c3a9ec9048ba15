"""The command `inference-sandbox`: reads the command line and prints.

- `life`: up, exec, down, build
- `rehearsal`: what is done to one that is up: status, calls, advance, faults, fail, modes, metric, reset
- `options`: what both share
"""

from __future__ import annotations

import click

from inference_sandbox.cli import life, rehearsal

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kubernetes and AWS on this machine: a real API server, and an ECS whose services really run."""


for _command in (*life.COMMANDS, *rehearsal.COMMANDS):
    main.add_command(_command)
