"""Logging that is not accepted: said before anything is done, with the field and the fix."""

from __future__ import annotations

from typing import Any

import pytest

from inference_operator.domain.reasons import Reason
from inference_operator.engine.objects import accept
from inference_operator.engine.status import Refusal
from tests.operator.builders import deployment_document, environment_document

DESTINATIONS = {
    "errors": {"cloudWatchLogs": {"logGroup": "/inference/{namespace}/{name}/errors"}},
    "archive": {"s3": {"bucket": "inference-logs"}},
}
REST = {"to": ["archive"]}
OUTPUT = "[OUTPUT]\n    Name stdout\n    Match *\n"


def refused(logging: dict[str, Any], policy: dict[str, Any] | None = None) -> Refusal:
    environment = environment_document(logging={"destinations": DESTINATIONS}, policy={"logging": policy or {}})
    answer = accept(deployment_document(logging=logging), {"default": environment}, None)
    assert isinstance(answer, Refusal)
    return answer


def test_a_route_to_an_unknown_destination_names_those_that_there_are() -> None:
    answer = refused({"routes": [{"match": {"levels": ["ERROR"]}, "to": ["archive", "nowhere"]}, REST]})
    assert answer.reason is Reason.INVALID_SPEC
    assert "spec.logging.routes[0].to[1] 'nowhere' is no destination of the environment" in answer.message
    assert "it has: archive, errors" in answer.message


def test_a_route_to_a_forbidden_destination_names_the_allowed_ones() -> None:
    answer = refused({"routes": [{"to": ["errors"]}]}, {"destinations": ["archive"]})
    assert answer.reason is Reason.FORBIDDEN_BY_POLICY
    assert "spec.logging.routes[0].to[0] 'errors' is none of the allowed destinations (archive)" in answer.message


def test_a_configuration_of_ones_own_can_be_forbidden() -> None:
    answer = refused({"custom": {"configuration": OUTPUT}}, {"custom": False})
    assert answer.reason is Reason.FORBIDDEN_BY_POLICY
    assert "spec.logging.custom is not allowed; use routes" in answer.message


def test_the_image_of_a_router_of_ones_own_must_be_allowed() -> None:
    environment = environment_document(policy={"images": ["registry.example.com/*"]})
    custom = {"file": "/router.conf", "image": "elsewhere.example.com/router:1"}
    answer = accept(deployment_document(logging={"custom": custom}), {"default": environment}, None)
    assert isinstance(answer, Refusal)
    assert "spec.logging.custom.image 'elsewhere.example.com/router:1' matches none" in answer.message


@pytest.mark.parametrize("regex", ["(?=ahead)", r"\Aa\z", "a++", "(?P<name>x)", "(", "[[:alpha:]]"])
def test_a_regex_that_the_router_reads_otherwise_or_not_at_all_is_named(regex: str) -> None:
    answer = refused({"routes": [{"match": {"regex": regex}, "to": ["errors"]}, REST]})
    assert answer.reason is Reason.INVALID_SPEC
    assert "spec.logging.routes[0].match.regex: " in answer.message
    assert "regular expression" in answer.message


def test_a_regex_that_would_keep_the_router_busy_for_ever_is_refused() -> None:
    answer = refused({"routes": [{"match": {"regex": r"^(\w+\s?)*$"}, "to": ["errors"]}, REST]})
    assert answer.reason is Reason.INVALID_SPEC
    assert "spec.logging.routes[0].match.regex: matches some texts in so many ways" in answer.message


def test_routes_that_make_too_long_a_configuration_are_told_the_limit() -> None:
    values = [f"{number}{'#' * 250}" for number in range(20)]
    route = {"match": {"fields": [{"name": "user", "values": values}]}, "to": ["errors"]}
    answer = refused({"routes": [route, route, REST]})
    assert answer.reason is Reason.INVALID_SPEC
    assert "bytes for the log router, and 32768 is the limit; take fewer routes" in answer.message


