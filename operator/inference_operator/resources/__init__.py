"""The AWS kinds, in the order in which they are made. Teardown is the list reversed.

To add a kind: write its module beside the others, add its line here, and the operations that it needs to
`aws/ports.py`.
"""

from inference_operator.resources.access_point import AccessPoints
from inference_operator.resources.base import AnyKind
from inference_operator.resources.discovery_service import DiscoveryServices
from inference_operator.resources.event_queue import EventQueues
from inference_operator.resources.event_rule import EventRules
from inference_operator.resources.listener_rule import ListenerRules, TrialListenerRules
from inference_operator.resources.log_group import LogGroups
from inference_operator.resources.scalable_target import ScalableTargets
from inference_operator.resources.scaling_policies import ScalingPolicies
from inference_operator.resources.security_group_rules import SecurityGroupRules
from inference_operator.resources.service import Services
from inference_operator.resources.target_group import AlternateTargetGroups, TargetGroups
from inference_operator.resources.task_definition import TaskDefinitions

KINDS: tuple[AnyKind, ...] = (
    LogGroups(),
    AccessPoints(),
    TargetGroups(),
    AlternateTargetGroups(),
    ListenerRules(),
    DiscoveryServices(),
    TrialListenerRules(),
    TaskDefinitions(),
    Services(),
    ScalableTargets(),
    ScalingPolicies(),
)
"""Each kind reads the facts of those before it."""

ENVIRONMENT_KINDS: tuple[AnyKind, ...] = (EventQueues(), EventRules(), SecurityGroupRules())
"""The same for what an environment has for itself."""
