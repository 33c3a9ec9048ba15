"""The IAM policy of the operator's role, read off the ports: one action for each operation that it can ask for."""

from __future__ import annotations

from typing import Any

from inference_operator.aws import ports
from inference_operator.aws.models import operations

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
                "Action": [action for action in actions() if action != _LOOK_AT_BUCKETS],
                "Resource": "*",
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
