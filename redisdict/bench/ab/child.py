"""Run one side of `redisbench ab`: make and time blocks of calls, on request.

It is started by its path, with another checkout's root in PYTHONPATH or by another environment's
Python, so it uses only what the package has had since its first release: the public API.
Each line of its input names a call; each line of its output begins with "fine" or "failed".
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TASKS = 50
TEXT = "x" * 100
VALUE = {"name": "A product of some kind", "price": 12.5, "tags": ["a", "b", "c"], "stock": 7}
KEYS = [f"product:{number}" for number in range(100)]


class Call:
    """One kind of call.

    Args:
        function: the function to call; with an event loop, a coroutine function.
        each: the first arguments, which the calls take in turn.
        rest: the other arguments, the same in all calls.
        expected: the reply that every call must get.
        count: calls in a timed block; half as many are made before it, untimed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        each: Sequence[Any],
        *rest: Any,
        expected: Callable[[Any], bool],
        count: int = 10,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._function = function
        self._each = itertools.cycle(each)
        self._rest = rest
        self._is_expected = expected
        self._count = count
        self._loop = loop

    def block(self) -> str:
        """Nanoseconds of the timed calls, and how many these were."""
        before = [(next(self._each), *self._rest) for _ in range(max(1, self._count // 2))]
        timed = [(next(self._each), *self._rest) for _ in range(self._count)]
        if self._loop is None:
            self._run(before)
            duration_ns, replies = self._run(timed)
        else:
            duration_ns, replies = self._loop.run_until_complete(self._run_async(before, timed))
        if not all(map(self._is_expected, replies)):
            raise ValueError(f"got {replies!r:.200}")
        return f"{duration_ns} {self._count}"

    def _run(self, calls: Sequence[tuple[Any, ...]]) -> tuple[int, list[Any]]:
        function = self._function
        started_ns = time.perf_counter_ns()
        replies = [function(*arguments) for arguments in calls]
        return time.perf_counter_ns() - started_ns, replies

    async def _run_async(
        self, before: Sequence[Any], timed: Sequence[Any]
    ) -> tuple[int, list[Any]]:
        function = self._function
        for arguments in before:
            await function(*arguments)
        started_ns = time.perf_counter_ns()
        replies = [await function(*arguments) for arguments in timed]
        return time.perf_counter_ns() - started_ns, replies


def main() -> None:
    side: dict[str, Any] = json.loads(sys.argv[1])
    set_up_django(side)
    with asyncio.Runner() as runner:
        calls = dict(itertools.chain(dicts(runner.get_loop()), caches(), model_dicts()))
        gc.collect()
        gc.freeze()
        gc.disable()
        print("fine:", ",".join(calls), flush=True)
        for line in sys.stdin:
            name = line.strip()
            try:
                print("fine:", calls[name].block(), flush=True)
            except Exception as error:  # noqa: BLE001 - the parent shows it
                print(f"failed: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
            if "tasks" in name:
                gc.collect()


def set_up_django(side: dict[str, Any]) -> None:
    """Configure the least that a project needs.

    Args:
        side: `url` of its server, `prefix` of its keys, further keys of its `alias`, and the
            `root` that the package has to come from; None is whatever is installed.
    """
    import django
    from django.conf import settings

    url, prefix = side["url"], side["prefix"]
    entry = {"BACKEND": "redisdict.cache.DictCache", "LOCATION": url, "KEY_PREFIX": prefix}
    settings.configure(
        INSTALLED_APPS=["redisdict"],
        REDISDICT={"default": {"LOCATION": url, "KEY_PREFIX": prefix, **side["alias"]}},
        CACHES={"default": entry} if has_cache() else {},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
    )
    django.setup()
    # That a ModelDict is made late is told to projects, of which this is none.
    logging.getLogger("redisdict").setLevel(logging.ERROR)
    import redisdict

    found = Path(redisdict.__file__ or "").resolve()
    root = side["root"]
    if root is not None and not found.is_relative_to(Path(root).resolve()):
        raise SystemExit(f"redisdict comes from {found}, not from {root}.")


def has_cache() -> bool:
    return find_spec("redisdict.cache") is not None


def dicts(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[str, Call]]:
    from redisdict import PersistentDict

    for layout, is_hash in (("hash", True), ("keys", False)):
        items: Any = PersistentDict(layout, hset_enabled=is_hash)
        items.set_many(dict.fromkeys(KEYS, TEXT))
        yield f"{layout} get", Call(items.get, KEYS, expected=is_text)
        yield f"{layout} set", Call(items.set, KEYS, TEXT, expected=is_none)
        yield f"{layout} in", Call(items.__contains__, KEYS, expected=bool)
        yield f"{layout} get_many(100)", Call(items.get_many, [KEYS], expected=are_all, count=4)
        yield f"{layout} aget", Call(items.aget, KEYS, expected=is_text, loop=loop)
        yield f"{layout} aset", Call(items.aset, KEYS, TEXT, expected=is_none, loop=loop)

        async def get_each(keys: Sequence[str], items: Any = items) -> Any:
            return await asyncio.gather(*map(items.aget, keys))

        some = [KEYS[:TASKS], KEYS[TASKS:]]
        yield (
            f"{layout} aget in {TASKS} tasks",
            Call(get_each, some, expected=are_texts, count=4, loop=loop),
        )


def caches() -> Iterator[tuple[str, Call]]:
    if not has_cache():
        return
    from django.core.cache import cache

    cache.set_many(dict.fromkeys(KEYS, VALUE))
    yield "cache get", Call(cache.get, KEYS, expected=lambda reply: bool(reply == VALUE))
    yield "cache set", Call(cache.set, KEYS, VALUE, 600, expected=lambda reply: reply is not False)


def model_dicts() -> Iterator[tuple[str, Call]]:
    from django.db import connection, models

    from redisdict import CachedManager, ModelDict

    class Product(models.Model):
        name = models.CharField(max_length=100)
        slug = models.SlugField(unique=True)
        price = models.DecimalField(max_digits=10, decimal_places=2)
        stock = models.IntegerField()
        created_at = models.DateTimeField(auto_now_add=True)

        objects = CachedManager()

        class Meta:
            app_label = "redisdict"

        def __str__(self) -> str:
            return self.name

    products: Any = Product
    with connection.schema_editor() as editor:
        editor.create_model(products)
    for key in KEYS:
        products.objects.create(name=key, slug=key.replace(":", "-"), price="12.50", stock=7)
    pks = list(products.objects.values_list("pk", flat=True))
    slugs = list(products.objects.values_list("slug", flat=True))
    by_pk, by_slug = ModelDict(products), ModelDict(products, key="slug")
    for keys, rows in ((pks, by_pk), (slugs, by_slug)):
        rows.get_many(keys)
    last = by_pk[pks[-1]]

    def save(number: int) -> None:
        last.stock = number
        last.save(update_fields=["stock"])

    yield "ModelDict hit", Call(by_pk.__getitem__, pks, expected=is_product)
    yield "ModelDict hit by another field", Call(by_slug.__getitem__, slugs, expected=is_product)
    yield (
        "ModelDict get_many(90)",
        Call(by_pk.get_many, [pks[:90]], expected=lambda rows: len(rows) == 90, count=2),
    )
    yield "save() of a kept row", Call(save, range(1000), expected=is_none, count=4)


def is_text(reply: Any) -> bool:
    return bool(reply == TEXT)


def are_texts(replies: Any) -> bool:
    return len(replies) == TASKS and all(map(is_text, replies))


def are_all(found: Any) -> bool:
    return bool(found == dict.fromkeys(KEYS, TEXT))


def is_none(reply: Any) -> bool:
    return reply is None


def is_product(row: Any) -> bool:
    return type(row).__name__ == "Product"


if __name__ == "__main__":
    main()
