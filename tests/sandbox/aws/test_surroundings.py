"""What an ECS service stands on: networks, registries, images and secrets through the raw API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.aws.fidelity import follows
from tests.sandbox.aws.world import World, refusal

NFS = {"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049}


def permission(group: str, **pair: str) -> dict[str, Any]:
    return NFS | {"UserIdGroupPairs": [{"GroupId": group} | pair]}


@pytest.fixture
def ec2(world: World) -> Any:
    return world.aws.client("ec2")


# -- security groups


@follows("EC2 API reference, AuthorizeSecurityGroupIngress")
def test_a_security_group_rule_has_an_id_tags_and_a_description(world: World, ec2: Any) -> None:
    group = world.security_group
    tags = [{"Key": "owner", "Value": "shop/web"}]
    made = ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[permission(group, Description="models"), NFS | {"IpRanges": [{"CidrIp": "10.0.0.0/8"}]}],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": tags}],
    )["SecurityGroupRules"]
    assert len(made) == 2
    assert [rule["Tags"] for rule in made] == [tags, tags]
    named = {"Name": "tag:owner", "Values": ["shop/web"]}
    found = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}, named])
    by_id = {rule["SecurityGroupRuleId"]: rule for rule in found["SecurityGroupRules"]}
    assert set(by_id) == {rule["SecurityGroupRuleId"] for rule in made}
    shown = by_id[made[0]["SecurityGroupRuleId"]]
    assert (shown["Description"], shown["ReferencedGroupInfo"]["GroupId"]) == ("models", group)
    assert (shown["IsEgress"], shown["IpProtocol"], shown["FromPort"], shown["ToPort"]) == (False, "tcp", 2049, 2049)


@follows("EC2 API reference, AuthorizeSecurityGroupIngress: Errors")
def test_a_rule_that_exists_is_a_duplicate_whatever_its_description_and_nothing_is_added(
    world: World, ec2: Any
) -> None:
    group = world.security_group
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission(group, Description="models")])
    other = NFS | {"IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    request = {"GroupId": group, "IpPermissions": [other, permission(group)]}
    assert refusal(ec2.authorize_security_group_ingress, **request)[0] == "InvalidPermission.Duplicate"
    [shown] = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert len(shown["IpPermissions"]) == 1


@follows("EC2 API reference, UserIdGroupPair, IpRange: Description")
@pytest.mark.parametrize("description", ["x" * 256, 'the "models"', "modèles"])
def test_the_description_of_a_rule_has_the_characters_that_there_are_for_it(
    world: World, ec2: Any, description: str
) -> None:
    rules = [permission(world.security_group, Description=description)]
    refused = refusal(ec2.authorize_security_group_ingress, GroupId=world.security_group, IpPermissions=rules)
    assert refused[::2] == ("InvalidParameterValue", 400)


@follows("EC2 API reference, AuthorizeSecurityGroupIngress: Errors")
def test_a_rule_needs_groups_that_exist(world: World, ec2: Any) -> None:
    absent = "sg-0123456789abcdef0"
    for group, source in ((absent, world.security_group), (world.security_group, absent)):
        request = {"GroupId": group, "IpPermissions": [permission(source)]}
        assert refusal(ec2.authorize_security_group_ingress, **request)[0] == "InvalidGroup.NotFound"


@follows("EC2 API reference, RevokeSecurityGroupIngress")
def test_a_rule_is_revoked_by_its_id_or_by_what_it_permits(world: World, ec2: Any) -> None:
    group = world.security_group

    def authorize() -> str:
        made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission(group)])
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    rule = authorize()
    answer = ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[rule])
    [revoked] = answer["RevokedSecurityGroupRules"]
    assert (revoked["SecurityGroupRuleId"], revoked["ReferencedGroupId"]) == (rule, group)
    code = refusal(ec2.revoke_security_group_ingress, GroupId=group, SecurityGroupRuleIds=[rule])[0]
    assert code == "InvalidSecurityGroupRuleId.NotFound"
    authorize()
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[permission(group)])
    code = refusal(ec2.revoke_security_group_ingress, GroupId=group, IpPermissions=[permission(group)])[0]
    assert code == "InvalidPermission.NotFound"


# -- networks and file systems


@follows("EC2 API reference, Subnet, DescribeVpcAttribute")
def test_subnets_show_their_zone_and_free_addresses_and_a_vpc_its_dns(world: World, ec2: Any) -> None:
    [shown] = ec2.describe_subnets(SubnetIds=world.subnets[:1])["Subnets"]
    assert shown["AvailabilityZone"].startswith("us-east-1")
    assert shown["AvailableIpAddressCount"] > 200
    absent = "subnet-0123456789abcdef0"
    assert refusal(ec2.describe_subnets, SubnetIds=[absent])[0] == "InvalidSubnetID.NotFound"
    for attribute, member in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
        assert ec2.describe_vpc_attribute(VpcId=shown["VpcId"], Attribute=attribute)[member] == {"Value": True}
    ec2.modify_vpc_attribute(VpcId=shown["VpcId"], EnableDnsSupport={"Value": False})
    answer = ec2.describe_vpc_attribute(VpcId=shown["VpcId"], Attribute="enableDnsSupport")
    assert answer["EnableDnsSupport"] == {"Value": False}


@follows("EFS API reference, CreateMountTarget.SecurityGroups, DescribeMountTargetSecurityGroups")
def test_a_mount_target_has_its_security_groups_or_the_default_one(world: World, ec2: Any) -> None:
    file_system = world.efs.create_file_system(CreationToken="fs")["FileSystemId"]
    group = ec2.create_security_group(GroupName="nfs", Description="nfs", VpcId=world.vpc)["GroupId"]
    made = [
        world.efs.create_mount_target(FileSystemId=file_system, SubnetId=subnet, **more)["MountTargetId"]
        for subnet, more in zip(world.subnets, ({}, {"SecurityGroups": [group]}), strict=True)
    ]
    groups = [world.efs.describe_mount_target_security_groups(MountTargetId=each)["SecurityGroups"] for each in made]
    assert groups == [[world.security_group], [group]]
    shown = world.efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"]
    assert {each["SubnetId"] for each in shown} == set(world.subnets)
    assert all(each["LifeCycleState"] == "available" and each["AvailabilityZoneName"] for each in shown)
    absent = {"MountTargetId": "fsmt-0123456789abcdef0"}
    assert refusal(world.efs.describe_mount_target_security_groups, **absent)[::2] == ("MountTargetNotFound", 404)


# -- roles, images, secrets


@follows("IAM API reference, GetRole")
def test_a_role_is_shown_with_its_trust_or_is_not_found(world: World) -> None:
    iam = world.aws.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam.create_role(RoleName="task", AssumeRolePolicyDocument=json.dumps(trust))
    assert iam.get_role(RoleName="task")["Role"]["AssumeRolePolicyDocument"] == trust
    assert refusal(iam.get_role, RoleName="absent")[::2] == ("NoSuchEntity", 404)


@follows("ECR API reference, DescribeImages, BatchGetImage")
def test_an_image_is_found_by_its_tag_or_is_not_found(world: World) -> None:
    ecr = world.aws.client("ecr")
    ecr.create_repository(repositoryName="app")
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1, "digest": "sha256:" + "a" * 64}
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}
    digest = ecr.put_image(repositoryName="app", imageManifest=json.dumps(manifest), imageTag="1")["image"]["imageId"][
        "imageDigest"
    ]
    [shown] = ecr.describe_images(repositoryName="app", imageIds=[{"imageTag": "1"}])["imageDetails"]
    assert (shown["imageDigest"], shown["imageTags"]) == (digest, ["1"])
    answer = ecr.batch_get_image(repositoryName="app", imageIds=[{"imageTag": "1"}, {"imageTag": "2"}])
    assert [each["imageId"]["imageDigest"] for each in answer["images"]] == [digest]
    assert [each["failureCode"] for each in answer["failures"]] == ["ImageNotFound"]
    for repository, code in (("app", "ImageNotFoundException"), ("other", "RepositoryNotFoundException")):
        request = {"repositoryName": repository, "imageIds": [{"imageTag": "2"}]}
        assert refusal(ecr.describe_images, **request)[0] == code


@follows("Secrets Manager API reference, DescribeSecret; Systems Manager API reference, GetParameters")
def test_secrets_and_parameters_are_described_and_missing_ones_named(world: World) -> None:
    secrets, parameters = world.aws.client("secretsmanager"), world.aws.client("ssm")
    secrets.create_secret(Name="token", SecretString="x")
    shown = secrets.describe_secret(SecretId="token")
    assert ["AWSCURRENT"] in shown["VersionIdsToStages"].values()
    assert "SecretString" not in shown
    assert refusal(secrets.describe_secret, SecretId="absent")[0] == "ResourceNotFoundException"
    parameters.put_parameter(Name="/app/token", Value="x", Type="SecureString")
    answer = parameters.get_parameters(Names=["/app/token", "/absent"])
    assert [each["Name"] for each in answer["Parameters"]] == ["/app/token"]
    assert answer["InvalidParameters"] == ["/absent"]


# -- Cloud Map


def registry(world: World, kind: str = "A", **members: Any) -> dict[str, Any]:
    cloud_map = world.aws.client("servicediscovery")
    if not cloud_map.list_namespaces()["Namespaces"]:
        cloud_map.create_private_dns_namespace(Name="local", Vpc=world.vpc)
    given = {
        "Name": "web",
        "NamespaceId": cloud_map.list_namespaces()["Namespaces"][0]["Id"],
        "DnsConfig": {"DnsRecords": [{"Type": kind, "TTL": 10}]},
    } | members
    return dict(cloud_map.create_service(**given)["Service"])


@follows("Cloud Map API reference, CreateService, GetService, ListServices")
def test_a_cloud_map_service_is_made_once(world: World) -> None:
    cloud_map = world.aws.client("servicediscovery")
    made = registry(world, CreatorRequestId="1", Tags=[{"Key": "a", "Value": "b"}])
    assert made["DnsConfig"]["RoutingPolicy"] == "MULTIVALUE"
    assert registry(world, CreatorRequestId="1")["Id"] == made["Id"]
    code, _, status = refusal(lambda **request: registry(world, **request), CreatorRequestId="2")
    assert (code, status) == ("ServiceAlreadyExists", 400)
    assert cloud_map.get_service(Id=made["Id"])["Service"]["Arn"] == made["Arn"]
    assert cloud_map.list_tags_for_resource(ResourceARN=made["Arn"])["Tags"] == [{"Key": "a", "Value": "b"}]
    assert [each["Id"] for each in cloud_map.list_services()["Services"]] == [made["Id"]]
    other = [{"Name": "NAMESPACE_ID", "Values": ["ns-other"]}]
    assert cloud_map.list_services(Filters=other)["Services"] == []
    for call in (cloud_map.get_service, cloud_map.delete_service):
        assert refusal(call, Id="srv-absent")[0] == "ServiceNotFound"
    absent = {"Name": "x", "NamespaceId": "ns-absent"}
    assert refusal(cloud_map.create_service, **absent)[0] == "NamespaceNotFound"


@follows("Developer guide, “Use service discovery to connect Amazon ECS services with DNS names”")
def test_tasks_are_instances_of_their_registry_while_they_run(world: World) -> None:
    cloud_map, made = world.aws.client("servicediscovery"), registry(world)
    world.create(desiredCount=2, serviceRegistries=[{"registryArn": made["Arn"]}])
    world.advance(5)
    assert cloud_map.list_instances(ServiceId=made["Id"])["Instances"] == []
    world.advance(60)
    found = {each["Id"]: each["Attributes"] for each in cloud_map.list_instances(ServiceId=made["Id"])["Instances"]}
    tasks = {task["taskArn"].rsplit("/", 1)[-1]: task for task in world.tasks()}
    assert set(found) == set(tasks)
    for identifier, attributes in found.items():
        assert attributes == {
            "AWS_INSTANCE_IPV4": tasks[identifier]["containers"][0]["networkInterfaces"][0]["privateIpv4Address"],
            "AVAILABILITY_ZONE": tasks[identifier]["availabilityZone"],
            "REGION": "us-east-1",
            "ECS_CLUSTER_NAME": "inference",
            "ECS_SERVICE_NAME": "web",
            "ECS_TASK_DEFINITION_FAMILY": "app",
        }
    assert refusal(cloud_map.delete_service, Id=made["Id"])[0] == "ResourceInUse"
    world.ecs.update_service(cluster="inference", service="web", desiredCount=0)
    world.advance(60)
    assert cloud_map.list_instances(ServiceId=made["Id"])["Instances"] == []
    cloud_map.delete_service(Id=made["Id"])


@follows("Developer guide, “Use service discovery to connect Amazon ECS services with DNS names”: container health")
def test_the_health_of_containers_is_told_to_the_registry(world: World) -> None:
    cloud_map, made = world.aws.client("servicediscovery"), registry(world, HealthCheckCustomConfig={})
    definition = world.register(container={"healthCheck": {"command": ["CMD", "true"]}})
    world.create(taskDefinition=definition, serviceRegistries=[{"registryArn": made["Arn"]}])
    world.advance(17)
    [status] = cloud_map.get_instances_health_status(ServiceId=made["Id"])["Status"].values()
    assert status == "UNHEALTHY"
    world.advance(120)
    [status] = cloud_map.get_instances_health_status(ServiceId=made["Id"])["Status"].values()
    assert status == "HEALTHY"


@follows("API reference, ServiceRegistry")
def test_a_registry_that_cannot_be_is_refused(world: World) -> None:
    plain, named = registry(world)["Arn"], registry(world, "SRV", Name="srv")["Arn"]
    absent = plain[:-8] + "absent00"
    for registries in (
        [{"registryArn": absent}],
        [{"registryArn": "nonsense"}],
        [{"registryArn": named}],
        [{"registryArn": named, "containerName": "app"}],
        [{"registryArn": named, "containerName": "app", "containerPort": 1}],
        [{"registryArn": plain}, {"registryArn": named, "port": 80}],
    ):
        request = world.service_request(serviceRegistries=registries)
        assert refusal(world.ecs.create_service, **request)[0] == "InvalidParameterException"
    world.create(serviceRegistries=[{"registryArn": named, "containerName": "app", "containerPort": 8080}])
    world.advance(60)
    [instance] = world.aws.client("servicediscovery").list_instances(ServiceId=named.rsplit("/", 1)[-1])["Instances"]
    assert instance["Attributes"]["AWS_INSTANCE_PORT"] == "8080"
