"""An Application Load Balancer on loopback: real listeners, rules, target health, draining and AWS's own answers.

`HttpLoadBalancer` is the part that others use. This package knows `ports` and no ECS, no moto and no boto3: it follows
the documentation of Elastic Load Balancing v2.
"""

from __future__ import annotations
