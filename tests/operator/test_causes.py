"""The table of causes, measured against real texts of ECS that its patterns were not written from."""

from __future__ import annotations

import hashlib
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceEnvironment
from inference_operator.domain import causes, failures
from inference_operator.domain.causes import RULES, Fact, Severity, classify, rule_for

DATA = Path(__file__).parent / "data"


@cache
def corpus() -> tuple[dict[str, Any], ...]:
    return tuple(yaml.safe_load((DATA / "failure_texts.yaml").read_text()))


@cache
def later() -> tuple[dict[str, Any], ...]:
    """Texts that were found only after the patterns had been written."""
    return tuple(yaml.safe_load((DATA / "failure_texts_later.yaml").read_text()))


def fact(entry: dict[str, Any]) -> Fact:
    return Fact(
        text=entry["text"],
        stop_code=entry.get("stop_code"),
        exit_code=entry.get("exit_code"),
        router=entry.get("container") == failures.ROUTER,
    )


def missed(entries: tuple[dict[str, Any], ...]) -> list[str]:
    """Those that get another cause than a person gave them, one a line."""
    got = [(entry, classify(fact(entry)).name) for entry in entries]
    return [f"{name}, not {entry['cause']}: {entry['text']}" for entry, name in got if name != entry["cause"]]


SEEN = tuple(entry for entry in corpus() if not entry.get("held_out"))
HELD_OUT = tuple(entry for entry in corpus() if entry.get("held_out"))

# For what no text of the corpus that may be looked at tells of: documented stop codes, exit codes, and rarer errors.
EXAMPLES: tuple[tuple[Fact, str], ...] = (
    (Fact(text="Service deployment rollback was requested by the user."), "RollbackRequested"),
    (Fact(text="", stop_code="TerminationNotice"), "SpotInterrupted"),
    (Fact(text="", stop_code="InfrastructureHealth"), "InfrastructureMaintenance"),
    (
        Fact(text="OutOfMemoryError: Container killed due to memory usage", exit_code=137, router=True),
        "LogRouterOutOfMemory",
    ),
    (
        Fact(
            text="failed to validate logger args: AccessDeniedException: not authorized to perform: logs:CreateLogGroup"
        ),
        "LogAccessDenied",
    ),
    (Fact(text="failed to validate logger args: create stream: ResourceNotFoundException"), "LogGroupMissing"),
    (Fact(text="failed to initialize logging driver: unix fluent.sock: connection refused"), "LogDriverFailed"),
    (Fact(text="failed to initialize logging driver: NoCredentialProviders: no valid providers"), "LogDriverFailed"),
    (Fact(text="EFS: the access point fsap-0123456789abcdef0 does not exist"), "EfsAccessPointUnusable"),
    (Fact(text="failed to chown /var/lib/x: lchown /var/lib/x: operation not permitted"), "EfsMountFailed"),
    (
        Fact(text="AccessDeniedException: User: x is not authorized to perform: ecr:GetAuthorizationToken"),
        "RegistryLoginDenied",
    ),
    (
        Fact(text="failed to download env files: file download command: non empty error stream: RequestCanceled"),
        "EnvironmentFileFailed",
    ),
    (Fact(text="Create Network Interface in subnet: InsufficientFreeAddressesInSubnet"), "SubnetFull"),
    (Fact(text="is unhealthy in (target-group x) due to (reason Target.NotInUse)"), "TargetZoneDisabled"),
    (
        Fact(text="Both target groups must be associated with the productionListenerRule or testListenerRule."),
        "TrafficShiftRefused",
    ),
    (Fact(text="SERVICE_DISCOVERY_INSTANCE_UNHEALTHY"), "ServiceDiscoveryUnhealthy"),
    (
        Fact(text="dependency graph: container ordering dependency [model] for target [app] has timed out."),
        "DependencyFailed",
    ),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=1, router=True), "LogRouterExited"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=127), "CommandNotFound"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=139), "ContainerCrashed"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=137), "ContainerKilled"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=143), "ContainerTerminated"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=0), "ContainerFinished"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=3), "ContainerExited"),
    (Fact(text="Essential container in task exited"), "ContainerExited"),
    (Fact(text="Task stopped by user"), "StoppedByUser"),
)


