"""The API server, which knows the CRD alone, and the models come to the same verdict on the same object."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inference_operator.api import fargate
from inference_operator.api.errors import explain
from inference_operator.api.meta import API_VERSION, GROUP, VERSION
from inference_operator.api.quantities import Cpu, Memory
from inference_operator.api.rollout import rollout_refusal
from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceEnvironment
from tests.api.samples import (
    ABSENT,
    BAD_DEPLOYMENTS,
    BAD_ENVIRONMENTS,
    DEPLOYMENT,
    ENVIRONMENT,
    GOOD_DEPLOYMENTS,
    GOOD_ENVIRONMENTS,
    Change,
    Spec,
    changed,
    label,
)

Verdict = str | None
"""Why an object was refused; None if it was accepted."""

Ask = Callable[[str, Spec, str], Verdict]

SERVER = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def server(api_client: Any) -> Ask:
    """Asks the API server, which creates nothing."""
    kubernetes = pytest.importorskip("kubernetes", reason="the extra `operator` is not installed")
    custom = kubernetes.client.CustomObjectsApi(api_client)

    def ask(kind: str, spec: Spec, name: str = "example") -> Verdict:
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        how = {"dry_run": "All", "field_validation": "Strict"}
        try:
            if kind == "InferenceEnvironment":
                custom.create_cluster_custom_object(GROUP, VERSION, "inferenceenvironments", body, **how)
            else:
                custom.create_namespaced_custom_object(GROUP, VERSION, "default", "inferencedeployments", body, **how)
        except kubernetes.client.ApiException as error:
            if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
                raise
            return str(json.loads(error.body)["message"])
        return None

    return ask


def models(kind: str, spec: Spec, name: str = "example") -> Verdict:
    model = InferenceEnvironment if kind == "InferenceEnvironment" else InferenceDeployment
    try:
        model.model_validate({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
    except ValidationError as error:
        return explain(error)
    return None


def assert_same(server: Ask, kind: str, spec: Spec, name: str = "example") -> tuple[Verdict, Verdict]:
    verdicts = server(kind, spec, name), models(kind, spec, name)
    assert (verdicts[0] is None) == (verdicts[1] is None), f"server: {verdicts[0]}\nmodels: {verdicts[1]}\n{spec}"
    return verdicts


@pytest.mark.parametrize("change", GOOD_DEPLOYMENTS, ids=label)
def test_the_server_accepts_a_good_deployment(server: Ask, change: Change) -> None:
    assert server("InferenceDeployment", changed(DEPLOYMENT, change), "example") is None


@pytest.mark.parametrize("change", BAD_DEPLOYMENTS, ids=label)
def test_the_server_refuses_a_bad_deployment(server: Ask, change: Change) -> None:
    verdict = server("InferenceDeployment", changed(DEPLOYMENT, change), "example")
    assert verdict is not None
    assert "failed rule: " not in verdict, "a rule that can't say what is wrong shows its expression instead"


@pytest.mark.parametrize("change", GOOD_ENVIRONMENTS, ids=label)
def test_the_server_accepts_a_good_environment(server: Ask, change: Change) -> None:
    assert server("InferenceEnvironment", changed(ENVIRONMENT, change), "example") is None


@pytest.mark.parametrize("change", BAD_ENVIRONMENTS, ids=label)
def test_the_server_refuses_a_bad_environment(server: Ask, change: Change) -> None:
    verdict = server("InferenceEnvironment", changed(ENVIRONMENT, change), "example")
    assert verdict is not None
    assert "failed rule: " not in verdict


@pytest.mark.parametrize("kind", ["InferenceDeployment", "InferenceEnvironment"])
@pytest.mark.parametrize("name", ["a", "9", "a-b", "a" * 40, "a" * 41, "a.b"])
def test_names(server: Ask, kind: str, name: str) -> None:
    spec = ENVIRONMENT if kind == "InferenceEnvironment" else DEPLOYMENT
    verdict, _ = assert_same(server, kind, spec, name)
    if verdict is not None:
        assert "metadata.name must be at most 40 lower-case letters, digits and -" in verdict


def members(changes: list[Change]) -> dict[str, list[Any]]:
    """Path → the values that the table tries there, without those that need others beside them."""
    found: dict[str, list[Any]] = {}
    for change in changes:
        for path, value in change.items():
            found.setdefault(path, []).append(value)
    return found


def some_of(good: list[Change], bad: list[Change]) -> st.SearchStrategy[Change]:
    """Several members at once, mostly good ones, of those that the tables try."""
    good_members, all_members = members(good), members(good + bad)
    paths = sorted(path for path in all_members if "." not in path or path.split(".")[0] not in all_members)
    nested = sorted(path for path in all_members if "." in path)

    def value(path: str) -> st.SearchStrategy[Any]:
        fine = good_members.get(path, [ABSENT])
        return st.one_of(*[st.sampled_from(fine)] * 6, st.sampled_from(all_members[path]))

    choices = st.lists(st.sampled_from([*paths, *nested]), max_size=5, unique=True)
    return choices.flatmap(lambda chosen: st.fixed_dictionaries({path: value(path) for path in chosen}))


def combined(base: Spec, change: Change) -> Spec | None:
    """The changed spec, or None where two changes are in each other's way."""
    try:
        return changed(base, dict(sorted(change.items())))
    except (AttributeError, TypeError):
        return None


