"""What the operator logs of a failure: enough to mend it, and nothing that is secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

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

WITHOUT_A_TOKEN = """
from inference_operator.aws.clients import connect
from inference_operator.aws.errors import Unavailable
from inference_operator.runtime.logs import configure

configure("INFO")
try:
    connect("eu-west-1").ecs.list_tasks(cluster="inference")
except Unavailable:
    print("told")
"""
REFUSED = """
import kopf
from inference_operator.runtime import logs, process
from inference_operator.runtime.settings import Settings

logs.configure("INFO")

async def run(_settings):
    raise kopf.LoginError("Ran out of valid credentials.")

process._run, process.load_incluster_config = run, lambda: None
process.run(Settings())
"""


def logged(program: str, environment: Mapping[str, str] = MappingProxyType({}), *, code: int = 0) -> str:
    without = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ended = subprocess.run(
        (sys.executable, "-c", program), env={**without, **environment}, check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (code, "")
    return ended.stdout


@pytest.mark.parametrize(
    "logger", ["structlog.get_logger('ours')", "logging.getLogger('kopf.activities')"], ids=["ours", "a library's"]
)
def test_a_traceback_names_its_places_and_not_what_the_variables_there_hold(logger: str) -> None:
    line = logged(PROGRAM % logger)
    told = json.loads(line)
    assert told["message"] == "status not written"
    [error] = told["exception"]
    assert (error["exc_type"], error["exc_value"]) == ("TimeoutError", "no answer")
    assert [frame["name"] for frame in error["frames"]] == ["<module>", "authorize"]
    assert "hunter2" not in line


def test_each_call_without_credentials_is_no_traceback_more() -> None:
    token = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token", "AWS_ROLE_ARN": "arn:aws:iam::111111111111:role/r"}
    assert logged(WITHOUT_A_TOKEN, token) == "told\n"


def test_an_api_server_that_takes_no_credentials_any_more_is_told_in_a_line() -> None:
    told = json.loads(logged(REFUSED, code=1))
    assert (told["level"], "takes no credentials of ours" in told["message"]) == ("critical", True)