@pytest.mark.parametrize(
    ("configuration", "problem"),
    [
        ("[INPUT]\n    Name forward\n    Port 24224\n", "a forward input on port 24224, where FireLens has its own"),
        ("[INPUT]\n    name Forward\n", "a forward input on port 24224, where FireLens has its own"),
        ("@SET taken=24224\n[INPUT]\n    Name forward\n    Port ${taken}\n", "a forward input on port 24224"),
        ("[INPUT]\n\tName\ttcp\n\tPort\t024224\n", "a tcp input on port 24224, where FireLens has its own"),
        ("[INPUT]\n    Name tcp\n    Port 8877\n", "a tcp input on port 8877, where FireLens has its health check"),
        ("[INPUT]\n    Name http\n    Port 2020\n", "a http input on port 2020, where the log router tells"),
        (
            "[INPUT]\n    Name forward\n    unix_path /var/run/fluent.sock\n",
            "an input on /var/run/fluent.sock, where FireLens has its own; remove it",
        ),
        (
            "[OUTPUT]\n    Name s3\n    Match *\n    store_dir /tmp/s3\n",
            "an s3 output without a store_dir below /router, the one folder that can be written to; add one",
        ),
        (
            "[OUTPUT]\n    Name\n    Match *\n",
            "an [OUTPUT] without Name, with which the router does not start; add one",
        ),
        ("[FILTER]\n    Name grep\n", "an [FILTER] without Match, which gets nothing; add one"),
        ("# \a\n", "a control character, which no environment variable of ECS can hold; remove it"),
        ("[SERVICE]\n    Flush 5\n", "a [SERVICE] section, and the operator writes that one; remove it"),
        (
            "[SERVICE]\n    Parsers_File /fluent-bit/parsers/parsers.conf\n",
            "a [SERVICE] section, and the operator writes that one; remove it, and move its parsers to parsers: their",
        ),
        ("[PARSER]\n    Name x\n", "a [PARSER] section, which belongs to another file; move it to parsers"),
        ("[OUTPUT]\n    Name stdout\n", "an [OUTPUT] without Match, which gets nothing; add one"),
        (
            "[OUTPUT]\n    Name stdout\n    Match * # all\n",
            "an [OUTPUT] with Match * # all, which gets nothing: no tag has a blank; move a comment to its own line",
        ),
        (
            "[FILTERS]\n    Name grep\n    Match *\n",
            "a [FILTERS] section, which Fluent Bit passes over here; write [INPUT], [FILTER] or [OUTPUT]",
        ),
    ],
)
def test_what_would_break_in_a_configuration_of_ones_own_is_named(configuration: str, problem: str) -> None:
    answer = refused({"custom": {"configuration": f"{configuration}\n{OUTPUT}"}})
    assert answer.reason is Reason.INVALID_SPEC
    assert f"spec.logging.custom.configuration has {problem}" in answer.message


def test_a_configuration_of_ones_own_is_measured_in_bytes_and_with_its_parsers() -> None:
    parsers = f"# {'日' * 10_000}"
    answer = refused({"custom": {"configuration": f"# {'x' * 3_000}\n{OUTPUT}", "parsers": parsers}})
    assert "bytes, with the [SERVICE] section, and 32768 is the limit; shorten them, or put them into" in answer.message


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("/etc/shop/router.yaml", "is YAML, which FireLens can't include; write it in Fluent Bit's classic format"),
        ("/router/router.conf", "is hidden by what FireLens and the operator write there; move it"),
        ("/fluent-bit/etc/fluent-bit.conf", "is hidden by what FireLens and the operator write there; move it"),
        ("s3://logging/router.conf", "must be an absolute file, such as /etc/shop/router.conf"),
    ],
)
def test_a_file_that_the_router_can_t_include_is_named(file: str, problem: str) -> None:
    answer = refused({"custom": {"file": file}})
    assert "spec.logging.custom.file" in answer.message
    assert problem in answer.message


def test_a_secret_can_t_have_the_name_of_a_variable_of_the_router_s_own() -> None:
    secrets = [{"name": "ROUTER_CONF", "valueFrom": "/shop/token"}]
    answer = refused({"custom": {"configuration": OUTPUT, "secrets": secrets}})
    assert "spec.logging.custom.secrets has ROUTER_CONF, which the operator sets; choose another" in answer.message


@pytest.mark.parametrize("port", [2020, 8877, 24224])
def test_the_server_can_t_have_a_port_of_the_log_router(port: int) -> None:
    environment = environment_document(logging={"destinations": DESTINATIONS})
    answer = accept(deployment_document(port=port, logging={"routes": [REST]}), {"default": environment}, None)
    assert isinstance(answer, Refusal)
    assert f"spec.port {port} is taken in a task with a log router" in answer.message
    assert not isinstance(accept(deployment_document(port=port), {"default": environment}, None), Refusal)


def test_a_configuration_of_ones_own_that_sends_nothing_anywhere_is_refused() -> None:
    answer = refused({"custom": {"configuration": "[FILTER]\n    Name grep\n    Match *\n"}})
    assert "has no [OUTPUT] section, so every line is lost; add one" in answer.message


@pytest.mark.parametrize(
    "configuration",
    [
        "[INPUT]\n    Name forward\n    Port 24225\n",
        "[INPUT]\n    Name forward\n    unix_path /tmp/other.sock\n",
        "# [INPUT] with Name forward, in words\n",
    ],
)
def test_other_forward_inputs_are_let_be(configuration: str) -> None:
    logging = {"custom": {"configuration": f"{configuration}\n{OUTPUT}"}}
    answer = accept(deployment_document(logging=logging), {"default": environment_document()}, None)
    assert not isinstance(answer, Refusal), answer
