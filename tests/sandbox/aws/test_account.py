"""Account settings and capacity providers (developer guide, "Access Amazon ECS features with account settings")."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.test_modes import Role, allow
from tests.sandbox.aws.world import World, refusal

ROOT = "arn:aws:iam::123456789012:root"
USER = "arn:aws:iam::123456789012:user/ops"


def effective(world: World, name: str, principal: str = USER) -> str:
    shown = world.ecs.list_account_settings(name=name, principalArn=principal, effectiveSettings=True)["settings"]
    return str(shown[0]["value"])


@follows("API reference, PutAccountSetting, PutAccountSettingDefault, ListAccountSettings, DeleteAccountSetting")
def test_a_setting_is_the_principals_own_or_the_roots_or_the_default(world: World) -> None:
    name = "containerInsights"
    assert effective(world, name) == "disabled"
    assert world.ecs.list_account_settings(name=name, principalArn=USER)["settings"] == []
    made = world.ecs.put_account_setting_default(name=name, value="enabled")["setting"]
    assert made == {"name": name, "value": "enabled", "principalArn": ROOT, "type": "user"}
    assert effective(world, name) == "enabled"
    world.ecs.put_account_setting(name=name, value="enhanced", principalArn=USER)
    assert (effective(world, name), effective(world, name, ROOT)) == ("enhanced", "enabled")
    assert world.ecs.list_account_settings(name=name, value="enabled", principalArn=USER)["settings"] == []
    assert world.ecs.delete_account_setting(name=name, principalArn=USER)["setting"]["value"] == "enabled"
    assert effective(world, name) == "enabled"


@follows("API reference, ListAccountSettings")
def test_settings_are_listed_ten_a_page(world: World) -> None:
    first = world.ecs.list_account_settings(effectiveSettings=True)
    second = world.ecs.list_account_settings(effectiveSettings=True, nextToken=first["nextToken"])
    names = [each["name"] for each in first["settings"] + second["settings"]]
    assert len(first["settings"]) == 10
    assert len(names) == len(set(names)) == 11
    managed = [each["name"] for each in first["settings"] + second["settings"] if each["type"] == "aws_managed"]
    assert managed == ["guardDutyActivate"]


@follows("API reference, PutAccountSetting: Errors")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("moods", "enabled"),
        ("containerInsights", "perhaps"),
        ("fargateTaskRetirementWaitPeriod", "3"),
        ("guardDutyActivate", "on"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(world: World, name: str, value: str) -> None:
    assert refusal(world.ecs.put_account_setting, name=name, value=value)[0] == "InvalidParameterException"


@follows("API reference, PutAccountSetting: containerInsights is the default of new clusters")
@differs("Of the other settings only tagResourceAuthorization has an effect here.")
def test_container_insights_are_the_default_of_new_clusters(world: World) -> None:
    world.ecs.put_account_setting(name="containerInsights", value="enhanced")
    made = world.ecs.create_cluster(clusterName="watched")["cluster"]
    assert made["settings"] == [{"name": "containerInsights", "value": "enhanced"}]
    other = {"settings": [{"name": "containerInsights", "value": "disabled"}]}
    assert world.ecs.create_cluster(clusterName="other", **other)["cluster"]["settings"] == other["settings"]


@follows("Developer guide, “Amazon ECS account settings”: tagging authorization")
def test_without_tagging_authorization_leave_to_make_something_is_enough_to_tag_it(world: World) -> None:
    request = world.service_request(tags=[{"key": "team", "value": "shop"}])
    world.ecs.put_account_setting_default(name="tagResourceAuthorization", value="off")
    ecs = Role(world, allow("ecs:CreateService")).client("ecs")
    ecs.create_service(**request)
    world.ecs.put_account_setting_default(name="tagResourceAuthorization", value="on")
    again: dict[str, Any] = request | {"serviceName": "second"}
    assert "ecs:TagResource" in refusal(ecs.create_service, **again)[1]


@follows("API reference, DescribeCapacityProviders, CapacityProvider")
def test_every_account_has_the_capacity_providers_of_fargate(world: World) -> None:
    shown = world.ecs.describe_capacity_providers()["capacityProviders"]
    assert [(each["name"], each["status"], each["type"]) for each in shown] == [
        ("FARGATE", "ACTIVE", "FARGATE"),
        ("FARGATE_SPOT", "ACTIVE", "FARGATE_SPOT"),
    ]
    answer = world.ecs.describe_capacity_providers(capacityProviders=[shown[1]["capacityProviderArn"], "mine"])
    assert [each["name"] for each in answer["capacityProviders"]] == ["FARGATE_SPOT"]
    assert [each["reason"] for each in answer["failures"]] == ["MISSING"]
    world.ecs.create_cluster(clusterName="plain", capacityProviders=["FARGATE"])
    assert len(world.ecs.describe_capacity_providers(cluster="plain")["capacityProviders"]) == 1


@follows("API reference, PutClusterCapacityProviders")
def test_a_provider_in_use_stays_with_its_cluster(world: World) -> None:
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    service = world.service_request(capacityProviderStrategy=spot)
    del service["launchType"]
    world.ecs.create_service(**service)
    world.advance(60)
    request = {"cluster": "inference", "capacityProviders": ["FARGATE"], "defaultCapacityProviderStrategy": []}
    assert refusal(world.ecs.put_cluster_capacity_providers, **request)[0] == "ResourceInUseException"
    unknown = request | {"capacityProviders": ["FARGATE", "FARGATE_SPOT", "mine"]}
    assert refusal(world.ecs.put_cluster_capacity_providers, **unknown)[0] == "InvalidParameterException"
    world.ecs.delete_service(cluster="inference", service="web", force=True)
    world.advance(120)
    shown = world.ecs.put_cluster_capacity_providers(**request)["cluster"]
    assert shown["capacityProviders"] == ["FARGATE"]
