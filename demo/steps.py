"""The steps of the demo, in the order in which `__main__` takes them: each does one thing and shows it."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
import yaml
from rich.console import Console

from demo import digits, models, movielens, registry
from demo.commands import Shell
from demo.environment import environment_document
from demo.failure import DemoFailed
from demo.inference import ask, path_of, request
from demo.load import Outcome, Report, summarise, under_load
from demo.logs import Arrived, Line
from demo.movielens import Ratings
from demo.programs import Program, running
from demo.watch import Watch
from inference_sandbox.details import Details

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
NAMESPACE = "shop"
USER = 42
LEAST_ACCURACY = 0.95
_FAVOURITES = 5
_SANDBOX_SECONDS = 1200  # the first time, the control plane is built
_UP_SECONDS = 120
_ROLLOUT_SECONDS = 240
_DIGITS_AT_ONCE = 60
_BUCKET = "inference-logs"
_GROUP = f"/inference/{NAMESPACE}/recommender"
_ERRORS = f"{_GROUP}/errors"
_DEBUG_SECONDS = 90
_DESIRED = f"kubectl get infdep recommender -n {NAMESPACE} -o jsonpath='{{.status.desired.revision}}'"
_RELEASE = json.dumps({"spec": {"models": {"path": f"/{models.DIGITS[2]}"}}}, separators=(",", ":"))
_CONDITIONS = r'{{range .status.conditions}}{{printf "%-20s %-6s %s\n" .type .status .message}}{{end}}'


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the steps after the first act on."""

    console: Console
    sandbox: str
    workdir: Path
    details: Details
    shell: Shell
    watch: Watch
    http: httpx.Client
    programs: list[Program]
    """Those that must not end while the demo goes on."""

    def heading(self, text: str, explanation: str = "") -> None:
        heading(self.console, text, explanation)

    def ended(self) -> Iterator[str]:
        """A line for each program that has ended, though it must not."""
        for program in self.programs:
            if (code := program.process.poll()) is not None:
                yield f"`{program.name}` has ended with exit code {code}"

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What fails within it is told with what was known then."""
        try:
            yield
        except DemoFailed as failure:
            for line in (*self.ended(), *self.watch.conditions()):
                failure.add_note(line)
            raise

    def url(self, name: str) -> str:
        """Where a service is, as its status tells."""
        url = self.watch.last[name].url
        if url is None:
            raise DemoFailed(f"{name} is ready, but its status has no url")
        return url


def heading(console: Console, text: str, explanation: str = "") -> None:
    console.print(f"\n== {text}", style="bold", highlight=False, markup=False)
    if explanation:
        print(explanation)
    print(flush=True)


def play(console: Console, name: str, workdir: Path, everything: ExitStack) -> Stage:
    """All of them but the last. What they start goes into `everything`."""
    stage = start_sandbox(console, name, workdir, everything)
    with stage.blamed():
        ratings, held_out = prepare_models(stage)
        start_operator(stage, everything)
        deploy(stage, "examples/recommender.yaml", "examples/digits.yaml")
        recommend(stage, ratings)
        classify(stage, held_out)
        roll_out(stage, held_out)
        classify(stage, held_out)
        route_logs(stage)
        look_back(stage)
    return stage


def start_sandbox(
    console: Console, name: str, workdir: Path, everything: ExitStack, images: Mapping[str, str] | None = None
) -> Stage:
    """A control plane and a stand-in for AWS. What it starts goes into `everything`. `name` is the sandbox's; `images`
    are commands to run for further images, by patterns of their names."""
    heading(
        console,
        "A cluster and an account",
        "A real Kubernetes API server, and a stand-in for AWS whose ECS really runs its tasks.",
    )
    words = ["inference-sandbox", "up", "--name", name, "--json", "--workdir", str(workdir / "sandbox")]
    for image, command in (images or {}).items():
        words += ["--image", f"{image}={command}"]
    print(f"$ {shlex.join(words)} &", flush=True)
    program = everything.enter_context(running(words, environment=os.environ, logs=workdir))
    details = Details(**json.loads(program.first_line(within_seconds=_SANDBOX_SECONDS)))
    print(f"Kubernetes is at {details.kubeconfig}\nAWS is at {details.aws_endpoint_url}\nTasks run as {details.tasks}")
    programs = [program]

    def still_well() -> None:
        for each in programs:
            each.check()

    return Stage(
        console=console,
        sandbox=name,
        workdir=workdir,
        details=details,
        shell=Shell(folder=ROOT, environment=details.environment(os.environ)),
        watch=Watch(details, NAMESPACE, still_well),
        http=everything.enter_context(httpx.Client(timeout=30, trust_env=False)),
        programs=programs,
    )


def prepare_models(stage: Stage) -> tuple[Ratings, digits.Digits]:
    """Train the models and publish them where services find them. Returns the ratings and the held-out digits."""
    stage.heading("Models", f"{stage.details.models_dir} stands in for EFS.")
    target = Path(stage.details.models_dir)
    print("Fetching MovieLens 100K (for research; kept in your cache folder, not in this repository)", flush=True)
    ratings = movielens.read(movielens.fetch())
    print(
        f"Factorising {len(ratings.stars)} ratings of {len(ratings.item_ids)} films by {len(ratings.user_ids)} people",
        flush=True,
    )
    repositories = [models.write_recommender(target, ratings)]
    training, held_out = digits.split()
    print(
        f"Training two classifiers on {len(training.labels)} handwritten digits; {len(held_out.labels)} are held out",
        flush=True,
    )
    repositories += [models.write_digits(target, training, version) for version in models.DIGITS]
    for repository in repositories:
        stage.shell.show(f"inference-server publish {repository}")
    return ratings, held_out


def start_operator(stage: Stage, everything: ExitStack) -> None:
    """The operator, and the environment that it lets services run in."""
    stage.heading("The operator", "It watches InferenceDeployments and keeps their ECS services as they ask.")
    stage.shell.show("kubectl apply -f crds/")
    stage.shell.show("kubectl wait --for=condition=Established --timeout=30s -f crds/")
    words = ["inference-operator", "run"]
    print(f"$ {' '.join(words)} > {stage.workdir / 'inference-operator.log'} &")
    stage.programs.append(
        everything.enter_context(running(words, environment=stage.shell.environment, logs=stage.workdir))
    )
    registry.push(stage.details)
    manifest = stage.workdir / "environment.yaml"
    example = yaml.safe_load((ROOT / "examples" / "environment.yaml").read_text())
    manifest.write_text(yaml.safe_dump(environment_document(example, stage.details), sort_keys=False))
    print("\nThe platform team says once where services run: examples/environment.yaml, with this account's ids.\n")
    stage.shell.show(f"kubectl apply -f {manifest}")
    stage.shell.show("kubectl wait --for=condition=Ready --timeout=60s infenv/default")


def deploy(stage: Stage, *manifests: str) -> None:
    """Apply them and wait until what they ask for serves; the first one is shown."""
    stage.heading("Services", "An application team says what it wants to have served.")
    stage.shell.show(f"cat {manifests[0]}")
    stage.shell.show(f"kubectl create namespace {NAMESPACE}")
    stage.shell.show(f"kubectl apply {' '.join(f'-f {manifest}' for manifest in manifests)}")
    stage.watch.until_up(stage.console, seconds=_UP_SECONDS)
    print()
    stage.shell.show(f"kubectl get infdep -n {NAMESPACE}")


def recommend(stage: Stage, ratings: Ratings) -> None:
    """Ask for ten films, of which the user may have rated none."""
    rated = _rated_by(ratings, USER)
    best = sorted(rated, key=lambda item: (-rated[item][1], item))[:_FAVOURITES]
    favourites = "\n".join(f"     {rated[item][0]}" for item in best)
    stage.heading("Recommendations", f"User {USER} has rated {len(rated)} films, and gave five stars to\n{favourites}")
    inputs = {"user": np.array([USER])}
    url = stage.url("recommender")
    print(f"POST {url}{path_of('recommender')}\n     {json.dumps(request(inputs))}\n")
    answer = ask(stage.http, url, "recommender", inputs)
    items, titles = answer.outputs["items"][0].tolist(), answer.outputs["titles"][0].tolist()
    for place, title in enumerate(titles, start=1):
        print(f"{place:3}. {title}")
    known = [title for item, title in zip(items, titles, strict=True) if item in rated]
    if known or len(set(items)) != 10:  # noqa: PLR2004 - the ten that were promised
        raise DemoFailed(f"ten films not rated yet were asked for; of {items} the user has rated {known or 'none'}")
    print(f"\nUser {USER} has rated none of them.")


def _rated_by(ratings: Ratings, user: int) -> dict[int, tuple[str, float]]:
    """Title and stars of each film that the user has rated, by the film's id."""
    own = ratings.user_ids[ratings.users] == user
    items = ratings.items[own]
    return {
        int(ratings.item_ids[item]): (str(ratings.titles[item]), float(stars))
        for item, stars in zip(items, ratings.stars[own], strict=True)
    }


