"""What to do about something that the operator would make otherwise, by where it is. Pure."""

from __future__ import annotations

import re

_FARGATE_ONLY = "Nothing helps: the operator's services are of Fargate, of so many tasks as are asked for."
_PREFIX = (
    "Let the server answer without what is before the /* of spec.ingress.paths, which is taken away; or give it a "
    "host of its own and the path /*."
)
_ROUTES = "Write where logs go as spec.logging.routes."
_NO_ENTRY_POINT = "Make it the image's own, or write it with its arguments as spec.command for an image without one."
_VARIABLE = "Nothing, if it is one of the operator's own; else give it a name that spec.env takes."

_HINTS: tuple[tuple[str, str], ...] = (
    (r"\[log_router\]|firelens|log-driver-buffer", _ROUTES),
    (r"logConfiguration", "Nothing, if the log group that the operator makes will do; else write spec.logging.routes."),
    (r"entryPoint", _NO_ENTRY_POINT),
    (r"environmentFiles", "Write what is in them as spec.env."),
    (r"environment\[", _VARIABLE),
    (r"repositoryCredentials", "Have the image in ECR, or in its pull-through cache."),
    (r"efsVolumeConfiguration", "Nothing, if models alone are read from it; they are read-only, with TLS and IAM."),
    (r"mountPoints|volumes", "Have what is in it in the image or among the models; /tmp can be written to."),
    (r"dependsOn|containerDefinitions\[(?!app\])[^]]*\]\.healthCheck", "Let the containers wait for one another."),
    (r"healthCheck", "Nothing, if it may be so; else change spec.health."),
    (r"resourceRequirements|inferenceAccelerators", "Nothing helps: Fargate has none."),
    (r"proxyConfiguration|serviceConnect|vpcLattice", "Let callers come through the load balancer or Cloud Map."),
    (r"service\.(launchType|schedulingStrategy|deploymentController|placement)", _FARGATE_ONLY),
    (r"lifecycleHooks", "Write pauses as spec.rollout.pauses; hooks of other kinds are not there."),
    (r"capacityProviderStrategy", "Write FARGATE and FARGATE_SPOT as spec.capacity."),
    (r"networkConfiguration|RoleArn", "Change the InferenceEnvironment, or name another one."),
    (r"listenerRule\.Transforms", _PREFIX),
    (r"listenerRule\.Actions", "Let the server do it, or keep this service as it is."),
    (r"listenerRule|listener\.", "Nothing, if it may stay beside the operator's rule; else remove it afterwards."),
    (r"scaling", "Scale by cpu, memory, requests or cron, as spec.autoscaling."),
    (r"propagateTags|enableECSManagedTags", "Nothing: tasks get the service's tags."),
)
"""By a pattern of the path; the first one counts."""

_ELSE = "Nothing, if that may be; else keep this service as it is."


def next_step(path: str) -> str:
    return next((step for where, step in _HINTS if re.search(where, path)), _ELSE)
