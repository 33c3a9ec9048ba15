"""A live ECS service -> the manifest from which the operator would make it, and what would be otherwise then. Pure, but
for `live`, which reads AWS.

The spec is proposed by the modules beside this one, each the reverse of some of `resources`. It is then rendered as the
operator would do it, and compared with what there is: nothing is lost unnoticed, whether or not anybody thought of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from inference_operator.api import meta
from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.aws.offline import EPOCH, Offline
from inference_operator.domain import tags
from inference_operator.domain.names import Identity
from inference_operator.engine.importing import comparison, environments, services, tasks, traffic
from inference_operator.engine.importing.live import Live
from inference_operator.engine.importing.remarks import FILL_IN, CannotImportError, Remark, accepted
from inference_operator.resources.base import Context, Fact
from inference_operator.resources.listener_rule import conditions_of, loses, paths_of, priority_of, read

__all__ = ["CannotImportError", "Imported", "identity_of", "imported"]

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Imported:
    deployment: Document
    environment: Document | None
    """None where one is there already."""
    remarks: Sequence[Remark]
    """What would be otherwise than it is, or had to be guessed."""
    added: Sequence[str]
    """Where the operator would set what is not set now."""


def identity_of(live: Live, namespace: str | None, name: str | None) -> Identity:
    """The one whose service has this name, unless another is asked for."""
    found = re.fullmatch(r"([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)_([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)", live.name)
    theirs, its = (found[1], found[2]) if found else ("default", tasks.slug(live.name))
    return Identity(namespace=namespace or theirs, name=name or its, uid="")


def imported(live: Live, identity: Identity, known: tuple[str, InferenceEnvironmentSpec] | None) -> Imported:
    """`known` is the environment that it is to run in; without one, it is made from the service as well."""
    raw = _without_nothing(environments.members(live))
    made = accepted(InferenceEnvironmentSpec, raw) if known is None else None
    where, environment = known if known is not None else (environments.name_for(live), made.spec)  # type: ignore[union-attr]  # one of them is there
    proposed, guessed = _proposed(live, identity, where, environment)
    found = accepted(InferenceDeploymentSpec, proposed)
    ctx = _context(live, identity, found.spec, environment)
    differences = comparison.compared(ctx, live)
    guesses = [*environments.remarks(live), *made.left_out] if made is not None else []
    return Imported(
        deployment=_deployment(identity, found.spec),
        environment=_environment(where, environment) if made is not None else None,
        remarks=[
            *_names(live, identity),
            *_first_served(live, identity, found.spec),
            *guesses,
            *guessed,
            *found.left_out,
            *(each.told() for each in differences if not each.is_added),
        ],
        added=[each.path for each in differences if each.is_added],
    )


def _proposed(
    live: Live, identity: Identity, where: str, environment: InferenceEnvironmentSpec
) -> tuple[dict[str, Any], list[Remark]]:
    path, guessed = _models_path(live, environment)
    task, role = tasks.members(live), live.definition.get("taskRoleArn")
    given = {
        "environment": where,
        **task,
        "taskRoleArn": role if role != environment.task_role_arn else None,
        "models": {"path": path, **({"mountPath": live.models[1]["containerPath"]} if live.models else {})},
        **traffic.members(live, identity, task["stopTimeout"]),
        **services.members(live),
    }
    return _without_nothing(given), guessed


def _models_path(live: Live, environment: InferenceEnvironmentSpec) -> tuple[str, list[Remark]]:
    """From the environment's root directory on."""
    root = environment.models.root_directory.rstrip("/")
    whole = _mounted_folder(live)
    path = whole.removeprefix(root) if whole.startswith(f"{root}/") else ""
    if path.strip("/"):
        return path, []
    told = f"the folder {whole} is not below {root or '/'} of the file system" if whole else "no file system is mounted"
    return FILL_IN, [Remark("spec.models.path", told, f"Write where the models are instead of {FILL_IN}.")]


def _mounted_folder(live: Live) -> str:
    if live.models is None:
        return ""
    volume: str = live.models[0]["efsVolumeConfiguration"].get("rootDirectory") or "/"
    point: str = ((live.access_point or {}).get("RootDirectory") or {}).get("Path") or volume
    return point


