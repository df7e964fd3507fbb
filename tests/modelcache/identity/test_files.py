"""Which database a file of SQLite is: by any path, put back from a backup, in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django.plugin import DjangoDbBlocker

from redisdict import ModelDict
from redisdict.modelcache import identity
from redisdict.modelcache.database_ids import id_of_file
from tests.modelcache.counting import queries
from tests.modelcache.places import another_alias, copy_sqlite
from tests.shop.models import Stamp


@pytest.fixture
def file(sqlite_alias: str, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Path]:
    """A database with the shop's tables."""
    path = tmp_path / "shop.sqlite3"
    with django_db_blocker.unblock():
        copy_sqlite(connections.settings[sqlite_alias]["NAME"], path)
        yield path


def test_a_file_in_the_place_of_another_by_hits_alone(
    sqlite_alias: str, server: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection is made that could notice; and ext4 gives the removed file's inode again."""
    monkeypatch.setattr(identity, "LOOK_EVERY_S", 0.0)
    with another_alias("restored", sqlite_alias, NAME=str(file)) as alias:
        stamps = ModelDict(Stamp, database=alias)
        Stamp.objects.using(alias).create(code="red", worth=1)
        connections[alias].close()
        backup = file.read_bytes()
        Stamp.objects.using(alias).update(worth=2)
        assert stamps["red"].worth == 2
        connections[alias].close()
        with queries(alias) as asked:
            assert stamps["red"].worth == 2
        assert not asked
        connections[alias].close()
        file.unlink()
        file.write_bytes(backup)
        assert stamps["red"].worth == 1


def test_a_file_has_another_name_once_it_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    first = id_of_file(str(path))
    path.write_bytes(b"2")
    assert id_of_file(str(path)) == first
    path.unlink()
    path.write_bytes(b"1")
    assert id_of_file(str(path)) != first


def test_one_file_by_two_paths(sqlite_alias: str, server: str, file: Path) -> None:
    """As SQLite itself takes them."""
    link = file.with_name("link")
    link.symlink_to(file)
    with (
        another_alias("one", sqlite_alias, NAME=str(file)) as one,
        another_alias("two", sqlite_alias, NAME=link) as two,
    ):
        first, second = ModelDict(Stamp, database=one), ModelDict(Stamp, database=two)
        Stamp.objects.using(one).create(code="red", worth=1)
        assert (first["red"].worth, second["red"].worth) == (1, 1)
        Stamp.objects.using(two).update(worth=2)
        assert first["red"].worth == 2


def test_a_file_by_a_uri(sqlite_alias: str, server: str, file: Path) -> None:
    with (
        another_alias("one", sqlite_alias, NAME=str(file)) as one,
        another_alias("two", sqlite_alias, NAME=f"file:{file}?mode=rw") as two,
    ):
        assert identity.place_of(one, Stamp) == identity.place_of(two, Stamp)


def test_a_file_in_the_place_of_another(
    sqlite_alias: str, server: str, tmp_path: Path, alias_for: Callable[..., Any]
) -> None:
    """A backup that is put back, say: the next connection leads to another file."""
    first, second = tmp_path / "first", tmp_path / "second"
    copy_sqlite(connections.settings[sqlite_alias]["NAME"], first)
    with another_alias("restored", sqlite_alias, NAME=str(first)) as alias:
        stamps = ModelDict(Stamp, database=alias)
        Stamp.objects.using(alias).create(code="red", worth=1)
        connections[alias].close()
        copy_sqlite(first, second)
        Stamp.objects.using(alias).update(worth=2)
        assert stamps["red"].worth == 2
        connections[alias].close()
        second.rename(first)
        connections[alias].ensure_connection()
        assert stamps["red"].worth == 1


IN_MEMORY = """
import sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "redisdict", "tests.shop"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[2]}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    REDISDICT={"default": {"LOCATION": sys.argv[1], "KEY_PREFIX": sys.argv[3]}},
    USE_TZ=True,
)
import django
django.setup()
from django.db import connection
from redisdict import ModelDict
from tests.shop.models import Stamp
with connection.schema_editor() as editor:
    editor.create_model(Stamp)
stamps = ModelDict(Stamp)
found = stamps.get("red")
Stamp.objects.create(code="red", worth=int(sys.argv[4]))
print(found, stamps["red"].worth, stamps["red"].worth)
"""


@pytest.mark.parametrize("name", [":memory:", "file:shop?mode=memory&cache=shared"])
def test_a_database_in_memory_is_its_process_s_own(
    name: str, valkey_url: str, key_prefix: str
) -> None:
    printed = [
        subprocess.check_output(
            [sys.executable, "-c", IN_MEMORY, valkey_url, name, key_prefix, str(worth)],
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
        )
        for worth in (1, 2)
    ]
    assert printed == ["None 1 1\n", "None 2 2\n"]
