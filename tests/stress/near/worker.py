"""One of the processes: it reads all items in threads and tasks, and changes its own."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import signal
import threading
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from tests.stress.near.board import Board
from tests.stress.near.items import PLACES, Item, open_backend, open_dict, promises_of
from tests.stress.near.judge import Judge
from tests.stress.near.reading import Breaches, Reading
from tests.stress.near.without import PLAIN_RULES, RULES
from tests.stress.near.writing import Writing


class InTasks:
    """The writes of a dict, each in a task of an event loop that runs in another thread."""

    def __init__(self, mapping: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._mapping = mapping
        self._loop = loop

    def _run(self, writing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(writing, self._loop).result()

    def __setitem__(self, key: str, value: Any) -> None:
        self._run(self._mapping.aset(key, value))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._mapping, f"a{name}")
        return lambda *arguments, **options: self._run(method(*arguments, **options))


def work(directory: Path, process: int) -> None:
    """Read and write until the board says stop."""
    faulthandler.register(signal.SIGUSR1)
    given = json.loads((directory / "given").read_text())
    if given["without"]:
        {**RULES, **PLAIN_RULES}[given["without"]]()
    board = Board(directory / "board")
    judge = Judge(board)
    breaches = Breaches(directory / "breaches")
    backend = open_backend(given["location"], given["prefix"], given["tracking"])
    promises = promises_of(process)
    dicts: dict[Any, dict[Any, Any]] = {
        near: {place: open_dict(backend, place, near) for place in PLACES} for near in promises
    }
    hits_before = board.hits(process)

    def reading(lane: int, near: float | str) -> Reading:
        def tell(item: Item, what: str) -> None:
            breaches.tell(process, near, item, what)

        return Reading(
            board, judge, process, lane, near, dicts[near], tell, given["rest_ms"] / 1000
        )

    loop = asyncio.new_event_loop()
    in_turn = promises if len(promises) > 1 else promises * 2
    threads = [
        threading.Thread(target=reading(lane, near).run) for lane, near in enumerate(in_turn)
    ]

    async def work_in_tasks() -> None:
        lanes = enumerate(in_turn, len(in_turn))
        await asyncio.gather(*(reading(lane, near).arun() for lane, near in lanes))
        await asyncio.to_thread(writer.join)
        await backend.aclose()

    threads.append(threading.Thread(target=loop.run_until_complete, args=(work_in_tasks(),)))
    own: Any = dicts[promises[0]]
    if process % 2:
        own = {place: InTasks(mapping, loop) for place, mapping in own.items()}
    writing = Writing(
        board,
        process,
        own,
        backend.client().ping,
        partial(breaches.tell, process, "own"),
        given["pause_ms"] / 1000,
    )
    writer = threading.Thread(target=writing.run)
    # The loop's is the last to end, for the writer may have a task done there.
    for thread in (writer, *threads):
        thread.start()

    def note_hits() -> None:
        stats = [mapping.near_stats() for mapping in dicts[promises[0]].values()]
        board.note_hits(process, hits_before + sum(each.hits for each in stats))

    while not board.is_stopped:
        note_hits()
        time.sleep(0.02)
    for thread in (*threads, writer):
        thread.join()
    note_hits()
    backend.close()
    loop.close()
