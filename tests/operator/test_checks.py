"""Checks before a rollout: what each of them finds in an account that has been broken, and what that keeps back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.checks import CHECKS
from inference_operator.checks.base import Case, Finding, Result
from inference_operator.checks.images import ecr_image, platforms
from inference_operator.checks.network import admits
from inference_operator.checks.roles import trusted
from inference_operator.domain.names import Identity
from inference_operator.engine import verification
from tests.operator.builders import deployment_document
from tests.operator.world import CLUSTER, REGION, World

REGISTRY = f"123456789012.dkr.ecr.{REGION}.amazonaws.com"
IMAGE = f"{REGISTRY}/inference:1"
OTHER_SERVICE = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def index(*platforms: str) -> str:
    """The manifest of an image for several platforms."""
    described = [
        {"digest": f"sha256:{number:064}", "platform": dict(zip(("os", "architecture"), each.split("/"), strict=True))}
        for number, each in enumerate(platforms)
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": described})


def push(world: World, manifest: str) -> None:
    ecr = world.client("ecr")
    ecr.create_repository(repositoryName="inference")
    ecr.put_image(repositoryName="inference", imageManifest=manifest, imageTag="1")


def case(world: World, **spec: Any) -> Case:
    document = deployment_document(**spec)
    meta = document["metadata"]
    return Case(
        identity=Identity(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"]),
        spec=InferenceDeploymentSpec.model_validate(document["spec"]),
        environment=InferenceEnvironmentSpec.model_validate(world.environments["default"]["spec"]),
        aws=world.aws,
    )


def findings(world: World, **spec: Any) -> list[tuple[str, Finding]]:
    return [(told.check, told.finding) for told in verification.verify(case(world, **spec))]


# -- each way in which an account can be wrong


@dataclass(frozen=True, kw_only=True)
class Flaw:
    check: str
    result: Result
    words: tuple[str, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)
    wreck: Callable[[World], object] = lambda _: None

    def __str__(self) -> str:
        return f"{self.check}-{self.words[0]}"


def fails(check: str, *words: str, **members: Any) -> Flaw:
    return Flaw(check=check, result=Result.FAILED, words=words, **members)


def without_rules(group: str) -> Callable[[World], object]:
    def revoke(world: World) -> None:
        ec2 = world.client("ec2")
        of = {"tasks": world.account.security_groups[0], "models": world.account.models_group}[group]
        rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [of]}])["SecurityGroupRules"]
        ids = [rule["SecurityGroupRuleId"] for rule in rules if not rule["IsEgress"]]
        ec2.revoke_security_group_ingress(GroupId=of, SecurityGroupRuleIds=ids)

    return revoke


def without_mount_target(world: World) -> None:
    efs = world.client("efs")
    targets = efs.describe_mount_targets(FileSystemId=world.account.file_system)["MountTargets"]
    gone = next(target for target in targets if target["SubnetId"] == world.account.subnets[1])
    efs.delete_mount_target(MountTargetId=gone["MountTargetId"])


def dns(attribute: str) -> Callable[[World], object]:
    return lambda world: world.client("ec2").modify_vpc_attribute(
        VpcId=world.account.vpc, **{attribute: {"Value": False}}
    )


def secret(world: World) -> str:
    arn: str = world.client("secretsmanager").create_secret(Name="shop/token", SecretString="{}")["ARN"]
    return arn


def in_other_vpcs(world: World) -> None:
    ec2 = world.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    network = world.environments["default"]["spec"]["network"]
    world.change_environment(network={**network, "subnets": [world.account.subnets[0], subnet]})


def trusting(policy: Mapping[str, Any]) -> Callable[[World], object]:
    return lambda world: world.client("iam").update_assume_role_policy(
        RoleName="inference-execution", PolicyDocument=json.dumps(policy)
    )


DOMAIN = f"search-logs-{'a' * 26}.{REGION}.es.amazonaws.com"
PLACES: dict[str, Any] = {
    "archive": {"s3": {"bucket": "inference-logs"}},
    "shared": {"cloudWatchLogs": {"logGroup": "/inference/shared"}},
    "own": {"cloudWatchLogs": {"logGroup": "/inference/{namespace}/{name}/errors"}},
    "stream": {"firehose": {"deliveryStream": "inference-logs"}},
    "search": {"openSearch": {"endpoint": DOMAIN, "index": "inference"}},
}
WRITES: dict[str, Any] = {
    "s3:PutObject": "arn:aws:s3:::inference-logs/shop/recommender/dt=*",
    "logs:CreateLogStream": f"arn:aws:logs:{REGION}:123456789012:log-group:/inference/*",
    "logs:PutLogEvents": f"arn:aws:logs:{REGION}:123456789012:log-group:/inference/*:*",
    "firehose:PutRecordBatch": f"arn:aws:firehose:{REGION}:123456789012:deliverystream/inference-logs",
    "es:ESHttpP*": f"arn:aws:es:{REGION}:123456789012:domain/logs/*",
}


def statement(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def allow_tasks(world: World, *statements: dict[str, Any]) -> None:
    """What the task role may do besides reading models, and nothing else."""
    document = {"Version": "2012-10-17", "Statement": [statement("elasticfilesystem:ClientMount"), *statements]}
    world.client("iam").put_role_policy(
        RoleName="inference-task", PolicyName="logs", PolicyDocument=json.dumps(document)
    )


def with_places(world: World, **others: Any) -> None:
    """Places for logs of each kind, that tasks may write to."""
    world.change_environment(logging={"destinations": {**PLACES, **others}})
    where = {"LocationConstraint": REGION}
    world.client("s3").create_bucket(Bucket="inference-logs", CreateBucketConfiguration=where)
    world.client("logs").create_log_group(logGroupName="/inference/shared")
    target = {"RoleARN": world.account.roles["taskRoleArn"], "BucketARN": "arn:aws:s3:::inference-logs"}
    world.client("firehose").create_delivery_stream(
        DeliveryStreamName="inference-logs", ExtendedS3DestinationConfiguration=target
    )
    allow_tasks(world, *(statement(action, resource) for action, resource in WRITES.items()))


def logs(check: str, *words: str, to: str, wreck: Callable[[World], object], result: Result = Result.FAILED) -> Flaw:
    """One in the places for logs."""

    def broken(world: World) -> None:
        with_places(world)
        wreck(world)

    return Flaw(check=check, result=result, words=words, spec={"logging": {"routes": [{"to": [to]}]}}, wreck=broken)


def elsewhere(world: World) -> None:
    where = {"LocationConstraint": "us-west-2"}
    world.cloud.client("s3", "us-west-2").create_bucket(Bucket="far-away", CreateBucketConfiguration=where)
    far = {"s3": {"bucket": "far-away"}}, {"openSearch": {**PLACES["search"]["openSearch"], "endpoint": FAR_DOMAIN}}
    world.change_environment(logging={"destinations": {**PLACES, "archive": far[0], "search": far[1]}})


FAR_DOMAIN = DOMAIN.replace(REGION, "us-west-2")
MISSING_SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:none-Ab12Cd"
FLAWS = [
    fails("Cluster", "does not exist", wreck=lambda w: w.change_environment(cluster="elsewhere")),
    fails("Cluster", "is INACTIVE", wreck=lambda w: w.client("ecs").delete_cluster(cluster=CLUSTER)),
    fails(
        "Cluster",
        "not associated with FARGATE_SPOT",
        "spec.capacity",
        spec={"capacity": [{"provider": "FARGATE_SPOT", "weight": 1}]},
        wreck=lambda w: w.client("ecs").put_cluster_capacity_providers(
            cluster=CLUSTER, capacityProviders=["FARGATE"], defaultCapacityProviderStrategy=[]
        ),
    ),
    fails(
        "Roles",
        "executionRoleArn",
        "does not exist",
        wreck=lambda w: w.client("iam").delete_role(RoleName="inference-execution"),
    ),
    fails("Roles", "spec.taskRoleArn", "does not exist", spec={"taskRoleArn": "arn:aws:iam::123456789012:role/none"}),
    fails("Roles", "does not trust ecs-tasks.amazonaws.com", wreck=trusting(OTHER_SERVICE)),
    fails("Images", f"{IMAGE} does not exist", spec={"image": IMAGE}),
    fails(
        "Images",
        f"{IMAGE} does not exist",
        "spec.image",
        spec={"image": IMAGE},
        wreck=lambda w: w.client("ecr").create_repository(repositoryName="inference"),
    ),
    fails(
        "Images",
        "made for linux/amd64",
        "needs linux/arm64",
        spec={"image": IMAGE, "architecture": "ARM64"},
        wreck=lambda w: push(w, index("linux/amd64")),
    ),
    Flaw(check="Images", result=Result.UNKNOWN, words=("is not in ECR",)),
    fails(
        "Secrets",
        "there is no secret",
        "spec.secrets[TOKEN]",
        spec={"secrets": [{"name": "TOKEN", "valueFrom": MISSING_SECRET}]},
    ),
    fails(
        "Secrets",
        "there is no parameter /shop/token",
        spec={"secrets": [{"name": "TOKEN", "valueFrom": "/shop/token"}]},
    ),
    fails(
        "Secrets",
        "spec.sidecars[proxy].secrets[TOKEN]",
        spec={
            "sidecars": [
                {"name": "proxy", "image": "proxy:1", "secrets": [{"name": "TOKEN", "valueFrom": MISSING_SECRET}]}
            ]
        },
    ),
    fails(
        "Secrets",
        "spec.logging.custom.secrets[TOKEN]",
        spec={
            "logging": {
                "custom": {"file": "/etc/router.conf", "secrets": [{"name": "TOKEN", "valueFrom": MISSING_SECRET}]}
            }
        },
    ),
    fails(
        "Subnets",
        "a subnet of the environment does not exist",
        wreck=lambda w: w.change_environment(
            network={"subnets": ["subnet-00000000"], "securityGroups": w.account.security_groups}
        ),
    ),
    fails("Subnets", "several VPCs", wreck=in_other_vpcs),
    Flaw(
        check="Subnets",
        result=Result.WARNING,
        words=("addresses are free", "10000"),
        spec={"replicas": 5000, "rollout": {"maximumPercent": 200}},
    ),
    fails(
        "Listener",
        "does not exist",
        wreck=lambda w: w.client("elbv2").delete_listener(ListenerArn=w.account.listener),
    ),
    fails(
        "Listener",
        "needs a listener with TLS",
        "protocol HTTP",
        spec={"ingress": {"protocolVersion": "HTTP2"}},
    ),
    fails("LoadBalancerAccess", "lets the load balancer", "tcp 8080", wreck=without_rules("tasks")),
    fails("Models", "no available mount target", wreck=without_mount_target),
    fails("Models", "tcp 2049", wreck=without_rules("models")),
    fails("Models", "enableDnsSupport", wreck=dns("EnableDnsSupport")),
    fails("Models", "enableDnsHostnames", wreck=dns("EnableDnsHostnames")),
    logs(
        "LogDestinations",
        "destination archive: there is no bucket inference-logs",
        to="archive",
        wreck=lambda w: w.client("s3").delete_bucket(Bucket="inference-logs"),
    ),
    logs("LogDestinations", "the bucket far-away is in us-west-2", f"to {REGION} alone", to="archive", wreck=elsewhere),
    logs(
        "LogDestinations",
        "there is no delivery stream",
        to="stream",
        wreck=lambda w: w.client("firehose").delete_delivery_stream(DeliveryStreamName="inference-logs"),
    ),
    logs(
        "LogDestinations",
        "there is no log group /inference/shared",
        to="shared",
        wreck=lambda w: w.client("logs").delete_log_group(logGroupName="/inference/shared"),
    ),
    logs("LogDestinations", f"the domain {FAR_DOMAIN} is in us-west-2", to="search", wreck=elsewhere),
    logs("LogDestinations", "can't be asked", to="search", wreck=lambda _: None, result=Result.UNKNOWN),
    logs(
        "LogAccess",
        "no right to s3:PutObject on arn:aws:s3:::inference-logs/shop/recommender/*",
        "unless the bucket's own policy",
        to="archive",
        wreck=allow_tasks,
        result=Result.WARNING,
    ),
    logs(
        "LogAccess",
        "s3:PutObject",
        "a policy denies it",
        to="archive",
        wreck=lambda w: allow_tasks(w, statement("s3:*"), statement("s3:PutObject", Effect="Deny")),
    ),
    logs(
        "LogAccess",
        "s3:PutObject",
        "unless a condition on aws:sourcevpce is met",
        to="archive",
        wreck=lambda w: allow_tasks(w, statement("s3:*", Condition={"StringEquals": {"aws:SourceVpce": "vpce-1"}})),
        result=Result.UNKNOWN,
    ),
    logs("LogAccess", "logs:PutLogEvents", "/inference/shop/recommender/errors:*", to="own", wreck=allow_tasks),
    logs("LogAccess", "firehose:PutRecordBatch", to="stream", wreck=allow_tasks),
    logs("LogAccess", "ESHttpPost", "the domain's own policy", wreck=allow_tasks, to="search", result=Result.WARNING),
]


def test_an_account_as_it_should_be_gives_no_finding(world: World) -> None:
    push(world, index("linux/amd64", "linux/arm64", "unknown/unknown"))
    arn = secret(world)
    world.client("ssm").put_parameter(Name="/shop/token", Value="x", Type="String")
    asked = [
        arn,
        f"{arn}:key::",
        f"{arn}:key:AWSCURRENT:",
        "/shop/token",
        f"arn:aws:ssm:{REGION}:123456789012:parameter/shop/token",
    ]
    secrets = [{"name": f"S{number}", "valueFrom": reference} for number, reference in enumerate(asked)]
    capacity = [{"provider": "FARGATE", "base": 1}, {"provider": "FARGATE_SPOT", "weight": 1}]
    with_places(world)
    routes = {"routes": [{"to": sorted(PLACES.keys() - {"search"})}]}
    found = findings(world, image=IMAGE, architecture="ARM64", secrets=secrets, capacity=capacity, logging=routes)
    assert found == []


@pytest.mark.parametrize("flaw", FLAWS, ids=str)
def test_a_flaw_is_found_and_named_with_what_to_do(flaw: Flaw, world: World) -> None:
    flaw.wreck(world)
    found = [
        finding
        for check, finding in findings(world, **flaw.spec)
        if (check, finding.result) == (flaw.check, flaw.result)
    ]
    told = [
        finding for finding in found if all(word in f"{finding.message} {finding.next_step}" for word in flaw.words)
    ]
    assert told, found
    assert all(finding.next_step.endswith(".") for finding in told)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (":key:AWSPREVIOUS:", "no version with the stage AWSPREVIOUS"),
        (":::01234567-89ab-cdef-0123-456789abcdef", "no version 01234567"),
    ],
)
def test_a_version_that_a_secret_does_not_have_is_told(reference: str, words: str, world: World) -> None:
    value_from = secret(world) + reference
    [told] = [
        f for check, f in findings(world, secrets=[{"name": "TOKEN", "valueFrom": value_from}]) if check == "Secrets"
    ]
    assert words in told.message


def test_a_secret_that_is_to_be_deleted_is_told(world: World) -> None:
    arn = secret(world)
    world.client("secretsmanager").delete_secret(SecretId=arn)
    [told] = [f for check, f in findings(world, secrets=[{"name": "TOKEN", "valueFrom": arn}]) if check == "Secrets"]
    assert "is to be deleted" in told.message


def test_every_check_finds_something_here() -> None:
    assert {flaw.check for flaw in FLAWS} == {check.name for check in CHECKS}


@pytest.mark.parametrize("fault", ["deny", "throttle", "error"])
def test_what_cannot_be_looked_at_is_unknown_and_nothing_else(fault: Any, world: World) -> None:
    with_places(world)
    for service in ("ecs", "iam", "ec2", "elasticloadbalancing", "elasticfilesystem", "ecr", "ssm", "s3", "firehose"):
        world.fault(fault, f"{service}:*")
    routes = {"routes": [{"to": ["archive", "stream"]}]}
    found = findings(world, image=IMAGE, secrets=[{"name": "TOKEN", "valueFrom": "/shop/token"}], logging=routes)
    assert {check for check, _ in found} == {check.name for check in CHECKS}
    assert {finding.result for _, finding in found} == {Result.UNKNOWN}
    assert all("it could not be looked: " in finding.message for _, finding in found)


def test_one_place_that_cannot_be_looked_at_does_not_hide_another(world: World) -> None:
    with_places(world)
    world.fault("deny", "s3:HeadBucket")
    world.client("firehose").delete_delivery_stream(DeliveryStreamName="inference-logs")
    routes = {"routes": [{"to": ["archive", "stream"]}]}
    missing, unseen = [f for check, f in findings(world, logging=routes) if check == "LogDestinations"]
    assert (missing.result, unseen.result) == (Result.FAILED, Result.UNKNOWN)
    assert "Allow s3:ListBucket to the operator's role" in unseen.next_step


def test_a_service_without_routes_has_no_places_to_be_asked_about(world: World) -> None:
    mark = world.mark
    findings(world)
    assert not {call.operation for call in world.calls(since=mark)} & {"HeadBucket", "SimulatePrincipalPolicy"}


# -- the rules behind them


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("registry.example.com/a:1", None),
        ("public.ecr.aws/a/b:1", None),
        (f"{REGISTRY}/team/a", ("team/a", {"imageTag": "latest"})),
        (f"{REGISTRY}/a:1.0", ("a", {"imageTag": "1.0"})),
        (f"{REGISTRY}/a:1.0@sha256:{'0' * 64}", ("a", {"imageDigest": f"sha256:{'0' * 64}"})),
    ],
)
def test_an_image_reference_says_where_in_ecr_it_is(reference: str, found: tuple[str, dict[str, str]] | None) -> None:
    image = ecr_image(reference)
    assert (None if image is None else (image.repository, image.id)) == found


def test_a_single_image_does_not_tell_its_platform() -> None:
    assert platforms(json.dumps({"schemaVersion": 2, "config": {}, "layers": []})) == set()


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ({"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}, True),
        ({"Effect": "Allow", "Principal": {"Service": ["a", "ecs-tasks.amazonaws.com"]}, "Action": ["sts:*"]}, True),
        ({"Effect": "Allow", "Principal": "*", "Action": "*"}, True),
        ({"Effect": "Deny", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
        ({"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
        ({"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:TagSession"}, False),
        ({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}, False),
    ],
)
def test_a_trust_policy_names_the_service_and_the_action(statement: dict[str, Any], verdict: bool) -> None:
    assert trusted({"Statement": statement}) is verdict
    assert trusted({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "x"}, "Action": "x"}, statement]}) is verdict


def rule(**members: Any) -> dict[str, Any]:
    return {"IsEgress": False, "IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, **members}


FROM_SG = {"ReferencedGroupInfo": {"GroupId": "sg-1"}}


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([], False),
        ([rule(**FROM_SG)], True),
        ([rule(**FROM_SG, IsEgress=True)], False),
        ([rule(ReferencedGroupInfo={"GroupId": "sg-2"})], False),
        ([rule(**FROM_SG, FromPort=8081, ToPort=9000)], False),
        ([rule(**FROM_SG, FromPort=1, ToPort=65535)], True),
        ([rule(**FROM_SG, IpProtocol="-1", FromPort=-1, ToPort=-1)], True),
        ([rule(**FROM_SG, IpProtocol="udp")], False),
        ([rule(CidrIpv4="10.0.0.0/16")], True),
        ([rule(CidrIpv4="10.0.1.0/24")], False),
        ([rule(CidrIpv6="::/0")], False),
        ([rule(PrefixListId="pl-1")], True),
        ([rule(CidrIpv4="10.9.0.0/24"), rule(**FROM_SG)], True),
    ],
)
def test_a_rule_admits_what_it_covers_whole(found: list[dict[str, Any]], verdict: bool) -> None:
    assert admits(found, port=8080, groups=["sg-1"], addresses=["10.0.1.0/24", "10.0.2.0/24"]) is verdict


# -- asked together


def test_many_who_ask_the_same_ask_once(world: World) -> None:
    findings(world)
    mark = world.mark
    findings(world, models={"path": "/another"})
    assert world.calls(since=mark) == []
    world.advance(timedelta(minutes=1))
    findings(world)
    assert world.calls(since=mark)
