"""The models' file system can be mounted from where the tasks run.

Not checked, as no API tells it: whether the environment's POSIX user may read the folder. A wrong path or mode shows as
the server's readiness, which names the models that it misses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer
from inference_operator.checks.base import Check, Finding, Place, failed, warning
from inference_operator.checks.network import MANAGED, admits, rules_of, subnets_of

NFS = 2049


def look(place: Place) -> Iterator[Finding]:
    file_system = place.environment.models.file_system_id
    try:
        [found] = place.ask(place.aws.efs.describe_file_systems, "efs:DescribeFileSystems", FileSystemId=file_system)[
            "FileSystems"
        ]
    except NotFound:
        yield failed(
            f"the file system {file_system} does not exist", "Name one that exists in an InferenceEnvironment."
        )
        return
    if found["LifeCycleState"] != "available":
        yield failed(f"the file system {file_system} is {found['LifeCycleState']}", "Wait until it is available.")
    targets: Sequence[Answer] = place.ask(
        place.aws.efs.describe_mount_targets, "efs:DescribeMountTargets", FileSystemId=file_system
    )["MountTargets"]
    subnets = subnets_of(place)
    yield from _zones(file_system, targets, subnets)
    yield from _way_to(place, targets, subnets)
    yield from _names(place, subnets)


def _zones(file_system: str, targets: Sequence[Answer], subnets: Sequence[Answer]) -> Iterator[Finding]:
    served = {target["AvailabilityZoneId"] for target in targets if target["LifeCycleState"] == "available"}
    unserved = {subnet["AvailabilityZoneId"]: subnet["SubnetId"] for subnet in subnets}
    for zone, subnet in sorted(unserved.items()):
        if zone not in served:
            yield failed(
                f"the file system {file_system} has no available mount target in {zone}, where tasks of {subnet} run",
                f"Make one in {zone}, or take the subnet out of the InferenceEnvironment.",
            )


def _way_to(place: Place, targets: Sequence[Answer], subnets: Sequence[Answer]) -> Iterator[Finding]:
    """A mount target admits the tasks by one of its groups; which tasks meet which target follows from the zone."""
    cidrs: Mapping[str, list[str]] = {
        target["AvailabilityZoneId"]: [
            s["CidrBlock"] for s in subnets if s["AvailabilityZoneId"] == target["AvailabilityZoneId"]
        ]
        for target in targets
    }
    for target in targets:
        addresses = cidrs[target["AvailabilityZoneId"]]
        if not addresses:
            continue
        groups = place.ask(
            place.aws.efs.describe_mount_target_security_groups,
            "efs:DescribeMountTargetSecurityGroups",
            MountTargetId=target["MountTargetId"],
        )["SecurityGroups"]
        tasks = place.environment.network.security_groups
        if not admits(rules_of(place, groups), port=NFS, groups=tasks, addresses=addresses):
            told = warning if place.environment.network.manage_security_group_rules else failed
            yield told(
                f"no rule of {', '.join(groups)}, the groups of mount target {target['MountTargetId']}, lets the tasks "
                f"({', '.join(tasks)}) in on tcp {NFS}",
                MANAGED if told is warning else f"Allow tcp {NFS} from a security group of the tasks.",
            )


def _names(place: Place, subnets: Sequence[Answer]) -> Iterator[Finding]:
    """Mount targets are found by name ("Mounting EFS file systems": DNS hostnames and DNS resolution)."""
    for vpc in sorted({subnet["VpcId"] for subnet in subnets}):
        for attribute, key in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
            answer = place.ask(
                place.aws.ec2.describe_vpc_attribute, "ec2:DescribeVpcAttribute", VpcId=vpc, Attribute=attribute
            )
            if not answer[key]["Value"]:
                yield failed(
                    f"{attribute} of {vpc} is off, so that tasks can't find the file system by its name",
                    f"Turn it on (aws ec2 modify-vpc-attribute --vpc-id {vpc}).",
                )


MODELS = Check(
    name="Models",
    about="The file system has a mount target in the zone of each subnet, which lets the tasks in on tcp 2049, and the "
    "VPC has DNS support and DNS hostnames.",
    member="models.fileSystemId",
    look=look,
)
