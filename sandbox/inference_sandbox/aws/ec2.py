"""EC2: moto's, with what it gets wrong for rules of security groups put right (EC2 API reference,
AuthorizeSecurityGroupIngress and RevokeSecurityGroupIngress).

This module must not know who uses a security group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidPermissionDuplicateError,
    InvalidSecurityGroupNotFoundError,
    InvalidSecurityGroupRuleIdNotFoundError,
)
from moto.ec2.responses import EC2Response

Rules = Sequence[Any]
SOURCES = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")
"""IpRange, UserIdGroupPair: Description."""


class InvalidDescription(EC2ClientError):
    code = "InvalidParameterValue"
    message = (
        "Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: "
        "a-zA-Z0-9. _-:/()#,@[]+=&;{{}}!$*"
    )


class Ec2(EC2Response):
    def authorize_security_group_ingress(self) -> Any:
        """All rules or none; a rule is the same as another whatever its description says."""
        for permission in self._get_param("IpPermissions", []):
            for source in [each for member in SOURCES for each in permission.get(member) or []]:
                if not DESCRIPTION.fullmatch(source.get("Description") or ""):
                    raise InvalidDescription
        before, after = self._changed(super().authorize_security_group_ingress)
        added = [rule for rule in after if rule not in before]
        for rule in added:
            if rule.source_group.get("Description"):  # moto shows that of a rule about addresses, and keeps it there
                rule.ip_range = {"Description": rule.source_group["Description"]}
        return ActionResult({"Return": True, "SecurityGroupRules": added})

    def revoke_security_group_ingress(self) -> Any:
        """The answer names what was revoked."""
        wanted = set(self._get_param("SecurityGroupRuleIds", []))
        unknown = wanted - {rule.id for rule in self._group().ingress_rules}
        if unknown:
            raise InvalidSecurityGroupRuleIdNotFoundError(min(unknown))
        before, after = self._changed(super().revoke_security_group_ingress)
        revoked = [_revoked(rule) for rule in before if rule not in after]
        return ActionResult({"Return": True, "RevokedSecurityGroupRules": revoked, "UnknownIpPermissions": []})

    def _group(self) -> Any:
        name = self._get_param("GroupId") or self._get_param("GroupName")
        found = self.ec2_backend.get_security_group_by_name_or_id(name, None)
        if found is None:
            raise InvalidSecurityGroupNotFoundError(name)
        return found

    def _changed(self, change: Callable[[], Any]) -> tuple[Rules, Rules]:
        """The rules before and after `change`, by identity; if it fails they are as they were."""
        group = self._group()
        before = list(group.ingress_rules)
        try:
            change()
            _refuse_twice(group.ingress_rules)
        except Exception:
            group.ingress_rules = before
            raise
        return _Same(before), _Same(group.ingress_rules)


class _Same(list[Any]):
    """A list whose `in` asks for the very same object: moto's rules are equal to others."""

    def __contains__(self, item: object) -> bool:
        return any(each is item for each in self)


def _refuse_twice(rules: Rules) -> None:
    if len({_key(rule) for rule in rules}) < len(rules):
        raise InvalidPermissionDuplicateError


def _key(rule: Any) -> tuple[Any, ...]:
    return (
        rule.ip_protocol,
        rule.from_port,
        rule.to_port,
        rule.cidr_ipv4,
        rule.cidr_ipv6,
        rule.source_group.get("GroupId"),
        rule.prefix_list_id,
    )


def _revoked(rule: Any) -> dict[str, Any]:
    members = {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "IsEgress": False,
        "IpProtocol": rule.ip_protocol,
        "FromPort": rule.from_port,
        "ToPort": rule.to_port,
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "PrefixListId": rule.prefix_list_id,
        "ReferencedGroupId": rule.source_group.get("GroupId"),
        "Description": rule.description,
    }
    return {name: value for name, value in members.items() if value is not None}
