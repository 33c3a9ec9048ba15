"""Lives of objects in which the operator makes, between them, every call that it can make.

A life names each of its parts as the part begins, so that the calls of one can be told from those of the others. What
is prepared in the account comes from other people's hands.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from unittest import mock

from inference_operator.api.meta import ADOPT, CONTINUE_AT, ROLLBACK_AT
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws import clients
from inference_operator.domain.ecs_events import News
from inference_operator.engine import notifications
from inference_operator.runtime.inbox import Heard, Inbox
from inference_operator.runtime.notifier import Notifier
from inference_sandbox.aws import in_process
from inference_sandbox.aws.calls import Call
from tests.operator.builders import deployment_document
from tests.operator.test_checks import index, push, secret, with_places, without_rules
from tests.operator.test_keeping import made_by_hand
from tests.operator.test_matrix import BAD, BETTER, by_image
from tests.operator.world import ACCOUNT, CLUSTER, NOWHERE, REGION, Environment, Object, World

Life = Callable[[World], Iterator[str]]

QUEUE = "inference-events"
INFRASTRUCTURE = f"arn:aws:iam::{ACCOUNT}:role/inference-infrastructure"
TAKEN_ON = "inference-operator"
"""The role that an environment names in `assumeRoleArn`."""
SCALED: Mapping[str, Any] = {
    "minReplicas": 1,
    "maxReplicas": 4,
    "cpuPercent": 60,
    "memoryPercent": 70,
    "schedules": [{"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 0, "maxReplicas": 1}],
}
ROUTED: Mapping[str, Any] = {"routes": [{"match": {"levels": ["ERROR"]}, "to": ["own", "stream"]}, {"to": ["archive"]}]}
EVERYTHING: Mapping[str, Any] = {
    "autoscaling": SCALED,
    "exec": {"enabled": True},
    "ingress": {"paths": ["/films/*", "/series/*"], "hosts": ["films.example.com"], "stickiness": {"duration": "1h"}},
    "logging": ROUTED,
    "rollout": {"strategy": "BLUE_GREEN", "bakeTime": "2m"},
    "tags": [{"key": "team", "value": "search"}],
}


def parts(life: Life, world: World) -> Iterator[tuple[str, list[Call]]]:
    """Each part of a life that is lived now, with the operator's calls in it."""
    named, mark = "", world.mark
    for name in life(world):
        if named:
            yield named, world.own_calls(since=mark)
        named, mark = name, world.mark
    yield named, world.own_calls(since=mark)


def calls(life: Life, world: World) -> list[Call]:
    return [call for _, some in parts(life, world) for call in some]


def minimal(world: World) -> Iterator[str]:
    """An object that asks for nothing but an image and models, where there is no load balancer."""
    world.change_environment(loadBalancer=None)
    yield from _of(Object(world), image=BETTER)


def everything(world: World) -> Iterator[str]:
    """An object with all that an object can have, in an environment with all that it can offer."""
    shifting(world)
    world.discover()
    with_places(world)
    yield from _of(Object(world, deployment_document(**EVERYTHING)), image=BETTER)


def _of(it: Object, **change: Any) -> Iterator[str]:
    world, before = it.world, it.world.holdings()
    yield "create"
    it.live(lambda: it.ready)
    yield "no-op: the next look"
    world.advance(it.outcomes[-1].requeue_after)
    it.look()
    yield "no-op: the first look of another process"
    it.restart()
    it.look()
    yield f"update: {', '.join(change)}"
    it.change(**change)
    it.live(lambda: it.ready)
    yield "delete"
    it.vanish()
    assert world.holdings() == before


def environment(world: World) -> Iterator[str]:
    """An environment with a queue of events and rules of security groups, in which a service listens on a port."""
    without_rules("tasks")(world)
    without_rules("models")(world)
    network = {**world.environments["default"]["spec"]["network"], "manageSecurityGroupRules": True}
    world.change_environment(network=network, events={"queue": QUEUE})
    it = Environment(world, [deployment_document()])
    yield "create"
    it.look()
    yield "no-op: the next look"
    it.look()
    yield "no-op: the first look of another process"
    it.restart()
    it.look()
    yield "update: events.queue"
    it.edit(events={"queue": "renamed"})
    for _ in range(3):
        it.look()
    assert it.document["status"]["events"]["queue"] == "renamed"
    yield "delete"
    it.objects = ()
    while not it.take_away().done:
        pass


