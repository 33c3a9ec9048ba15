"""The target group that the service's tasks register with, on the environment's shared load balancer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

from inference_operator.api.v1alpha1 import Health, InferenceDeploymentSpec, Stickiness
from inference_operator.aws.errors import Busy, NotFound, StillForwarded
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.names import Identity
from inference_operator.domain.tags import Retag
from inference_operator.resources import listener_rule
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, changed, shifts_requests

ANOMALIES = "load_balancing.algorithm.anomaly_mitigation"
"""An attribute that somebody else may have set, and that AWS takes with none of the algorithms that are set here."""


@dataclass(frozen=True, kw_only=True)
class Want:
    name: str
    listener: str
    fixed: Mapping[str, str]
    """The members of CreateTargetGroup that can't be changed after it."""
    health_check: Mapping[str, Any]
    """The members that CreateTargetGroup and ModifyTargetGroup share."""
    attributes: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TargetGroup:
    arn: str
    answer: Answer
    """As it was when it was last described, or made."""
    health_check: Mapping[str, Any]
    attributes: Mapping[str, str]
    tags: Mapping[str, str]


class TargetGroups:
    """The target group on the shared load balancer."""

    name: ClassVar[str] = "TargetGroup"
    volatile: ClassVar[bool] = False
    fact: ClassVar[Fact] = Fact.TARGET_GROUP

    def name_of(self, identity: Identity) -> str:
        return identity.target_group

    def desire(self, ctx: Context) -> Want | None:
        if ctx.environment.load_balancer is None:
            return None
        return Want(
            name=self.name_of(ctx.identity),
            listener=ctx.environment.load_balancer.listener_arn,
            fixed={
                "Protocol": "HTTP",
                "ProtocolVersion": ctx.spec.ingress.protocol_version,
                "TargetType": "ip",
            },
            health_check=_health_check(ctx.spec.health, ctx.spec.ingress.protocol_version),
            attributes=_attributes(ctx.spec),
            tags=ctx.tags,
        )

    def diff(self, want: Want, have: TargetGroup) -> Change:
        health = {path: (value, have.health_check.get(path)) for path, value in want.health_check.items()}
        attributes = {path: (value, have.attributes.get(path)) for path, value in want.attributes.items()}
        return replace(changed({**health, **attributes}), unsuitable=_unsuitable(want, have))

    def settled(self, ctx: Context, want: Want, have: TargetGroup) -> Settled:
        return Settled(f"{want.name}, health checked at {want.health_check['HealthCheckPath']}")

    def facts(self, have: TargetGroup) -> Mapping[Fact, str]:
        return {self.fact: have.arn}

    def observe(self, scene: Scene) -> TargetGroup | None:
        # Without a load balancer too: one that an environment no longer has may have left a target group.
        elb, name = scene.aws.elb, self.name_of(scene.identity)
        answer = next((g for g in scene.aws.listings.target_groups() if g["TargetGroupName"] == name), None)
        if answer is None:
            return None
        arn = answer["TargetGroupArn"]
        try:
            attributes = elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
            described = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        except NotFound:  # gone since it was listed
            scene.aws.listings.forget("target groups")
            return None
        return TargetGroup(
            arn=arn,
            answer=answer,
            health_check=answer,
            attributes={a["Key"]: a["Value"] for a in attributes},
            tags=tags.parse(described[0]["Tags"]),
        )

    def create(self, ctx: Context, want: Want) -> TargetGroup:
        # Idempotent at AWS: the same name with the same settings answers the group that there is.
        created = ctx.aws.elb.create_target_group(
            Name=want.name,
            **want.fixed,
            Port=80,  # never used: ECS registers each task with its container's port
            VpcId=ctx.aws.listings.load_balancer_of(want.listener)["VpcId"],
            HealthCheckEnabled=True,
            **want.health_check,
            Tags=tags.list_of(want.tags),
        )["TargetGroups"][0]
        ctx.aws.listings.add("target groups", created)
        have = TargetGroup(
            arn=created["TargetGroupArn"],
            answer=created,
            health_check=want.health_check,
            attributes={},
            tags=want.tags,
        )
        return self._set_attributes(ctx, want, have)

    def update(self, ctx: Context, want: Want, have: TargetGroup, change: Change) -> TargetGroup:
        if not set(change.paths) <= set(want.attributes):
            ctx.aws.elb.modify_target_group(TargetGroupArn=have.arn, **want.health_check)
            ctx.aws.listings.forget("target groups")
            have = replace(have, health_check=want.health_check)
        if set(change.paths) & set(want.attributes):
            have = self._set_attributes(ctx, want, have)
        return have

    def retag(self, scene: Scene, have: TargetGroup, retag: Retag) -> TargetGroup:
        if retag.remove:
            scene.aws.elb.remove_tags(ResourceArns=[have.arn], TagKeys=list(retag.remove))
        if retag.put:
            scene.aws.elb.add_tags(ResourceArns=[have.arn], Tags=tags.list_of(retag.put))
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: TargetGroup) -> None:
        try:
            with suppress(NotFound):
                scene.aws.elb.delete_target_group(TargetGroupArn=have.arn)
        except Busy as error:  # ResourceInUse
            rules = _forwarding(scene, have.arn)
            if not rules:
                raise
            message, detail = "rules of other people's forward to it", {"rules": rules}
            raise StillForwarded(code=error.code, message=message, operation=error.operation, detail=detail) from error

    def tidy(self, ctx: Context, want: Want, have: TargetGroup) -> TargetGroup:
        return have

    def _set_attributes(self, ctx: Context, want: Want, have: TargetGroup) -> TargetGroup:
        """All of them in one call: some are valid with one another only."""
        asked = {**want.attributes, **({ANOMALIES: "off"} if have.attributes.get(ANOMALIES) == "on" else {})}
        ctx.aws.elb.modify_target_group_attributes(
            TargetGroupArn=have.arn, Attributes=[{"Key": k, "Value": v} for k, v in asked.items()]
        )
        return replace(have, attributes={**have.attributes, **asked})


