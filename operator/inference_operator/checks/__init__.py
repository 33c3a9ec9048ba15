"""Checks before a rollout, and of an environment by itself, in the order in which their findings are told."""

from __future__ import annotations

from inference_operator.checks import cluster, logs, network, roles
from inference_operator.checks.base import Case, Check, Place
from inference_operator.checks.cluster import CLUSTER
from inference_operator.checks.images import IMAGES
from inference_operator.checks.logs import LOG_ACCESS, LOG_DESTINATIONS
from inference_operator.checks.models import MODELS
from inference_operator.checks.network import LISTENER, SUBNETS, WAY_IN
from inference_operator.checks.roles import ROLES
from inference_operator.checks.secrets import SECRETS

CHECKS: tuple[Check[Case], ...] = (
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

OF_ENVIRONMENTS: tuple[Check[Place], ...] = (
    roles.ASSUMED_ROLE,
    cluster.OF_ENVIRONMENT,
    roles.OF_ENVIRONMENT,
    network.SUBNETS_OF_ENVIRONMENT,
    network.SECURITY_GROUPS,
    network.LISTENERS_OF_ENVIRONMENT,
    network.SERVICE_DISCOVERY,
    MODELS,
    logs.OF_ENVIRONMENT,
)
"""What of them can be told without a service: whether what the environment names is there and fits together."""