def classify(stage: Stage, held_out: digits.Digits) -> None:
    """Have every digit that was held out classified; enough of them must be recognised."""
    url, count = stage.url("digits"), len(held_out.labels)
    stage.heading(
        "Digits", f"{count} handwritten digits that the classifier has not seen, {_DIGITS_AT_ONCE} a request."
    )
    print(f"POST {url}{path_of('digits')}")
    answers = [
        ask(stage.http, url, "digits", {digits.INPUT: held_out.pixels[start : start + _DIGITS_AT_ONCE]})
        for start in range(0, count, _DIGITS_AT_ONCE)
    ]
    right = int((np.concatenate([answer.outputs[digits.OUTPUT] for answer in answers]) == held_out.labels).sum())
    versions = " and ".join(sorted({answer.model_version for answer in answers}))
    print(f"\nVersion {versions} recognised {right} of {count}: accuracy {right / count:.3f}.")
    if right / count < LEAST_ACCURACY:
        raise DemoFailed(f"the accuracy is below {LEAST_ACCURACY}")


def roll_out(stage: Stage, held_out: digits.Digits) -> None:
    """Release another model while requests come in, none of which may fail."""
    stage.heading(
        "A new model under load",
        "Four clients go on asking while one field of the manifest changes. Nothing is tried twice.",
    )
    with under_load(stage.url("digits"), "digits", digits.INPUT, held_out.pixels) as outcomes:
        stage.shell.show(f"kubectl patch infdep digits -n {NAMESPACE} --type merge -p '{_RELEASE}'")
        stage.watch.until_up(stage.console, seconds=_ROLLOUT_SECONDS, note=lambda: counted(outcomes))
    report = judge(outcomes)
    if set(report.by_version) != {"1", "2"}:
        raise DemoFailed(f"both versions had to answer requests, but {sorted(report.by_version)} did")


