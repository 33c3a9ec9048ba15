"""One walk through ECS and what it needs, step by step, over boto3 alone: the same for every stand-in of AWS.

Each step says what AWS documents and where, and what is seen if a stand-in does as documented. Nothing here knows which
stand-in it walks through, except that time may be let pass at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

API = "https://docs.aws.amazon.com/AmazonECS/latest/APIReference"
GUIDE = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide"
EFS = "https://docs.aws.amazon.com/efs/latest/ug"
ELB = "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference"
SCALING = "https://docs.aws.amazon.com/autoscaling/application/APIReference"
GOOD_IMAGE = "registry.example.com/waiting:1"
MISSING_IMAGE = "registry.example.com/there-is-no-such-image:1"
CLUSTER = "walk"

REFUSED = "ClientException|InvalidParameterException"
"""What RegisterTaskDefinition and CreateService document for a parameter that cannot be."""


@dataclass
class World:
    client: Callable[[str], Any]
    """By the service's name in boto3."""
    wait: Callable[[Callable[[], bool]], bool]
    """Let minutes pass, or until something is so; whether it was so."""
    subnets: list[str] = field(default_factory=list)
    vpc: str = ""
    port: int = 80
    """For a listener: one that is free, where a stand-in really listens."""
    seen: dict[str, Any] = field(default_factory=dict)
    """What a step leaves for those after it."""

    @property
    def ecs(self) -> Any:
        return self.client("ecs")

    def service(self, name: str = "web") -> dict[str, Any]:
        found = self.ecs.describe_services(cluster=CLUSTER, services=[name])["services"]
        return dict(found[0]) if found else {"status": "missing", "deployments": [], "events": []}

    def tasks(self, name: str = "web", status: str = "RUNNING") -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks(cluster=CLUSTER, serviceName=name, desiredStatus=status)["taskArns"]
        return list(self.ecs.describe_tasks(cluster=CLUSTER, tasks=arns[:100])["tasks"]) if arns else []


@dataclass(frozen=True, kw_only=True)
class Step:
    title: str
    act: Callable[[World], str]
    """What is seen: short, and the same each time."""
    documented: str
    expected: str
    """A pattern of what is seen where the documentation is followed."""
    source: str

    def is_as_documented(self, seen: str) -> bool:
        return re.fullmatch(self.expected, seen) is not None


def see(step: Step, world: World) -> str:
    """What the step sees; an error that it does not expect is what is seen, too."""
    try:
        return step.act(world)
    except (ClientError, BotoCoreError) as error:
        return _code(error)
    except (LookupError, TypeError) as error:
        return f"an answer without what belongs in it ({type(error).__name__}: {error})"


def _code(error: Exception) -> str:
    answer: Any = getattr(error, "response", {})
    return str(answer.get("Error", {}).get("Code") or type(error).__name__)


def outcome(call: Callable[..., Any], **request: Any) -> str:
    """`accepted`, or the code of the error."""
    try:
        call(**request)
    except (ClientError, BotoCoreError) as error:
        return _code(error)
    return "accepted"


def definition(**members: Any) -> dict[str, Any]:
    container = {"name": "app", "image": GOOD_IMAGE, "essential": True} | members.pop("container", {})
    return {
        "family": "walk",
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [container],
    } | members


def register(**members: Any) -> Callable[[World], str]:
    """In a family of its own: what should be refused must not disturb what follows where it is not."""
    return lambda world: outcome(world.ecs.register_task_definition, **definition(family="refused", **members))


def request(world: World, name: str = "web", **members: Any) -> dict[str, Any]:
    return {
        "cluster": CLUSTER,
        "serviceName": name,
        "taskDefinition": "walk:1",
        "desiredCount": 2,
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": world.subnets}},
    } | members


def create(name: str, **members: Any) -> Callable[[World], str]:
    """Likewise under a name of its own."""
    return lambda world: outcome(
        world.ecs.create_service, **{k: v for k, v in request(world, name, **members).items() if v is not None}
    )


# -- a cluster and task definitions


def _cluster_twice(world: World) -> str:
    first = world.ecs.create_cluster(clusterName=CLUSTER, capacityProviders=["FARGATE", "FARGATE_SPOT"])["cluster"]
    world.ecs.create_cluster(clusterName="other")
    return f"{first['status']}, {', '.join(first.get('capacityProviders', []))}"


def _registered(world: World) -> str:
    made = world.ecs.register_task_definition(**definition())["taskDefinition"]
    return f"revision {made['revision']}, {made['status']}, compatible with {'FARGATE' in made['compatibilities']}"


def _defaults(world: World) -> str:
    found = world.ecs.describe_task_definition(taskDefinition="walk")["taskDefinition"]["containerDefinitions"][0]
    shown = ("portMappings", "environment", "mountPoints", "volumesFrom")
    return json.dumps({name: found.get(name) for name in shown})


def _newest_first(world: World) -> str:
    world.ecs.register_task_definition(**definition())
    arns = world.ecs.list_task_definitions(familyPrefix="walk", sort="DESC")["taskDefinitionArns"]
    return ", ".join(arn.rsplit(":", 1)[-1] for arn in arns[:2])


