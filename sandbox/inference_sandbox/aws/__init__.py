"""AWS on loopback: one moto whose ECS is live, and whose other services answer as AWS does where moto does not.

Where to look: `composition` (the `Aws` that everybody uses), `server` (how other processes reach it, and its side
door), `gateway` (what happens to each request), `faults` and `calls` (what can go wrong on request, and the record of
what was asked), `surroundings` (what ECS needs of the rest: subnets, secrets, file systems, EventBridge). A module that
is named after a service puts right what moto gets wrong of it.
"""

from inference_sandbox.aws.composition import Aws

__all__ = ["Aws"]