def judge(outcomes: list[Outcome]) -> Report:
    """Say how the requests went, of which none may have failed."""
    report = summarise(outcomes)
    print(f"\n{_told(report)}")
    if report.failures:
        raise DemoFailed(f"{len(report.failures)} requests failed, the first one so: {report.failures[0]}")
    return report


def counted(outcomes: list[Outcome]) -> str:
    report = summarise(outcomes)
    return f"{report.sent} requests sent, {len(report.failures)} failed"


def _told(report: Report) -> str:
    shares = ", ".join(f"version {version} answered {count}" for version, count in sorted(report.by_version.items()))
    return (
        f"{report.sent} requests sent, {len(report.failures)} failed: {shares} "
        f"(median {report.median_ms:.1f} ms, 99 % within {report.p99_ms:.1f} ms)."
    )


def route_logs(stage: Stage) -> None:
    """Lines go where they are urgent or cheap, health checks nowhere; then everything to CloudWatch for a while."""
    stage.heading("Logs", "Errors and refused requests in CloudWatch, the rest in S3, health checks nowhere.")
    if stage.details.log_router.startswith("none"):
        print(
            "This part needs a Fluent Bit on this machine: put one on PATH, or name it in FLUENT_BIT. It is left out."
        )
        return
    arrived = Arrived(stage.details, _BUCKET)
    arrived.make_bucket()
    print(f"The platform team has made the bucket {_BUCKET}, and named it in the environment.\n")
    stage.shell.show("kubectl apply -f examples/logging.yaml")
    stage.watch.until_up(stage.console, seconds=_ROLLOUT_SECONDS)
    url = stage.url("recommender")
    ask(stage.http, url, "recommender", {"user": np.array([USER])})
    refused = stage.http.post(f"{url}{path_of('no-such-model')}", json=request({"user": np.array([USER])}))
    print(f"\nA request for a model that is not there: HTTP {refused.status_code}")
    _shown("CloudWatch, /inference/shop/recommender/errors", _waited(lambda: arrived.in_group(_ERRORS), stage))

    until = datetime.now(UTC) + timedelta(seconds=_DEBUG_SECONDS)
    patch = json.dumps({"spec": {"logging": {"debugUntil": f"{until:%Y-%m-%dT%H:%M:%SZ}"}}}, separators=(",", ":"))
    print("\nFor a while, everything goes to CloudWatch as well, health checks too. That replaces the tasks; the old")
    print("one puts what it still holds into S3.\n")
    stage.shell.show(f"kubectl patch infdep recommender -n {NAMESPACE} --type merge -p '{patch}'")
    stage.watch.until_up(stage.console, seconds=_ROLLOUT_SECONDS)
    debugged = _waited(lambda: _of_health(arrived.in_group(_GROUP)), stage)
    _shown("CloudWatch, /inference/shop/recommender, health checks", debugged[:1])
    objects = _waited(arrived.in_bucket, stage)
    archived = [line for lines in objects.values() for line in lines]
    print(f"\nS3 has {len(archived)} lines in {len(objects)} objects, such as {next(iter(objects))}")
    _shown("the last of them", archived[-1:])
    found = _of_health([*archived, *arrived.in_group(_ERRORS)])
    if found:
        raise DemoFailed(f"health checks should go nowhere, and {len(found)} lines of theirs are in S3 or CloudWatch")
    print("\nNone is a health check's. When that is over, the routes are alone again, by themselves:\n")
    before = stage.shell.run(_DESIRED)
    _waited(lambda: stage.shell.run(_DESIRED) != before, stage)
    stage.watch.until_up(stage.console, seconds=_ROLLOUT_SECONDS)


