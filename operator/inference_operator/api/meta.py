"""The names of the contract: group, version, kinds, annotations, tags' prefix. Knows no field."""

from __future__ import annotations

from typing import Final

GROUP: Final = "ecs-inference.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

RECONCILE_AT: Final = f"{GROUP}/reconcile-at"
"""Annotation: any new value means "look again now, try a held failed revision again, and start tasks anew whose images
or secrets may have changed behind their names"."""

ROLLBACK_AT: Final = f"{GROUP}/rollback-at"
"""Annotation: any new value means "stop the rollout that is under way, and go back to the last one that completed"."""

PAUSED: Final = f"{GROUP}/paused"
"""Annotation: "true" means "look and tell, but write nothing to AWS"."""

ADOPT: Final = f"{GROUP}/adopt"
"""Annotation: "true" means "take over what has the object's names and belongs to nobody"."""

CONTINUE_AT: Final = f"{GROUP}/continue-at"
"""Annotation: any new value means "let the rollout that is paused go on"."""

SWITCHES: Final = (PAUSED, ADOPT)
"""Annotations that are on when they are "true"."""

ANNOTATIONS: Final = (RECONCILE_AT, ROLLBACK_AT, CONTINUE_AT, *SWITCHES)
"""All that there are."""

FINALIZER: Final = f"{GROUP}/finalizer"

OWNER_TAG: Final = f"{GROUP}/owner"
"""AWS tag: `<namespace>/<name>` of the object that a resource was made for."""

UID_TAG: Final = f"{GROUP}/uid"
SPEC_HASH_TAG: Final = f"{GROUP}/spec-hash"

RETAINED_TAG: Final = f"{GROUP}/retained"
"""AWS tag: the object that a resource was made for is gone and has left it; the next of that name may have it."""

TAG_PREFIX: Final = f"{GROUP}/"

TAG_KEYS_TAG: Final = f"{GROUP}/tags"
"""AWS tag: which further tags came from the object's spec, so that they can be removed with it."""

CONTAINER: Final = "app"
"""Name of the container that serves; no sidecar may have it."""

RESERVED_ENV: Final = ("INFERENCE_MODELS_DIR", "INFERENCE_PORT")
"""Environment variables that the operator sets on the container itself, from `models.mountPath` and `port`."""

RESERVED_ENV_PREFIXES: Final = ("ECS_", "AWS_CONTAINER_", "AWS_EXECUTION_ENV")
"""Set by the Fargate agent: credentials and metadata addresses. An override would cut the task off from them."""
