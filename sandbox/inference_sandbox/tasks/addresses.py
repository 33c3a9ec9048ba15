"""An address out of 127.0.0.0/8 for each task, as a task has a network interface of its own.

An address is claimed by binding a name in Linux's abstract socket namespace: the kernel lets one process of the
machine (of its network namespace, just as far as the address itself reaches) have it, and frees it when the process
dies, however it dies. So several sandboxes on one machine share the range without a file to clean up.
"""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from ipaddress import IPv4Network

NETWORK = IPv4Network("127.64.0.0/10")
"""Far from 127.0.0.1 and from the low addresses that other software picks. 4,194,304 addresses."""

_ATTEMPTS = 200


@dataclass(frozen=True)
class ClaimedAddress:
    """An address that is ours until `release`."""

    address: str
    _claim: socket.socket

    def release(self) -> None:
        self._claim.close()


def claim_address() -> ClaimedAddress:
    """A free address, picked at random so that a late packet for a stopped task rarely finds another one there.

    Raises OSError if none of many tries was free.
    """
    for _ in range(_ATTEMPTS):
        address = str(NETWORK[random.randrange(1, NETWORK.num_addresses - 1)])  # noqa: S311 - no secret, only spread
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0inference-sandbox/{address}")
        except OSError:
            claim.close()
            continue
        return ClaimedAddress(address, claim)
    raise OSError(f"no free task address found in {NETWORK} after {_ATTEMPTS} tries: stop other sandboxes")
