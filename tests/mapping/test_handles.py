"""The object itself: a handle that can be copied, pickled, shown, and have children."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from redisdict import PersistentDict
from redisdict.mapping.catalog import FoundDict, find_dicts


@pytest.fixture
def configured(settings: Any, alias_for: Callable[..., dict[str, Any]], server_url: str) -> None:
    settings.REDISDICT = {"default": alias_for(server_url)}


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_another_handle_of_the_same_dict(
    hset_enabled: bool, again: Callable[[Any], PersistentDict[int, Any]]
) -> None:
    mapping = PersistentDict[int, Any]("d", hset_enabled=hset_enabled, key_type=int, timeout=60)
    mapping[1] = "one"
    other = again(mapping)
    assert other is not mapping
    assert other[1] == "one"
    assert (other.ttl(1) or 0) > 50
    assert repr(other) == repr(mapping)
    with pytest.raises(TypeError, match="A key of this dict is int"):
        other["1"]
    other.clear()
    assert mapping == {}


@pytest.mark.usefixtures("configured")
def test_a_pickle_holds_no_items_and_nothing_of_the_connection() -> None:
    mapping = PersistentDict[str, str]("d")
    mapping["k"] = "precious"
    data = pickle.dumps(mapping)
    assert b"precious" not in data
    assert len(data) < 400
    mapping.clear()


#: What was made of `PersistentDict("d", hset_enabled=False, timeout=60, key_type=int).child("c")`.
OLD_PICKLE = (
    b"ccopy_reg\n_reconstructor\n(credisdict.mapping.persistent_dict\nPersistentDict\n"
    b"c__builtin__\nobject\nNtR(dV_path\n(Vd\nVc\ntsV_using\nVdefault\nsV_is_hash\nI00\n"
    b"sV_timeout\nI60\nsV_serializer\nNsV_compressor\nNsV_key_type\nc__builtin__\nlong\n"
    b"sV_durable\nNsV_shards\nNsb."
)


def test_a_handle_that_an_older_release_has_pickled() -> None:
    mapping = pickle.loads(OLD_PICKLE)
    assert repr(mapping) == "<PersistentDict 'd/c' on 'default' (keys)>"
    options = mapping._options
    assert (options.timeout, options.key_type, options.durable) == (60, int, None)


def test_a_subclass_stays_one(make: Callable[..., PersistentDict[str, Any]]) -> None:
    class Settings(PersistentDict[str, Any]):
        pass

    settings = Settings("d", make()._options.using)
    assert type(settings.child("c")) is Settings
    assert type(copy.copy(settings)) is Settings


def test_the_repr_loads_nothing(make: Callable[..., PersistentDict[str, Any]]) -> None:
    mapping = make("name")
    layout = "hash" if mapping._options.hset_enabled else "keys"
    shown = f"<PersistentDict 'name' on 'test' ({layout})>"
    assert repr(mapping) == shown
    assert repr(mapping.keys()) == f"KeysView({shown})"
    assert repr(mapping.values()) == f"ValuesView({shown})"
    assert repr(mapping.items()) == f"ItemsView({shown})"
    assert repr(mapping.lock("l")) == f"<Lock 'l' of {shown}>"
    assert "_bound" not in vars(mapping)


def test_an_alias_is_named_before_it_exists() -> None:
    assert repr(PersistentDict("d", "unknown")) == "<PersistentDict 'd' on 'unknown' (hash)>"


def test_unknown_attributes_are_no_question_to_the_server(
    make: Callable[..., PersistentDict[str, Any]],
) -> None:
    with pytest.raises(AttributeError, match="'PersistentDict' object has no attribute 'has_key'"):
        make().has_key  # noqa: B018  # the point
    with pytest.raises(TypeError, match="name is int"):
        PersistentDict(5)


def test_children_are_dicts_of_their_own(make: Callable[..., PersistentDict[int, Any]]) -> None:
    mapping = make("shop", key_type=int, timeout=60)
    europe, asia = mapping.child("eu"), mapping.child("asia")
    germany = europe.child("de")
    family = (mapping, europe, asia, germany)
    for number, one in enumerate(family):
        one[number] = number
    assert [one.copy() for one in family] == [{0: 0}, {1: 1}, {2: 2}, {3: 3}]
    assert (germany.ttl(3) or 0) > 50
    assert germany.name == "shop/eu/de"
    assert mapping.child("eu").child("de") == germany
    europe.clear()
    assert len(germany) == len(mapping) == 1
    for one in (asia, germany):
        one.clear()
    with pytest.raises(TypeError, match="name is int"):
        mapping.child(5)


def test_a_child_is_not_a_dict_with_a_slash_in_its_name(
    make: Callable[..., PersistentDict[str, Any]],
) -> None:
    child, other = make("a").child("b"), make("a/b")
    child["k"] = "child"
    assert "k" not in other
    for name in ("", "/", "%", "}", "\0"):
        one = child.child(name)
        one["k"] = name
        assert one["k"] == name
        one.clear()
    child.clear()


def test_children_are_found_by_their_path(
    make: Callable[..., PersistentDict[str, Any]], backend: Any
) -> None:
    child = make("a").child("b/c")
    child["k"] = 1
    found, cursor = set(), b"0"
    while True:  # other tests may have left keys on the server, and a page may have none of ours
        page = backend.driver.run(find_dicts(backend.config.key_prefix, cursor))
        found |= set(page.dicts)
        cursor = page.cursor
        if cursor == b"0":
            break
    assert found == {FoundDict(("a", "b/c"), child._options.hset_enabled)}
    child.clear()


def test_a_dict_follows_the_settings(
    settings: Any, alias_for: Callable[..., dict[str, Any]], server_url: str
) -> None:
    """One that was made and used before, at the level of a module, too."""
    settings.REDISDICT = {"default": alias_for(server_url)}
    mapping = PersistentDict[str, int]("d")
    mapping["k"] = 1
    settings.REDISDICT = {"default": alias_for(server_url, TIMEOUT=60)}
    mapping["t"] = 2
    assert mapping.ttl("k") is None
    assert mapping.ttl("t") is not None
    mapping.clear()


@pytest.mark.parametrize("using", [None, 5, ["default"]])
def test_an_alias_is_a_name(using: Any) -> None:
    kind = type(using).__name__
    with pytest.raises(TypeError, match=f"using is {kind}; the name of an alias of REDISDICT"):
        PersistentDict("d", using=using)
