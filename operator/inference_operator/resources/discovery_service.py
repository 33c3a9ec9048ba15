"""The Cloud Map service through which callers inside the VPC find the tasks by name, without the load balancer.

ECS registers and deregisters the tasks there (`serviceRegistries` of the service). Its name in the environment's
namespace is `<name>.<namespace>` of the object, so that two objects never meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.aws.errors import Busy, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, Wait, changed

RECORDS = ({"Type": "A", "TTL": 10},)
"""Seconds that a caller may go on with the addresses that it has: tasks serve on for some of them when they end."""


@dataclass(frozen=True, kw_only=True)
class Want:
    name: str
    namespace: str
    token: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class DiscoveryService:
    id: str
    arn: str
    name: str
    host: str | None
    """Name under which callers find the tasks; None where nobody is to find them any more."""
    records: tuple[Mapping[str, Any], ...]
    tags: Mapping[str, str]


class DiscoveryServices:
    """The Cloud Map service in which tasks are registered, if the environment has a namespace for it."""

    name: ClassVar[str] = "DiscoveryService"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want | None:
        asked = ctx.environment.service_discovery
        if asked is None:
            return None
        return Want(
            name=ctx.identity.discovery_name,
            namespace=asked.namespace_id,
            token=ctx.identity.client_token(asked.namespace_id),
            tags=ctx.tags,
        )

    def diff(self, want: Want, have: DiscoveryService) -> Change:
        return changed({"DnsConfig": (list(RECORDS), list(have.records))})

    def settled(self, ctx: Context, want: Want, have: DiscoveryService) -> Settled:
        return Settled(f"tasks are found as {have.host}")

    def facts(self, have: DiscoveryService) -> Mapping[Fact, str]:
        return {Fact.DISCOVERY_SERVICE: have.arn}

    def observe(self, scene: Scene) -> DiscoveryService | None:
        discovery = scene.aws.discovery
        identifier = _identifier(scene)
        if identifier is None:
            return None
        try:
            shown = discovery.get_service(Id=identifier)["Service"]
            listed = discovery.list_tags_for_resource(ResourceARN=shown["Arn"])["Tags"]
        except NotFound:
            return None
        return _read(shown, tags.parse(listed), _host(scene))

    def create(self, ctx: Context, want: Want) -> DiscoveryService:
        # The same token again answers the service that the first try made.
        made = ctx.aws.discovery.create_service(
            Name=want.name,
            NamespaceId=want.namespace,
            CreatorRequestId=want.token,
            DnsConfig={"RoutingPolicy": "MULTIVALUE", "DnsRecords": list(RECORDS)},
            HealthCheckCustomConfig={"FailureThreshold": 1},  # ECS tells the health of the tasks
            Tags=tags.list_of(want.tags),
        )["Service"]
        ctx.aws.listings.add("discovery services", made, of=want.namespace)
        return _read(made, want.tags, _host(ctx))

    def update(self, ctx: Context, want: Want, have: DiscoveryService, change: Change) -> DiscoveryService:
        ctx.aws.discovery.update_service(Id=have.id, Service={"DnsConfig": {"DnsRecords": list(RECORDS)}})
        return replace(have, records=RECORDS)

    def retag(self, scene: Scene, have: DiscoveryService, retag: Retag) -> DiscoveryService:
        if retag.remove:
            scene.aws.discovery.untag_resource(ResourceARN=have.arn, TagKeys=list(retag.remove))
        if retag.put:
            scene.aws.discovery.tag_resource(ResourceARN=have.arn, Tags=tags.list_of(retag.put))
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: DiscoveryService) -> Wait | None:
        try:
            scene.aws.discovery.delete_service(Id=have.id)
        except NotFound:
            pass
        except Busy:  # ResourceInUse
            return Wait(f"tasks are still registered in {have.name}")
        scene.aws.listings.forget("discovery services")
        return None

    def tidy(self, ctx: Context, want: Want, have: DiscoveryService) -> DiscoveryService:
        return have


def _identifier(scene: Scene) -> str | None:
    """By name in the environment's namespace; where that has none any more, the one that the status names."""
    asked = scene.environment.service_discovery
    if asked is None:
        known = scene.named(Fact.DISCOVERY_SERVICE)
        return known.rpartition("/")[2] if known is not None else None
    listed = scene.aws.listings.discovery_services(asked.namespace_id)
    return next((service["Id"] for service in listed if service["Name"] == scene.identity.discovery_name), None)


def _host(scene: Scene) -> str | None:
    asked = scene.environment.service_discovery
    if asked is None:
        return None
    found = scene.aws.listings.shared(
        ("namespace", asked.namespace_id), lambda: scene.aws.discovery.get_namespace(Id=asked.namespace_id)["Namespace"]
    )
    return f"{scene.identity.discovery_name}.{found['Name']}"


def _read(shown: Answer, found: Mapping[str, str], host: str | None) -> DiscoveryService:
    records = shown.get("DnsConfig", {}).get("DnsRecords", ())
    return DiscoveryService(
        id=shown["Id"],
        arn=shown["Arn"],
        name=shown["Name"],
        host=host,
        records=tuple({"Type": record["Type"], "TTL": record["TTL"]} for record in records),
        tags=found,
    )