def _deregistered(world: World) -> str:
    world.ecs.register_task_definition(**definition(family="old"))
    world.ecs.deregister_task_definition(taskDefinition="old:1")
    return create("from-inactive", taskDefinition="old:1")(world)


# -- services


def target_group(world: World, name: str, **members: Any) -> str:
    given = {"Name": name, "Protocol": "HTTP", "Port": 80, "VpcId": world.vpc, "TargetType": "ip"} | members
    return str(world.client("elbv2").create_target_group(**given)["TargetGroups"][0]["TargetGroupArn"])


def rule(world: World, group: str, *, priority: int, **members: Any) -> dict[str, Any]:
    """Of a listener that is made with the first of them."""
    elb = world.client("elbv2")
    if "listener" not in world.seen:
        balancer = elb.create_load_balancer(Name="walk", Subnets=world.subnets)["LoadBalancers"][0]["LoadBalancerArn"]
        answer = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        made = elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=world.port, DefaultActions=[answer])
        world.seen["listener"] = made["Listeners"][0]["ListenerArn"]
    given = {
        "ListenerArn": world.seen["listener"],
        "Priority": priority,
        "Conditions": [{"Field": "path-pattern", "Values": [f"/{priority}/*"]}],
        "Actions": [{"Type": "forward", "TargetGroupArn": group}],
    } | members
    return dict(elb.create_rule(**given)["Rules"][0])


def balanced(name: str, *, container: str = "app", **group: Any) -> Callable[[World], str]:
    """Try to create a service behind a target group that a listener's rule forwards to."""

    def act(world: World) -> str:
        arn = target_group(world, name, **group)
        rule(world, arn, priority=len(name))
        world.ecs.register_task_definition(
            **definition(family="with-port", container={"portMappings": [{"containerPort": 8080}]})
        )
        target = {"targetGroupArn": arn, "containerName": container, "containerPort": 8080}
        return create(name, taskDefinition="with-port", loadBalancers=[target])(world)

    return act


def _created(world: World) -> str:
    world.seen["request"] = request(
        world,
        clientToken="the-first",
        deploymentConfiguration={
            "minimumHealthyPercent": 50,
            "maximumPercent": 150,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
        enableExecuteCommand=True,
        launchType=None,
        capacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}],
    )
    given = {name: value for name, value in world.seen["request"].items() if value is not None}
    world.seen["request"] = given
    world.ecs.create_service(**given)
    made = world.service()
    world.seen["arn"] = made["serviceArn"]
    rollout = made["deploymentConfiguration"]
    kept = {
        "percentages": (rollout["minimumHealthyPercent"], rollout["maximumPercent"]) == (50, 150),
        "breaker": bool(rollout.get("deploymentCircuitBreaker", {}).get("rollback")),
        "exec": bool(made.get("enableExecuteCommand")),
        "strategy": bool(made.get("capacityProviderStrategy")),
        "no launch type": not made.get("launchType"),
    }
    lost = [name for name, is_kept in kept.items() if not is_kept]
    return f"lost: {', '.join(lost)}" if lost else "all kept"


def _same_token(world: World) -> str:
    again = world.ecs.create_service(**world.seen["request"])["service"]["serviceArn"]
    return "the same service" if again == world.seen["arn"] else "another service"


def _duplicate(world: World) -> str:
    return outcome(world.ecs.create_service, **request(world, desiredCount=5))


def _first_moment(world: World) -> str:
    """Of a service that was created just now."""
    made = world.ecs.create_service(**request(world, "moment"))["service"]
    (deployment,) = made["deployments"]
    return f"{deployment['status']}, {deployment['rolloutState']}, running {made['runningCount']}"


def _steady(world: World, name: str = "web") -> bool:
    found = world.service(name)
    deployments = found["deployments"]
    return len(deployments) == 1 and deployments[0].get("rolloutState") == "COMPLETED"


def _rolled_out(world: World) -> str:
    world.wait(lambda: _steady(world))
    found = world.service()
    (deployment,) = found["deployments"]
    world.seen["first deployment"] = deployment["id"]
    return f"{found['runningCount']} running, {deployment['rolloutState']}"


def _events(world: World) -> str:
    said = [event["message"] for event in world.service()["events"]]
    wanted = {
        "started": r"\(?service \(?web\) has started 2 tasks: \(task [0-9a-f]{32}\).*",
        "completed": r"\(?service \(?web\) \(deployment ecs-svc/\d+\) deployment completed\.",
        "steady": r"\(?service \(?web\) has reached a steady state\.",
    }
    return (
        ", ".join(name for name, pattern in wanted.items() if any(re.match(pattern, each) for each in said)) or "none"
    )


def _tasks(world: World) -> str:
    tasks = world.tasks()
    first = world.seen.get("first deployment")
    facts = {
        "2 tasks": len(tasks) == 2,  # noqa: PLR2004 - as many as the service wants
        "RUNNING": all(task["lastStatus"] == "RUNNING" for task in tasks),
        "of the service": all(task["group"] == "service:web" for task in tasks),
        "started by the deployment": all(task.get("startedBy") == first for task in tasks),
        "with a network interface": all(
            any(each["type"] == "ElasticNetworkInterface" for each in task.get("attachments", [])) for task in tasks
        ),
        "with an availability zone": all(task.get("availabilityZone") for task in tasks),
        "each container with a runtime id": all(each.get("runtimeId") for task in tasks for each in task["containers"]),
    }
    return ", ".join(name for name, holds in facts.items() if tasks and holds) or "no tasks"


