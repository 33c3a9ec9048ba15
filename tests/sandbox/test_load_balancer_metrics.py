"""The load balancer's metrics: what is reported of which traffic, and an Auto Scaling that acts on them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("moto", reason="the extra `sandbox` is not installed")

from inference_sandbox.aws.cloudwatch import Metric
from inference_sandbox.cloud import LiveCloud, run_cloud
from inference_sandbox.load_balancer_metrics import LoadBalancerMetrics, measured
from inference_sandbox.ports import Passed, TargetState
from inference_sandbox.tasks.images import ProcessImage
from tests.eventually import eventually

LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener/app/web/50dc6c495c0c9188/1"
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/blue/73e2d6bc24d8a067"
BALANCER = ("LoadBalancer", "app/web/50dc6c495c0c9188")
TARGETS = ("TargetGroup", "targetgroup/blue/73e2d6bc24d8a067")
NOW = datetime(2026, 11, 24, 10, 0, 30, tzinfo=UTC)


def named(name: str, *dimensions: tuple[str, str]) -> Metric:
    return Metric("AWS/ApplicationELB", name, frozenset(dimensions))


def targets(*states: Any) -> dict[tuple[str, str], Sequence[TargetState]]:
    found = [TargetState(address="127.0.0.1", port=number, state=state) for number, state in enumerate(states)]
    return {(BALANCER[1], TARGETS[1]): found}


def test_traffic_is_told_of_the_load_balancer_and_of_its_target_group() -> None:
    passed = Passed(
        listener_arn=LISTENER,
        target_group_arn=GROUP,
        requests=6,
        target_codes=Counter({2: 3, 4: 2}),
        balancer_codes=Counter({5: 1}),
        response_times=[0.1, 0.3],
        connection_errors=1,
    )

    found = list(measured([passed], targets("healthy", "healthy", "unhealthy", "draining")))

    for dimensions in ((BALANCER,), (BALANCER, TARGETS)):
        assert [(metric, value) for metric, value in found if metric.dimensions == frozenset(dimensions)][:7] == [
            (named("RequestCount", *dimensions), 6),
            (named("TargetConnectionErrorCount", *dimensions), 1),
            (named("HTTPCode_Target_2XX_Count", *dimensions), 3),
            (named("HTTPCode_Target_4XX_Count", *dimensions), 2),
            (named("HTTPCode_ELB_5XX_Count", *dimensions), 1),
            (named("TargetResponseTime", *dimensions), 0.1),
            (named("TargetResponseTime", *dimensions), 0.3),
        ]
    assert found[-4:] == [
        (named("HealthyHostCount", BALANCER, TARGETS), 2),
        (named("UnHealthyHostCount", BALANCER, TARGETS), 1),
        (named("RequestCountPerTarget", BALANCER, TARGETS), 3),
        (named("RequestCountPerTarget", TARGETS), 3),
    ]


def test_without_traffic_hosts_and_requests_per_target_are_still_told() -> None:
    found = dict(measured([], targets("healthy")))
    assert found == {
        named("HealthyHostCount", BALANCER, TARGETS): 1,
        named("UnHealthyHostCount", BALANCER, TARGETS): 0,
        named("RequestCountPerTarget", BALANCER, TARGETS): 0,
        named("RequestCountPerTarget", TARGETS): 0,
    }
    assert list(measured([], targets())) == []


def test_many_response_times_keep_their_distribution() -> None:
    times = [number / 1000 for number in range(10_000)]
    passed = Passed(listener_arn=LISTENER, target_group_arn=GROUP, response_times=times)
    kept = [value for metric, value in measured([passed], {}) if metric == named("TargetResponseTime", BALANCER)]
    assert len(kept) == 100
    assert sum(kept) / len(kept) == pytest.approx(5, abs=0.1)


def test_metrics_are_published_once_for_each_minute_that_has_passed() -> None:
    passed = [Passed(listener_arn=LISTENER, target_group_arn=None, requests=1)]
    put: list[tuple[Any, ...]] = []
    metrics = LoadBalancerMetrics(lambda: passed)
    for seconds in (0, 20, 31, 40, 92):
        metrics.publish(NOW + timedelta(seconds=seconds), ("1", "r"), dict, lambda *given: put.append(given))
    minutes = [at for *_, at in put]
    assert minutes == [NOW.replace(second=0), NOW.replace(minute=1, second=0)]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    serve = [sys.executable, "-m", "http.server", "--bind", "{address}", "8080"]
    with run_cloud(tmp_path, images={"*/web:1": ProcessImage(entrypoint=serve)}) as live:
        yield live


def test_a_service_is_scaled_out_by_the_requests_that_really_come(cloud: LiveCloud, tmp_path: Path) -> None:
    aws, details = cloud.aws, cloud.details
    elb, ecs, scaling = (aws.client(name, details.region) for name in ("elbv2", "ecs", "application-autoscaling"))
    group = elb.create_target_group(
        Name="web",
        Protocol="HTTP",
        Port=8080,
        VpcId=details.vpc_id,
        TargetType="ip",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.create_rule(
        ListenerArn=details.listener_arn,
        Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
        Actions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    ecs.register_task_definition(
        family="web",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[
            {"name": "app", "image": "registry.example.com/web:1", "portMappings": [{"containerPort": 8080}]}
        ],
    )
    ecs.create_service(
        cluster=details.cluster,
        serviceName="web",
        taskDefinition="web",
        desiredCount=1,
        launchType="FARGATE",
        loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}],
        networkConfiguration={"awsvpcConfiguration": {"subnets": details.subnets}},
    )
    resource = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{details.cluster}/web",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    label = f"{details.load_balancer_arn.split(':loadbalancer/')[1]}/{group.rsplit(':', 1)[1]}"
    scaling.register_scalable_target(**resource, MinCapacity=1, MaxCapacity=4)
    scaling.put_scaling_policy(
        **resource,
        PolicyName="requests",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 10,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "ALBRequestCountPerTarget",
                "ResourceLabel": label,
            },
        },
    )
    eventually(lambda: healthy(elb, group), 20)

    for _ in range(4):
        for _ in range(20):
            assert httpx.get(details.load_balancer_url).status_code == 200
        aws.advance(timedelta(minutes=1))

    (service,) = ecs.describe_services(cluster=details.cluster, services=["web"])["services"]
    assert service["desiredCount"] > 1
    lines = (tmp_path / "access.log").read_text().splitlines()
    assert len([line for line in lines if " 200 200 " in line]) == 80


def healthy(elb: Any, group: str) -> bool:
    described = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return any(each["TargetHealth"]["State"] == "healthy" for each in described)