ONE_OF_EACH: tuple[Life, ...] = (minimal, everything, environment)


# -- what else can happen


def mended_environment(world: World) -> Iterator[str]:
    """A queue and a rule that an earlier environment of the name has left are taken, and a needless rule of a security
    group goes."""
    for prepared in environment(world):
        if prepared.startswith("update"):
            break
    it = Environment(world, [deployment_document(port=9000)])
    it.edit(**{key: world.environments["default"]["spec"][key] for key in ("network", "events")})
    sqs, events = world.client("sqs"), world.client("events")
    left = {"ecs-inference.dev/retained": "true", "ecs-inference.dev/uid": "u-earlier"}
    sqs.tag_queue(QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"], Tags=left)
    rule = events.describe_rule(Name=QUEUE)["Arn"]
    events.tag_resource(ResourceARN=rule, Tags=[{"Key": key, "Value": value} for key, value in left.items()])
    events.disable_rule(Name=QUEUE)
    yield "mend"
    it.look()


def retagged(world: World) -> Iterator[str]:
    """Tags are put on everything, and go again."""
    shifting(world)
    world.discover()
    with_places(world)
    it = Object(world, deployment_document(**{**EVERYTHING, "tags": []}))
    yield "create"
    it.live(lambda: it.ready)
    yield "tag"
    it.change(tags=EVERYTHING["tags"])
    it.live(lambda: it.ready)
    yield "untag"
    it.change(tags=[])
    it.live(lambda: it.ready)


def changed(world: World) -> Iterator[str]:
    """What AWS can change in place is changed, and what it can't is replaced."""
    world.discover()
    it = Object(world, deployment_document(autoscaling=SCALED, ingress=EVERYTHING["ingress"]))
    yield "create"
    it.live(lambda: it.ready)
    yield "change"
    it.change(
        autoscaling={"minReplicas": 1, "maxReplicas": 4, "memoryPercent": 60},
        health={"interval": "20s"},
        ingress={"paths": ["/a/much/longer/path/*"]},
        models={"path": "/recommender/2"},
        stopTimeout="2m",
    )
    it.live(lambda: it.ready)
    yield "mend"
    cloud_map = world.client("servicediscovery")
    [service] = cloud_map.list_services()["Services"]
    cloud_map.update_service(Id=service["Id"], Service={"DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]}})
    it.restart()
    it.look()
    yield "without autoscaling"
    it.change(autoscaling=None, replicas=1)
    it.live(lambda: it.ready)


def paused(world: World) -> Iterator[str]:
    """A rollout waits for a word and goes on, and the next one is rolled back."""
    shifting(world)
    rollout = {"strategy": "BLUE_GREEN", "bakeTime": "2m", "pauses": [{"stage": "POST_SCALE_UP", "timeout": "1h"}]}
    it = Object(world, deployment_document(rollout={**rollout, "pauses": []}))
    yield "create"
    it.live(lambda: it.ready)
    it.change(rollout=rollout)
    for annotation, ends, image in ((CONTINUE_AT, "Ready", BETTER), (ROLLBACK_AT, "RolledBack", BAD)):
        yield f"{annotation.rpartition('/')[2]}"
        it.change(image=image)
        it.live(lambda: it.stands("Ready")[1] == "RolloutPaused")
        it.annotate(annotation, "now")
        it.live(lambda ends=ends: it.stands("Ready")[1] == ends)  # type: ignore[misc]  # mypy infers no lambda defaults


def failed(world: World) -> Iterator[str]:
    """Tasks that never become healthy: why is looked for, and ECS goes back to the revision before."""
    it = Object(world, deployment_document(health={"startup": "30s"}))
    yield "create"
    it.live(lambda: it.ready)
    yield "fail"
    world.balancer.verdict = "unhealthy"
    it.change(image=BETTER)
    it.live(lambda: it.stands("Ready")[1] == "RolledBack")
    yield "fail while nobody looks"
    world.balancer.verdict = "healthy"
    world.advance(timedelta(minutes=5))
    world.runner.script = by_image
    it.change(image=BAD)
    it.look()
    world.advance(timedelta(hours=1))
    it.look()
    assert it.stands("Ready")[1] == "RolledBack"


def checked(world: World) -> Iterator[str]:
    """An object whose image is in ECR and whose secrets are in both places where ECS can read them."""
    push(world, index("linux/amd64"))
    world.client("ssm").put_parameter(Name="/shop/token", Value="x", Type="String")
    secrets = [{"name": "A", "valueFrom": secret(world)}, {"name": "B", "valueFrom": "/shop/token"}]
    image = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/inference:1"
    it = Object(world, deployment_document(image=image, secrets=secrets))
    yield "create"
    it.live(lambda: it.ready)
    assert it.status["verification"]["findings"] == []


def told(world: World) -> Iterator[str]:
    """Events are read from the queue, and people are told of a rollout."""
    topic = world.client("sns").create_topic(Name="inference")["TopicArn"]
    world.change_environment(events={"queue": QUEUE}, notifications=[{"sns": {"topicArn": topic}}])
    place = Environment(world)
    it = Object(world)
    yield "create"
    place.look()
    it.look()
    [notice, *_] = it.outcomes[-1].notices
    yield "notify"
    asyncio.run(notified(world, notice))
    yield "hear"
    world.advance(it.outcomes[-1].requeue_after * 20)
    url = place.document["status"]["events"]["url"]
    inbox = Inbox(
        environment="default",
        sqs=world.aws.sqs,
        queue_url=url,
        hear=heard,
        lost=lambda: None,
    )
    inbox.turn()


def heard(news: Sequence[tuple[News, Callable[[], None]]], /) -> Sequence[Heard]:
    return ["mine" for _ in news]


async def notified(world: World, notice: notifications.Notice) -> None:
    """It reaches its topic."""
    spec = InferenceEnvironmentSpec.model_validate(world.environments["default"]["spec"])
    reached = asyncio.Event()
    notifier = Notifier(secrets=mock.Mock(), sns=lambda _: world.aws.sns)
    notifier.offer("default", spec, notice, lambda _: reached.set())
    async with asyncio.timeout(10):
        await reached.wait()


def elsewhere(world: World) -> Iterator[str]:
    """An environment whose role the operator takes on, with which it then makes its calls."""
    iam = world.client("iam")
    trust = document(Action="sts:AssumeRole", Principal="*")
    iam.create_role(RoleName=TAKEN_ON, AssumeRolePolicyDocument=trust)
    rights = document(Action="ecs:ListTasks", Resource="*")
    iam.put_role_policy(RoleName=TAKEN_ON, PolicyName="tasks", PolicyDocument=rights)
    yield "take on"
    ours = {**NOWHERE, **world.credentials, "AWS_CONFIG_FILE": os.devnull}
    with (
        mock.patch.dict(os.environ, ours),
        mock.patch("botocore.httpsession.URLLib3Session.send", lambda _, request: in_process.send(request)),
    ):
        made = clients.connect(REGION, clients.Role(f"arn:aws:iam::{ACCOUNT}:role/{TAKEN_ON}"))
        made.ecs.list_tasks(cluster=CLUSTER)


def adopted(world: World) -> Iterator[str]:
    """What somebody made by hand becomes the object's, and is changed where it differs."""
    world.discover()
    yield "create"
    it = made_by_hand(world, autoscaling=SCALED, ingress=EVERYTHING["ingress"], tags=EVERYTHING["tags"])
    yield "adopt"
    it.change(
        autoscaling={**SCALED, "maxReplicas": 5},
        health={"interval": "20s"},
        ingress={"paths": ["/other/*"]},
        port=9000,
    )
    it.annotate(ADOPT, "true")
    it.live(lambda: it.ready)
    yield "delete"
    it.vanish()
    assert {kind for kind, things in world.holdings().items() if things} == {"TaskDefinition"}, "that which differed"


def document(**statement: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


OTHERS: tuple[Life, ...] = (
    retagged,
    changed,
    paused,
    failed,
    checked,
    told,
    elsewhere,
    mended_environment,
    adopted,
)
LIVES = (*ONE_OF_EACH, *OTHERS)


def shifting(world: World) -> None:
    """The environment can shift requests, and has a listener to try new tasks at."""
    elb = world.client("elbv2")
    trial = elb.create_listener(
        LoadBalancerArn=elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"],
        Protocol="HTTP",
        Port=9000,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )["Listeners"][0]["ListenerArn"]
    before = world.environments["default"]["spec"]["loadBalancer"]
    world.change_environment(loadBalancer={**before, "infrastructureRoleArn": INFRASTRUCTURE, "testListenerArn": trial})
