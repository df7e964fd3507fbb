"""What readers may see: rows that are hidden from some, and scopes that tell readers apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from redisdict import ComputedDict, ModelDict
from redisdict.exceptions import ConfigurationError
from redisdict.modelcache import identity
from tests.modelcache.beneath import change_unseen
from tests.modelcache.counting import queries
from tests.shop.models import Product, Stamp


@pytest.fixture
def guests(postgres_alias: str, server: str) -> Iterator[Callable[[str], None]]:
    """Each guest sees one row. What makes the connection a guest's."""
    for sql in (
        "CREATE ROLE guest",
        "GRANT ALL ON shop_stamp TO guest",
        "ALTER TABLE shop_stamp ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON shop_stamp USING (code = current_setting('app.guest', true))",
        "INSERT INTO shop_stamp VALUES ('ann', 1), ('bob', 2)",
    ):
        change_unseen(postgres_alias, sql)
    identity.forget_names()

    def enter(name: str) -> None:
        with connections[postgres_alias].cursor() as cursor:
            cursor.execute("SET ROLE guest")
            cursor.execute("SELECT set_config('app.guest', %s, false)", [name])

    yield enter
    connections[postgres_alias].close()
    for sql in (
        "DROP POLICY own ON shop_stamp",
        "ALTER TABLE shop_stamp DISABLE ROW LEVEL SECURITY",
        "REVOKE ALL ON shop_stamp FROM guest",
        "DROP ROLE guest",
        "DELETE FROM shop_stamp",
    ):
        change_unseen(postgres_alias, sql)


def test_results_of_tables_with_hidden_rows(
    postgres_alias: str, guests: Callable[[str], None]
) -> None:
    worth = ComputedDict(
        "worth",
        depends_on=[Stamp],
        compute=lambda: sorted(Stamp.objects.using(postgres_alias).values_list("worth", flat=True)),
        database=postgres_alias,
    )
    assert worth.get() == [1, 2], "the owner sees all"
    for name, seen in (("bob", [2]), ("ann", [1])):
        guests(name)
        assert worth.get() == seen


