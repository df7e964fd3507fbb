"""What a dict should hold, told by a plain one with a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redisdict.mapping.keys import encode_text, shard_of


@dataclass
class Model:
    """What a dict should hold: values, deadlines, and the ends of its hashes, by shard."""

    is_hash: bool
    timeout: float | None
    now: float = 0
    values: dict[str, Any] = field(default_factory=dict)
    deadlines: dict[str, float | None] = field(default_factory=dict)
    shards: int = 1
    ends: dict[int, float] = field(default_factory=dict)

    def put(self, key: str, value: Any, timeout: float | None) -> None:
        self.values[key] = value
        self.deadlines[key] = None if timeout is None else self.now + timeout

    def put_by_default(self, key: str, value: Any) -> None:
        self.put(key, value, self.timeout)

    def change(self, key: str, value: Any) -> None:
        """Another value, for the time that is left; a new item lives as long as the dict says."""
        if key in self.values:
            self.values[key] = value
        else:
            self.put_by_default(key, value)

    def take(self, key: str) -> Any:
        value = self.values.pop(key)
        del self.deadlines[key]
        self.forget_ends()
        return value

    def clear(self) -> None:
        self.values.clear()
        self.deadlines.clear()
        self.ends.clear()

    def shard(self, key: str) -> int:
        return shard_of(encode_text(key), self.shards)

    def forget_ends(self) -> None:
        """Remove the end of a hash that has no items left: the key is gone, and its end with it."""
        living = set(map(self.shard, self.values))
        self.ends = {shard: end for shard, end in self.ends.items() if shard in living}

    def deadline(self, key: str) -> float | None:
        end = self.ends.get(self.shard(key))
        own = [one for one in (self.deadlines[key], end) if one is not None]
        return min(own, default=None)

    def left(self, key: str) -> float | None:
        deadline = self.deadline(key)
        return None if deadline is None else deadline - self.now

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for key in list(self.values):
            deadline = self.deadline(key)
            if deadline is not None and deadline <= self.now:
                del self.values[key], self.deadlines[key]
        self.forget_ends()

    def expire(self, timeout: float | None) -> None:
        deadline = None if timeout is None else self.now + timeout
        if self.is_hash:
            living = set(map(self.shard, self.values))
            self.ends = {} if deadline is None else dict.fromkeys(living, deadline)
            return
        for key, own in self.deadlines.items():
            later = own is None or (deadline is not None and deadline < own)
            self.deadlines[key] = deadline if later or deadline is None else own

    def settle_on_items(self) -> None:
        """After a dump and a load each item has what was left of it and of the dict."""
        self.deadlines = {key: self.deadline(key) for key in self.values}
        self.ends.clear()
