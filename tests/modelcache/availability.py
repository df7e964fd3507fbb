"""What the tests need of the machine, or the end of the test."""

from __future__ import annotations

from typing import Literal

from tests.missing import end_without
from tests.modelcache.mariadb import MariadbMissing, MariadbServer
from tests.modelcache.postgres import PostgresCluster, PostgresMissing


def cluster_for_tests(listen: Literal["unix", "tcp"] = "unix") -> PostgresCluster:
    """A cluster that isn't started, or the end of the test."""
    try:
        return PostgresCluster(listen)
    except PostgresMissing as error:
        end_without(error)


def mariadb_for_tests() -> MariadbServer:
    """A server that isn't started, or the end of the test."""
    try:
        return MariadbServer()
    except MariadbMissing as error:
        end_without(error)
