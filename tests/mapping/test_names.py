"""No two dicts share a key, whatever their names, prefixes and items are."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from redisdict.mapping.keys import Names, escape_glob

UGLY = [
    "",
    "a",
    "a:b",
    "a}",
    "{a}",
    "a/b",
    "a%2Fb",
    "%",
    "*",
    "[a]",
    "\0",
    "é",
    "\ud800",
    "a b",
    "h",
]
PATHS = [(name,) for name in UGLY] + [("a", "b"), ("a", ""), ("", "a"), ("a", "b", "c")]


def keys_of(names: Names) -> set[bytes]:
    of_the_dict = {
        names.hash,
        names.relocated,
        names.deadlines,
        names.item_prefix,
        names.lock_prefix,
    }
    of_a_cache = {names.cached_table, names.cached_row_prefix, names.counts}
    return of_the_dict | of_a_cache


def test_keys_of_every_kind_differ() -> None:
    assert len(keys_of(Names("p", ("d",)))) == 8


def test_every_pair_of_dicts_has_keys_of_its_own() -> None:
    dicts = [Names(prefix, path) for prefix, path in product(UGLY, PATHS)]
    seen: dict[bytes, Names] = {}
    for names in dicts:
        for key in keys_of(names):
            assert seen.setdefault(key, names) is names, key


@given(*[st.tuples(st.text(), st.lists(st.text(), min_size=1, max_size=3))] * 2, st.binary())
def test_no_item_of_one_dict_is_a_key_of_another(
    one: tuple[str, list[str]], other: tuple[str, list[str]], item: bytes
) -> None:
    a, b = (Names(prefix, tuple(path)) for prefix, path in (one, other))
    if (one[0], tuple(one[1])) == (other[0], tuple(other[1])):
        return
    key = a.item_prefix + item
    assert not key.startswith(b.item_prefix)
    assert key not in keys_of(b)


def test_all_keys_of_a_dict_lie_in_one_cluster_slot() -> None:
    for path in PATHS:
        names = Names("a{b}c", path)
        tags = {key[key.index(b"{") + 1 : key.index(b"}")] for key in keys_of(names)}
        assert len(tags) == 1
        assert tags != {b""}  # an empty tag would be no tag


def test_a_glob_is_escaped() -> None:
    assert escape_glob(rb"a*b?c[d]e\f") == rb"a\*b\?c\[d\]e\\f"
