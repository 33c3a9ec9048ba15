"""Starts programs in the background and ends them, whatever happens, by their process ids. Knows not what they do."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.failure import DemoFailed

_END_SECONDS = 60
_TAIL = 15


@dataclass(frozen=True, kw_only=True)
class Program:
    name: str
    process: subprocess.Popen[bytes]
    output: Path
    """What it writes to standard output."""
    errors: Path
    """What it writes to standard error."""

    def first_line(self, *, within_seconds: float) -> str:
        """What it says when it is ready. What it writes to standard error until then is shown as it comes."""
        deadline = time.monotonic() + within_seconds
        with self.output.open() as output, self.errors.open() as errors:
            said = ""
            while not said.endswith("\n"):
                ended = self.process.poll() is not None  # before reading, so that nothing it said is missed
                said += output.readline()
                print(errors.read(), end="", flush=True)
                if ended:
                    self.check()
                if time.monotonic() > deadline:
                    raise DemoFailed(f"`{self.name}` was not ready within {within_seconds:.0f} s")
                time.sleep(0.1)
        return said

    def check(self) -> None:
        """Raises DemoFailed, with the end of what it said, if the program has ended."""
        code = self.process.poll()
        if code is None:
            return
        said = [*self.output.read_text().splitlines(), *self.errors.read_text().splitlines()][-_TAIL:]
        raise DemoFailed(f"`{self.name}` ended with exit code {code}. It said:\n" + "\n".join(said))


@contextmanager
def running(words: Sequence[str], *, environment: Mapping[str, str], logs: Path) -> Iterator[Program]:
    """The program within the `with` block; its output goes to `<logs>/<name>.log` and `<logs>/<name>.errors.log`.

    It gets a session of its own, so that Ctrl-C at the terminal reaches us alone, and things end in good order.
    """
    name = words[0]
    output, errors = logs / f"{name}.log", logs / f"{name}.errors.log"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            list(words), env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
    try:
        yield Program(name=name, process=process, output=output, errors=errors)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
