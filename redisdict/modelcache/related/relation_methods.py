"""Define the methods of `ModelDict` that follow relations of its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models import Prefetch
from django.db.models.manager import BaseManager

from redisdict.modelcache.cached_models import concrete_of
from redisdict.modelcache.handle import Handle, refuse_to_block
from redisdict.modelcache.invalidation.hooks import when_models_are_ready
from redisdict.modelcache.plans import TASK, THREAD, arun, run
from redisdict.modelcache.related.following import Follower

M = TypeVar("M", bound=models.Model)


class RelationMethods(Handle[M]):
    """Methods that follow relations: foreign keys, their reverse, many-to-many and generic ones."""

    def _bind(self) -> None:
        super()._bind()
        self.__dict__.pop("_follower", None)
        if self._options.related:
            when_models_are_ready(
                partial(self._follower.declare, self.model, self._options.related)
            )

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_follower"}

    @cached_property
    def _follower(self) -> Follower:
        return Follower(self._using, self._options)

    def prefetch(self, instances: Iterable[M], *lookups: str | Prefetch[Any]) -> None:
        """Fill the instances' caches of related objects from rows and lists on the server.

        Then `instance.category` and `instance.tags.all()` send nothing. One round trip for all
        foreign keys of a level, and two for reverse, many-to-many and generic relations. Relations
        that no dict caches are read from the database, as by `prefetch_related_objects()`.

        Args:
            instances: of the model; relations that they have loaded already are left as they are.
            lookups: names of relations, or chains of them, such as "category__parent"; a
                `Prefetch` is left to Django.

        Raises:
            AttributeError, ValueError: a name is no relation, as in `prefetch_related()`.
            TypeError: an instance is of another model.
        """
        refuse_to_block("prefetch()", "await d.aprefetch(…)")
        if objects := self._checked_instances(instances):
            run(self._lookup().table, self._follower.follow(objects, lookups, THREAD))

    async def aprefetch(self, instances: Iterable[M], *lookups: str | Prefetch[Any]) -> None:
        """As `prefetch()`."""
        if objects := self._checked_instances(instances):
            table = (await self._alookup()).table
            await arun(table, self._follower.follow(objects, lookups, TASK))

    def get_related(self, instance: M, name: str) -> Any:
        """Get the related objects of one relation: a row, or None, or a list of rows.

        Costs the same as `prefetch()`; afterwards the instance has them.

        Raises:
            AttributeError, ValueError: there is no such relation, or the name has several.
        """
        refuse_to_block("get_related()", "await d.aget_related(…)")
        self.prefetch([instance], _one_name(name))
        return _related_of(instance, name)

    async def aget_related(self, instance: M, name: str) -> Any:
        """As `get_related()`."""
        await self.aprefetch([instance], _one_name(name))
        return _related_of(instance, name)

    def _checked_instances(self, instances: Iterable[M]) -> Sequence[M]:
        objects = list(instances)
        concrete = concrete_of(self.model)
        for one in objects:
            if not isinstance(one, concrete):
                raise TypeError(
                    f"{one!r:.80} is {type(one).__name__}; instances of"
                    f" {self.model._meta.label} are expected."
                )
        return objects


def _one_name(name: str) -> str:
    if "__" in name:
        raise ValueError(
            f"get_related() got {name!r}, which names several relations; one is expected. Use"
            " prefetch()."
        )
    return name


def _related_of(instance: Any, name: str) -> Any:
    try:
        value = getattr(instance, name)
    except ObjectDoesNotExist:
        return None
    return list(value.all()) if isinstance(value, BaseManager) else value
