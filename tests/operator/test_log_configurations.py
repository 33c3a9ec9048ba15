"""A dozen intents, each with its configuration as it was last approved; and `logs explain`, as a user sees it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from inference_operator.cli import main
from inference_operator.engine.log_explanation import explained
from tests.operator.builders import NOW, deployment_document, environment_document

DESTINATIONS = {
    "errors": {"cloudWatchLogs": {"logGroup": "/inference/{namespace}/{name}/errors"}},
    "archive": {"s3": {"bucket": "inference-logs"}},
    "stream": {"firehose": {"deliveryStream": "inference-logs"}},
    "search": {"openSearch": {"endpoint": "search-logs.eu-west-1.es.amazonaws.com", "index": "inference"}},
}
ENVIRONMENT = environment_document(logging={"destinations": DESTINATIONS})
ERRORS = {"match": {"levels": ["ERROR", "CRITICAL"]}, "to": ["errors", "archive"]}
REST = {"to": ["archive"]}
HOSTILE = ["${HOME}", "a\tb".replace("\t", " "), "[INPUT]", '"; drop', "#", "日本", r"\1", "a|b)"]

INTENTS: dict[str, dict[str, Any]] = {
    "everything_to_s3": {"routes": [REST]},
    "errors_to_cloudwatch_the_rest_to_s3": {"routes": [ERRORS, REST]},
    "health_checks_nowhere": {"routes": [ERRORS, {"match": {"path": "/healthz"}, "drop": True}, REST]},
    "errors_alone": {"routes": [{**ERRORS, "to": ["errors"]}, {"drop": True}]},
    "a_tenth_of_the_requests": {
        "routes": [{"match": {"levels": ["INFO"], "path": "/v2/*"}, "to": ["archive"], "samplePercent": 10}, REST]
    },
    "stderr_to_firehose": {"routes": [{"match": {"source": "stderr"}, "to": ["stream"]}, REST]},
    "failed_requests_to_opensearch": {
        "routes": [{"match": {"fields": [{"name": "status", "values": ["500", "503"]}]}, "to": ["search"]}, REST]
    },
    "one_tenant": {
        "routes": [{"match": {"fields": [{"name": "user.tenant", "values": ["acme"]}]}, "to": ["stream"]}, REST]
    },
    "slow_requests": {"routes": [{"match": {"regex": r"took [0-9]{4,} ms$"}, "to": ["errors"]}, REST]},
    "a_sidecar_of_its_own": {"routes": [{"match": {"container": "proxy"}, "drop": True}, REST]},
    "secrets_out": {"routes": [ERRORS, REST], "redact": ["authorization"], "remove": ["password", "cookie"]},
    "secrets_out_of_inner_objects": {"routes": [REST], "redact": ["user.email"], "remove": ["headers.cookie"]},
    "debugging": {"routes": [ERRORS, REST], "debugUntil": "2026-11-24T13:00:00Z"},
    "hostile_values": {
        "routes": [{"match": {"fields": [{"name": "user", "values": HOSTILE}]}, "drop": True}, REST],
    },
}


def document(logging: dict[str, Any]) -> dict[str, Any]:
    return deployment_document(logging=logging, sidecars=[{"name": "proxy", "image": "registry.example.com/proxy:1"}])


@pytest.mark.parametrize("name", INTENTS)
def test_the_configuration_is_as_it_was_last_approved(name: str) -> None:
    """`UPDATE_GOLDEN=1` writes the files anew; the difference is then for a reviewer to read."""
    explanation = explained(document(INTENTS[name]), {"default": ENVIRONMENT}, (), NOW)
    assert explanation.configuration is not None, explanation.refusal
    told = explanation.configuration.main
    file = Path(__file__).with_name("golden") / "logging" / f"{name}.conf"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(told)
    assert told == file.read_text()


def test_debugging_ends_at_its_time() -> None:
    def outputs(at: str) -> int:
        logging = {"routes": [ERRORS, REST], "debugUntil": at}
        configuration = explained(document(logging), {"default": ENVIRONMENT}, (), NOW).configuration
        return str(configuration and configuration.main).count("debug_until")

    assert outputs("2026-11-24T12:00:01Z") == 1
    assert outputs("2026-11-24T12:00:00Z") == 0


SAMPLE = """\
{"level": "ERROR", "message": "no model"}
Traceback (most recent call last):
  File "/app.py", line 1
ValueError: slow
{"level": "INFO", "path": "/healthz"}
hello
"""


def explain(tmp_path: Path, logging: dict[str, Any], *arguments: str) -> tuple[int, str]:
    (tmp_path / "recommender.yaml").write_text(yaml.safe_dump(document(logging)))
    (tmp_path / "environment.yaml").write_text(yaml.safe_dump(ENVIRONMENT))
    files = ["-f", str(tmp_path / "recommender.yaml"), "--environment", str(tmp_path / "environment.yaml")]
    result = CliRunner().invoke(main, ["logs", "explain", *files, *arguments], input=SAMPLE)
    return result.exit_code, result.output


def test_explain_tells_where_each_sample_line_goes(tmp_path: Path) -> None:
    code, told = explain(tmp_path, INTENTS["health_checks_nowhere"], "--sample", "-")
    assert code == 0
    assert told.splitlines()[-4:] == [
        'route 0 -> archive, errors: {"level": "ERROR", "message": "no model"}',
        'route 0 -> archive, errors: Traceback (most recent call last):⏎  File "/app.py", line 1⏎ValueError: slow',
        'route 1 -> nowhere: {"level": "INFO", "path": "/healthz"}',
        "route 2 -> archive: hello",
    ]


def test_explain_prints_the_configuration_its_hash_and_what_the_task_role_needs(tmp_path: Path) -> None:
    _, told = explain(tmp_path, INTENTS["errors_to_cloudwatch_the_rest_to_s3"])
    explanation = explained(document(INTENTS["errors_to_cloudwatch_the_rest_to_s3"]), {"default": ENVIRONMENT}, (), NOW)
    assert explanation.configuration is not None
    assert explanation.configuration.main in told
    assert f"sha256 {explanation.configuration.hash}" in told
    assert "s3:PutObject on arn:aws:s3:::inference-logs/shop/recommender/* (destination archive)" in told
    assert (
        "logs:CreateLogStream, logs:PutLogEvents on "
        "arn:aws:logs:eu-west-1:222222222222:log-group:/inference/shop/recommender/errors:* (destination errors)"
        in told
    )


def test_explain_refuses_what_the_operator_would_refuse(tmp_path: Path) -> None:
    code, told = explain(tmp_path, {"routes": [{"to": ["nowhere"]}]})
    assert code == 1
    assert "spec.logging.routes[0].to[0] 'nowhere' is no destination of the environment" in told


def test_explain_of_a_spec_without_routes_names_its_log_group(tmp_path: Path) -> None:
    code, told = explain(tmp_path, {})
    assert code == 0
    assert "no routes: every line goes to the log group /inference/shop/recommender" in told
