"""Cloud Map: moto's, with what it gets wrong for services put right (Cloud Map API reference, each operation's Errors),
and what ECS does there for its tasks.

This module must not know when a task is registered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.servicediscovery.exceptions import InstanceNotFound, ServiceNotFound
from moto.servicediscovery.models import servicediscovery_backends
from moto.servicediscovery.responses import ServiceDiscoveryResponse

PAGE = 100


class ServiceAlreadyExists(JsonRESTError):
    code = 400

    def __init__(self, service: Any) -> None:
        super().__init__("ServiceAlreadyExists", f"A service with the name {service.name} already exists.")
        self.description = json.dumps(
            {
                "__type": "ServiceAlreadyExists",
                "Message": str(self.message),
                "ServiceId": service.id,
                "ServiceArn": service.arn,
                "CreatorRequestId": service.creator_request_id,
            }
        )


class ResourceInUse(JsonRESTError):
    code = 400

    def __init__(self, service: Any) -> None:
        super().__init__("ResourceInUse", f"The service {service.id} contains one or more instances.")


class CloudMap(ServiceDiscoveryResponse):
    def create_service(self) -> Any:
        """The same request again is answered again; another one for the name is refused."""
        given = json.loads(self.body)
        dns = given.get("DnsConfig") or {}
        namespace = given.get("NamespaceId") or dns.get("NamespaceId")
        backend = self.servicediscovery_backend
        if namespace is not None:
            backend.get_namespace(namespace)  # NamespaceNotFound
        for service in backend.services.values():
            if (service.name, service.namespace_id) == (given["Name"], namespace):
                token = given.get("CreatorRequestId")
                if token is not None and token == service.creator_request_id:
                    return json.dumps({"Service": _shown(service)})
                raise ServiceAlreadyExists(service)
        if dns:
            given["DnsConfig"] = {"RoutingPolicy": "MULTIVALUE", "NamespaceId": namespace} | dns
        kind = "DNS_HTTP" if dns else "HTTP"
        self.body = json.dumps(given | {"NamespaceId": namespace, "Type": given.get("Type") or kind})
        made = json.loads(super().create_service())["Service"]
        return json.dumps({"Service": _shown(backend.services[made["Id"]])})

    def get_service(self) -> Any:
        service = self.servicediscovery_backend.get_service(json.loads(self.body)["Id"])
        return json.dumps({"Service": _shown(service)})

    def list_services(self) -> Any:
        given = json.loads(self.body)
        found = list(self.servicediscovery_backend.services.values())
        for each in given.get("Filters") or []:
            if each["Name"] == "NAMESPACE_ID":
                found = [service for service in found if service.namespace_id in each["Values"]]
        size, start = int(given.get("MaxResults") or PAGE), int(given.get("NextToken") or 0)
        more = {"NextToken": str(start + size)} if start + size < len(found) else {}
        return json.dumps({"Services": [_shown(service) for service in found[start : start + size]], **more})

    def delete_service(self) -> Any:
        service = self.servicediscovery_backend.get_service(json.loads(self.body)["Id"])  # ServiceNotFound
        if service.instances:
            raise ResourceInUse(service)
        return super().delete_service()


def _shown(service: Any) -> dict[str, Any]:
    shown = {name: value for name, value in service.to_json().items() if value is not None}
    return shown | {"InstanceCount": len(service.instances)}


# -- what ECS does


def record_types(arn: str) -> list[str] | None:
    """The types of DNS records of a service (A, SRV…), none for one without DNS; None if there is no such service."""
    service = _service(arn)
    if service is None:
        return None
    return [str(record["Type"]) for record in (service.dns_config or {}).get("DnsRecords") or []]


def register(arn: str, instance: str, attributes: Mapping[str, str]) -> None:
    service = _service(arn)
    if service is not None:
        _backend(arn).register_instance(service.id, instance, instance, dict(attributes))


def deregister(arn: str, instance: str) -> None:
    service = _service(arn)
    if service is not None:
        try:
            _backend(arn).deregister_instance(service.id, instance)
        except InstanceNotFound:
            return  # somebody else has done it


def set_health(arn: str, instance: str, *, healthy: bool) -> None:
    """UpdateInstanceCustomHealthStatus, for a service with a custom health check."""
    service = _service(arn)
    if service is None or service.health_check_custom_config is None:
        return
    for each in service.instances:
        if each.instance_id == instance:
            each.health_status = "HEALTHY" if healthy else "UNHEALTHY"


def _backend(arn: str) -> Any:
    _, _, _, region, account, *_ = arn.split(":")
    return servicediscovery_backends[account][region]


def _service(arn: str) -> Any:
    try:
        return _backend(arn).get_service(arn.rsplit("/", 1)[-1])
    except ServiceNotFound:
        return None
