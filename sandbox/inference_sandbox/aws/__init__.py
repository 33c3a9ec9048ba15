"""AWS on loopback: one moto server whose ECS is live and whose EFS, ELBv2, Logs and Auto Scaling answer as AWS does.

Where to look: `server` (the `Aws` that everybody uses), `gateway` (what happens to each request), `faults` and `calls`
(what can go wrong on request, and the record of what was asked), `operations` (ECS over HTTP), `elbv2`, `efs`, `logs`
and `autoscaling` (what moto gets wrong for our calls, put right), `surroundings` (what ECS needs of the rest: subnets,
secrets, file systems, EventBridge).
"""

from inference_sandbox.aws.server import Aws

__all__ = ["Aws"]
