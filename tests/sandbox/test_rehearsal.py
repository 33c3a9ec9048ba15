"""What `inference-sandbox status, calls, advance, faults, fail, reset` do to one that is up, with real programs."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.eventually import eventually

pytest.importorskip("moto", reason="the extra `sandbox` is not installed")

from botocore.exceptions import ClientError

from inference_sandbox import durations, running
from inference_sandbox.cli import main, rehearsal
from inference_sandbox.cloud import LiveCloud, run_cloud
from inference_sandbox.details import Details
from inference_sandbox.door import Door, DoorError
from inference_sandbox.tasks.images import ProcessImage

WAITING = "registry.example.com/waiting:1"
BROKEN = "registry.example.com/broken:1"
IMAGES = {
    WAITING: ProcessImage(entrypoint=[sys.executable, "-c", "import signal; signal.pause()"]),
    BROKEN: ProcessImage(entrypoint=["there-is-no-such-program"]),
}


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveCloud]:
    """A sandbox without Kubernetes, found under its name as any other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with run_cloud(tmp_path / "cloud", images=IMAGES) as cloud, running.claim("default") as announce:
        announce(Details(**asdict(cloud.details), pid=os.getpid(), workdir=str(tmp_path), kubeconfig="", kubectl=""))
        yield cloud


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def done(*arguments: str) -> str:
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def ecs(up: LiveCloud) -> Any:
    return up.aws.client("ecs", up.details.region)


def create_service(up: LiveCloud, name: str = "web", *, image: str = WAITING, desired: int = 2) -> None:
    ecs(up).register_task_definition(
        family=name,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": image}],
    )
    ecs(up).create_service(
        cluster=up.details.cluster,
        serviceName=name,
        taskDefinition=name,
        desiredCount=desired,
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {"subnets": up.details.subnets, "securityGroups": up.details.security_groups}
        },
    )


def described(up: LiveCloud, name: str = "web") -> dict[str, Any]:
    (service,) = ecs(up).describe_services(cluster=up.details.cluster, services=[name])["services"]
    return dict(service)


def runs(up: LiveCloud, count: int = 2) -> None:
    eventually(lambda: described(up)["runningCount"] == count)


def messages(up: LiveCloud, name: str = "web") -> list[str]:
    return [event["message"] for event in described(up, name)["events"]]


def stopped_reasons(up: LiveCloud) -> set[str]:
    arns = ecs(up).list_tasks(cluster=up.details.cluster, serviceName="web", desiredStatus="STOPPED")["taskArns"]
    tasks = ecs(up).describe_tasks(cluster=up.details.cluster, tasks=arns)["tasks"] if arns else []
    return {task["stoppedReason"] for task in tasks if task["lastStatus"] == "STOPPED"}


# -- status


def test_status_shows_services_deployments_tasks_and_events(up: LiveCloud) -> None:
    create_service(up)
    runs(up)
    lines = [line.split() for line in done("status").splitlines()]
    assert ["web", "ACTIVE", "2", "2", "0", "web:1"] in lines
    (deployment,) = described(up)["deployments"]
    assert ["web", deployment["id"], "PRIMARY", "web:1", "2/2", "0", "IN_PROGRESS"] in lines
    tasks = ecs(up).list_tasks(cluster=up.details.cluster, serviceName="web")["taskArns"]
    shown = {line[1] for line in lines if line[2:7] == ["RUNNING", "RUNNING", "UNKNOWN", "process", "web:1"]}
    assert shown == {arn.rsplit("/", 1)[-1][:8] for arn in tasks}
    assert any("has started 2 tasks" in " ".join(line) for line in lines)


def test_status_as_json_has_what_the_apis_tell_and_asks_them_nothing(up: LiveCloud) -> None:
    create_service(up)
    runs(up)
    before = len(up.aws.calls)
    (service,) = json.loads(done("status", "--json"))["services"]
    assert len(up.aws.calls) == before
    assert service["serviceArn"] == described(up)["serviceArn"]
    assert {task["lastStatus"] for task in service["tasks"]} == {"RUNNING"}


def test_a_task_that_belongs_to_no_service_is_shown_too(up: LiveCloud) -> None:
    create_service(up, desired=0)
    network = described(up)["networkConfiguration"]
    ecs(up).run_task(
        cluster=up.details.cluster, taskDefinition="web", launchType="FARGATE", networkConfiguration=network
    )
    eventually(lambda: [task["lastStatus"] for task in up.aws.status()["tasks"]] == ["RUNNING"])


