"""CloudWatch Logs: moto's, with what it accepts and AWS does not (API reference: PutRetentionPolicy, TagResource,
UntagResource, ListTagsForResource).

This module must not know ECS.
"""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.logs.exceptions import InvalidParameterException, ResourceNotFoundException
from moto.logs.responses import LogsResponse

RETENTION_DAYS = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}
)
LOG_GROUP = ":log-group:"
MOST_TAGS = 50


class TooManyTags(JsonRESTError):
    def __init__(self) -> None:
        super().__init__("TooManyTagsException", f"A resource can have no more than {MOST_TAGS} tags.")


class Logs(LogsResponse):
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