def _record(world: World) -> str:
    ecs = world.ecs
    briefs = ecs.list_service_deployments(cluster=CLUSTER, service="web")["serviceDeployments"]
    if not briefs:
        return "no record"
    (found,) = ecs.describe_service_deployments(serviceDeploymentArns=[briefs[0]["serviceDeploymentArn"]])[
        "serviceDeployments"
    ]
    world.seen["record"] = found["serviceDeploymentArn"]
    return f"{found['status']}, circuit breaker {found['deploymentCircuitBreaker']['status']}"


def _stop_finished(world: World) -> str:
    if "record" not in world.seen:
        return "no record to stop"
    return outcome(world.ecs.stop_service_deployment, serviceDeploymentArn=world.seen["record"])


# -- changing


def _update(world: World) -> str:
    made = world.ecs.update_service(cluster=CLUSTER, service="web", taskDefinition="walk:2")["service"]
    states = [f"{each['status']} {each['taskDefinition'].rsplit('/', 1)[-1]}" for each in made["deployments"]]
    return ", ".join(states)


def _updated(world: World) -> str:
    world.wait(lambda: _steady(world))
    found = world.service()
    (deployment,) = found["deployments"]
    is_new = deployment["id"] != world.seen.get("first deployment")
    kind = "a new deployment" if is_new else "the old deployment"
    return f"{found['runningCount']} running of {deployment['taskDefinition'].rsplit('/', 1)[-1]}, {kind}"


def _same_revision(world: World) -> str:
    before = world.service()["deployments"][0]["id"]
    made = world.ecs.update_service(cluster=CLUSTER, service="web", taskDefinition="walk:2")["service"]
    return "no new deployment" if [each["id"] for each in made["deployments"]] == [before] else "a new deployment"


def _forced(world: World) -> str:
    before = world.service()["deployments"][0]["id"]
    made = world.ecs.update_service(cluster=CLUSTER, service="web", forceNewDeployment=True)["service"]
    after = made["deployments"][0]["id"]
    world.wait(lambda: _steady(world))
    return "the same deployment" if after == before else "a new deployment"


def _scaled(world: World) -> str:
    before = world.service()["deployments"][0]["id"]
    made = world.ecs.update_service(cluster=CLUSTER, service="web", desiredCount=3)["service"]
    world.wait(lambda: world.service()["runningCount"] == 3)  # noqa: PLR2004 - as asked
    kind = "the same deployment" if made["deployments"][0]["id"] == before else "a new deployment"
    return f"{kind}, running {world.service()['runningCount']}"


def _broken_release(world: World) -> str:
    world.seen["good"] = world.service()["deployments"][0]["id"]
    world.ecs.register_task_definition(**definition(container={"image": MISSING_IMAGE}))
    world.ecs.update_service(cluster=CLUSTER, service="web", taskDefinition="walk:3")

    def is_over() -> bool:
        return _steady(world) or any(each.get("rolloutState") == "FAILED" for each in world.service()["deployments"])

    world.wait(is_over)
    said = " ".join(event["message"] for event in world.service()["events"])
    return "failed: tasks failed to start" if "deployment failed: tasks failed to start." in said else _state(world)


def _state(world: World) -> str:
    return ", ".join(
        f"{each['taskDefinition'].rsplit('/', 1)[-1]} {each.get('rolloutState')}"
        for each in world.service()["deployments"]
    )


def _rolled_back(world: World) -> str:
    world.wait(lambda: _steady(world))
    primary = world.service()["deployments"][0]
    kind = "the last good deployment" if primary["id"] == world.seen.get("good") else "another deployment"
    return f"{primary['taskDefinition'].rsplit('/', 1)[-1]}, {kind}"


def _broken_record(world: World) -> str:
    briefs = world.ecs.list_service_deployments(cluster=CLUSTER, service="web")["serviceDeployments"]
    return str(briefs[0]["status"]) if briefs else "no record"


def _broken_task(world: World) -> str:
    stopped = [task for task in world.tasks(status="STOPPED") if task["taskDefinitionArn"].endswith("walk:3")]
    if not stopped:
        return "none has stopped"
    return f"{stopped[0].get('stopCode')}, {str(stopped[0].get('stoppedReason')).split(':', 1)[0]}"


def _stopped_task(world: World) -> str:
    victim = world.tasks()[0]["taskArn"]
    world.ecs.stop_task(cluster=CLUSTER, task=victim, reason="walking")

    def is_replaced() -> bool:
        running = {task["taskArn"] for task in world.tasks() if task["lastStatus"] == "RUNNING"}
        return victim not in running and len(running) == world.service()["desiredCount"]

    is_so = world.wait(is_replaced)
    (task,) = world.ecs.describe_tasks(cluster=CLUSTER, tasks=[victim])["tasks"]
    told = f"{task.get('stopCode')}, {task.get('stoppedReason')}"
    return f"{told}, {'replaced' if is_so else 'not replaced'}"


# -- around services


