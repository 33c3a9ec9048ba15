"""Runs a command in a network of its own, in which there is only the loopback interface.

    python -m benchmarks.server.own_network COMMAND [ARGUMENT …]

In the machine's network a firewall may follow every connection: one rule is enough, and container engines add some. Its
table is full within a quarter of a minute of such load, and packets are dropped then, whoever is measured.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

# linux/sched.h, linux/sockios.h, linux/if.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def enter() -> bool:
    """Whether it could be made: for who is not root, the kernel must let all make namespaces."""
    unshare = ctypes.CDLL(None).unshare
    user = os.getuid()
    if unshare(_CLONE_NEWNET) != 0:
        if unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            return False
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    return True


if __name__ == "__main__":
    if not enter():
        print("in the machine's network: a firewall that follows connections may slow all down, and lose some")
    sys.stdout.flush()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  (the caller's own command)
