"""A thousand readers, in several processes, that miss the same row at the same moment.

`python -m tests.stress.modelcache.crowd` prints how many queries that took, as JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.sharedctypes import RawArray
from typing import Any

from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program
from tests.modelcache.postgres import PostgresCluster
from tests.stress.modelcache.__main__ import set_up_django

#: The query takes so long: everybody is there before it is answered.
QUERY_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=125, help="of each process")
    arguments = parser.parse_args()
    given = argparse.Namespace(database="postgres", isolation="read committed", cache="modeldict")
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(find_program("redis"), listen="tcp"))
        cluster = stack.enter_context(PostgresCluster())
        set_up_django(given, server.url, cluster.settings())
        result = read_together(arguments.processes, arguments.threads)
    print(json.dumps({**vars(arguments), **result}))
    return 0


def read_together(processes: int, threads: int) -> dict[str, int]:
    """How many rows the readers got, and how many queries they needed for that."""
    from django.db import connection

    from redisdict import ModelDict
    from tests.stress.modelcache.models import Row, code_of

    with connection.schema_editor() as editor:
        editor.create_model(Row)
    Row.objects.create(pk=1, code=code_of(1), version=1)
    connection.close()  # a forked process must not use it
    rows = ModelDict(Row, lease_timeout=30)
    queries, found = (RawArray(ctypes.c_long, processes) for _ in range(2))
    context = multiprocessing.get_context("fork")
    start = context.Barrier(processes)

    def work(number: int) -> None:
        got: list[Any] = []

        def count(execute: Callable[..., Any], *arguments: Any) -> Any:
            queries[number] += 1
            time.sleep(QUERY_S)
            return execute(*arguments)

        def read() -> None:
            with connection.execute_wrapper(count):
                got.append(rows[1].version)
            connection.close()

        readers = [threading.Thread(target=read) for _ in range(threads)]
        start.wait()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        found[number] = sum(got)

    workers = [context.Process(target=work, args=(number,)) for number in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"found": sum(found), "queries": sum(queries)}


if __name__ == "__main__":
    sys.exit(main())