@pytest.mark.parametrize("entry", SEEN, ids=lambda entry: f"{entry['cause']}: {entry['text'][-40:]}")
def test_a_real_text_gets_the_cause_that_a_person_gave_it(entry: dict[str, Any]) -> None:
    assert classify(fact(entry)).name == entry["cause"], entry["meaning"]


@pytest.mark.parametrize(("example", "cause"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_rarer_failure_gets_its_cause(example: Fact, cause: str) -> None:
    assert classify(example).name == cause


# -- texts that no pattern was written for


def test_texts_kept_aside_get_their_causes() -> None:
    wrong = missed(HELD_OUT)
    assert len(wrong) <= 0.03 * len(HELD_OUT), "\n".join(wrong)


def test_texts_found_later_get_their_causes() -> None:
    wrong = missed(later())
    assert len(wrong) <= 0.06 * len(later()), "\n".join(wrong)


# -- the corpus


def test_the_corpus_is_large_has_sources_and_keeps_a_third_aside_by_a_rule_that_nobody_chooses_by_hand() -> None:
    assert len(corpus()) >= 150
    assert len(HELD_OUT) >= len(corpus()) / 4
    assert all(entry["source"].startswith(("https://", "github.com, ")) for entry in (*corpus(), *later()))
    aside = [int(hashlib.sha256(entry["text"].encode()).hexdigest(), 16) % 3 == 0 for entry in corpus()]
    assert aside == [bool(entry.get("held_out")) for entry in corpus()]


def test_every_label_is_a_cause_of_the_table() -> None:
    assert {entry["cause"] for entry in (*corpus(), *later())} <= {cause.name for cause in causes.causes()}


def test_nothing_is_counted_twice() -> None:
    facts = [fact(entry) for entry in (*corpus(), *later())]
    assert len(facts) == len(set(facts))


# -- cutting, joining, names

# Causes that say less than their neighbours do: right for a text whose end is missing.
SAYS_LESS = frozenset(
    {
        "Unknown",
        "ImagePullFailed",
        "EfsMountFailed",
        "LogDriverFailed",
        "SecretFetchFailed",
        "ContainerStartFailed",
        "ContainerExited",
        "PlatformError",
        "TargetUnhealthy",
        "TargetNotRegistered",
        "CircuitBreaker",
        "RollingBack",
        "LifecycleHookFailed",
    }
)
# AWS says first that the log group can't be found, and only then that CloudWatch can't be reached.
MISLEADING = (
    "The task cannot find the Amazon CloudWatch log group defined in the task definition. There is a connection"
)


@pytest.mark.parametrize("entry", SEEN, ids=lambda entry: f"{entry['cause']}: {entry['text'][-40:]}")
def test_a_text_that_is_cut_off_anywhere_never_gets_a_wrong_cause(entry: dict[str, Any]) -> None:
    if MISLEADING in entry["text"]:
        pytest.skip("the beginning of this text is misleading by itself")
    whole = fact(entry)
    for end in range(0, len(whole.text), 5):
        cut = classify(
            Fact(text=whole.text[:end], stop_code=whole.stop_code, exit_code=whole.exit_code, router=whole.router)
        )
        assert cut.name in SAYS_LESS | {entry["cause"]}, whole.text[:end]


@pytest.mark.parametrize(
    "entry", [entry for entry in SEEN if entry.get("field") == "reason"], ids=lambda entry: entry["text"][-40:]
)
def test_the_reason_of_a_container_decides_beside_the_general_words_of_its_task(entry: dict[str, Any]) -> None:
    stopped = failures.stopped_task(
        {
            "taskArn": "arn:aws:ecs:us-east-1:111122223333:task/c/1",
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
            "containers": [{"name": "app", "reason": entry["text"], "exitCode": entry.get("exit_code")}],
        }
    )
    assert stopped.cause == entry["cause"]
    assert entry["text"] in (stopped.reason or "")


@pytest.mark.parametrize(
    "name", ["efs-quota", "out-of-memory-alarm", "circuit breaker".replace(" ", "-"), "spot-throttle"]
)
def test_names_that_people_chose_decide_nothing(name: str) -> None:
    assert classify(Fact(text=f"(service {name}) has reached a steady state.")).name == "SteadyState"
    registered = (
        f"(service {name}) registered 1 targets in (target-group arn:aws:elasticloadbalancing:r:1:targetgroup/{name}/1)"
    )
    assert classify(Fact(text=registered)).name == "Progress"


def test_what_no_rule_knows_is_unknown_and_asks_to_read_the_text() -> None:
    cause = classify(Fact(text="Flux capacitor misaligned"))
    assert (cause.name, cause.severity) == ("Unknown", Severity.WARNING)
    assert "Read the text" in cause.next_step


# -- the table


def test_every_rule_decides_some_text() -> None:
    facts = [fact(entry) for entry in SEEN] + [example for example, _ in EXAMPLES]
    deciding = [rule_for(one) for one in facts]
    idle = [(rule.cause.name, rule.pattern) for rule in RULES if not any(rule is one for one in deciding)]
    assert idle == []


def test_every_cause_has_a_name_of_its_own_an_explanation_and_a_next_step() -> None:
    names = [cause.name for cause in causes.causes()]
    assert len(names) == len(set(names))
    for cause in causes.causes():
        assert re.fullmatch(r"([A-Z][a-z]+)+", cause.name)
        assert cause.explanation.endswith(".")
        assert cause.next_step.endswith(".")
        assert cause.explanation != cause.next_step


def field_names(model: type[BaseModel]) -> set[str]:
    """Names of all fields below `spec`, each as `name` and as `parent.name`."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(field.alias or name)
        for inner in models_in(field.annotation):
            below = field_names(inner)
            found |= below | {f"{field.alias or name}.{one}" for one in below}
    return found


def models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for one in getattr(annotation, "__args__", ()) for model in models_in(one)}


FIELDS = field_names(InferenceDeployment) | field_names(InferenceEnvironment)
DOTTED = re.compile(r"(?<![\w./])[a-z]\w+(?:\.[a-z]\w+)+(?![\w.]*\.com)")
AWS_NAMES = frozenset({"ecr.api", "ecr.dkr"})
# What can be changed that is no field: a permission, a condition to look at, or a thing.
THING = re.compile(
    r"\b[a-z0-9]+:[A-Z]\w+|[a-z]\w+RoleArn|\b\w+Ready\b|"
    r"\b(image|secret|role|policy|alarm|logging|subnets?|container|entry point|Quotas|capacity providers?|function)\b"
)


def test_every_field_that_a_next_step_names_exists() -> None:
    named = {(cause.name, field) for cause in causes.causes() for field in DOTTED.findall(cause.next_step)}
    assert len(named) > 10
    assert {(cause, field) for cause, field in named if field not in FIELDS | AWS_NAMES} == set()


def test_every_error_says_what_to_change() -> None:
    errors = [cause for cause in causes.causes() if cause.severity is Severity.ERROR]
    vague = [cause.name for cause in errors if not DOTTED.search(cause.next_step) and not THING.search(cause.next_step)]
    assert vague == []


FRAGMENTS = sorted({word for rule in RULES for word in re.findall(r"[A-Za-z]{3,}|\d+", rule.pattern + " " + rule.also)})
junk = st.lists(
    st.sampled_from([*FRAGMENTS, " ", ":", "(service ", "arn:aws:", "\n", "x" * 50]), min_size=1, max_size=6
)


@given(junk)
@settings(deadline=None, max_examples=60)
def test_a_hundred_kilobytes_of_junk_from_the_tables_own_words_are_classified_in_no_time(words: list[str]) -> None:
    unit = "".join(words)
    text = unit * (100_000 // len(unit) + 1)
    began = time.process_time()
    classify(Fact(text=text))
    assert time.process_time() - began < 2


@given(st.text(max_size=300), st.sampled_from([None, "EssentialContainerExited", "New"]), st.integers() | st.none())
def test_whatever_aws_says_there_is_a_cause(text: str, stop_code: str | None, exit_code: int | None) -> None:
    assert classify(Fact(text=text, stop_code=stop_code, exit_code=exit_code)) in causes.causes()
