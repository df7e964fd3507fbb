"""What the tests need of the machine, or the end of the test."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.modelcache.mariadb import MariadbMissing, MariadbServer
from tests.modelcache.postgres import PostgresCluster, PostgresMissing


def cluster_for_tests() -> PostgresCluster:
    """A cluster that isn't started, or the end of the test."""
    try:
        return PostgresCluster()
    except PostgresMissing as error:
        _end_without(error)


def mariadb_for_tests() -> MariadbServer:
    """A server that isn't started, or the end of the test."""
    try:
        return MariadbServer()
    except MariadbMissing as error:
        _end_without(error)


def _end_without(error: Exception) -> NoReturn:
    """A skip on a developer's machine, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, and no database may be missing there. {error}")
    pytest.skip(str(error))
