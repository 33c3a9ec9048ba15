"""What the containers of a task are given: variables, secrets, commands, and sidecars. Knows no AWS call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from inference_operator.api.constraints import Flag, Unique, refuse, text
from inference_operator.api.meta import CONTAINER, RESERVED_ENV, RESERVED_ENV_PREFIXES
from inference_operator.api.model import SpecModel
from inference_operator.api.quantities import Cpu, Memory

Image = Annotated[
    str,
    *text(
        255,
        r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?"
        r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
        r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?",
        "an image reference, such as registry.example.com/team/inference-server:1.4.0",
    ),
]
Arguments = Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=50)]
User = Annotated[
    str,
    *text(
        64,
        "[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?",
        "a user, or a user and a group, by id or name, such as 10001:10001",
    ),
]
_VariableName = Annotated[
    str,
    *text(
        128,
        "[A-Za-z_][A-Za-z0-9_]*",
        "a name of letters, digits and _ that begins with no digit, such as LOG_LEVEL",
    ),
]

_SSM_NAME: Final = "[A-Za-z0-9_./-]+"
_ARN: Final = "arn:aws[a-z-]*"
_PLACE: Final = "[a-z0-9-]+:[0-9]{12}"
_SECRET: Final = "[A-Za-z0-9/_+=.@-]+(:[A-Za-z0-9_.@/ -]*:[A-Za-z0-9_-]*:[A-Za-z0-9-]*)?"  # noqa: S105 a form, no secret


def _free_name_rule(member: str) -> Mapping[str, str]:
    return {
        "rule": f"!(self.name in {json.dumps(RESERVED_ENV)})"
        + "".join(f" && !self.name.startsWith('{prefix}')" for prefix in RESERVED_ENV_PREFIXES),
        "messageExpression": f'"name " + self.name + " is set by the operator or by Fargate; remove it from {member}"',
    }


def _check_free(name: str, member: str) -> None:
    if name in RESERVED_ENV or name.startswith(RESERVED_ENV_PREFIXES):
        raise refuse(f"name {name} is set by the operator or by Fargate; remove it from {member}")


class EnvVar(SpecModel):
    """One environment variable."""

    name: _VariableName
    """Name. Those that the operator or Fargate sets are refused."""

    value: Annotated[str, Field(max_length=4096, repr=False)]
    """Value. Not for secrets: whoever can read the object can read it."""

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        _check_free(self.name, "env")
        return self

    rules = (_free_name_rule("env"),)


class Secret(SpecModel):
    """One environment variable whose value Fargate reads when a task starts."""

    name: _VariableName
    """Name. Those that the operator or Fargate sets are refused."""

    value_from: Annotated[
        str,
        *text(
            1024,
            f"{_SSM_NAME}|{_ARN}:ssm:{_PLACE}:parameter/{_SSM_NAME}|{_ARN}:secretsmanager:{_PLACE}:secret:{_SECRET}",
            "the name or ARN of a parameter of SSM, or the ARN of a secret of Secrets Manager, to which "
            ":KEY:STAGE:VERSION may be added, each of them or nothing, such as "
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-Ab12Cd:token::",
        ),
    ]
    """Where the value is: an SSM parameter, or a Secrets Manager secret with the JSON key, version stage and version
    wanted. The environment's execution role must be allowed to read it. A value that changes there reaches new tasks
    alone: the annotation `reconcile-at` starts them."""

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        _check_free(self.name, "secrets")
        return self

    rules = (_free_name_rule("secrets"),)


Env = Annotated[tuple[EnvVar, ...], Field(max_length=100), Unique("name")]
Secrets = Annotated[tuple[Secret, ...], Field(max_length=50), Unique("name")]

ONCE_RULE: Final = {
    "rule": "!has(self.env) || !has(self.secrets) || !self.secrets.exists(s, self.env.exists(e, e.name == s.name))",
    "message": "env and secrets set the same variable; keep one of the two",
}
"""For a model with members `env` and `secrets`: a variable is in one of them."""


def refuse_twice(env: tuple[EnvVar, ...], secrets: tuple[Secret, ...]) -> None:
    """`ONCE_RULE` in Python."""
    if {variable.name for variable in env} & {secret.name for secret in secrets}:
        raise refuse(ONCE_RULE["message"])


_TAKEN: Final = f"name {CONTAINER} is the server's own; choose another"


class Sidecar(SpecModel):
    """A container beside the server, for what this API has no field for. It shares the task's network, cpu and memory,
    and logs beside the server."""

    name: Annotated[str, *text(40, "[a-z0-9]([a-z0-9-]*[a-z0-9])?", "lower-case letters, digits and -, such as proxy")]
    """Name of the container."""

    image: Image
    """Container image, with a tag or a digest. The environment's policy applies to it."""

    essential: Flag = False
    """Whether the task ends with this container. One that is not essential may fail while the server serves on."""

    command: Arguments = ()
    """Arguments that replace the image's own command."""

    user: User | None = None
    """User as whom it runs. The image's own if absent."""

    env: Env = ()
    """Environment variables, by name."""

    secrets: Secrets = ()
    """Environment variables whose values are read when a task starts, by name."""

    cpu: Cpu | None = None
    """vCPUs of the task's that are kept for this container. What the others leave if absent."""

    memory: Memory | None = None
    """Memory of the task's at which this container is killed. All of it if absent."""

    read_only_root_filesystem: Flag = True
    """Whether only /tmp can be written to."""

    @model_validator(mode="after")
    def _is_well_formed(self) -> Self:
        if self.name == CONTAINER:
            raise refuse(_TAKEN)
        refuse_twice(self.env, self.secrets)
        return self

    rules = (
        {"rule": f"self.name != '{CONTAINER}'", "message": _TAKEN},
        ONCE_RULE,
    )