def test_of_very_many_services_those_that_are_not_steady_are_shown(up: LiveCloud) -> None:
    for number in range(60):
        create_service(up, f"at-rest-{number}", desired=0)
    create_service(up, "zealous", image=BROKEN, desired=1)
    eventually(lambda: sum("steady" in str(each["events"]) for each in up.aws.status()["services"]) >= 49)
    found = up.aws.status()
    assert "zealous" in {service["serviceName"] for service in found["services"]}
    assert len(found["services"]) + found["moreServices"] == 61


# -- calls


def test_calls_are_told_with_their_parameters_and_answers(up: LiveCloud) -> None:
    create_service(up)
    with pytest.raises(ClientError):
        ecs(up).update_service(cluster=up.details.cluster, service="missing")
    lines = done("calls", "--service", "ecs").splitlines()
    assert [line.split(" ", 3)[1:3] for line in lines] == [
        ["ecs:RegisterTaskDefinition", "200"],
        ["ecs:CreateService", "200"],
        ["ecs:UpdateService", "400"],
    ]
    assert "ServiceNotFoundException" in lines[2]
    assert '"service": "missing"' in lines[2]
    (only,) = done("calls", "--operation", "CreateService", "--json").splitlines()
    assert json.loads(only)["parameters"]["desiredCount"] == 2


def test_what_the_sandbox_does_to_prepare_the_account_is_not_among_the_calls(up: LiveCloud) -> None:
    assert done("calls") == ""


def test_the_side_door_lists_all_that_it_answers(up: LiveCloud) -> None:
    door = Door(up.details.aws_endpoint_url)
    assert {"GET /_sandbox/status", "POST /_sandbox/advance"} <= set(door.get("/")["routes"])
    assert door.get("/status")["services"] == []


def test_calls_are_followed_also_when_the_record_begins_anew(up: LiveCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_FOLLOW_SECONDS", 0)
    followed = rehearsal._calls(Door(up.details.aws_endpoint_url), follow=True, service="ecs", operation=None)
    ecs(up).list_clusters()
    ecs(up).list_services(cluster=up.details.cluster)
    assert [next(followed)["operation"] for _ in range(2)] == ["ListClusters", "ListServices"]
    up.aws.reset()
    ecs(up).list_tasks(cluster=up.details.cluster)
    ecs(up).list_task_definitions()
    assert [next(followed)["operation"] for _ in range(2)] == ["ListTasks", "ListTaskDefinitions"]


# -- time


def test_time_that_is_skipped_brings_what_was_due_in_it(up: LiveCloud) -> None:
    create_service(up)
    runs(up)
    assert described(up)["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert "1m ahead of this machine" in done("advance", "1m")
    assert described(up)["deployments"][0]["rolloutState"] == "COMPLETED"
    assert "1m ahead" in done("status").splitlines()[0]


def test_in_skipped_time_a_task_that_cannot_start_is_tried_again_ever_more_slowly(up: LiveCloud) -> None:
    create_service(up, image=BROKEN, desired=1)
    done("advance", "30m")
    started = [event["createdAt"] for event in described(up)["events"] if "has started" in event["message"]]
    waits = [(later - earlier).total_seconds() for later, earlier in itertools.pairwise(started)]
    assert [wait for wait in waits if wait >= 9] == sorted((wait for wait in waits if wait >= 9), reverse=True)
    assert max(waits) >= 600  # on its way to fifteen minutes
    assert len(started) >= 9
    assert any("unable to consistently start tasks" in message for message in messages(up))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("1h 1s", None), ("-5m", None)],
)
def test_durations_are_read_as_people_write_them(written: str, seconds: int | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="1h30m"):
            durations.parse(written)
    else:
        assert durations.parse(written).total_seconds() == seconds


@pytest.mark.parametrize("written", ["0m", "ten", "5", ""])
def test_advance_refuses_what_is_no_duration_with_an_example(up: LiveCloud, written: str) -> None:
    refused = command("advance", "--", written)
    assert refused.exit_code == 2
    assert "10m" in refused.output
    assert up.aws.status()["secondsAhead"] == 0


# -- what goes wrong


def test_a_fault_strikes_so_many_calls_and_is_gone(up: LiveCloud) -> None:
    done("faults", "throttle", "--service", "ecs", "--operation", "List*", "--times", "1")
    with pytest.raises(ClientError, match="ThrottlingException"):
        ecs(up).list_clusters()
    assert ecs(up).list_clusters()["clusterArns"]
    assert done("faults") == "No faults are on.\n"


