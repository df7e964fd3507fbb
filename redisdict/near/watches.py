"""Find the states that a changed key concerns, and the prefixes that the server has to track."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Final, NamedTuple, cast

from redisdict.near.state import NearState

#: Prefixes that one connection has at most: the server compares every changed key with each of
#: them. With more, one takes the place of all, the longest that they have in common.
MOST_PREFIXES: Final = 64


class Watch(NamedTuple):
    """Keys of the server that a state depends on.

    Attributes:
        key: the prefix of the keys; an entry's key is the rest. Or, if `is_exact`, the one key of
            which every change removes all entries.
        state: where the entries are.
        slot_key: in a Cluster, any key of the slot of all these keys: a node that doesn't refuse it
            has the slot. None elsewhere.
        has_whole_keys: whether an entry's key is the server's whole key.
    """

    key: bytes
    state: NearState
    is_exact: bool = False
    slot_key: bytes | None = None
    has_whole_keys: bool = False


class Watches:
    """All watches of one connection. Not thread-safe: additions make a new one."""

    def __init__(self, watches: Sequence[Watch] = ()) -> None:
        self.all = tuple(watches)
        self.states = tuple(dict.fromkeys(watch.state for watch in watches))
        self.by_slot_key: dict[bytes, list[NearState]] = {}
        for watch in watches:
            if watch.slot_key is not None:
                self.by_slot_key.setdefault(watch.slot_key, []).append(watch.state)
        self._exact: dict[bytes, list[NearState]] = {}
        #: With where an entry's key begins in the server's.
        self._by_prefix: dict[bytes, list[tuple[NearState, int]]] = {}
        for watch in watches:
            if watch.is_exact:
                self._exact.setdefault(watch.key, []).append(watch.state)
            else:
                start = 0 if watch.has_whole_keys else len(watch.key)
                self._by_prefix.setdefault(watch.key, []).append((watch.state, start))
        self.has_exact = bool(self._exact)
        self._lengths = sorted(set(map(len, self._by_prefix)))

    def plus(self, added: Iterable[Watch]) -> Watches:
        """Make one that has these as well."""
        return Watches([*self.all, *added])

    def without(self, states: Iterable[NearState]) -> Watches:
        """Make one that lacks those of these states."""
        gone = set(states)
        return Watches([watch for watch in self.all if watch.state not in gone])

    def prefixes(self) -> list[bytes]:
        """List the prefixes for the server, none of which covers another.

        BCAST takes no prefixes that overlap.
        """
        return covering(watch.key for watch in self.all)

    def keys_of(self, state: NearState, own: Sequence[Hashable]) -> list[bytes]:
        """List the server's keys that a state's entries under these keys depend on."""
        keys = [watch.key for watch in self.all if watch.state is state and watch.is_exact]
        for watch in self.all:
            if watch.state is state and not watch.is_exact:
                prefix = b"" if watch.has_whole_keys else watch.key
                keys += [prefix + cast(bytes, each) for each in own]
        return keys

    def of_key(self, key: bytes) -> Iterable[NearState]:
        """Find the states of which a change of this key concerns all entries."""
        return self._exact.get(key, ())

    def of_prefixes(self, keys: Sequence[bytes]) -> dict[NearState, list[bytes]]:
        """Find the states that have any of these keys, and how each calls its own."""
        found: dict[NearState, list[bytes]] = {}
        by_prefix = self._by_prefix
        for length in self._lengths:
            for key in keys:
                for state, start in by_prefix.get(key[:length], ()):
                    found.setdefault(state, []).append(key[start:])
        return found

    def invalidate(self, keys: Sequence[bytes]) -> None:
        """Apply a push to all states that it concerns."""
        if self.has_exact:
            for key in keys:
                for state in self.of_key(key):
                    state.flush()
        for state, own in self.of_prefixes(keys).items():
            state.invalidate(own)


def covering(keys: Iterable[bytes]) -> list[bytes]:
    """Choose the prefixes that cover all of these: no more than `MOST_PREFIXES`, none of another's.

    A key that has another one as its prefix is left out.
    """
    chosen: list[bytes] = []
    for key in sorted(set(keys)):
        if not chosen or not key.startswith(chosen[-1]):
            chosen.append(key)
    if len(chosen) > MOST_PREFIXES:
        return [_common_prefix(chosen[0], chosen[-1])]
    return chosen


def _common_prefix(first: bytes, last: bytes) -> bytes:
    """Find the common beginning of the first and the last of sorted texts, and so of all."""
    length = 0
    while first[length : length + 1] == last[length : length + 1]:
        length += 1
    return first[:length]