def _waited(find: Callable[[], T], stage: Stage) -> T:
    """What is found at last."""
    deadline = time.monotonic() + _DEBUG_SECONDS * 2
    while not (found := find()):
        if stage_ended := list(stage.ended()):
            raise DemoFailed("; ".join(stage_ended))
        if time.monotonic() > deadline:
            raise DemoFailed(f"what the logs should show was not there after {_DEBUG_SECONDS * 2} s")
        time.sleep(1)
    return found


def _of_health(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.get("path") == "/readyz"]


def _shown(where: str, lines: list[Line]) -> None:
    print(f"\n{where}:")
    for line in lines:
        told = {name: line[name] for name in ("ts", "level", "message", "path", "status", "container") if name in line}
        print(f"  {json.dumps(told)}")


def look_back(stage: Stage) -> None:
    stage.heading("What the operator tells", "The same answer for people and for Argo CD.")
    stage.shell.show(f"kubectl get infdep -n {NAMESPACE} -o wide")
    stage.shell.show(f"kubectl get infdep digits -n {NAMESPACE} -o go-template='{_CONDITIONS}'")
    stage.shell.show(f"kubectl events -n {NAMESPACE} --for infdep/digits")


def stay(stage: Stage, scripts: Path) -> None:
    """Say what can be tried, and leave everything up until Ctrl-C, or until one of the programs has ended."""
    inside = f"{os.path.relpath(scripts)}/inference-sandbox exec --name {stage.sandbox} --"
    body = json.dumps(request({"user": np.array([7])}))
    stage.heading("It stays up until Ctrl-C", "To try in another terminal, from this folder:")
    print(f"""\
  curl -s {stage.url("recommender")}{path_of("recommender")} -d '{body}'
  {inside} kubectl describe infdep digits -n {NAMESPACE}
  {inside} kubectl scale infdep digits -n {NAMESPACE} --replicas 3
  {inside} kubectl explain infdep.spec
  {inside} kubectl delete infdep recommender -n {NAMESPACE}

The logs are in {stage.workdir}""")
    while all(program.process.poll() is None for program in stage.programs):
        time.sleep(0.5)
    print("\n".join(stage.ended()))
