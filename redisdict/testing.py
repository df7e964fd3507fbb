"""Isolate the dicts of a project's tests: a test finds no items of others and leaves none.

With pytest there is the fixture `isolated_dicts` (`redisdict.pytest_plugin`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test import override_settings

from redisdict import conf
from redisdict.connections.registry import get_client, used_aliases
from redisdict.mapping.background import BACKGROUND, finish_background
from redisdict.wire.scan import SMALL_COUNT

#: Keys that one UNLINK takes away.
CHUNK = 1000


@contextmanager
def isolated_dicts() -> Iterator[str]:
    """Give all aliases a KEY_PREFIX of this block's own, and delete its keys at the end.

    Dicts and model dicts that exist already use it as well. The servers stay those of the settings.
    Costs a SCAN of the keys of each server that was used; nothing else is touched there.

    Yields:
        The prefix.

    Raises:
        ConfigurationError: the settings are wrong, as at the first use of a dict.
    """
    prefix = f"test-{secrets.token_hex(8)}"
    configured: dict[str, Any] = getattr(settings, "REDISDICT", None) or {}
    isolated = {
        alias: {**configured.get(alias, {"CACHE": alias}), "KEY_PREFIX": prefix}
        for alias in conf.aliases()
    }
    with override_settings(REDISDICT=isolated):
        try:
            yield prefix
        finally:
            finish_background()  # it would store values behind
            for alias in used_aliases():
                _delete_below(alias, prefix)


def _delete_below(alias: str, prefix: str) -> None:
    client = get_client(alias)
    keys: list[bytes] = list(client.scan_iter(match=f"{prefix}:*", count=SMALL_COUNT))
    for start in range(0, len(keys), CHUNK):
        client.unlink(*keys[start : start + CHUNK])


@contextmanager
def computing_in_foreground() -> Iterator[None]:
    """Let `get_or_set()` and `@cached` compute before they return, never in the background.

    For tests in a transaction, such as Django's `TestCase`: other threads have database connections
    of their own and don't see the test's writes. `soft_timeout` then waits for the whole
    computation, and `refresh_ahead` returns the present value, as usual.

    `redisdict.finish_background()` waits for background work of other tests.
    """
    was_inline, BACKGROUND.is_inline = BACKGROUND.is_inline, True
    try:
        yield
    finally:
        BACKGROUND.is_inline = was_inline
