"""The secrets exist, with the version that is asked for. Their values are not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_operator.aws.errors import NotFound
from inference_operator.checks.base import Case, Check, Finding, failed

_ARN_PARTS = 7  # arn:aws:secretsmanager:region:account:secret:name, and then :key:stage:version


def look(case: Case) -> Iterator[Finding]:
    asked = [("spec.secrets", secret) for secret in case.spec.secrets]
    asked += [(f"spec.sidecars[{s.name}].secrets", secret) for s in case.spec.sidecars for secret in s.secrets]
    if case.spec.logging.custom is not None:
        asked += [("spec.logging.custom.secrets", secret) for secret in case.spec.logging.custom.secrets]
    for field, secret in asked:
        where = f"{field}[{secret.name}]"
        if secret.value_from.startswith("arn:") and secret.value_from.split(":")[2] == "secretsmanager":
            yield from _in_secrets_manager(case, where, secret.value_from)
        else:
            yield from _in_parameter_store(case, where, secret.value_from)


def _in_secrets_manager(case: Case, where: str, reference: str) -> Iterator[Finding]:
    parts = reference.split(":")
    arn, (_key, stage, version) = ":".join(parts[:_ARN_PARTS]), (*parts[_ARN_PARTS:], "", "", "")[:3]
    try:
        found = case.ask(case.aws.secrets.describe_secret, "secretsmanager:DescribeSecret", SecretId=arn)
    except NotFound:
        yield failed(f"{where}: there is no secret {arn}", "Make it, or name one that exists.")
        return
    if found.get("DeletedDate"):
        yield failed(f"{where}: the secret {arn} is to be deleted", "Restore it, or name another one.")
        return
    lacks = _missing_version(found.get("VersionIdsToStages") or {}, stage, version)
    if lacks:
        yield failed(f"{where}: the secret {arn} has {lacks}", "Give it a value, or name a version that it has.")


def _missing_version(versions: Mapping[str, list[str]], stage: str, version: str) -> str | None:
    if version and version not in versions:
        return f"no version {version}"
    wanted = stage or ("" if version else "AWSCURRENT")
    if wanted and not any(wanted in stages for stages in versions.values()):
        return f"no version with the stage {wanted}"
    return None


def _in_parameter_store(case: Case, where: str, reference: str) -> Iterator[Finding]:
    name = reference.partition(":parameter")[2] or reference
    filters: list[dict[str, Any]] = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    answer = case.ask(case.aws.ssm.describe_parameters, "ssm:DescribeParameters", ParameterFilters=filters)
    names = {parameter["Name"] for parameter in answer["Parameters"]}
    if not {name, name.removeprefix("/")} & names:  # the ARN of `token` reads parameter/token
        yield failed(f"{where}: there is no parameter {reference}", "Make it, or name one that exists.")


SECRETS = Check(
    name="Secrets", about="Each secret or parameter exists, with the version asked for. No value is read.", look=look
)
