"""Checks before a rollout, in the order in which their findings are told."""

from __future__ import annotations

from inference_operator.checks.base import Check
from inference_operator.checks.cluster import CLUSTER
from inference_operator.checks.images import IMAGES
from inference_operator.checks.logs import LOG_ACCESS, LOG_DESTINATIONS
from inference_operator.checks.models import MODELS
from inference_operator.checks.network import LISTENER, SUBNETS, WAY_IN
from inference_operator.checks.roles import ROLES
from inference_operator.checks.secrets import SECRETS

CHECKS: tuple[Check, ...] = (
    CLUSTER,
    ROLES,
    IMAGES,
    SECRETS,
    SUBNETS,
    LISTENER,
    WAY_IN,
    MODELS,
    LOG_DESTINATIONS,
    LOG_ACCESS,
)
"""To add one: a module beside these, and its name here."""
