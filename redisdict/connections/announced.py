"""Map the addresses that a Cluster's nodes and sentinels announce to the ones to connect to.

An announced address may be of no use here: an inner address behind NAT or a tunnel (the option
`address_remap` translates it), or an IP address where the certificates have names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from redisdict.connections.locations import Address
from redisdict.exceptions import ConfigurationError
from redisdict.wire.requests import Reply

#: From the host and port that a server announces to those it is reached at.
Remap: TypeAlias = Callable[[Address], Address]


class AddressBook:
    """Translates an address that a server of a group announces to the one to connect to.

    Args:
        remap: the user's function, if there is one.
        prefers_names: whether to connect to a node of a Cluster by its host name, where it
            announces one besides its address: its certificate is for the name.
        where: the name that errors give the option with `remap`.
    """

    def __init__(
        self, remap: Remap | None = None, *, prefers_names: bool = False, where: str = ""
    ) -> None:
        self._remap = remap
        self._prefers_names = prefers_names
        self._where = where
        #: The names of nodes, by the addresses that redirections have.
        self._named: dict[Address, Address] = {}

    def read_node(self, node: Sequence[Reply], asked: Address) -> Address:
        """Read where a node is reached from its entry in the reply to CLUSTER SLOTS.

        Args:
            node: host, port, id, and from Redis 7 on more that is known of it.
            asked: where the node is reached that has replied; it may leave its own host out.
        """
        announced = (node[0].decode() if node[0] else asked[0], int(node[1]))
        name = _name_of(node) if self._prefers_names and is_address(announced[0]) else None
        if name:
            self._named[announced] = (name, announced[1])
        return self.reach(announced)

    def reach(self, announced: Address) -> Address:
        """Find where to reach a server that was announced, by itself or in a redirection.

        Raises:
            ConfigurationError: `address_remap` gives something else than a host and a port.
        """
        known = self._named.get(announced, announced)
        if self._remap is None:
            return known
        found: Any = self._remap(known)
        if not (
            isinstance(found, tuple)
            and len(found) == 2
            and isinstance(found[0], str)
            and isinstance(found[1], int)
        ):
            raise ConfigurationError(
                f"{self._where} gives {found!r} for {known!r}; a tuple of host and port is"
                ' expected, such as ("10.0.0.5", 6379).'
            )
        return found


def _name_of(node: Sequence[Reply]) -> str | None:
    """Find the name that a node announces (`cluster-announce-hostname`); a list in RESP2."""
    more = node[3] if len(node) > 3 else {}
    if not isinstance(more, Mapping):
        more = dict(zip(more[::2], more[1::2], strict=False))
    name = more.get(b"hostname")
    return name.decode() if name else None


def is_address(host: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def has_names(hosts: Sequence[Address]) -> bool:
    """Whether all of these are names."""
    return not any(is_address(host) for host, _ in hosts)
