"""The demo: takes the steps of `steps` (or, for `python -m demo failures`, those of `failures`), says what failed, and
ends everything that it started.

It fails, with a non-zero exit code, if digits are recognised less often than they should be, if a film is recommended
that the user has rated, or if a single request fails during the rollout.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo.failure import DemoFailed

SCRIPTS = Path(sys.executable).parent
"""Where the commands of this repository are."""
_TOLD_TO_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(which: str = "") -> int:
    for number in _TOLD_TO_STOP:
        signal.signal(number, _stop)
    _prepare_environment()
    workdir = Path(tempfile.mkdtemp(prefix="ecs-inference-demo-"))
    with ExitStack() as everything:
        try:
            code = _run(workdir, everything, which)
        except KeyboardInterrupt:
            print("\nStopped before the end.", file=sys.stderr)
            code = 130
        except DemoFailed as failure:
            notes = "".join(f"\n{note}" for note in getattr(failure, "__notes__", ()))
            print(f"\nThe demo failed: {failure}{notes}\n\nAll logs are kept in {workdir}", file=sys.stderr)
            return 1
        except BaseException:
            print(f"\nThe demo failed. All logs are kept in {workdir}", file=sys.stderr)
            raise
        finally:
            # What was started ends in good order, however impatient somebody is.
            for number in _TOLD_TO_STOP:
                signal.signal(number, signal.SIG_IGN)
            print("\nEnding the operator, the services and the sandbox.", flush=True)
    shutil.rmtree(workdir, ignore_errors=True)
    return code


def _prepare_environment() -> None:
    """For this program and all that it starts: our commands are found, and what is on this machine is not asked of a
    proxy, which only the download of the data set may need."""
    os.environ["PATH"] = os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", os.defpath)])
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    here = ",".join(filter(None, ["127.0.0.1", "localhost", exceptions]))
    os.environ.update(no_proxy=here, NO_PROXY=here)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(workdir: Path, everything: ExitStack, which: str) -> int:
    """All of it. What it starts goes into `everything`."""
    began = time.monotonic()
    print("From `kubectl apply` to a served prediction, on this machine: no AWS account and no cluster are needed.")
    from demo import failures, steps  # noqa: PLC0415 - takes seconds, for scikit-learn: nobody should look at nothing meanwhile

    somebody_is_there = sys.stdin.isatty() and sys.stdout.isatty()
    # A name is for people to type; where nobody does, several demos may run at once.
    name = "demo" if somebody_is_there else f"demo-{os.getpid()}"
    play = failures.play if which == "failures" else steps.play
    stage = play(Console(), name, workdir, everything)
    print(f"All of it went well, in {time.monotonic() - began:.0f} s.", flush=True)
    if somebody_is_there and which != "failures":
        try:
            steps.stay(stage, SCRIPTS)
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