class AlternateTargetGroups(TargetGroups):
    """The second target group, where requests are shifted between the two."""

    name: ClassVar[str] = "AlternateTargetGroup"
    fact: ClassVar[Fact] = Fact.ALTERNATE_TARGET_GROUP

    def name_of(self, identity: Identity) -> str:
        return identity.alternate_target_group

    def desire(self, ctx: Context) -> Want | None:
        return super().desire(ctx) if shifts_requests(ctx) else None


def _forwarding(scene: Scene, target_group: str) -> list[str]:
    """ARNs of the rules that forward to a target group, on the listeners that the environment names."""
    balancer = scene.environment.load_balancer
    listeners = (balancer.listener_arn, balancer.test_listener_arn) if balancer is not None else ()
    scene.aws.listings.forget("rules")
    rules = [rule for listener in listeners if listener for rule in scene.aws.listings.rules(listener)]
    return sorted(rule["RuleArn"] for rule in rules if target_group in listener_rule.forwards_to(rule))


def _unsuitable(want: Want, have: TargetGroup) -> str:
    """Why a target group can't be the object's, whatever is done to it."""
    others = {member: have.answer.get(member, value) for member, value in want.fixed.items()}
    wrong = [f"has the {m} {others[m]}, not {value}" for m, value in want.fixed.items() if others[m] != value]
    balancers = have.answer.get("LoadBalancerArns", ())
    elsewhere = [arn for arn in balancers if not want.listener.startswith(_listeners_of(arn))]
    wrong += [f"is behind another load balancer ({arn}), and AWS takes one" for arn in elsewhere]
    if not wrong:
        return ""
    speaks = (
        "; or, if the server speaks it, make this object again with that spec.ingress.protocolVersion"
        if others["ProtocolVersion"] != want.fixed["ProtocolVersion"]
        else ""
    )
    return (
        f"the target group {want.name} {', '.join(wrong)}, and that can't be changed. "
        f"Next: rename this object, so that it gets one of its own; or delete that one, if nobody uses it{speaks}."
    )


def _listeners_of(load_balancer: str) -> str:
    """What the ARNs of its listeners begin with."""
    return load_balancer.replace(":loadbalancer/", ":listener/") + "/"


def _health_check(health: Health, protocol_version: str) -> dict[str, Any]:
    grpc = protocol_version == "GRPC"
    codes = health.success_codes or ("0" if grpc else "200")
    return {
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": "traffic-port",
        "HealthCheckPath": health.path,
        "Matcher": {"GrpcCode" if grpc else "HttpCode": codes},
        "HealthCheckIntervalSeconds": int(health.interval.total_seconds()),
        "HealthCheckTimeoutSeconds": int(health.timeout.total_seconds()),
        "HealthyThresholdCount": health.healthy_threshold,
        "UnhealthyThresholdCount": health.unhealthy_threshold,
    }


def _attributes(spec: InferenceDeploymentSpec) -> dict[str, str]:
    """ModifyTargetGroupAttributes (API_TargetGroupAttribute); what is not asked for is said too, so that it goes."""
    ingress = spec.ingress
    # AWS's 300 s keep each old task for five minutes of a rollout; what suffices for the server to end suffices here.
    delay = ingress.deregistration_delay if ingress.deregistration_delay is not None else spec.stop_timeout
    return {
        "deregistration_delay.timeout_seconds": _seconds(delay),
        # An inference takes as long as it takes: the least busy task is the better choice. A slow start can't be had
        # with it ("Edit target group attributes", routing algorithm).
        "load_balancing.algorithm.type": "round_robin" if ingress.slow_start else "least_outstanding_requests",
        "slow_start.duration_seconds": _seconds(ingress.slow_start) if ingress.slow_start else "0",
        **_stickiness(ingress.stickiness),
    }


def _stickiness(asked: Stickiness | None) -> dict[str, str]:
    enabled = {"stickiness.enabled": "false" if asked is None else "true"}
    if asked is None or asked.cookie_name is None:
        duration = _seconds(asked.duration if asked is not None else timedelta(days=1))  # AWS's default
        return {**enabled, "stickiness.type": "lb_cookie", "stickiness.lb_cookie.duration_seconds": duration}
    return {
        **enabled,
        "stickiness.type": "app_cookie",
        "stickiness.app_cookie.cookie_name": asked.cookie_name,
        "stickiness.app_cookie.duration_seconds": _seconds(asked.duration),
    }


def _seconds(duration: timedelta) -> str:
    return str(int(duration.total_seconds()))
