"""Which prefixes a server is asked to tell of, and whom a message concerns."""

from __future__ import annotations

from redisdict.near.state import NearState
from redisdict.near.watches import MOST_PREFIXES, Watch, Watches, covering


def test_prefixes_cover_one_another() -> None:
    assert covering([b"b:", b"a:1", b"a:", b"b:", b"c"]) == [b"a:", b"b:", b"c"]
    many = [b"p:k:{%03d}:" % number for number in range(MOST_PREFIXES)]
    assert covering(many) == many
    assert covering([*many, b"p:k:{x}:"]) == [b"p:k:{"]
    assert covering([*many, b"q"]) == [b""]


def test_a_push_goes_to_those_it_concerns() -> None:
    items, whole, both = (NearState(10**6, 10) for _ in range(3))
    watches = Watches([Watch(b"p:k:", items), Watch(b"p:h", whole, is_exact=True)])
    watches = watches.plus([Watch(b"p:k:", both), Watch(b"p:h", both, is_exact=True)])
    watches.invalidate([b"p:k:a", b"p:k", b"p:h", b"p:h2", b"other"])
    assert (items.pushes, whole.pushes, both.pushes) == (1, 1, 2)
    assert watches.without([both]).states == (items, whole)
