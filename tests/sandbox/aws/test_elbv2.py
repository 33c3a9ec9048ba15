"""ELBv2 through the raw API, and its joint with services (Elastic Load Balancing API reference, version 2015-12-01)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World, refusal

REWRITE = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/app/(.*)$", "Replace": "/$1"}]}}


@follows("Elastic Load Balancing API reference, CreateTargetGroup")
def test_a_target_group_with_the_same_settings_is_the_same(world: World) -> None:
    first = world.target_group(HealthCheckPath="/readyz")
    assert world.target_group(HealthCheckPath="/readyz") == first
    refused = refusal(world.target_group, HealthCheckPath="/healthz")
    assert refused[::2] == ("DuplicateTargetGroupName", 400)


@follows("Elastic Load Balancing API reference, CreateTargetGroup")
def test_a_target_group_changed_since_is_no_longer_the_same(world: World) -> None:
    arn = world.target_group()
    world.elb.modify_target_group(TargetGroupArn=arn, HealthCheckPath="/other")
    assert refusal(world.target_group)[0] == "DuplicateTargetGroupName"
    assert world.target_group(HealthCheckPath="/other") == arn


@follows("Elastic Load Balancing API reference, DeleteTargetGroup")
def test_a_target_group_in_use_cannot_be_deleted(world: World) -> None:
    group = world.target_group()
    rule = world.rule(world.listener(), group)
    assert refusal(world.elb.delete_target_group, TargetGroupArn=group)[::2] == ("ResourceInUse", 400)
    world.elb.delete_rule(RuleArn=rule)
    world.elb.delete_target_group(TargetGroupArn=group)
    assert refusal(world.elb.describe_target_groups, TargetGroupArns=[group])[0] == "TargetGroupNotFound"


@follows("Elastic Load Balancing API reference, TargetGroup.LoadBalancerArns")
def test_a_target_group_shows_the_load_balancers_that_route_to_it_now(world: World) -> None:
    group = world.target_group()
    rule = world.rule(world.listener(), group)

    def balancers() -> list[str]:
        return list(world.elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["LoadBalancerArns"])

    assert len(balancers()) == 1
    world.elb.delete_rule(RuleArn=rule)
    assert balancers() == []


@follows("Elastic Load Balancing API reference, DescribeTargetGroups: Marker, PageSize")
def test_target_groups_are_listed_in_pages(world: World) -> None:
    made = {world.target_group(Name=f"group-{number}") for number in range(5)}
    pages = []
    page: dict[str, Any] = {}
    while True:
        answer = world.elb.describe_target_groups(PageSize=2, **page)
        pages.append([group["TargetGroupArn"] for group in answer["TargetGroups"]])
        if "NextMarker" not in answer:
            break
        page = {"Marker": answer["NextMarker"]}
    assert [len(each) for each in pages] == [2, 2, 1]
    assert {arn for each in pages for arn in each} == made
    assert refusal(world.elb.describe_target_groups, PageSize=401)[0] == "ValidationError"


@follows("Elastic Load Balancing API reference, DeleteRule")
@differs("As the Errors section says; older observations have the call succeed.")
def test_a_missing_rule_cannot_be_deleted(world: World) -> None:
    rule = world.rule(world.listener(), world.target_group())
    world.elb.delete_rule(RuleArn=rule)
    assert refusal(world.elb.delete_rule, RuleArn=rule)[::2] == ("RuleNotFound", 400)


@follows("Elastic Load Balancing API reference, CreateRule")
def test_a_priority_is_used_once_and_lies_within_its_range(world: World) -> None:
    listener, group = world.listener(), world.target_group()
    world.rule(listener, group, 7)
    assert refusal(world.rule, listener=listener, group=group, priority=7)[0] == "PriorityInUse"
    assert refusal(world.rule, listener=listener, group=group, priority=50_001)[0] == "ValidationError"


@follows("Elastic Load Balancing API reference, SetRulePriorities")
def test_a_rule_moves_to_a_free_place_only(world: World) -> None:
    listener, group = world.listener(), world.target_group()
    first, second = world.rule(listener, group, 7), world.rule(listener, group, 8)
    taken = [{"RuleArn": second, "Priority": 7}]
    assert refusal(world.elb.set_rule_priorities, RulePriorities=taken)[0] == "PriorityInUse"
    world.elb.set_rule_priorities(RulePriorities=[{"RuleArn": first, "Priority": 9}])
    rules = world.elb.describe_rules(ListenerArn=listener)["Rules"]
    assert {rule["RuleArn"]: rule["Priority"] for rule in rules if not rule["IsDefault"]} == {first: "9", second: "8"}


@follows('Application Load Balancers, "Quotas for your Application Load Balancers": 5 condition values per rule')
def test_a_rule_has_at_most_five_condition_values(world: World) -> None:
    def conditions(paths: int) -> list[dict[str, Any]]:
        values = [f"/{number}" for number in range(paths)]
        return [
            {"Field": "path-pattern", "PathPatternConfig": {"Values": values}},
            {"Field": "host-header", "HostHeaderConfig": {"Values": ["a.example.com", "b.example.com"]}},
        ]

    listener, group = world.listener(), world.target_group()
    refused = refusal(world.rule, listener=listener, group=group, Conditions=conditions(4))
    assert refused[0] == "ValidationError"
    rule = world.rule(listener, group, Conditions=conditions(3))
    assert refusal(world.elb.modify_rule, RuleArn=rule, Conditions=conditions(4))[0] == "ValidationError"


@follows("Elastic Load Balancing API reference, RuleCondition, ForwardActionConfig, TargetGroupTuple, RewriteConfig")
@pytest.mark.parametrize(
    "members",
    [
        {"Conditions": [{"Field": "path-pattern", "Values": ["/a b"]}]},
        {"Conditions": [{"Field": "host-header", "HostHeaderConfig": {"Values": ["a_b.example.com"]}}]},
        {"Conditions": [{"Field": "host-header", "HostHeaderConfig": {"Values": ["localhost"]}}]},
        {"Conditions": [{"Field": "path-pattern", "Values": ["/a"]}, {"Field": "path-pattern", "Values": ["/b"]}]},
        {"Conditions": [{"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["("]}}]},
        {"Transforms": [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "(", "Replace": "/"}]}}]},
        {"Tags": [{"Key": "aws:team", "Value": "a"}]},
        {"Tags": [{"Key": "team;", "Value": "a"}]},
    ],
)
def test_a_rule_that_cannot_be_is_refused(world: World, members: dict[str, Any]) -> None:
    listener, group = world.listener(), world.target_group()
    assert refusal(world.rule, listener=listener, group=group, **members)[::2] == ("ValidationError", 400)


@follows("Elastic Load Balancing API reference, ForwardActionConfig, TargetGroupTuple; quotas: 5 target groups")
@pytest.mark.parametrize("weights", [[1000], [1] * 6])
def test_a_forward_has_five_target_groups_and_weights_below_a_thousand(world: World, weights: list[int]) -> None:
    listener, group = world.listener(), world.target_group()
    groups = [{"TargetGroupArn": group, "Weight": weight} for weight in weights]
    forward = [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]
    assert refusal(world.rule, listener=listener, group=group, Actions=forward)[0] == "ValidationError"


@follows("Elastic Load Balancing API reference, PathPatternConditionConfig.RegexValues")
def test_a_condition_may_be_a_regular_expression(world: World) -> None:
    condition = {"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["^/v[12]/"]}}
    rule = world.rule(world.listener(), world.target_group(), Conditions=[condition])
    assert world.elb.describe_rules(RuleArns=[rule])["Rules"][0]["Conditions"] == [condition]


@follows("Elastic Load Balancing API reference, ModifyRule, DeleteRule: OperationNotPermitted")
def test_the_default_rule_takes_no_conditions_and_stays(world: World) -> None:
    [default] = world.elb.describe_rules(ListenerArn=world.listener())["Rules"]
    world.elb.add_tags(ResourceArns=[default["RuleArn"]], Tags=[{"Key": "team", "Value": "a"}])
    [described] = world.elb.describe_tags(ResourceArns=[default["RuleArn"]])["TagDescriptions"]
    assert described["Tags"] == [{"Key": "team", "Value": "a"}]
    conditions = [{"Field": "path-pattern", "Values": ["/a"]}]
    refused = refusal(world.elb.modify_rule, RuleArn=default["RuleArn"], Conditions=conditions)
    assert refused[::2] == ("OperationNotPermitted", 400)
    assert refusal(world.elb.delete_rule, RuleArn=default["RuleArn"])[0] == "OperationNotPermitted"


@follows("Elastic Load Balancing API reference, DescribeTags")
def test_tags_are_described_of_twenty_things_all_of_which_are_there(world: World) -> None:
    listener, group = world.listener(), world.target_group()
    rules = [world.rule(listener, group, priority) for priority in range(1, 22)]
    assert refusal(world.elb.describe_tags, ResourceArns=rules)[0] == "ValidationError"
    assert len(world.elb.describe_tags(ResourceArns=rules[1:])["TagDescriptions"]) == 20
    world.elb.delete_rule(RuleArn=rules[1])
    assert refusal(world.elb.describe_tags, ResourceArns=rules[1:])[::2] == ("RuleNotFound", 400)
    gone = group[:-3] + "000"
    assert refusal(world.elb.describe_tags, ResourceArns=[group, gone])[0] == "TargetGroupNotFound"


@follows('Application Load Balancers, "Quotas for your Application Load Balancers": 100 rules')
def test_a_load_balancer_has_at_most_a_hundred_rules(world: World) -> None:
    listener, group = world.listener(), world.target_group()
    rules = [world.rule(listener, group, priority) for priority in range(1, 101)]
    assert refusal(world.rule, listener=listener, group=group, priority=101)[::2] == ("TooManyRules", 400)
    world.elb.delete_rule(RuleArn=rules[0])
    world.rule(listener, group, 101)


@follows('Application Load Balancers, "Quotas for your Application Load Balancers": 100 target groups')
def test_a_load_balancer_routes_to_at_most_a_hundred_target_groups(world: World) -> None:
    listener = world.listener()
    groups = [world.target_group(f"app-{number}") for number in range(101)]
    for first in range(0, 100, 5):
        five = [{"TargetGroupArn": group, "Weight": 1} for group in groups[first : first + 5]]
        forward = [{"Type": "forward", "ForwardConfig": {"TargetGroups": five}}]
        world.rule(listener, groups[first], first + 1, Actions=forward)
    world.rule(listener, groups[0], 1000)
    refused = refusal(world.rule, listener=listener, group=groups[100], priority=1001)
    assert refused[::2] == ("TooManyUniqueTargetGroupsPerLoadBalancer", 400)


@follows('Application Load Balancers, "Edit target group attributes": routing algorithm, slow start')
def test_a_slow_start_needs_the_round_robin_algorithm(world: World) -> None:
    group = world.target_group()

    def attributes(**values: str) -> list[dict[str, str]]:
        keys = {"slow": "slow_start.duration_seconds", "algorithm": "load_balancing.algorithm.type"}
        return [{"Key": keys[name], "Value": value} for name, value in values.items()]

    change = world.elb.modify_target_group_attributes
    change(TargetGroupArn=group, Attributes=attributes(algorithm="least_outstanding_requests"))
    refused = refusal(change, TargetGroupArn=group, Attributes=attributes(slow="60"))
    assert refused[0] == "InvalidConfigurationRequest"
    change(TargetGroupArn=group, Attributes=attributes(slow="60", algorithm="round_robin"))


@follows("Elastic Load Balancing API reference, TargetGroupAttribute")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("deregistration_delay.timeout_seconds", "3601"),
        ("slow_start.duration_seconds", "29"),
        ("stickiness.enabled", "maybe"),
        ("stickiness.lb_cookie.duration_seconds", "604801"),
        ("stickiness.app_cookie.cookie_name", "AWSALBTG"),
        ("waf.fail_open.enabled", "true"),
    ],
)
def test_an_attribute_of_a_target_group_is_a_known_one_within_its_range(world: World, key: str, value: str) -> None:
    group = world.target_group()
    change = world.elb.modify_target_group_attributes
    assert refusal(change, TargetGroupArn=group, Attributes=[{"Key": key, "Value": value}])[::2] == (
        "ValidationError",
        400,
    )


@follows("Elastic Load Balancing API reference, TargetGroupAttribute")
def test_a_target_group_shows_the_attributes_that_nobody_has_set(world: World) -> None:
    group = world.target_group()
    known = world.elb.describe_target_group_attributes(TargetGroupArn=group)["Attributes"]
    shown = {each["Key"]: each["Value"] for each in known}
    assert shown["stickiness.lb_cookie.duration_seconds"] == "86400"
    assert shown["load_balancing.algorithm.anomaly_mitigation"] == "off"
    world.elb.modify_target_group_attributes(
        TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "3600"}]
    )


@follows("Elastic Load Balancing API reference, CreateTargetGroup, ModifyTargetGroup")
@pytest.mark.parametrize(
    "members",
    [
        {"HealthCheckPath": "readyz"},
        {"HealthCheckTimeoutSeconds": 30},
        {"HealthCheckIntervalSeconds": 301},
        {"HealthyThresholdCount": 1},
        {"Matcher": {"HttpCode": "200-599"}},
        {"Matcher": {"HttpCode": "200-"}},
        {"Matcher": {"GrpcCode": "0"}},
    ],
)
def test_a_health_check_that_cannot_be_is_refused(world: World, members: dict[str, Any]) -> None:
    assert refusal(world.target_group, **members)[::2] == ("ValidationError", 400)
    group = world.target_group()
    assert refusal(world.elb.modify_target_group, TargetGroupArn=group, **members)[::2] == ("ValidationError", 400)


@follows("Elastic Load Balancing API reference, Matcher")
def test_the_codes_of_a_grpc_target_group_can_be_changed(world: World) -> None:
    group = world.target_group(ProtocolVersion="GRPC", Matcher={"GrpcCode": "0"})
    world.elb.modify_target_group(TargetGroupArn=group, Matcher={"GrpcCode": "0-5"})
    [shown] = world.elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"]
    assert (shown["ProtocolVersion"], shown["Matcher"]) == ("GRPC", {"GrpcCode": "0-5"})


@follows("Elastic Load Balancing API reference, ModifyRule, RuleTransform")
def test_transforms_are_kept_changed_and_reset(world: World) -> None:
    listener = world.listener()
    rule = world.rule(listener, world.target_group(), Transforms=[REWRITE])

    def transforms() -> Any:
        found = world.elb.describe_rules(RuleArns=[rule])["Rules"][0]
        return found.get("Transforms", [])

    assert transforms() == [REWRITE]
    other = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/x", "Replace": "/y"}]}}
    world.elb.modify_rule(RuleArn=rule, Transforms=[other])
    assert transforms() == [other]
    conditions = [{"Field": "path-pattern", "Values": ["/b/*"]}]
    world.elb.modify_rule(RuleArn=rule, Conditions=conditions)
    assert transforms() == [other]
    world.elb.modify_rule(RuleArn=rule, ResetTransforms=True)
    assert transforms() == []


@follows("Elastic Load Balancing API reference, ModifyRule, RuleTransform")
@pytest.mark.parametrize(
    "transforms",
    [[{"Type": "teleport"}], [REWRITE, REWRITE], [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": []}}]],
)
def test_a_wrong_transform_is_refused(world: World, transforms: list[dict[str, Any]]) -> None:
    refused = refusal(world.rule, listener=world.listener(), group=world.target_group(), Transforms=transforms)
    assert refused[0] == "ValidationError"


@follows("Elastic Load Balancing API reference, DescribeRules")
def test_a_rule_shows_its_condition_and_its_forward_in_both_forms(world: World) -> None:
    group = world.target_group()
    rule = world.rule(world.listener(), group)
    shown = world.elb.describe_rules(RuleArns=[rule])["Rules"][0]
    assert shown["Conditions"] == [
        {"Field": "path-pattern", "Values": ["/app/*"], "PathPatternConfig": {"Values": ["/app/*"]}}
    ]
    [action] = shown["Actions"]
    assert action["TargetGroupArn"] == group
    assert action["ForwardConfig"]["TargetGroups"] == [{"TargetGroupArn": group, "Weight": 1}]


def test_the_load_balancer_is_told_of_every_change(world: World) -> None:
    listener, group = world.listener(), world.target_group()
    world.rule(listener, group, 20)
    world.rule(listener, group, 10, Transforms=[REWRITE])
    [routes] = world.balancer.listeners
    assert (routes.arn, routes.port) == (listener, 80)
    assert [rule.priority for rule in routes.rules] == [10, 20, None]
    assert routes.rules[0].transforms == [REWRITE]
    attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": "7"}]
    world.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=attributes)
    settings = world.balancer.target_groups[group]
    assert settings.attributes["deregistration_delay.timeout_seconds"] == "7"
    assert settings.settings["HealthCheckPath"] == "/"


@follows("Elastic Load Balancing API reference, DescribeTargetHealth")
def test_the_health_of_targets_is_what_the_load_balancer_says(world: World) -> None:
    group = world.target_group()
    world.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.0.9", "Port": 9000}])
    world.advance(1)

    def states() -> list[tuple[str, int, str]]:
        found = world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return [(each["Target"]["Id"], each["Target"]["Port"], each["TargetHealth"]["State"]) for each in found]

    assert states() == [("10.0.0.9", 9000, "initial")]
    world.advance(30)
    assert states() == [("10.0.0.9", 9000, "healthy")]
    world.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": "10.0.0.9", "Port": 9000}])
    assert states() == [("10.0.0.9", 9000, "draining")]
    world.advance(301)
    assert states() == []


@follows("Elastic Load Balancing API reference, DescribeTargetHealth")
def test_an_asked_for_target_that_is_not_registered_is_unused(world: World) -> None:
    group = world.target_group()
    found = world.elb.describe_target_health(TargetGroupArn=group, Targets=[{"Id": "10.9.9.9"}])
    assert found["TargetHealthDescriptions"][0]["TargetHealth"] == {
        "State": "unused",
        "Reason": "Target.NotRegistered",
    }


@follows("Developer guide, “Use load balancing to distribute Amazon ECS service traffic”")
def test_a_service_registers_its_tasks_and_takes_them_out_again(world: World) -> None:
    group = world.target_group()
    world.rule(world.listener(), group)
    balancers = [{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}]
    world.create(desiredCount=2, loadBalancers=balancers)
    world.advance(60)
    found = world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    addresses = {task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for task in world.tasks()}
    assert {each["Target"]["Id"] for each in found} == addresses
    assert {each["TargetHealth"]["State"] for each in found} == {"healthy"}
    world.ecs.update_service(cluster="inference", service="web", desiredCount=0)
    world.advance(400)
    assert world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"] == []


@follows("Elastic Load Balancing API reference, AddTags: TooManyTags; user guide, “Tag restrictions”: 50")
def test_a_thing_has_fifty_tags_at_most(world: World) -> None:
    group = world.target_group()

    def tag(*numbers: int) -> None:
        world.elb.add_tags(ResourceArns=[group], Tags=[{"Key": f"tag-{n}", "Value": "x"} for n in numbers])

    tag(*range(50))
    tag(0)  # it has that one already
    assert refusal(lambda: tag(50))[::2] == ("TooManyTags", 400)
    world.elb.remove_tags(ResourceArns=[group], TagKeys=["tag-0"])
    assert refusal(lambda: tag(50, 51))[0] == "TooManyTags"
    tag(50)
    [described] = world.elb.describe_tags(ResourceArns=[group])["TagDescriptions"]
    assert len(described["Tags"]) == 50
