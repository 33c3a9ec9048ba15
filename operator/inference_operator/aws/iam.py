"""The IAM policy of the operator's role, read off the ports: one action for each operation that it can ask for.

What AWS can tell by its tags may be made only with the tag that names the owner, and used only if it has that tag.
Which actions know these conditions is in the Service Authorization Reference, in the tables of actions and of resource
types. Actions that are in neither set below have no condition; docs/iam.md says which of those change things, and why.
"""

from __future__ import annotations

from typing import Any

from inference_operator.aws import ports
from inference_operator.aws.models import operations
from inference_operator.domain.tags import OWNER

_SERVICES: tuple[tuple[type, str], ...] = (
    (ports.Ecs, "ecs"),
    (ports.Efs, "elasticfilesystem"),
    (ports.Elb, "elasticloadbalancing"),
    (ports.Logs, "logs"),
    (ports.Sqs, "sqs"),
    (ports.Events, "events"),
    (ports.Scaling, "application-autoscaling"),
    (ports.Discovery, "servicediscovery"),
    (ports.Ec2, "ec2"),
    (ports.Iam, "iam"),
    (ports.S3, "s3"),
    (ports.Firehose, "firehose"),
    (ports.Ecr, "ecr"),
    (ports.SecretsManager, "secretsmanager"),
    (ports.Ssm, "ssm"),
    (ports.Sns, "sns"),
)

# Creating something with tags also needs the right to tag it (Service Authorization Reference, "Dependent actions").
_TAGGING = {
    "elasticfilesystem": "elasticfilesystem:TagResource",
    "elasticloadbalancing": "elasticloadbalancing:AddTags",
    "logs": "logs:TagResource",
    "ecs": "ecs:TagResource",
    "ec2": "ec2:CreateTags",
    "servicediscovery": "servicediscovery:TagResource",
}
# Application Auto Scaling keeps the alarms of a target-tracking policy in its caller's name (user guide,
# "Identity-based policy examples": permissions for target tracking).
_ALARMS = ("cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm")

_TAKE_OVER = frozenset(
    {
        "application-autoscaling:TagResource",
        "ecs:TagResource",
        "elasticfilesystem:TagResource",
        "elasticloadbalancing:AddTags",
        "events:TagResource",
        "logs:TagResource",
        "sqs:TagQueue",
    }
)
"""Tags are put on what is made, and, with the owner's among them, on what is adopted; others on what is owned."""
_MAKE = _TAKE_OVER | {
    "application-autoscaling:RegisterScalableTarget",
    "ecs:CreateService",
    "ecs:RegisterTaskDefinition",
    "elasticfilesystem:CreateAccessPoint",
    "elasticloadbalancing:CreateRule",
    "elasticloadbalancing:CreateTargetGroup",
    "events:PutRule",
    "logs:CreateLogGroup",
    "servicediscovery:CreateService",
    "sqs:CreateQueue",
}
_USE = _TAKE_OVER | {
    "application-autoscaling:DeleteScalingPolicy",
    "application-autoscaling:DeleteScheduledAction",
    "application-autoscaling:DeregisterScalableTarget",
    "application-autoscaling:PutScalingPolicy",
    "application-autoscaling:PutScheduledAction",
    "application-autoscaling:RegisterScalableTarget",
    "application-autoscaling:UntagResource",
    "ecs:DeleteService",
    "ecs:UntagResource",
    "ecs:UpdateService",
    "elasticfilesystem:DeleteAccessPoint",
    "elasticfilesystem:UntagResource",
    "elasticloadbalancing:DeleteRule",
    "elasticloadbalancing:DeleteTargetGroup",
    "elasticloadbalancing:ModifyRule",
    "elasticloadbalancing:ModifyTargetGroup",
    "elasticloadbalancing:ModifyTargetGroupAttributes",
    "elasticloadbalancing:RemoveTags",
    "events:DeleteRule",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "events:UntagResource",
    "logs:DeleteLogGroup",
    "logs:FilterLogEvents",
    "logs:PutRetentionPolicy",
    "logs:UntagResource",
    "servicediscovery:DeleteService",
    "servicediscovery:UpdateService",
    "sqs:DeleteMessage",
    "sqs:DeleteQueue",
    "sqs:ReceiveMessage",
    "sqs:SetQueueAttributes",
    "sqs:UntagQueue",
}
_TAG_RULES = "ec2:CreateTags"
"""Would tag anything in EC2, so it is allowed as part of making a rule alone (EC2 user guide, "Grant permission to tag
Amazon EC2 resources during creation")."""

_LOOK_AT_BUCKETS = "s3:ListBucket"
"""Allows to list a bucket's objects as well, so it is for the buckets alone that logs go to."""


def actions() -> list[str]:
    found = {*_TAGGING.values(), *_ALARMS}
    for port, prefix in _SERVICES:
        actions = (f"{prefix}:{name}" for name in operations(port))
        found |= {ports.ALLOWED_AS.get(action, action) for action in actions}
    return sorted(found)


def policy() -> dict[str, Any]:
    """A policy document. Roles and buckets are the platform team's to name: replace the example ARNs. The role to take
    on is an environment's `assumeRoleArn`, which then needs the other statements."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Manage",
                "Effect": "Allow",
                "Action": [each for each in actions() if each not in {*_MAKE, *_USE, _TAG_RULES, _LOOK_AT_BUCKETS}],
                "Resource": "*",
            },
            {
                "Sid": "MakeOrAdoptWhatNamesItsOwner",
                "Effect": "Allow",
                "Action": [each for each in actions() if each in _MAKE],
                "Resource": "*",
                "Condition": {"Null": {f"aws:RequestTag/{OWNER}": "false"}},
            },
            {
                "Sid": "UseWhatNamesItsOwner",
                "Effect": "Allow",
                "Action": [each for each in actions() if each in _USE],
                "Resource": "*",
                "Condition": {"Null": {f"aws:ResourceTag/{OWNER}": "false"}},
            },
            {
                "Sid": "TagRulesOfSecurityGroups",
                "Effect": "Allow",
                "Action": _TAG_RULES,
                "Resource": "*",
                "Condition": {"StringEquals": {"ec2:CreateAction": "AuthorizeSecurityGroupIngress"}},
            },
            {
                "Sid": "LookForTheBucketsOfLogs",  # without it, whether they exist is not checked before a rollout
                "Effect": "Allow",
                "Action": _LOOK_AT_BUCKETS,
                "Resource": "arn:aws:s3:::inference-logs",
            },
            {
                "Sid": "TakeOnTheRolesOfEnvironments",
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Resource": "arn:aws:iam::123456789012:role/inference-operator",
            },
            {
                "Sid": "LetAutoScalingScaleServices",
                "Effect": "Allow",
                "Action": "iam:CreateServiceLinkedRole",
                "Resource": "*",
                "Condition": {"StringEquals": {"iam:AWSServiceName": "ecs.application-autoscaling.amazonaws.com"}},
            },
            {
                "Sid": "PassTheRolesOfTasks",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": [
                    "arn:aws:iam::123456789012:role/inference-execution",
                    "arn:aws:iam::123456789012:role/inference-task",
                ],
                "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            },
            {
                "Sid": "PassTheRoleThatShiftsRequests",  # of use with loadBalancer.infrastructureRoleArn alone
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": "arn:aws:iam::123456789012:role/inference-infrastructure",
                "Condition": {"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}},
            },
        ],
    }
