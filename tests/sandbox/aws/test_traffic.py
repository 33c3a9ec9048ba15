"""Deployments that shift traffic: blue/green, linear and canary, their stages and lifecycle hooks."""

from __future__ import annotations

from typing import Any

import pytest

from inference_sandbox.tasks.scripted import failing
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout
from tests.sandbox.aws.world import refusal

ROLE = "arn:aws:iam::123456789012:role/load-balancers"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:check"


class Shift:
    """A service behind two target groups, whose production rule shares out the traffic."""

    def __init__(self, rollout: Rollout, **configuration: Any) -> None:
        self.rollout = rollout
        self.alternate = rollout.target_group("green")
        listener = rollout.elb.describe_listeners(
            LoadBalancerArn=rollout.elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
        )["Listeners"][0]["ListenerArn"]
        self.rule = self._rule(listener, 50, self.alternate)
        self.test_rule = self._rule(listener, 60)
        advanced = {
            "alternateTargetGroupArn": self.alternate,
            "productionListenerRule": self.rule,
            "testListenerRule": self.test_rule,
            "roleArn": ROLE,
        }
        [balancer] = rollout.balanced()["loadBalancers"]
        rollout.create(
            2,
            loadBalancers=[balancer | {"advancedConfiguration": advanced}],
            deploymentConfiguration={"bakeTimeInMinutes": 5} | configuration,
        )
        rollout.advance(120)

    def _rule(self, listener: str, priority: int, *others: str) -> str:
        groups = [{"TargetGroupArn": self.rollout.group, "Weight": 100}]
        groups += [{"TargetGroupArn": other, "Weight": 0} for other in others]
        made = self.rollout.elb.create_rule(
            ListenerArn=listener,
            Priority=priority,
            Conditions=[{"Field": "path-pattern", "Values": [f"/{priority}/*"]}],
            Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}],
        )
        return str(made["Rules"][0]["RuleArn"])

    def update(self) -> None:
        self.rollout.update(taskDefinition=self.rollout.register())

    def shares(self, rule: str | None = None) -> dict[str, int]:
        """Percent of traffic by target group: blue or green."""
        [shown] = self.rollout.elb.describe_rules(RuleArns=[rule or self.rule])["Rules"]
        groups = shown["Actions"][0]["ForwardConfig"]["TargetGroups"]
        names = {self.rollout.group: "blue", self.alternate: "green"}
        total = sum(group["Weight"] for group in groups)
        return {names[g["TargetGroupArn"]]: round(100 * g["Weight"] / total) for g in groups if g["Weight"]}

    def stage(self) -> str:
        return str(self.rollout.record()["lifecycleStage"])

    def stages(self, seconds: int) -> list[str]:
        """Each stage that is seen while so much time passes, looking every few seconds."""
        seen: list[str] = []
        for _ in range(seconds // 5):
            self.rollout.advance(5)
            if not seen or seen[-1] != self.stage():
                seen.append(self.stage())
        return seen


@follows("Developer guide, “Amazon ECS blue/green deployments”")
def test_blue_green_runs_both_revisions_and_shifts_all_traffic_at_once(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="BLUE_GREEN")
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"
    shift.update()
    rollout.advance(10)
    assert shift.shares() == {"blue": 100}
    assert shift.stage() == "SCALE_UP"
    rollout.advance(60)
    assert shift.shares() == {"green": 100}
    assert shift.stage() == "BAKE_TIME"
    assert [each["runningCount"] for each in rollout.deployments()] == [2, 2]
    rollout.advance(250)
    assert shift.stage() == "BAKE_TIME"
    rollout.advance(120)
    [deployment] = rollout.deployments()
    assert (deployment["rolloutState"], deployment["taskDefinition"][-5:]) == ("COMPLETED", "app:2")
    assert rollout.record()["status"] == "SUCCESSFUL"


@follows("Developer guide, “Amazon ECS blue/green deployments”")
def test_the_next_blue_green_deployment_goes_back_to_the_first_target_group(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="BLUE_GREEN")
    shift.update()
    rollout.advance(600)
    assert shift.shares() == {"green": 100}
    shift.update()
    rollout.advance(600)
    assert shift.shares() == {"blue": 100}
    assert rollout.deployments()[0]["taskDefinition"].endswith("app:3")


@follows("API reference, AdvancedConfiguration")
def test_test_traffic_is_shifted_before_production_traffic(rollout: Rollout) -> None:
    hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    shift.update()
    rollout.advance(120)
    assert shift.stage() == "POST_TEST_TRAFFIC_SHIFT"
    assert shift.shares(shift.test_rule) == {"green": 100}
    assert shift.shares() == {"blue": 100}


@follows("API reference, LinearConfiguration")
def test_linear_shifts_equal_steps_and_bakes_between_them(rollout: Rollout) -> None:
    linear = {"stepPercent": 40.0, "stepBakeTimeInMinutes": 2}
    shift = Shift(rollout, strategy="LINEAR", linearConfiguration=linear)
    shift.update()
    rollout.advance(60)
    seen = []
    for _ in range(5):
        seen.append(shift.shares())
        rollout.advance(120)
    assert seen[:3] == [{"blue": 60, "green": 40}, {"blue": 20, "green": 80}, {"green": 100}]


@follows("API reference, CanaryConfiguration")
def test_a_canary_gets_a_little_traffic_then_all_of_it(rollout: Rollout) -> None:
    canary = {"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 10}
    shift = Shift(rollout, strategy="CANARY", canaryConfiguration=canary)
    shift.update()
    rollout.advance(60)
    assert shift.shares() == {"blue": 95, "green": 5}
    target = rollout.record()["targetServiceRevision"]
    assert target["requestedProductionTrafficWeight"] == 5.0
    rollout.advance(560)
    assert shift.shares() == {"blue": 95, "green": 5}
    rollout.advance(20)
    assert shift.shares() == {"green": 100}


@follows("API reference, ServiceDeployment.lifecycleStage")
def test_the_stages_come_in_their_documented_order(rollout: Rollout) -> None:
    stages = ["PRE_SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT"]
    stages += ["PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"]
    hook = {"hookTargetArn": FUNCTION, "roleArn": ROLE, "lifecycleStages": stages}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    rollout.aws.surroundings.functions[FUNCTION] = {"hookStatus": "SUCCEEDED"}
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    rollout.aws.surroundings.invocations.clear()
    shift.update()
    rollout.advance(600)
    asked = [payload["lifecycleStage"] for _, payload in rollout.aws.surroundings.invocations]
    assert asked == stages


@follows("Developer guide, “Lifecycle hooks for Amazon ECS service deployments”")
@differs("The sandbox runs no Lambda function: one answers what it was told to answer, else SUCCEEDED.")
@pytest.mark.parametrize("answer", [{"hookStatus": "FAILED"}, {}])
def test_a_hook_that_fails_or_answers_nonsense_rolls_back(rollout: Rollout, answer: dict[str, str]) -> None:
    hook = {"hookTargetArn": FUNCTION, "roleArn": ROLE, "lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"]}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    good = rollout.deployments()[0]["id"]
    rollout.aws.surroundings.functions[FUNCTION] = answer
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    shift.update()
    rollout.advance(60)
    assert shift.shares() == {"blue": 100}
    assert rollout.deployments()[0]["id"] == good
    rollout.advance(400)  # the green tasks drain for five minutes
    [deployment] = rollout.deployments()
    assert (deployment["id"], deployment["rolloutState"]) == (good, "COMPLETED")
    assert rollout.record()["status"] == "ROLLBACK_SUCCESSFUL"


@follows("Developer guide, “Lifecycle hooks for Amazon ECS service deployments”")
def test_a_hook_in_progress_is_asked_again_after_its_delay(rollout: Rollout) -> None:
    hook = {"hookTargetArn": FUNCTION, "roleArn": ROLE, "lifecycleStages": ["PRE_SCALE_UP"], "hookDetails": {"a": 1}}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    functions, asked = rollout.aws.surroundings.functions, rollout.aws.surroundings.invocations
    functions[FUNCTION] = {"hookStatus": "IN_PROGRESS", "callBackDelay": 60}
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    shift.update()
    rollout.advance(130)
    assert len(asked) == 3
    assert shift.stage() == "PRE_SCALE_UP"
    assert asked[0][1]["hookDetails"] == {"a": 1}
    functions[FUNCTION] = {"hookStatus": "SUCCEEDED"}
    rollout.advance(120)
    assert shift.shares() == {"green": 100}


@follows("API reference, ContinueServiceDeployment")
def test_a_paused_deployment_goes_on_when_it_is_told_to(rollout: Rollout) -> None:
    hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    shift.update()
    rollout.advance(600)
    record = rollout.record()
    [shown] = record["lifecycleHookDetails"]
    assert (shown["targetType"], shown["status"], shown["timeoutAction"]) == ("PAUSE", "AWAITING_ACTION", "ROLLBACK")
    assert (shown["expiresAt"] - record["startedAt"]).total_seconds() > 86_000
    rollout.ecs.continue_service_deployment(serviceDeploymentArn=record["serviceDeploymentArn"], hookId=shown["hookId"])
    rollout.advance(1)
    assert shift.shares() == {"green": 100}


@follows("API reference, ContinueServiceDeployment")
def test_a_paused_deployment_can_be_rolled_back(rollout: Rollout) -> None:
    hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"]}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    shift.update()
    rollout.advance(60)
    record = rollout.record()
    hook_id = record["lifecycleHookDetails"][0]["hookId"]
    request = {"serviceDeploymentArn": record["serviceDeploymentArn"], "hookId": hook_id}
    rollout.ecs.continue_service_deployment(**request, action="ROLLBACK")
    rollout.advance(400)
    assert rollout.record()["status"] == "ROLLBACK_SUCCESSFUL"
    assert refusal(rollout.ecs.continue_service_deployment, **request)[0] == "InvalidParameterException"


@follows("API reference, DeploymentLifecycleHookTimeoutConfiguration")
@pytest.mark.parametrize(("action", "status"), [("CONTINUE", "SUCCESSFUL"), ("ROLLBACK", "ROLLBACK_SUCCESSFUL")])
def test_a_pause_that_nobody_ends_times_out_with_its_action(rollout: Rollout, action: str, status: str) -> None:
    timeout = {"timeoutInMinutes": 10, "action": action}
    hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_SCALE_UP"], "timeoutConfiguration": timeout}
    shift = Shift(rollout, strategy="BLUE_GREEN")
    rollout.update(deploymentConfiguration={"lifecycleHooks": [hook]})
    shift.update()
    rollout.advance(540)
    assert shift.stage() == "POST_SCALE_UP"
    rollout.advance(600)
    assert rollout.record()["status"] == status


@follows("API reference, DeploymentCircuitBreaker: only for the rolling update deployment type")
def test_the_circuit_breaker_does_not_watch_a_deployment_that_shifts_traffic(rollout: Rollout) -> None:
    on = {"enable": True, "rollback": True}
    shift = Shift(rollout, strategy="BLUE_GREEN", deploymentCircuitBreaker=on)
    rollout.runner.script = lambda _launch: failing("CannotPullContainerError: not found")
    shift.update()
    rollout.advance(3600)
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    assert shift.shares() == {"blue": 100}
    assert rollout.deployments()[1]["runningCount"] == 2


@follows("API reference, ServiceDeployment.lifecycleStage: RECONCILE_SERVICE")
def test_a_deployment_begun_during_another_reconciles_first(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="BLUE_GREEN")
    shift.update()
    rollout.advance(30)
    shift.update()
    rollout.advance(1)
    assert shift.stage() == "RECONCILE_SERVICE"
    rollout.advance(900)
    [deployment] = rollout.deployments()
    assert (deployment["taskDefinition"][-5:], deployment["rolloutState"]) == ("app:3", "COMPLETED")


@follows("API reference, ServiceDeployment.lifecycleStage: RECONCILE_SERVICE")
@differs("Where traffic goes that a superseded deployment had shifted is not said; here it goes back at once.")
def test_a_deployment_begun_while_another_bakes_gives_its_traffic_back_first(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="BLUE_GREEN", bakeTimeInMinutes=30)
    shift.update()
    rollout.advance(120)
    assert (shift.stage(), shift.shares()) == ("BAKE_TIME", {"green": 100})
    shift.update()
    rollout.advance(1)
    assert shift.shares() == {"blue": 100}
    assert rollout.deployments()[2]["runningCount"] == 2
    rollout.advance(3600)
    assert shift.shares() == {"green": 100}
    assert len(rollout.deployments()) == 1


@follows("API reference, UpdateService.deploymentConfiguration.strategy")
@differs("Which target group a rolling deployment after a blue/green one uses is not said; here the one in use.")
def test_a_rolling_deployment_after_a_shift_serves_where_the_traffic_is(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="BLUE_GREEN", bakeTimeInMinutes=30)
    shift.update()
    rollout.advance(120)
    assert (shift.stage(), shift.shares()) == ("BAKE_TIME", {"green": 100})
    rollout.update(deploymentConfiguration={"strategy": "ROLLING"}, taskDefinition=rollout.register())
    rollout.advance(900)
    [deployment] = rollout.deployments()
    assert (deployment["taskDefinition"][-5:], deployment["rolloutState"]) == ("app:3", "COMPLETED")
    assert shift.shares() == {"blue": 100}
    health = rollout.elb.describe_target_health(TargetGroupArn=rollout.group)["TargetHealthDescriptions"]
    assert [each["TargetHealth"]["State"] for each in health] == ["healthy", "healthy"]


@follows("API reference, ServiceDeployment.deploymentConfiguration")
@differs("Whether a change of strategy reaches a deployment under way is not said; here it is for the next one.")
def test_a_deployment_goes_on_by_the_strategy_that_it_began_with(rollout: Rollout) -> None:
    canary = {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 10}
    shift = Shift(rollout, strategy="CANARY", canaryConfiguration=canary)
    shift.update()
    rollout.advance(120)
    rollout.update(deploymentConfiguration={"strategy": "ROLLING"})
    rollout.advance(60)
    assert shift.shares() == {"blue": 90, "green": 10}
    rollout.advance(600)
    assert shift.shares() == {"green": 100}


@follows("API reference, ServiceDeployment.lifecycleStage")
def test_a_deployment_that_is_scaled_to_nothing_midway_shifts_all_its_traffic_all_the_same(rollout: Rollout) -> None:
    shift = Shift(rollout, strategy="LINEAR", linearConfiguration={"stepPercent": 30.0, "stepBakeTimeInMinutes": 5})
    shift.update()
    rollout.advance(120)
    assert shift.shares() == {"blue": 70, "green": 30}
    rollout.update(desiredCount=0)
    rollout.advance(3600)
    assert shift.shares() == {"green": 100}
    assert rollout.record()["status"] == "SUCCESSFUL"


@follows("API reference, DeploymentConfiguration, LinearConfiguration, CanaryConfiguration, AdvancedConfiguration")
@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"strategy": "SIDEWAYS"}, "Value 'SIDEWAYS' at 'deploymentConfiguration.strategy'"),
        ({"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 1.0}}, "stepPercent 1.0"),
        ({"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 0.0}}, "canaryPercent 0.0"),
        ({"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 2000}, "bakeTimeInMinutes 2000"),
        ({"lifecycleHooks": [{"targetType": "PAUSE", "lifecycleStages": ["PRE_SCALE_UP"]}]}, "ROLLING strategy"),
        ({"strategy": "BLUE_GREEN", "lifecycleHooks": [{"lifecycleStages": ["PRE_SCALE_UP"]}]}, "needs hookTargetArn"),
        ({"strategy": "BLUE_GREEN"}, "advancedConfiguration.alternateTargetGroupArn is required"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(rollout: Rollout, configuration: dict[str, Any], message: str) -> None:
    request = rollout.service_request(deploymentConfiguration=configuration, **rollout.balanced())
    assert message in refusal(rollout.ecs.create_service, **request)[1]