@given(change=some_of(GOOD_DEPLOYMENTS, BAD_DEPLOYMENTS))
@SERVER
def test_any_mixture_of_members_of_a_deployment(server: Ask, change: Change) -> None:
    if (spec := combined(DEPLOYMENT, change)) is not None:
        assert_same(server, "InferenceDeployment", spec)


@given(change=some_of(GOOD_ENVIRONMENTS, BAD_ENVIRONMENTS))
@SERVER
def test_any_mixture_of_members_of_an_environment(server: Ask, change: Change) -> None:
    if (spec := combined(ENVIRONMENT, change)) is not None:
        assert_same(server, "InferenceEnvironment", spec)


AMOUNTS = st.tuples(
    st.one_of(
        st.sampled_from([size.cpu.millis for size in fargate.SIZES]).map("{}m".format),
        st.integers(0, 20_000).map("{}m".format),
        st.integers(0, 20),
    ),
    st.one_of(
        st.sampled_from([size.memory.mib for size in fargate.SIZES]).map("{}Mi".format),
        st.integers(0, 130).map("{}Gi".format),
        st.integers(0, 2**38),
    ),
)
VALID_AMOUNTS = st.sampled_from(fargate.SIZES).flatmap(
    lambda size: st.tuples(
        st.sampled_from([str(size.cpu), f"{size.cpu.millis}m"]), st.sampled_from([str(size.memory), size.memory.bytes])
    )
)
TEXTS_LIKE_AMOUNTS = st.tuples(
    st.from_regex(r"-?[0-9.]{0,4}[em]?[0-9]?", fullmatch=True),
    st.from_regex(r"[0-9.]{0,4}[KMGTikm]{0,2}", fullmatch=True),
)


@given(asked=st.one_of(AMOUNTS, VALID_AMOUNTS, TEXTS_LIKE_AMOUNTS))
@SERVER
def test_sizes_and_what_is_said_of_wrong_ones(server: Ask, asked: tuple[int | str, int | str]) -> None:
    cpu, memory = asked
    verdict, _ = assert_same(server, "InferenceDeployment", {**DEPLOYMENT, "cpu": cpu, "memory": memory})
    if verdict is not None and "must be" not in verdict:
        assert fargate.refusal(Cpu.parse(cpu), Memory.parse(memory)) in verdict


@given(
    replicas=st.one_of(st.integers(0, 12), st.integers(0, 5000)),
    minimum=st.integers(-1, 2),
    maximum=st.integers(-2, 1),
)
@SERVER
def test_percentages_and_what_is_said_of_wrong_ones(server: Ask, replicas: int, minimum: int, maximum: int) -> None:
    """`minimum` and `maximum` are told from where a rollout just has, or just has no, room for one task."""
    one_task = math.ceil(100 / max(replicas, 1))
    minimum, maximum = min(max(100 - one_task + minimum, 0), 100), min(max(100 + one_task + maximum, 100), 200)
    rollout = {"minimumHealthyPercent": minimum, "maximumPercent": maximum}
    verdict, _ = assert_same(server, "InferenceDeployment", {**DEPLOYMENT, "replicas": replicas, "rollout": rollout})
    if (refusal := rollout_refusal(replicas, minimum, maximum)) is not None:
        assert verdict is not None
        assert refusal in verdict


TEXTS = st.one_of(st.text(max_size=12), st.from_regex(r"[a-z0-9:/@._*-]{0,20}", fullmatch=True))


@pytest.mark.parametrize(
    ("kind", "path", "many"),
    [
        ("InferenceDeployment", "environment", False),
        ("InferenceDeployment", "image", False),
        ("InferenceDeployment", "models.path", False),
        ("InferenceDeployment", "models.mountPath", False),
        ("InferenceDeployment", "health.path", False),
        ("InferenceDeployment", "health.startup", False),
        ("InferenceDeployment", "ingress.paths", True),
        ("InferenceDeployment", "ingress.hosts", True),
        ("InferenceEnvironment", "region", False),
        ("InferenceEnvironment", "cluster", False),
        ("InferenceEnvironment", "models.rootDirectory", False),
        ("InferenceEnvironment", "policy.images", True),
    ],
)
def test_any_text_in_a_text_field(server: Ask, kind: str, path: str, many: bool) -> None:
    base = ENVIRONMENT if kind == "InferenceEnvironment" else DEPLOYMENT

    @given(text=TEXTS)
    @settings(SERVER, max_examples=40)
    def same_for(text: str) -> None:
        assert_same(server, kind, changed(base, {path: [text] if many else text}))

    same_for()