def test_a_relation_with_hidden_rows(postgres_alias: str, guests: Callable[[str], None]) -> None:
    table = "shop_product_tags"
    change_unseen(postgres_alias, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    identity.forget_names()
    computed = ComputedDict(
        "tags", depends_on=[Product], compute=lambda: 3, database=postgres_alias
    )
    try:
        guests("ann")
        assert [computed.get(), computed.get()] == [3, 3]
        assert (computed.stats().hits, computed.stats().fills) == (0, 0)
    finally:
        connections[postgres_alias].close()  # which is a guest's
        change_unseen(postgres_alias, f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        identity.forget_names()


def test_hidden_rows_without_a_scope(postgres_alias: str, guests: Callable[[str], None]) -> None:
    """Nobody has said who may see what, so nobody is given what another was."""
    stamps = ModelDict(Stamp, database=postgres_alias)
    assert stamps["ann"].worth == 1, "the owner sees all"
    guests("bob")
    assert stamps.get("ann") is None
    assert stamps["bob"].worth == 2
    guests("ann")
    assert stamps.get("bob") is None
    assert stamps.get_many(["ann", "bob"]).keys() == {"ann"}
    assert "ann" not in [row.code for row in _as("bob", guests, stamps)]
    assert "bob" not in [row.code for row in _as("ann", guests, stamps)]


def _as(name: str, guests: Callable[[str], None], stamps: ModelDict[Stamp]) -> list[Stamp]:
    """The rows that a guest finds on the server."""
    guests(name)
    return list(stamps.values())


def test_what_readers_may_see(postgres_alias: str, server: str) -> None:
    """Row-level security: a row that one reader was given isn't another's."""
    change_unseen(postgres_alias, "CREATE ROLE guest")
    change_unseen(postgres_alias, "GRANT ALL ON shop_stamp TO guest")
    change_unseen(postgres_alias, "ALTER TABLE shop_stamp ENABLE ROW LEVEL SECURITY")
    change_unseen(
        postgres_alias,
        "CREATE POLICY own ON shop_stamp USING (code = current_setting('app.guest', true))",
    )
    change_unseen(postgres_alias, "INSERT INTO shop_stamp VALUES ('ann', 1), ('bob', 2)")
    guest = []

    def scope(model: Any, alias: str) -> str:
        return guest[-1]

    def enter(name: str) -> None:
        guest.append(name)
        with connections[postgres_alias].cursor() as cursor:
            cursor.execute("SELECT set_config('app.guest', %s, false)", [name])

    stamps = ModelDict(Stamp, database=postgres_alias, scope=scope)
    change_unseen(postgres_alias, "SET ROLE guest")
    try:
        enter("ann")
        assert stamps["ann"].worth == 1
        assert stamps.get("bob") is None
        enter("bob")
        assert stamps.get("ann") is None
        assert stamps["bob"].worth == 2
        enter("ann")
        assert stamps["ann"].worth == 1
        Stamp.objects.using(postgres_alias).update(worth=7)
        assert stamps["ann"].worth == 7
        enter("bob")
        assert stamps["bob"].worth == 2
    finally:
        change_unseen(postgres_alias, "RESET ROLE")
        change_unseen(postgres_alias, "DROP POLICY own ON shop_stamp")
        change_unseen(postgres_alias, "ALTER TABLE shop_stamp DISABLE ROW LEVEL SECURITY")
        change_unseen(postgres_alias, "REVOKE ALL ON shop_stamp FROM guest")
        change_unseen(postgres_alias, "DROP ROLE guest")
        change_unseen(postgres_alias, "DELETE FROM shop_stamp")
        connections[postgres_alias].close()


current: list[str] = []


def current_guest(model: Any, alias: str) -> str:
    return current[-1]


def test_a_scope_by_the_settings(
    postgres_alias: str,
    guests: Callable[[str], None],
    valkey_url: str,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    values = {**alias_for(valkey_url), "SCOPE": f"{__name__}.current_guest"}
    with override_settings(REDISDICT={"default": values}):
        stamps = ModelDict(Stamp, database=postgres_alias)
        for name, other in (("ann", "bob"), ("bob", "ann"), ("ann", "bob")):
            current.append(name)
            guests(name)
            assert stamps[name].code == name
            assert stamps.get(other) is None
        with queries(postgres_alias) as asked:
            assert stamps["ann"].worth == 1
        assert not asked
        assert [row.code for row in stamps.values()] == ["ann"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.scope", r'REDISDICT\["default"\]\["SCOPE"\] is \'nowhere.scope\', which can'),
        (f"{__name__}.current", r"a list; a function of a model and an alias of DATABASES is"),
        (5, r'REDISDICT\["default"\]\["SCOPE"\] is int; a string or None is expected'),
    ],
)
def test_a_scope_that_is_none(
    path: Any,
    message: str,
    database: str,
    valkey_url: str,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    values = {**alias_for(valkey_url), "SCOPE": path}
    with (
        override_settings(REDISDICT={"default": values}),
        pytest.raises(ConfigurationError, match=message),
    ):
        ModelDict(Product).get(1)


def test_a_scope_that_gives_no_text(database: str, server: str) -> None:
    products = ModelDict(Product, scope=lambda model, alias: 5)  # type: ignore[arg-type, return-value]  # what is refused
    with pytest.raises(TypeError, match=r"scope of ModelDict\(shop.Product\) gave 5, which is int"):
        products.get(1)


def test_no_more_scopes_are_remembered_than_there_is_use_for(
    database: str, tea: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.cached_models.MOST_SCOPES", 5)
    monkeypatch.setattr("redisdict.modelcache.handle.MOST_SCOPES", 5)
    products = ModelDict(Product, scope=current_guest)
    for number in range(20):
        current.append(str(number))
        assert products[tea.pk].name == "Tea"
    assert len(products._lookups) <= 6
    tea.name = "Coffee"
    tea.save()
    assert products[tea.pk].name == "Coffee", "a writer of any scope"
