"""Follow relations of instances to cached rows and lists, each level in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Model, Prefetch
from django.db.models.query import prefetch_related_objects

from redisdict.connections.backend import Backend
from redisdict.exceptions import ConfigurationError
from redisdict.modelcache.cached_models import CachedModel, CachedTable
from redisdict.modelcache.handle import Handle
from redisdict.modelcache.lookup import PkLookup
from redisdict.modelcache.members import Members
from redisdict.modelcache.options import Options
from redisdict.modelcache.plans import Caller, Plan
from redisdict.modelcache.registrations import cached_models, register
from redisdict.modelcache.related.loading import UNLISTED
from redisdict.modelcache.related.lookup import ListLookup
from redisdict.modelcache.related.relations import (
    Relation,
    generic_target,
    is_generic,
    relation_of,
)
from redisdict.modelcache.related.together import together
from redisdict.wire.requests import Call


class ListHandle(Handle[Any]):
    """Finds the lists of one registration, as a `ModelDict` finds its rows."""

    def __init__(
        self, model: type[Model], members: Members, using: str | Backend, options: Options
    ) -> None:
        self._members = members
        super().__init__(model, members.by, using, options)

    def _bind(self) -> None:
        self._field = None
        self._lookups = {}
        self._cached = register(self.model, self._using, self._options, members=self._members)

    def _make_lookup(self, table: CachedTable) -> PkLookup[Any]:
        return ListLookup(table, self._options)


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """A relation whose rows, and lists if it has any, are kept."""

    relation: Relation
    rows: Handle[Any]
    lists: ListHandle | None


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    """A relation of some objects; `followed` is None if it is left to Django."""

    followed: Followed | None
    objects: list[Any]

    @property
    def key(self) -> tuple[int, ...]:
        return (id(self.followed), *map(id, self.objects))

    def behind(self) -> list[Any]:
        """The objects that it led to, after it was followed."""
        assert self.followed is not None
        held = self.followed.relation.held
        return [row for one in self.objects for row in held(one)]


class Follower:
    """Follows relations of the instances of one `ModelDict`.

    Args:
        using: the alias of REDISDICT.
        options: those of the dict.
    """

    def __init__(self, using: str | Backend, options: Options) -> None:
        self._using = using
        self._options = replace(
            options, exclude=(), near=None, absent_timeout=None, related=(), strict=False
        )
        self._known: dict[tuple[Any, ...], Followed | None] = {}

    def declare(self, model: type[Model], lookups: Iterable[str]) -> None:
        """Register the models to which these relations lead.

        Raises:
            ConfigurationError: there is no such attribute.
        """
        for lookup in lookups:
            one: Any = model
            for name in lookup.split("__"):
                if not hasattr(one, name):
                    raise ConfigurationError(
                        f"ModelDict({model._meta.label}, related=…): {lookup!r} is no chain of"
                        f" relations: {one._meta.label} has no {name!r}; names of relations are"
                        " expected, as prefetch_related() takes them."
                    )
                relation = relation_of(one, name)
                if relation is None:
                    break
                register(relation.target, self._using, self._options)
                if relation.lists is not None:
                    listed, members = relation.lists
                    register(listed, self._using, self._options, members=members)
                one = relation.target

    def follow(
        self, instances: Sequence[Any], lookups: Sequence[str | Prefetch[Any]], caller: Caller
    ) -> Plan[None]:
        """Put the related objects into the instances' caches; the rest is left to Django.

        One round trip for all relations of a level, and one more for those that have lists. Rows
        that no dict keeps, or that can't be kept, are read from the database, one query for each
        relation.

        Raises:
            AttributeError, ValueError: as `prefetch_related_objects()`, for a name that is no
                relation.
        """
        # A `Prefetch` has a queryset or an attribute of its own.
        left: dict[Any, None] = {one: None for one in lookups if not isinstance(one, str)}
        ways = [(one, one.split("__"), list(instances)) for one in lookups if isinstance(one, str)]
        while ways:
            hops: dict[tuple[Any, ...], Hop] = {}
            by_way = []
            for lookup, names, objects in ways:
                if is_generic(type(objects[0]), names[0]):
                    found = yield Call(self._hops, (names[0], objects))
                else:
                    found = self._hops(names[0], objects)
                if any(hop.followed is None for hop in found):
                    left[lookup] = None
                    found = [hop for hop in found if hop.followed is not None]
                by_way.append([hops.setdefault(hop.key, hop) for hop in found])
            fetching = [self._fetch(hop, caller) for hop in hops.values()]
            complete = yield from together(fetching)
            done = {
                hop.key for hop, is_done in zip(hops.values(), complete, strict=True) if is_done
            }
            further = []
            for (lookup, names, _), found in zip(ways, by_way, strict=True):
                if not all(hop.key in done for hop in found):
                    left[lookup] = None
                elif lookup not in left and len(names) > 1:
                    behind = {id(row): row for hop in found for row in hop.behind()}
                    further.append((lookup, names[1:], list(behind.values())))
            ways = [way for way in further if way[2]]
        if left:
            yield Call(prefetch_related_objects, (list(instances), *left))

    def _hops(self, name: str, objects: Sequence[Any]) -> list[Hop]:
        """The relation of this name, for the objects of each class."""
        groups: dict[int, Hop] = {}
        for one in objects:
            followed = self._followed(one, name)
            groups.setdefault(id(followed), Hop(followed, [])).objects.append(one)
        return list(groups.values())

    def _followed(self, instance: Any, name: str) -> Followed | None:
        kind = type(instance)
        key: tuple[Any, ...] = (kind, name, len(cached_models()))
        if key in self._known:
            return self._known[key]
        relation = relation_of(kind, name)
        if relation is None and (relation := generic_target(instance, name)) is not None:
            key = (*key, relation.target)
            if key in self._known:
                return self._known[key]
        elif relation is None and is_generic(kind, name):
            return None  # another instance of the class may lead somewhere
        self._known[key] = found = self._find(relation)
        return found

    def _find(self, relation: Relation | None) -> Followed | None:
        if relation is None:
            return None
        rows = _registered(relation.target, self._using, None)
        if rows is None:
            return None
        if relation.key is not None and not relation.key.unique:
            return None  # but for a constraint, by which rows can't be looked up
        key = "pk" if relation.key is None else relation.key.name
        handle: Handle[Any] = Handle(relation.target, key, self._using, self._options_of(rows))
        if relation.lists is None:
            return Followed(relation, handle, None)
        listed, members = relation.lists
        lists = _registered(listed, self._using, members)
        if lists is None:
            return None
        options = self._options_of(lists)
        return Followed(relation, handle, ListHandle(listed, members, self._using, options))

    def _options_of(self, cached: CachedModel) -> Options:
        return replace(
            self._options, barrier_timeout=cached.barrier_ms / 1000, shards=cached.shards
        )

    def _fetch(self, hop: Hop, caller: Caller) -> Plan[bool]:
        """Put the objects of one relation into caches; return whether that was possible for all."""
        followed = hop.followed
        assert followed is not None
        relation = followed.relation
        instances = [one for one in hop.objects if not relation.is_cached(one)]
        rows_lookup = yield from _lookup_of(followed.rows)
        database = rows_lookup.table.database
        if any(one._state.db not in (None, database) for one in instances):
            return False
        values = {id(one): relation.source(one) for one in instances}
        wanted = list(dict.fromkeys(value for value in values.values() if value is not None))
        keys = {value: [value] for value in wanted}
        encode: Callable[[Any], bytes] | None = None
        if followed.lists is not None and wanted:
            lists_lookup = yield from _lookup_of(followed.lists)
            found = yield from lists_lookup.find_lists(wanted, caller)
            if found is None or UNLISTED in found.values():
                return False
            keys = found
            encode = lists_lookup.table.key_form.encode if relation.has else None
        pks = list(dict.fromkeys(pk for some in keys.values() for pk in some))
        rows: dict[Any, Any] = {}
        if pks:
            rows = yield from rows_lookup.find_near(pks, caller)

        def put_all() -> bool:
            is_complete = True
            for one in instances:
                value = values[id(one)]
                some = [] if value is None else keys[value]
                members = [row for pk in some if (row := rows.get(pk)) is not None]
                if followed.lists is not None and (
                    len(members) != len(some)
                    or not (encode is None or _are_in(members, relation.has, value, encode))
                ):
                    is_complete = False  # one has moved, or has gone
                    continue
                chosen = relation.chosen
                relation.put(one, [row for row in members if chosen is None or chosen(row, one)])
            return is_complete

        if relation.chosen is None:
            return put_all()
        is_complete: bool = yield Call(put_all)
        return is_complete


def _are_in(rows: Iterable[Any], attname: str, value: Any, encode: Callable[[Any], bytes]) -> bool:
    """Whether rows still have the value by which they were listed."""
    cell = encode(value)
    has = [getattr(row, attname) for row in rows]
    return all(one is not None and encode(one) == cell for one in has)


def _registered(
    model: type[Model], using: str | Backend, members: Members | None
) -> CachedModel | None:
    """The registration that caches a model's whole rows, or lists of them."""
    return next(
        (
            one
            for one in cached_models()
            if one.model is model
            and one.using == using
            and one.members == members
            and not one.is_whole
            and not one.is_version
            and not one.exclude
        ),
        None,
    )


def _lookup_of(handle: Handle[Any]) -> Plan[Any]:
    """The lookup of the table in use; in Django's thread where its connection has to tell."""
    lookup = handle._known_lookup()
    if lookup is None:
        lookup = yield Call(handle._lookup, ())
    return lookup
