"""Which ports of this machine are free, and which process listens on one."""

import random
import socket
from contextlib import suppress
from pathlib import Path

__all__ = ["free_port", "is_free", "listens_on"]

_LOOPBACK = "127.0.0.1"

# Below the range from which systems give ports to outgoing connections; the port of the cluster
# bus, 10000 above, is below it as well.
_PORTS = range(15000, 22000)
_BUS_OFFSET = 10000
_ATTEMPTS = 200

_LISTEN_STATE = "0A"

# Not the module's own, whose state is the same in forked processes.
_random = random.SystemRandom()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, nor on its cluster bus port.

    Somebody else may take it a moment later, so who needs to be sure asks who answers there.
    """
    for port in _random.sample(_PORTS, _ATTEMPTS):
        if is_free(port) and is_free(port + _BUS_OFFSET):
            return port
    raise OSError(f"None of {_ATTEMPTS} ports between {_PORTS.start} and {_PORTS.stop} is free.")


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True


def listens_on(pid: int, port: int) -> bool:
    """Whether the process listens on that TCP port (Linux; needs the right to see its files)."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in inodes:
                    return True
    return False