def test_the_faults_that_are_on_are_told_and_can_be_cleared(up: LiveCloud) -> None:
    done("faults", "deny", "--operation", "CreateService", "--probability", "0.5")
    assert done("faults", "latency", "--latency", "2s").splitlines() == [
        "deny *:CreateService, with probability 0.5, until cleared",
        "latency *:*, 2s, until cleared",
    ]
    assert done("faults", "--clear") == "No faults are on.\n"


@pytest.mark.parametrize("arguments", [["latency"], ["throttle", "--latency", "2s"]])
def test_latency_and_how_long_go_together(up: LiveCloud, arguments: list[str]) -> None:
    assert command("faults", *arguments).exit_code == 2


def test_a_running_task_is_struck_and_replaced(up: LiveCloud) -> None:
    create_service(up)
    runs(up)
    assert done("fail", "web", "oom") == "Running tasks of web that meet oom: 1\n"
    eventually(lambda: len(up.aws.status()["services"][0]["tasks"]) == 3)
    runs(up)
    assert "OutOfMemoryError: Container killed due to memory usage; app exited with 137" in eventually(
        lambda: next((line for line in done("status").splitlines() if "STOPPED  STOPPED" in line), "")
    )


def test_the_next_tasks_fail_to_start_as_often_as_asked(up: LiveCloud) -> None:
    assert (
        done("fail", "web", "efs-denied", "--tasks", "2")
        == "Waiting for tasks to start: the next 2 of web, efs-denied\n"
    )
    create_service(up)
    runs(up)
    assert all("access denied by server" in reason for reason in eventually(lambda: stopped_reasons(up)))
    assert "Waiting" not in done("fail")


def test_every_task_fails_to_start_until_that_is_cleared(up: LiveCloud) -> None:
    done("fail", "web", "image-not-found", "--all")
    create_service(up, desired=1)
    done("advance", "5m")
    assert described(up)["deployments"][0]["failedTasks"] >= 5
    done("fail", "--clear")
    done("advance", "15m")
    runs(up, 1)


def test_no_capacity_is_told_in_an_event_and_no_task_is_made(up: LiveCloud) -> None:
    done("fail", "web", "capacity", "--all")
    create_service(up)
    eventually(lambda: any("Capacity is unavailable at this time" in message for message in messages(up)))
    assert up.aws.status()["services"][0]["tasks"] == []


def test_one_zone_without_capacity_leaves_the_tasks_to_the_other(up: LiveCloud) -> None:
    subnets = up.aws.client("ec2", up.details.region).describe_subnets(SubnetIds=up.details.subnets)["Subnets"]
    closed, other = (subnet["AvailabilityZone"] for subnet in subnets)
    assert done("fail", "web", "capacity", "--zone", closed).endswith(f"all of web, capacity in {closed}\n")
    create_service(up, desired=2)
    runs(up, 2)
    assert {task.zone for task in list(up.aws.scheduler.fleet.tasks.values())} == {other}


def test_a_crash_exits_with_the_code_that_is_asked_for(up: LiveCloud) -> None:
    create_service(up)
    runs(up)
    done("fail", "web", "crash", "--exit-code", "143")
    assert "app exited with 143" in eventually(
        lambda: next((line for line in done("status").splitlines() if "STOPPED  STOPPED" in line), "")
    )
    refused = command("fail", "web", "oom", "--exit-code", "3")
    assert refused.exit_code != 0
    assert "an exit code goes with the cause crash" in refused.output


@pytest.mark.parametrize("asked", [("fail",), ("fail", "--help")])
def test_the_causes_there_are_are_listed_by_whom_they_strike(up: LiveCloud, asked: tuple[str, ...]) -> None:
    told = " ".join(done(*asked).split())
    groups = r"no place: (?P<unplaced>.*) The next .* start: (?P<unstarted>.*) Tasks .* struck: (?P<struck>.*)"
    found = re.search(groups, told)
    assert found is not None
    assert {"capacity", "vcpu-limit"} <= set(found["unplaced"].split(", "))
    assert {"image-not-found", "efs-denied", "secrets-denied", "log-group", "network"} <= set(
        found["unstarted"].split(", ")
    )
    assert {"oom", "crash", "spot", "container-health", "target-health"} <= set(found["struck"].split(", "))


def test_a_zone_without_capacity_is_told_and_ends_with_clear(up: LiveCloud) -> None:
    assert "all of web, capacity in ap-northeast-1a" in done("fail", "web", "capacity", "--zone", "ap-northeast-1a")
    assert done("fail", "--clear") == "No failure waits.\n"
    refused = command("fail", "web", "oom", "--zone", "ap-northeast-1a")
    assert refused.exit_code == 1
    assert "zone goes with the cause capacity" in refused.output


