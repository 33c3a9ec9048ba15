"""What the operator logs of a failure: enough to mend it, and nothing that is secret."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, structlog
from inference_operator.runtime.logs import configure

configure("INFO")

def authorize(token):
    headers = {"Authorization": token}
    raise TimeoutError("no answer")

try:
    authorize("Bearer hunter2")
except TimeoutError:
    %s.exception("status not written")
"""


@pytest.mark.parametrize(
    "logger", ["structlog.get_logger('ours')", "logging.getLogger('kopf.activities')"], ids=["ours", "a library's"]
)
def test_a_traceback_names_its_places_and_not_what_the_variables_there_hold(logger: str) -> None:
    line = subprocess.run((sys.executable, "-c", PROGRAM % logger), check=True, capture_output=True, text=True).stdout
    told = json.loads(line)
    assert told["message"] == "status not written"
    [error] = told["exception"]
    assert (error["exc_type"], error["exc_value"]) == ("TimeoutError", "no answer")
    assert [frame["name"] for frame in error["frames"]] == ["<module>", "authorize"]
    assert "hunter2" not in line
