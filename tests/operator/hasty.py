"""`inference-operator run` with its waits shortened, so that tests need not sit them out; else the real one."""

from __future__ import annotations

from datetime import timedelta

from inference_operator.cli import main
from inference_operator.engine import backoff
from inference_operator.runtime import loop

backoff.ROLLING = timedelta(seconds=0.25)
backoff.FIRST = timedelta(seconds=0.25)
loop.LOOK_EVERY = 0.25
loop.CONTESTED = 0.25

if __name__ == "__main__":
    main(["run"])
