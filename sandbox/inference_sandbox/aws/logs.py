"""CloudWatch Logs: moto's, with what it accepts and AWS does not (API reference: PutRetentionPolicy, TagResource,
UntagResource, ListTagsForResource), and with what it lacks of deletion protection and of retention that an account sets
for its log groups (PutLogGroupDeletionProtection, PutAccountPolicy).

This module must not know ECS.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from moto.core.exceptions import JsonRESTError
from moto.logs.exceptions import InvalidParameterException, ResourceNotFoundException, ValidationException
from moto.logs.responses import LogsResponse

from inference_sandbox.ports import Clock

RETENTION_DAYS = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)
LOG_GROUP = ":log-group:"
MOST_TAGS = 50


class TooManyTags(JsonRESTError):
    def __init__(self) -> None:
        super().__init__("TooManyTagsException", f"A resource can have no more than {MOST_TAGS} tags.")


RETENTION_POLICY = "RETENTION_POLICY"
NEVER = "NEVER_EXPIRE"
ACCOUNT_RETENTIONS = frozenset({days for days in RETENTION_DAYS if days >= 30} | {NEVER})  # noqa: PLR2004 of the page
UNTIL_IT_COUNTS = timedelta(hours=24)


@dataclass(frozen=True)
class _Retention:
    """A retention policy of the account, as it was put."""

    name: str
    document: dict[str, Any]
    at: datetime
    before: frozenset[str]
    """The log groups that there were."""

    @property
    def days(self) -> float:
        days = self.document["retentionInDays"]
        return math.inf if days == NEVER else float(days)

    def holds_for(self, group: str) -> bool:
        return self.document["enforcementMode"] == "RETROACTIVE" or group not in self.before

    def shown(self, account: str) -> dict[str, Any]:
        return {
            "policyName": self.name,
            "policyDocument": json.dumps(self.document),
            "lastUpdatedTime": int(self.at.timestamp() * 1000),
            "policyType": RETENTION_POLICY,
            "scope": "ALL",
            "accountId": account,
        }


@dataclass
class _Settings:
    """What an account has set in a region, and moto does not keep."""

    protected: set[str] = field(default_factory=set)
    """Names of log groups."""
    retentions: list[_Retention] = field(default_factory=list)
    """In the order in which they were put, with those of the same name that were before."""

    def in_effect(self, group: str, now: datetime) -> _Retention | None:
        """The longest that counts by now."""
        latest = {each.name: each for each in self.retentions if each.at + UNTIL_IT_COUNTS <= now}
        return max((each for each in latest.values() if each.holds_for(group)), key=lambda e: e.days, default=None)

    def named(self) -> dict[str, _Retention]:
        return {each.name: each for each in self.retentions}


def responses(clock: Clock) -> type[LogsResponse]:
    return type("LogsOnThisClock", (Logs,), {"clock": clock})


class Logs(LogsResponse):
    clock: ClassVar[Clock]

    @property
    def _settings(self) -> _Settings:
        """Kept with moto's backend, and so forgotten with it."""
        found: _Settings = vars(self.logs_backend).setdefault("of_the_sandbox", _Settings())
        return found

    def create_log_group(self) -> Any:
        answer = super().create_log_group()
        self._protect(self._get_param("logGroupName"), on=bool(self._get_param("deletionProtectionEnabled")))
        return answer

    def delete_log_group(self) -> Any:
        if self._get_param("logGroupName") in self._settings.protected:
            raise ValidationException(
                "Cannot delete log group with deletion protection enabled. Disable deletion protection first."
            )
        return super().delete_log_group()

    def put_log_group_deletion_protection(self) -> Any:
        name = self._get_param("logGroupIdentifier").rpartition(LOG_GROUP)[2]
        if name not in self.logs_backend.groups:
            raise ResourceNotFoundException
        self._protect(name, on=self._get_param("deletionProtectionEnabled"))
        return ""

    def _protect(self, name: str, *, on: bool) -> None:
        change = self._settings.protected.add if on else self._settings.protected.discard
        change(name)

    def describe_log_groups(self) -> Any:
        answer = json.loads(super().describe_log_groups())
        for group in answer["logGroups"]:
            group["deletionProtectionEnabled"] = group["logGroupName"] in self._settings.protected
            retention = self._settings.in_effect(group["logGroupName"], self.clock.now())
            if retention is not None:
                group["retentionPolicyName"] = retention.name
                group["retentionInDays"] = None if math.isinf(retention.days) else int(retention.days)
        answer["logGroups"] = [{k: v for k, v in g.items() if v is not None} for g in answer["logGroups"]]
        return json.dumps(answer)

    def put_account_policy(self) -> Any:
        self._only_retention()
        if self._get_param("selectionCriteria"):
            raise InvalidParameterException("The sandbox's retention policies are for all log groups of the account.")
        document = json.loads(self._get_param("policyDocument"))
        if document.get("retentionInDays") not in ACCOUNT_RETENTIONS:
            raise InvalidParameterException(
                "retentionInDays is 30 days or more, as PutAccountPolicy lists, or NEVER_EXPIRE."
            )
        if document.get("enforcementMode") not in ("RETROACTIVE", "NEW_ONLY"):
            raise InvalidParameterException("enforcementMode is RETROACTIVE or NEW_ONLY.")
        name, groups = self._get_param("policyName"), frozenset(self.logs_backend.groups)
        put = _Retention(name, document, self.clock.now(), groups)
        self._settings.retentions.append(put)
        return json.dumps({"accountPolicy": put.shown(self.current_account)})

    def describe_account_policies(self) -> Any:
        self._only_retention()
        return json.dumps({"accountPolicies": [each.shown(self.current_account) for each in self._asked_for()]})

    def delete_account_policy(self) -> Any:
        self._only_retention()
        gone = {each.name for each in self._asked_for()}
        if not gone:
            raise ResourceNotFoundException("The specified policy does not exist.")
        settings = self._settings
        settings.retentions = [each for each in settings.retentions if each.name not in gone]
        return ""

    def _asked_for(self) -> Iterator[_Retention]:
        asked = self._get_param("policyName")
        return (each for name, each in self._settings.named().items() if asked in (None, name))

    def _only_retention(self) -> None:
        if self._get_param("policyType") != RETENTION_POLICY:
            raise InvalidParameterException(f"Of account policies the sandbox has {RETENTION_POLICY}.")

    def put_retention_policy(self) -> Any:
        days = self._get_param("retentionInDays")
        if days not in RETENTION_DAYS:
            raise InvalidParameterException(
                constraint=f"Member must satisfy enum value set: {sorted(RETENTION_DAYS)}",
                parameter="retentionInDays",
                value=days,
            )
        return super().put_retention_policy()

    def tag_resource(self) -> Any:
        known = self.logs_backend.list_tags_for_resource(self._log_group())
        if len(known | self._get_param("tags")) > MOST_TAGS:
            raise TooManyTags
        return super().tag_resource()

    def untag_resource(self) -> Any:
        self._log_group()
        return super().untag_resource()

    def list_tags_for_resource(self) -> Any:
        self._log_group()
        return super().list_tags_for_resource()

    def _log_group(self) -> str:
        """Its ARN, which for tags is the one without `:*` at its end."""
        arn: str = self._get_param("resourceArn")
        if LOG_GROUP in arn and arn.partition(LOG_GROUP)[2] not in self.logs_backend.groups:
            raise ResourceNotFoundException
        return arn