def _one_task(world: World) -> str:
    network = {"awsvpcConfiguration": {"subnets": world.subnets}}
    (task,) = world.ecs.run_task(
        cluster=CLUSTER,
        taskDefinition="walk:1",
        launchType="FARGATE",
        networkConfiguration=network,
        startedBy="somebody",
    )["tasks"]

    def status() -> str:
        return str(world.ecs.describe_tasks(cluster=CLUSTER, tasks=[task["taskArn"]])["tasks"][0]["lastStatus"])

    world.wait(lambda: status() == "RUNNING")
    return f"{task['lastStatus']}, then {status()}; {task['group']}, started by {task.get('startedBy')}"


def _command(world: World) -> str:
    """In a task of the service, which has ECS Exec on."""
    tasks = world.tasks()
    made = world.ecs.execute_command(cluster=CLUSTER, task=tasks[0]["taskArn"], command="true", interactive=True)
    return "a session" if made.get("session", {}).get("streamUrl") else "no session"


def _tags(world: World) -> str:
    arn = world.seen["arn"]
    world.ecs.tag_resource(resourceArn=arn, tags=[{"key": "team", "value": "a"}, {"key": "stage", "value": "b"}])
    world.ecs.untag_resource(resourceArn=arn, tagKeys=["stage"])
    return json.dumps(world.ecs.list_tags_for_resource(resourceArn=arn)["tags"])


def _families(world: World) -> str:
    found = world.ecs.list_task_definition_families(familyPrefix="walk", status="ACTIVE")
    return ", ".join(found["families"])


def _providers(world: World) -> str:
    found = world.ecs.describe_capacity_providers(capacityProviders=["FARGATE", "FARGATE_SPOT"])["capacityProviders"]
    return ", ".join(sorted(f"{each['name']} {each['status']}" for each in found))


def _account_setting(world: World) -> str:
    world.ecs.put_account_setting(name="containerInsights", value="enabled")
    found = world.ecs.list_account_settings(name="containerInsights")["settings"]
    return ", ".join(f"{each['name']} {each['value']}" for each in found)


def _cluster_setting(world: World) -> str:
    setting = [{"name": "containerInsights", "value": "enabled"}]
    world.ecs.update_cluster_settings(cluster=CLUSTER, settings=setting)
    (found,) = world.ecs.describe_clusters(clusters=[CLUSTER], include=["SETTINGS"])["clusters"]
    return json.dumps([each for each in found["settings"] if each["name"] == "containerInsights"])


# -- limits and errors


def _eleven_services(world: World) -> str:
    return outcome(world.ecs.describe_services, cluster=CLUSTER, services=[f"web-{n}" for n in range(11)])


def _many_tasks(world: World) -> str:
    return outcome(world.ecs.describe_tasks, cluster=CLUSTER, tasks=[f"{n:032x}" for n in range(101)])


def _missing_service(world: World) -> str:
    found = world.ecs.describe_services(cluster=CLUSTER, services=["nobody"])
    return f"services {len(found['services'])}, failure {[each['reason'] for each in found['failures']]}"


def _pages(world: World) -> str:
    first = world.ecs.list_services(cluster=CLUSTER, maxResults=1)
    if "nextToken" not in first:
        return f"{len(first['serviceArns'])} on the first page, and no next one"
    second = world.ecs.list_services(cluster=CLUSTER, maxResults=1, nextToken=first["nextToken"])
    pages = (first["serviceArns"], second["serviceArns"])
    return "one on each page" if len(set(map(tuple, pages))) == len(pages) == sum(map(len, pages)) else str(pages)


# -- events