def test_an_unknown_cause_is_refused_with_those_there_are(up: LiveCloud) -> None:
    refused = command("fail", "web", "flood")
    assert refused.exit_code == 1
    assert "'flood' is unknown: use one of" in refused.output


def test_a_strike_that_can_meet_nobody_is_said_so(up: LiveCloud) -> None:
    create_service(up, desired=0)
    refused = command("fail", "web", "oom")
    assert refused.exit_code == 1
    assert "no task of a service 'web' runs" in refused.output


# -- how AWS is otherwise


def test_quotas_hold_once_throttling_is_on(up: LiveCloud) -> None:
    assert "throttling: True" in done("modes", "--throttling")
    with pytest.raises(ClientError, match="ThrottlingException"):
        describe_often(up)
    assert "throttling: False" in done("modes", "--no-throttling")
    describe_often(up)


def describe_often(up: LiveCloud) -> None:
    for _ in range(200):
        ecs(up).describe_clusters()


def test_modes_that_are_not_named_stay_as_they_are(up: LiveCloud) -> None:
    done("modes", "--staleness", "5s", "--shuffled")
    assert {"staleness: 5.0", "shuffled: True", "iam: False"} <= set(done("modes").splitlines())
    assert {"staleness: 0.0", "shuffled: True"} <= set(done("modes", "--no-staleness").splitlines())


def test_a_service_scales_by_the_metric_it_is_given(up: LiveCloud) -> None:
    create_service(up, desired=1)
    runs(up, 1)
    scaling = up.aws.client("application-autoscaling", up.details.region)
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{up.details.cluster}/web",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3)
    scaling.put_scaling_policy(
        **target,
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 50.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
        },
    )
    assert done("metric", "web", "ECSServiceAverageCPUUtilization", "90") == (
        "ECSServiceAverageCPUUtilization of web is 90\n"
    )
    done("advance", "10m")
    assert described(up)["desiredCount"] > 1


# -- reset


def test_after_a_reset_the_account_is_as_it_was_and_works(up: LiveCloud) -> None:
    create_service(up)
    runs(up)
    kept = Path(up.details.models_dir) / "kept"
    kept.touch()
    before = up.aws.account
    done("reset")
    assert up.aws.account == before
    assert ecs(up).list_services(cluster=up.details.cluster)["serviceArns"] == []
    assert done("calls", "--operation", "CreateService") == ""
    ec2 = up.aws.client("ec2", up.details.region)
    assert len(ec2.describe_subnets(SubnetIds=up.details.subnets)["Subnets"]) == 2
    assert kept.exists()
    create_service(up)
    runs(up)


NOTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}


def test_a_reset_undoes_what_was_done_to_the_prepared_account(up: LiveCloud) -> None:
    ec2, iam = up.aws.client("ec2", up.details.region), up.aws.client("iam", up.details.region)

    def account() -> tuple[Any, ...]:
        groups = ec2.describe_security_groups(GroupIds=up.details.security_groups)["SecurityGroups"]
        policy = iam.get_role_policy(RoleName="inference-task", PolicyName="inference-task")["PolicyDocument"]
        return ec2.describe_vpcs()["Vpcs"], ec2.describe_subnets()["Subnets"], groups, policy

    before = account()
    ec2.create_tags(Resources=[up.details.vpc_id], Tags=[{"Key": "mine", "Value": "yes"}])
    ec2.create_subnet(VpcId=up.details.vpc_id, CidrBlock="10.0.9.0/24")
    rules = before[2][0]["IpPermissions"]
    ec2.revoke_security_group_ingress(GroupId=up.details.security_groups[0], IpPermissions=rules)
    iam.put_role_policy(RoleName="inference-task", PolicyName="inference-task", PolicyDocument=json.dumps(NOTHING))
    assert account() != before
    done("reset")
    assert account() == before


def test_the_load_balancer_listens_again_after_a_reset(up: LiveCloud) -> None:
    done("reset")
    eventually(lambda: unmatched(up.details.load_balancer_url) == "no inference service has this path\n")


def unmatched(url: str) -> str:
    httpx = pytest.importorskip("httpx")
    return str(httpx.get(f"{url}/nothing", trust_env=False).text)


# -- the side door


def test_a_sandbox_that_does_not_answer_is_named() -> None:
    with pytest.raises(DoorError, match=r"http://127\.0\.0\.1:1/_sandbox does not answer"):
        Door("http://127.0.0.1:1").get("/status")


def test_the_sandboxs_time_is_the_wall_clocks_until_it_is_moved(up: LiveCloud) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert before <= datetime.fromisoformat(up.aws.status()["at"]) <= datetime.now(UTC)
