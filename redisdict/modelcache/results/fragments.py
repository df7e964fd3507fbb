"""Cache rendered parts of templates until one of their tables changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from django.apps import apps
from django.db import router
from django.utils import timezone, translation

from redisdict.codec import messagepack
from redisdict.exceptions import NotCacheable, SerializationError
from redisdict.modelcache.cached_models import CachedTable
from redisdict.modelcache.invalidation.reads import recording
from redisdict.modelcache.invalidation.statements import table_of
from redisdict.modelcache.model_dict import refuse_to_block
from redisdict.modelcache.options import Options
from redisdict.modelcache.plans import THREAD, run
from redisdict.modelcache.results.computation import Computation, Refusals
from redisdict.modelcache.results.dependencies import known_models
from redisdict.modelcache.results.space import ResultSpace


def render_kept(
    name: str,
    labels: Sequence[str],
    vary_on: Sequence[Any],
    source: str,
    render: Callable[[], str],
    *,
    timeout: float | None = None,
    using: str = "default",
) -> str:
    """Return the result of `render()`, cached until one of these models' tables changes.

    Args:
        name: of the fragment.
        labels: of models that `cache_results_of()` has named, such as "shop.Product".
        vary_on: values; for each combination the fragment is another. It is another for each
            language and time zone, too.
        source: the text of the template's part; for each it is another as well.

    Raises:
        NotCacheable: a model isn't among those, or a value can't be written.
    """
    refuse_to_block("{% cached_on %}", "await sync_to_async(template.render)(…)", "a template")
    where = f"The fragment {name!r}"
    models = known_models({table_of(apps.get_model(one)) for one in labels}, using, where)
    tables = tuple(one.table(router.db_for_write(one.model)) for one in models)
    declared = frozenset(table_of(part) for one in models for part in one.parts())
    if (outer := recording.get()) is not None:
        outer.tables |= declared  # on a hit no statement tells of them
    zone = timezone.get_current_timezone_name()
    try:
        packed = messagepack.dumps([source, translation.get_language(), zone, *vary_on])
    except SerializationError as error:
        raise NotCacheable(
            f"{where} can't be cached, because a value that it varies on can't be written: {error}"
            " Give, for example, a primary key in place of an instance."
        ) from error
    space = _space_of(name, tables, timeout)
    cell = space.cell(blake2b(packed, digest_size=16).hexdigest())
    if (kept := space.peek(cell)) is not None:
        found: str = kept[0]
        return found
    computation = Computation(render, tables, declared, space.refusals)
    text: str = run(space.table, space.lookup.find(cell, computation, computation.load, THREAD))
    return text


@lru_cache(maxsize=1024)
def _space_of(name: str, tables: tuple[CachedTable, ...], timeout: float | None) -> ResultSpace:
    options = Options(timeout=timeout, lease_timeout=30.0)
    return ResultSpace(("template", name), tables, options, Refusals(f"the fragment {name!r}"))