def _listen(world: World) -> str:
    sqs, events = world.client("sqs"), world.client("events")
    url = sqs.create_queue(QueueName="walk")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="walk", EventPattern=json.dumps({"source": ["aws.ecs"]}))
    events.put_targets(Rule="walk", Targets=[{"Id": "queue", "Arn": arn}])
    world.ecs.create_service(**request(world, "heard", desiredCount=1))
    types: set[str] = set()

    def drain() -> bool:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            types.add(json.loads(message["Body"])["detail-type"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(types) == 3  # noqa: PLR2004 - the kinds that a service causes

    world.wait(drain)
    return ", ".join(sorted(types)) or "none"


# -- the end


def _delete_cluster(world: World) -> str:
    """Another one than the rest of the walk is in."""
    world.ecs.create_service(**request(world, cluster="other"))
    return outcome(world.ecs.delete_cluster, cluster="other")


def _delete_scaled(world: World) -> str:
    return outcome(world.ecs.delete_service, cluster=CLUSTER, service="web")


def _delete(world: World) -> str:
    return str(world.ecs.delete_service(cluster=CLUSTER, service="web", force=True)["service"]["status"])


def _while_draining(world: World) -> str:
    listed = world.seen["arn"] in world.ecs.list_services(cluster=CLUSTER)["serviceArns"]
    return "listed" if listed else f"not listed, described as {world.service()['status']}"


def _inactive(world: World) -> str:
    world.wait(lambda: world.service()["status"] != "DRAINING")
    return str(world.service()["status"])


def _update_inactive(world: World) -> str:
    return outcome(world.ecs.update_service, cluster=CLUSTER, service="web", desiredCount=1)


# -- beside ECS


def _access_point_twice(world: World) -> str:
    efs = world.client("efs")
    system = efs.create_file_system(CreationToken="walk")["FileSystemId"]
    efs.create_access_point(FileSystemId=system, ClientToken="walk")
    return outcome(efs.create_access_point, FileSystemId=system, ClientToken="walk")


def _access_point_nowhere(world: World) -> str:
    create_access_point = world.client("efs").create_access_point
    return outcome(create_access_point, FileSystemId="fs-0123456789abcdef0", ClientToken="nowhere")


def _no_access_point(world: World) -> str:
    return outcome(world.client("efs").delete_access_point, AccessPointId="fsap-0123456789abcdef0")


def _target_group_twice(world: World) -> str:
    first, second = (target_group(world, "twice") for _ in range(2))
    return "the same target group" if first == second else "another target group"


def _target_group_taken(world: World) -> str:
    target_group(world, "taken")
    given = {"Name": "taken", "Protocol": "HTTP", "Port": 81, "VpcId": world.vpc, "TargetType": "ip"}
    return outcome(world.client("elbv2").create_target_group, **given)


def _target_group_in_use(world: World) -> str:
    group = target_group(world, "used")
    rule(world, group, priority=101)
    return outcome(world.client("elbv2").delete_target_group, TargetGroupArn=group)


def _priority_taken(world: World) -> str:
    group = target_group(world, "priority")
    rule(world, group, priority=102)
    return outcome(lambda: rule(world, group, priority=102))


def _transforms(world: World) -> str:
    rewrite = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/a", "Replace": "/b"}]}}
    made = rule(world, target_group(world, "rewritten"), priority=103, Transforms=[rewrite])
    (shown,) = world.client("elbv2").describe_rules(RuleArns=[made["RuleArn"]])["Rules"]
    return "kept" if shown.get("Transforms") == [rewrite] else "lost"


def _retention(world: World) -> str:
    logs = world.client("logs")
    logs.create_log_group(logGroupName="/walk")
    return outcome(logs.put_retention_policy, logGroupName="/walk", retentionInDays=15)


_NOBODYS = {
    "ServiceNamespace": "ecs",
    "ResourceId": f"service/{CLUSTER}/nobody",
    "ScalableDimension": "ecs:service:DesiredCount",
}


def _no_target(world: World) -> str:
    return outcome(world.client("application-autoscaling").deregister_scalable_target, **_NOBODYS)


def _target_of_nobody(world: World) -> str:
    register_target = world.client("application-autoscaling").register_scalable_target
    return outcome(register_target, MinCapacity=1, MaxCapacity=2, **_NOBODYS)


_EFS = {"fileSystemId": "fs-12345678", "authorizationConfig": {"accessPointId": "fsap-12345678901234567"}}
_FIRELENS = {"type": "fluentbit", "options": {"config-file-type": "s3", "config-file-value": "arn:aws:s3:::b/f.conf"}}

STEPS = (
    Step(
        title="CreateCluster",
        act=_cluster_twice,
        documented="The cluster is ACTIVE and has the capacity providers that were asked for.",
        expected="ACTIVE, FARGATE, FARGATE_SPOT",
        source=f"{API}/API_CreateCluster.html",
    ),
    Step(
        title="RegisterTaskDefinition with 256 CPU units and 8192 MiB on Fargate",
        act=register(cpu="256", memory="8192"),
        documented="Refused: 256 CPU units go with 512, 1024 or 2048 MiB.",
        expected=REFUSED,
        source=f"{API}/API_RegisterTaskDefinition.html",
    ),
    Step(
        title="RegisterTaskDefinition with network mode bridge on Fargate",
        act=register(networkMode="bridge"),
        documented="Refused: on Fargate the awsvpc network mode is required.",
        expected=REFUSED,
        source=f"{API}/API_RegisterTaskDefinition.html",
    ),
    Step(
        title="RegisterTaskDefinition with an EFS access point and no transit encryption",
        act=register(volumes=[{"name": "models", "efsVolumeConfiguration": _EFS}]),
        documented="Refused: with an access point, transit encryption must be on.",
        expected=REFUSED,
        source=f"{API}/API_EFSAuthorizationConfig.html",
    ),
    Step(
        title="RegisterTaskDefinition with an EFS access point and a root directory of its own",
        act=register(
            volumes=[
                {
                    "name": "models",
                    "efsVolumeConfiguration": _EFS | {"rootDirectory": "/models", "transitEncryption": "ENABLED"},
                }
            ]
        ),
        documented="Refused: with an access point, the root directory must be left out or be /.",
        expected=REFUSED,
        source=f"{API}/API_EFSAuthorizationConfig.html",
    ),
    Step(
        title="RegisterTaskDefinition with 500 GiB of ephemeral storage",
        act=register(ephemeralStorage={"sizeInGiB": 500}),
        documented="Refused: 21 to 200 GiB.",
        expected=REFUSED,
        source=f"{API}/API_EphemeralStorage.html",
    ),
    Step(
        title="RegisterTaskDefinition with a FireLens configuration from S3 on Fargate",
        act=register(container={"firelensConfiguration": _FIRELENS}),
        documented="Refused: tasks on Fargate support only the file configuration file type.",
        expected=REFUSED,
        source=f"{API}/API_FirelensConfiguration.html",
    ),
    Step(
        title="RegisterTaskDefinition with a health check every second",
        act=register(container={"healthCheck": {"command": ["CMD", "true"], "interval": 1}}),
        documented="Refused: the interval is 5 to 300 seconds.",
        expected=REFUSED,
        source=f"{API}/API_HealthCheck.html",
    ),
    Step(
        title="RegisterTaskDefinition, a good one",
        act=_registered,
        documented="Revision 1 of its family, ACTIVE, compatible with FARGATE.",
        expected="revision 1, ACTIVE, compatible with True",
        source=f"{API}/API_TaskDefinition.html",
    ),
    Step(
        title="DescribeTaskDefinition: the members of a container that nobody gave",
        act=_defaults,
        documented="Empty lists, as in the example responses.",
        expected=re.escape(json.dumps({"portMappings": [], "environment": [], "mountPoints": [], "volumesFrom": []})),
        source=f"{API}/API_RegisterTaskDefinition.html",
    ),
    Step(
        title="ListTaskDefinitions with sort DESC",
        act=_newest_first,
        documented="The newest revision comes first.",
        expected="2, 1",
        source=f"{API}/API_ListTaskDefinitions.html",
    ),
    Step(
        title="CreateService from a deregistered task definition",
        act=_deregistered,
        documented="Refused: an INACTIVE task definition cannot be used to create services.",
        expected=REFUSED,
        source=f"{API}/API_DeregisterTaskDefinition.html",
    ),
    Step(
        title="CreateService in a cluster that does not exist",
        act=create("homeless", cluster="nowhere"),
        documented="ClusterNotFoundException.",
        expected="ClusterNotFoundException",
        source=f"{API}/API_CreateService.html",
    ),
    Step(
        title="CreateService with a launch type and a capacity provider strategy",
        act=create("ambiguous", capacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}]),
        documented="Refused: with a strategy, the launch type must be left out.",
        expected=REFUSED,
        source=f"{API}/API_CreateService.html",
    ),
    Step(
        title="CreateService without a network configuration on Fargate",
        act=create("unreachable", networkConfiguration=None),
        documented="Refused: with the awsvpc network mode a network configuration is required.",
        expected=REFUSED,
        source=f"{API}/API_CreateService.html",
    ),
    Step(
        title="CreateService with a target group whose targets are instances",
        act=balanced("instances", TargetType="instance"),
        documented="Refused: with the awsvpc network mode the target type must be ip.",
        expected=REFUSED,
        source=f"{API}/API_CreateService.html",
    ),
    Step(
        title="CreateService with a container behind the target group that the task definition lacks",
        act=balanced("stranger", container="nobody"),
        documented="Refused: the container's name is as it appears in the task definition.",
        expected=REFUSED,
        source=f"{API}/API_LoadBalancer.html",
    ),
    Step(
        title="CreateService with percentages, circuit breaker, ECS Exec and a strategy; then DescribeServices",
        act=_created,
        documented="Everything is shown as it was given; with a strategy there is no launch type.",
        expected="all kept",
        source=f"{API}/API_Service.html",
    ),
    Step(
        title="CreateService again with the same client token and parameters",
        act=_same_token,
        documented="The same service: the token makes the request idempotent.",
        expected="the same service",
        source=f"{API}/API_CreateService.html",
    ),
    Step(
        title="CreateService again under the same name with other parameters",
        act=_duplicate,
        documented="Refused: the name of an ACTIVE service is taken.",
        expected=REFUSED,
        source=f"{API}/API_DeleteService.html",
    ),
    Step(
        title="CreateService: what its answer tells",
        act=_first_moment,
        documented="One PRIMARY deployment, IN_PROGRESS; no task runs yet.",
        expected="PRIMARY, IN_PROGRESS, running 0",
        source=f"{API}/API_Deployment.html",
    ),
    Step(
        title="The service is left alone for some minutes",
        act=_rolled_out,
        documented="The desired count runs, and the deployment is COMPLETED.",
        expected="2 running, COMPLETED",
        source=f"{API}/API_Deployment.html",
    ),
    Step(
        title="DescribeServices: the events of the rollout",
        act=_events,
        documented="Tasks started, deployment completed, steady state, in the words of the guide.",
        expected="started, completed, steady",
        source=f"{GUIDE}/service-event-messages-list.html",
    ),
    Step(
        title="DescribeTasks of the service",
        act=_tasks,
        documented="As many as desired; startedBy is the deployment's id; each has its own network interface.",
        expected="2 tasks, RUNNING, of the service, started by the deployment, with a network interface, with an "
        "availability zone, each container with a runtime id",
        source=f"{API}/API_Task.html",
    ),
    Step(
        title="ListServiceDeployments, DescribeServiceDeployments",
        act=_record,
        documented="SUCCESSFUL; the circuit breaker has finished monitoring.",
        expected="SUCCESSFUL, circuit breaker MONITORING_COMPLETE",
        source=f"{API}/API_ServiceDeployment.html",
    ),
    Step(
        title="StopServiceDeployment of one that has finished",
        act=_stop_finished,
        documented="Refused: it stops an ongoing service deployment.",
        expected="ConflictException|InvalidParameterException|ClientException",
        source=f"{API}/API_StopServiceDeployment.html",
    ),
    Step(
        title="UpdateService to the next revision: what its answer tells",
        act=_update,
        documented="The new deployment is PRIMARY, the one before is ACTIVE as long as it has tasks.",
        expected="PRIMARY walk:2, ACTIVE walk:1",
        source=f"{API}/API_Deployment.html",
    ),
    Step(
        title="The update is left alone for some minutes",
        act=_updated,
        documented="One deployment is left, with another id; all tasks are of the new revision.",
        expected="2 running of walk:2, a new deployment",
        source=f"{GUIDE}/deployment-type-ecs.html",
    ),
    Step(
        title="UpdateService with the revision that runs already",
        act=_same_revision,
        documented="No new deployment: without a change it takes forceNewDeployment.",
        expected="no new deployment",
        source=f"{API}/API_UpdateService.html",
    ),
    Step(
        title="UpdateService with forceNewDeployment",
        act=_forced,
        documented="A new deployment, although nothing else changes.",
        expected="a new deployment",
        source=f"{API}/API_UpdateService.html",
    ),
    Step(
        title="UpdateService with another desired count",
        act=_scaled,
        documented="The deployment stays; tasks are added.",
        expected="the same deployment, running 3",
        source=f"{API}/API_UpdateService.html",
    ),
    Step(
        title="UpdateService to an image that does not exist, with the circuit breaker on",
        act=_broken_release,
        documented="Tasks fail to start until the threshold is reached; then the deployment has failed.",
        expected="failed: tasks failed to start",
        source=f"{GUIDE}/deployment-circuit-breaker.html",
    ),
    Step(
        title="The circuit breaker's rollback",
        act=_rolled_back,
        documented="The service is back at the last deployment that was COMPLETED.",
        expected="walk:2, the last good deployment",
        source=f"{GUIDE}/deployment-circuit-breaker.html",
    ),
    Step(
        title="ListServiceDeployments: the record of that deployment",
        act=_broken_record,
        documented="ROLLBACK_SUCCESSFUL.",
        expected="ROLLBACK_SUCCESSFUL",
        source=f"{API}/API_ServiceDeploymentBrief.html",
    ),
    Step(
        title="DescribeTasks: why a task of that deployment has stopped",
        act=_broken_task,
        documented="TaskFailedToStart, with CannotPullContainerError.",
        expected="TaskFailedToStart, CannotPullContainerError",
        source=f"{GUIDE}/task_cannot_pull_image.html",
    ),
    Step(
        title="StopTask of a service's task",
        act=_stopped_task,
        documented="Stop code UserInitiated, the reason as given; the scheduler starts another.",
        expected="UserInitiated, walking, replaced",
        source=f"{API}/API_StopTask.html",
    ),
    Step(
        title="RunTask",
        act=_one_task,
        documented="The task is PROVISIONING, later RUNNING; its group is its family, startedBy as given.",
        expected="PROVISIONING, then RUNNING; family:walk, started by somebody",
        source=f"{API}/API_RunTask.html",
    ),
    Step(
        title="ExecuteCommand in a task with ECS Exec on",
        act=_command,
        documented="A session, with the URL of its stream.",
        expected="a session",
        source=f"{API}/API_ExecuteCommand.html",
    ),
    Step(
        title="TagResource, UntagResource, ListTagsForResource of a service",
        act=_tags,
        documented="The tags that are left.",
        expected=re.escape(json.dumps([{"key": "team", "value": "a"}])),
        source=f"{API}/API_ListTagsForResource.html",
    ),
    Step(
        title="ListTaskDefinitionFamilies",
        act=_families,
        documented="Families with an ACTIVE revision.",
        expected="walk",
        source=f"{API}/API_ListTaskDefinitionFamilies.html",
    ),
    Step(
        title="DescribeCapacityProviders",
        act=_providers,
        documented="FARGATE and FARGATE_SPOT are there in every account.",
        expected="FARGATE ACTIVE, FARGATE_SPOT ACTIVE",
        source=f"{API}/API_DescribeCapacityProviders.html",
    ),
    Step(
        title="UpdateClusterSettings, DescribeClusters",
        act=_cluster_setting,
        documented="The setting as it was given.",
        expected=re.escape(json.dumps([{"name": "containerInsights", "value": "enabled"}])),
        source=f"{API}/API_UpdateClusterSettings.html",
    ),
    Step(
        title="PutAccountSetting, ListAccountSettings",
        act=_account_setting,
        documented="The setting as it was given.",
        expected="containerInsights enabled",
        source=f"{API}/API_PutAccountSetting.html",
    ),
    Step(
        title="DescribeServices of eleven",
        act=_eleven_services,
        documented="Refused: up to 10 in a call.",
        expected=REFUSED,
        source=f"{API}/API_DescribeServices.html",
    ),
    Step(
        title="DescribeTasks of a hundred and one",
        act=_many_tasks,
        documented="Refused: up to 100 in a call.",
        expected=REFUSED,
        source=f"{API}/API_DescribeTasks.html",
    ),
    Step(
        title="DescribeServices of one that never was",
        act=_missing_service,
        documented="No error, but a failure with reason MISSING.",
        expected=re.escape("services 0, failure ['MISSING']"),
        source=f"{GUIDE}/api_failures_messages.html",
    ),
    Step(
        title="ListServices page by page",
        act=_pages,
        documented="nextToken leads to the next page.",
        expected="one on each page",
        source=f"{API}/API_ListServices.html",
    ),
    Step(
        title="UpdateService of one that never was",
        act=lambda world: outcome(world.ecs.update_service, cluster=CLUSTER, service="nobody", desiredCount=1),
        documented="ServiceNotFoundException.",
        expected="ServiceNotFoundException",
        source=f"{API}/API_UpdateService.html",
    ),
    Step(
        title="EventBridge: the events of a new service, through a rule to a queue",
        act=_listen,
        documented="Task state changes, deployment state changes, service actions.",
        expected="ECS Deployment State Change, ECS Service Action, ECS Task State Change",
        source=f"{GUIDE}/ecs_cwe_events.html",
    ),
    Step(
        title="DeleteCluster with services in it",
        act=_delete_cluster,
        documented="ClusterContainsServicesException.",
        expected="ClusterContainsServicesException",
        source=f"{API}/API_DeleteCluster.html",
    ),
    Step(
        title="DeleteService of one that is scaled above 0, without force",
        act=_delete_scaled,
        documented="Refused: the desired count must be zero.",
        expected=REFUSED,
        source=f"{API}/API_DeleteService.html",
    ),
    Step(
        title="DeleteService with force: what its answer tells",
        act=_delete,
        documented="DRAINING, as long as there are tasks.",
        expected="DRAINING",
        source=f"{API}/API_DeleteService.html",
    ),
    Step(
        title="ListServices and DescribeServices of a deleted service",
        act=_while_draining,
        documented="No longer listed; still described, as DRAINING or INACTIVE.",
        expected="not listed, described as (DRAINING|INACTIVE)",
        source=f"{API}/API_DeleteService.html",
    ),
    Step(
        title="The deleted service is left alone for some minutes",
        act=_inactive,
        documented="INACTIVE, and still described.",
        expected="INACTIVE",
        source=f"{API}/API_DeleteService.html",
    ),
    Step(
        title="UpdateService of a deleted service",
        act=_update_inactive,
        documented="ServiceNotActiveException.",
        expected="ServiceNotActiveException",
        source=f"{API}/API_UpdateService.html",
    ),
    Step(
        title="EFS CreateAccessPoint twice with one client token",
        act=_access_point_twice,
        documented="AccessPointAlreadyExists.",
        expected="AccessPointAlreadyExists",
        source=f"{EFS}/API_CreateAccessPoint.html",
    ),
    Step(
        title="EFS CreateAccessPoint in a file system that does not exist",
        act=_access_point_nowhere,
        documented="FileSystemNotFound.",
        expected="FileSystemNotFound",
        source=f"{EFS}/API_CreateAccessPoint.html",
    ),
    Step(
        title="EFS DeleteAccessPoint of one that never was",
        act=_no_access_point,
        documented="AccessPointNotFound.",
        expected="AccessPointNotFound",
        source=f"{EFS}/API_DeleteAccessPoint.html",
    ),
    Step(
        title="ELBv2 CreateTargetGroup twice with the same settings",
        act=_target_group_twice,
        documented="Each call succeeds: it is idempotent.",
        expected="the same target group",
        source=f"{ELB}/API_CreateTargetGroup.html",
    ),
    Step(
        title="ELBv2 CreateTargetGroup under a name that is taken, with other settings",
        act=_target_group_taken,
        documented="DuplicateTargetGroupName.",
        expected="DuplicateTargetGroupName",
        source=f"{ELB}/API_CreateTargetGroup.html",
    ),
    Step(
        title="ELBv2 DeleteTargetGroup of one that a rule forwards to",
        act=_target_group_in_use,
        documented="ResourceInUse.",
        expected="ResourceInUse",
        source=f"{ELB}/API_DeleteTargetGroup.html",
    ),
    Step(
        title="ELBv2 CreateRule with a priority that is taken",
        act=_priority_taken,
        documented="PriorityInUse.",
        expected="PriorityInUse",
        source=f"{ELB}/API_CreateRule.html",
    ),
    Step(
        title="ELBv2 CreateRule with a transform, DescribeRules",
        act=_transforms,
        documented="The transform as it was given.",
        expected="kept",
        source=f"{ELB}/API_RuleTransform.html",
    ),
    Step(
        title="Logs PutRetentionPolicy of 15 days",
        act=_retention,
        documented="Refused: 15 is not among the possible values.",
        expected="InvalidParameterException",
        source="https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html",
    ),
    Step(
        title="Application Auto Scaling DeregisterScalableTarget of one that never was",
        act=_no_target,
        documented="ObjectNotFoundException.",
        expected="ObjectNotFoundException",
        source=f"{SCALING}/API_DeregisterScalableTarget.html",
    ),
    Step(
        title="Application Auto Scaling RegisterScalableTarget of a service that never was",
        act=_target_of_nobody,
        documented="ValidationException.",
        expected="ValidationException",
        source=f"{SCALING}/API_RegisterScalableTarget.html",
    ),
)
