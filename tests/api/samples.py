"""Specs to try: the smallest valid ones, and one change to them at a time with the verdict that it deserves."""

from __future__ import annotations

import copy
from typing import Any

Spec = dict[str, Any]

DEPLOYMENT: Spec = {
    "image": "registry.example.com/team/inference-server:1.4.0",
    "models": {"path": "/recommender/2026-11-24"},
}

ENVIRONMENT: Spec = {
    "region": "ap-northeast-1",
    "cluster": "inference",
    "network": {"subnets": ["subnet-0123456789abcdef0"], "securityGroups": ["sg-01234567"]},
    "executionRoleArn": "arn:aws:iam::222222222222:role/inference-execution",
    "taskRoleArn": "arn:aws:iam::222222222222:role/team/inference-task",
    "models": {"fileSystemId": "fs-0123456789abcdef0", "posixUser": {"uid": 10001, "gid": 10001}},
}

LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/shared/0123456789abcdef/0123456789abcdef"
DIGEST = "sha256:" + "0123456789abcdef" * 4
LONG_NAMED = [{"name": f"N{number}", "value": ""} for number in range(101)]
ABSENT = object()
"""As a value: take the member away."""

Change = dict[str, Any]
"""Dotted path → value."""

GOOD_DEPLOYMENTS: list[Change] = [
    {},
    {"environment": "production"},
    {"environment": "a" * 40},
    {"image": "busybox"},
    {"image": "localhost:5000/a/b_c/d-e:v1"},
    {"image": f"222222222222.dkr.ecr.ap-northeast-1.amazonaws.com/inference-server@{DIGEST}"},
    {"image": f"public.ecr.aws/a/b:1.0@{DIGEST}"},
    {"replicas": 0},
    {"replicas": 5000},
    {"replicas": None},
    {"cpu": 2, "memory": "4Gi"},
    {"cpu": "0.250", "memory": "512Mi"},
    {"cpu": "250m", "memory": 536870912},
    {"cpu": "2000m", "memory": "4096Mi"},
    {"cpu": "16", "memory": "120Gi"},
    {"cpu": 8, "memory": "20Gi"},
    {"models.path": "/a/b/c/d"},
    {"models.path": "/day=2026-11-24"},
    {"models.mountPath": "/opt/models"},
    {"port": 1},
    {"port": 65535},
    {"env": [{"name": "INFERENCE_LOG_LEVEL", "value": "INFO"}, {"name": "_A9", "value": ""}]},
    {"env": LONG_NAMED[:100]},
    {"env": []},
    {"health": {}},
    {"health": None},
    {"health.path": "/v2/health/ready?full=1"},
    {"health.startup": "0s"},
    {"health.startup": "1h30m"},
    {"health.startup": "360m"},
    {"ingress.paths": ["/recommender/*"]},
    {"ingress.paths": ["/a/b_c/d.e/*"]},
    {"ingress.paths": []},
    {"ingress": {"paths": ["/*"], "hosts": ["api.example.com"]}},
    {"ingress.hosts": ["*.example.com", "api.example.com"]},
    {"rollout": {}},
    {"rollout.minimumHealthyPercent": 0},
    {"replicas": 3, "rollout": {"minimumHealthyPercent": 66, "maximumPercent": 100}},
    {"replicas": 3, "rollout": {"maximumPercent": 134}},
    {"replicas": 0, "rollout": {"maximumPercent": 100}},
    {"rollout.circuitBreaker": {"enabled": False, "rollback": False}},
    {"rollout.progressDeadline": "24h"},
]

