"""What a fresh AWS costs a test: the fixture `cloud`, from nothing to a prepared account and to its end.

    python benchmarks/sandbox/fresh_account.py [--times 30]

Prints the median, the best and the worst. The first one in a process is told apart: it reads the models of the APIs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from inference_sandbox.cloud import run_cloud


def once(folder: Path) -> tuple[float, float]:
    """Milliseconds until it is up, and until it is gone."""
    began = time.perf_counter()
    with run_cloud(folder, images={}):
        up = time.perf_counter()
    return (up - began) * 1000, (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=30)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as name:
        first, _ = once(Path(name) / "first")
        measured = [once(Path(name) / str(number)) for number in range(times)]
    print(f"the first in a process: {first:.0f} ms")
    for what, figures in zip(("until it is up", "until it is gone"), zip(*measured, strict=True), strict=True):
        print(f"{what}: median {statistics.median(figures):.0f} ms, {min(figures):.0f} to {max(figures):.0f}")


if __name__ == "__main__":
    main()