def _names(live: Live, identity: Identity) -> Iterator[Remark]:
    """What is called otherwise than the operator would call it: that it makes anew, and takes nothing over."""
    owner, behind, discovery = live.tags.get(tags.OWNER), live.behind, live.discovery
    if owner is not None:
        yield Remark("the service", f"it is the InferenceDeployment {owner}'s already", "Change that one.")
    if live.name != identity.service:
        yield _called("the service", live.name, identity.service, _SECOND)
    if behind is not None and behind.group["TargetGroupName"] != identity.target_group:
        step = _MOVED if live.name == identity.service else _ANOTHER
        yield _called("the target group", behind.group["TargetGroupName"], identity.target_group, step)
    if discovery is not None and discovery["Name"] != identity.discovery_name:
        yield _called("the service of Cloud Map", discovery["Name"], identity.discovery_name, _ANOTHER)
    if live.definition["family"] != identity.service:
        yield _called("the task definition", live.definition["family"], identity.service, _ANOTHER)
    if live.main["name"] != meta.CONTAINER:
        yield _called("the container that serves", live.main["name"], meta.CONTAINER, "Nothing.")


def _first_served(live: Live, identity: Identity, spec: InferenceDeploymentSpec) -> Iterator[Remark]:
    """Which of two rules for the same requests comes first, where the operator makes one of its own."""
    rule = traffic.rule_of(live.behind) if live.behind is not None else None
    if rule is None or live.behind is None or live.behind.group["TargetGroupName"] == identity.target_group:
        return
    paths = paths_of(spec.ingress, identity)
    ours, theirs = priority_of(paths, identity), int(rule["Priority"])
    behind = loses(read(rule), conditions_of(paths, spec.ingress.hosts))
    if ours < theirs and not behind:
        says = f"the operator's, of priority {ours}, comes before this one of {theirs}, and has no tasks at first"
        step = "Write other paths or hosts in spec.ingress until the operator's tasks are healthy."
    else:
        says = f"this one of priority {theirs} comes before the operator's, and keeps its requests"
        step = "Remove it once the operator's tasks are healthy; until then ListenerRuleReady says PathTaken."
    yield Remark("the listener rule", says, step)


def _called(what: str, name: str, ours: str, step: str) -> Remark:
    return Remark(what, f"it is called {name}, and the operator's is called {ours}", step)


_SECOND = (
    "Nothing at AWS renames it: the operator makes a second service, and leaves this one. Move callers over, then "
    "delete this one."
)
_MOVED = (
    "Know that the deployment moves the tasks to the operator's: rules that lead to this one then find no task. Remove "
    "them once ListenerRuleReady is True."
)
_ANOTHER = "Nothing: the operator makes its own, and leaves this one."


def _context(
    live: Live, identity: Identity, spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec
) -> Context:
    """As if all that there is were the object's."""
    volume = live.models[0]["efsVolumeConfiguration"] if live.models is not None else {}
    shifting = next(iter(live.service.get("loadBalancers") or [{}])).get("advancedConfiguration") or {}
    behind, rule = live.behind, traffic.rule_of(live.behind) if live.behind is not None else None
    facts = {
        Fact.LOG_GROUP: identity.log_group,
        Fact.ACCESS_POINT: (volume.get("authorizationConfig") or {}).get("accessPointId") or "an access point",
        Fact.TARGET_GROUP: behind.group["TargetGroupArn"] if behind is not None else "a target group",
        Fact.LISTENER_RULE: rule["RuleArn"] if rule is not None else "a rule",
        Fact.ALTERNATE_TARGET_GROUP: shifting.get("alternateTargetGroupArn", "a second target group"),
        Fact.DISCOVERY_SERVICE: live.discovery["Arn"] if live.discovery is not None else "a service of Cloud Map",
        Fact.TASK_DEFINITION: live.service["taskDefinition"],
        Fact.SERVICE: live.service["serviceArn"],
        **({Fact.TEST_LISTENER_RULE: shifting["testListenerRule"]} if "testListenerRule" in shifting else {}),
    }
    return Context(
        identity=identity,
        environment=environment,
        aws=Offline(region=live.region).aws(),
        now=EPOCH,
        freshness=timedelta(),
        spec=spec,
        generation=1,
        facts=facts,
    )


def _deployment(identity: Identity, spec: InferenceDeploymentSpec) -> Document:
    return {
        "apiVersion": meta.API_VERSION,
        "kind": "InferenceDeployment",
        "metadata": {
            "name": identity.name,
            "namespace": identity.namespace,
            "annotations": {meta.ADOPT: "true"},
        },
        "spec": _said(spec),
    }


def _environment(name: str, spec: InferenceEnvironmentSpec) -> Document:
    return {
        "apiVersion": meta.API_VERSION,
        "kind": "InferenceEnvironment",
        "metadata": {"name": name},
        "spec": _said(spec),
    }


def _said(spec: InferenceDeploymentSpec | InferenceEnvironmentSpec) -> dict[str, Any]:
    """Only what is otherwise than the defaults."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _without_nothing(value: Any) -> Any:
    """Absent members are not said."""
    if isinstance(value, Mapping):
        return {name: _without_nothing(part) for name, part in value.items() if part is not None}
    return [_without_nothing(each) for each in value] if isinstance(value, list) else value