BAD_DEPLOYMENTS: list[Change] = [
    {"image": ABSENT},
    {"image": None},
    {"image": ""},
    {"image": "team/UPPER"},
    {"image": "a b"},
    {"image": "registry.example.com/x:"},
    {"image": "registry.example.com/x@sha256:123"},
    {"image": "a/" * 130 + "b"},
    {"image": 1},
    {"environment": ""},
    {"environment": "a" * 41},
    {"environment": "-a"},
    {"environment": "A"},
    {"replicas": -1},
    {"replicas": 5001},
    {"replicas": "3"},
    {"replicas": 1.5},
    {"replicas": True},
    {"cpu": 3, "memory": "5Gi"},
    {"cpu": "1", "memory": "1Gi"},
    {"cpu": "0.25", "memory": "1536Mi"},
    {"cpu": 8, "memory": "17Gi"},
    {"cpu": "0.1", "memory": "200Gi"},
    {"cpu": 0, "memory": 0},
    {"cpu": 0.5, "memory": "1Gi"},
    {"cpu": "2 vCPU"},
    {"cpu": "1e0"},
    {"cpu": "-1"},
    {"cpu": ""},
    {"cpu": "1.0000"},
    {"cpu": True},
    {"cpu": [1]},
    {"memory": "2GB"},
    {"memory": "2g"},
    {"memory": -1},
    {"memory": "2147483649"},
    {"models": ABSENT},
    {"models": {}},
    {"models": "/a"},
    {"models.path": "a"},
    {"models.path": "/"},
    {"models.path": "/a/"},
    {"models.path": "/a/../b"},
    {"models.path": "/.hidden"},
    {"models.path": "/a/b/c/d/e"},
    {"models.path": "/" + "a" * 100},
    {"models.path": "/a b"},
    {"models.path": "/a\n"},
    {"models.mountPath": "/"},
    {"models.mountPath": "models"},
    {"models.mountPath": "/a/../b"},
    {"port": 0},
    {"port": 65536},
    {"port": "http"},
    {"env": {"A": "1"}},
    {"env": [{"name": "A"}]},
    {"env": [{"name": "A", "value": 1}]},
    {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
    {"env": [{"name": "9A", "value": ""}]},
    {"env": [{"name": "A-B", "value": ""}]},
    {"env": [{"name": "A", "value": "x" * 4097}]},
    {"env": [{"name": "INFERENCE_PORT", "value": "1"}]},
    {"env": [{"name": "INFERENCE_MODELS_DIR", "value": "/x"}]},
    {"env": [{"name": "ECS_CONTAINER_METADATA_URI_V4", "value": ""}]},
    {"env": [{"name": "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "value": ""}]},
    {"env": [{"name": "A", "value": "", "valueFrom": {}}]},
    {"env": LONG_NAMED},
    {"health.path": "readyz"},
    {"health.path": "/a b"},
    {"health.startup": "5"},
    {"health.startup": "1.5h"},
    {"health.startup": "30m1h"},
    {"health.startup": "-5m"},
    {"health.startup": ""},
    {"health.startup": "6h1s"},
    {"health.startup": 300},
    {"ingress.paths": ["/*"]},
    {"ingress.paths": ["/a"]},
    {"ingress.paths": ["a/*"]},
    {"ingress.paths": ["/a/*", "/b/*"]},
    {"ingress.paths": ["/" + "a" * 126 + "/*"]},
    {"ingress.hosts": ["localhost"]},
    {"ingress.hosts": ["API.example.com"]},
    {"ingress.hosts": ["api.example.com:80"]},
    {"ingress.hosts": ["a.example.com", "a.example.com"]},
    {"ingress.hosts": [f"h{number}.example.com" for number in range(5)]},
    {"ingress.hosts": [None]},
    {"rollout.minimumHealthyPercent": 101},
    {"rollout.maximumPercent": 99},
    {"rollout.maximumPercent": 201},
    {"rollout.maximumPercent": 150},
    {"replicas": 3, "rollout": {"maximumPercent": 133}},
    {"replicas": 3, "rollout": {"minimumHealthyPercent": 67, "maximumPercent": 133}},
    {"replicas": 5000, "rollout": {"maximumPercent": 100}},
    {"rollout.circuitBreaker.enabled": "true"},
    {"rollout.circuitBreaker.enabled": 1},
    {"rollout.progressDeadline": "59s"},
    {"rollout.progressDeadline": "24h1s"},
    {"replica": 3},
    {"models.paths": "/a"},
    {"mount_path": "/a"},
    {"models.mount_path": "/a"},
]

GOOD_ENVIRONMENTS: list[Change] = [
    {},
    {"region": "us-gov-west-1"},
    {"region": "eusc-de-east-1"},
    {"network.subnets": [f"subnet-{number:08x}" for number in range(16)]},
    {"network.assignPublicIp": True},
    {"executionRoleArn": "arn:aws-cn:iam::222222222222:role/service-role/x+=,.@-_"},
    {"models.rootDirectory": "/"},
    {"models.rootDirectory": "/a/b/c"},
    {"models.posixUser": {"uid": 0, "gid": 4294967295}},
    {"loadBalancer": {"listenerArn": LISTENER, "url": "https://inference.example.com"}},
    {"loadBalancer": {"listenerArn": LISTENER, "url": "http://127.0.0.1:8443"}},
    {"loadBalancer": None},
    {"logging": {}},
    {"logging.retentionDays": 3653},
    {"policy": {}},
    {"policy.images": ["*"]},
    {"policy.images": ["222222222222.dkr.ecr.*.amazonaws.com/*", "registry.example.com/team/?:1.*"]},
    {"policy.maximum": {}},
    {"policy.maximum": {"cpu": 4, "memory": "16Gi", "replicas": 50}},
    {"policy.maximum": {"cpu": "3.5", "memory": "17G"}},
]

BAD_ENVIRONMENTS: list[Change] = [
    {"region": ABSENT},
    {"region": "tokyo"},
    {"region": "us-east-1a"},
    {"cluster": ""},
    {"cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/inference"},
    {"network": ABSENT},
    {"network.subnets": []},
    {"network.subnets": ["subnet-a"]},
    {"network.subnets": ["vpc-01234567"]},
    {"network.subnets": ["subnet-01234567", "subnet-01234567"]},
    {"network.subnets": [f"subnet-{number:08x}" for number in range(17)]},
    {"network.subnets": "subnet-01234567"},
    {"network.securityGroups": [f"sg-{number:08x}" for number in range(6)]},
    {"network.securityGroups": ["sg-01234567", "sg-01234567"]},
    {"network.assignPublicIp": "ENABLED"},
    {"executionRoleArn": "inference-execution"},
    {"executionRoleArn": "arn:aws:iam::2222:role/x"},
    {"taskRoleArn": "arn:aws:iam::222222222222:user/x"},
    {"taskRoleArn": "arn:aws:iam::222222222222:role/inference task"},
    {"models.fileSystemId": "fs-xyz"},
    {"models.fileSystemId": ABSENT},
    {"models.rootDirectory": "models"},
    {"models.rootDirectory": "/a/b/c/d"},
    {"models.rootDirectory": "/a/"},
    {"models.posixUser": {"uid": -1, "gid": 0}},
    {"models.posixUser": {"uid": 4294967296, "gid": 0}},
    {"models.posixUser": {"uid": "root", "gid": 0}},
    {"loadBalancer": {"listenerArn": LISTENER}},
    {"loadBalancer": {"listenerArn": LISTENER, "url": "https://inference.example.com/"}},
    {"loadBalancer": {"listenerArn": LISTENER, "url": "inference.example.com"}},
    {"loadBalancer": {"listenerArn": LISTENER.replace("/app/", "/net/"), "url": "https://inference.example.com"}},
    {"loadBalancer": {"listenerArn": LISTENER.rpartition("/")[0], "url": "https://inference.example.com"}},
    {"logging.retentionDays": 15},
    {"logging.retentionDays": "90"},
    {"policy.images": []},
    {"policy.images": ["a", "a"]},
    {"policy.images": ["a b"]},
    {"policy.images": [f"image{number}" for number in range(51)]},
    {"policy.maximum.cpu": "lots"},
    {"policy.maximum.cpu": 10**15},
    {"policy.maximum.memory": "16GB"},
    {"policy.maximum.replicas": 5001},
    {"policy.namespaces": {}},
]


def changed(base: Spec, change: Change) -> Spec:
    """A copy of `base` with the members that `change` names put in, replaced or taken away."""
    spec = copy.deepcopy(base)
    for path, value in change.items():
        *parents, last = path.split(".")
        place = spec
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is ABSENT:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return spec


def label(change: Change) -> str:
    """For test ids."""
    return ", ".join(f"{path}={'absent' if value is ABSENT else value!r}"[:60] for path, value in change.items()) or "-"
