"""While `migrate` runs, nobody reads a row as it was before a migration that is over."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from redisdict import ModelDict
from redisdict.modelcache.invalidation import migrations
from tests.modelcache.counting import queries
from tests.modelcache.elsewhere import elsewhere
from tests.moving import scales
from tests.moving.models import Parcel


class Failed(Exception):
    pass


@pytest.fixture
def parcels(database: str, server: str) -> Any:
    call_command("migrate", "moving", "0001", database=database, verbosity=0)
    yield ModelDict(Parcel, database=database)
    call_command("migrate", "moving", "zero", database=database, verbosity=0)


@pytest.fixture
def parcel(database: str, parcels: ModelDict[Parcel]) -> Parcel:
    made = Parcel.objects.using(database).create(name="fresh")
    assert parcels[made.pk].weight == 0
    return made


def test_between_two_migrations(
    database: str,
    parcel: Parcel,
    parcels: ModelDict[Parcel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def look(alias: str) -> None:
        row = elsewhere(lambda: parcels[parcel.pk])
        seen.append((row.name, row.weight))
        client = parcels._lookup().table.backend.client()
        seen.append(client.get(parcels._lookup().table.store.table_key)[:1])

    monkeypatch.setattr(scales, "on_load", look)
    call_command("migrate", "moving", database=database, verbosity=0)
    assert seen == [("weighed", 5), b"B"]  # new, and the table is closed
    assert parcels[parcel.pk].weight == 5
    with queries(database) as asked:
        assert parcels[parcel.pk].weight == 5
    assert not asked, "the table is still closed"


def test_a_later_migration_fails(
    database: str,
    parcel: Parcel,
    parcels: ModelDict[Parcel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(alias: str) -> None:
        raise Failed

    monkeypatch.setattr(scales, "on_load", fail)
    with pytest.raises(Failed):
        call_command("migrate", "moving", database=database, verbosity=0)
    assert parcels[parcel.pk].weight == 5
    # The barrier ends by itself; or the next migrations take it down.
    monkeypatch.undo()
    call_command("migrate", "moving", database=database, verbosity=0)
    assert parcels[parcel.pk].weight == 5
    with queries(database) as asked:
        assert parcels[parcel.pk].weight == 5
    assert not asked
    assert not migrations._closings


def test_long_migrations_renew_the_barrier(
    database: str, parcel: Parcel, parcels: ModelDict[Parcel]
) -> None:
    closing = migrations._Closing(database)
    table = parcels._lookup().table
    client = table.backend.client()
    connection = connections[database]
    with connection.execute_wrapper(closing.execute), connection.cursor() as cursor:
        client.delete(table.store.table_key)  # as if its time were over
        cursor.execute("SELECT 1")
        assert client.get(table.store.table_key) is None  # it isn't due yet
        closing._renewed_at -= table.cached.barrier_ms
        cursor.execute("SELECT 1")
        assert client.get(table.store.table_key)[:1] == b"B"
    closing.end()
    assert client.get(table.store.table_key) is None
