"""Find out what a model's relation leads to, and from which rows and lists it can be read.

A relation has one or two levels: from a value of the instance to rows, as for a foreign key; or to
a list of keys, and from there to the rows. Other relations are left to Django: those with managers
that filter rows, or with an order that isn't by columns of one table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models.fields import related_descriptors as descriptors
from django.db.models.manager import BaseManager

from redisdict.modelcache.cached_models import concrete_of
from redisdict.modelcache.members import Members


@dataclass(frozen=True, slots=True)
class Relation:
    """The target of one attribute of a model.

    Attributes:
        name: the attribute.
        target: the model of the rows.
        key: the field by which the rows are looked up; None for the primary key.
        source: returns the value of an instance to look up; None leads to no row.
        lists: the model and the form of the lists; None where the value names the row itself.
        put: puts the rows that were found into the caches of an instance.
        is_cached: returns whether an instance already has the related objects.
        held: returns the rows that it has.
        has: the attribute of a row with the value, if the row itself shows that it is in the list.
        chosen: returns whether a row with the value belongs to the instance; None where all do.
    """

    name: str
    target: type[models.Model]
    key: models.Field[Any, Any] | None
    source: Callable[[Any], Any]
    lists: tuple[type[models.Model], Members] | None
    put: Callable[[Any, list[Any]], None]
    is_cached: Callable[[Any], bool]
    held: Callable[[Any], list[Any]]
    has: str = ""
    chosen: Callable[[Any, Any], bool] | None = None


def relation_of(model: type[models.Model], name: str) -> Relation | None:
    """Return the relation of a model's attribute; None for one that is left to Django."""
    descriptor: Any = getattr(model, name, None)
    kind = type(descriptor)
    if kind in (
        descriptors.ForwardManyToOneDescriptor,
        descriptors.ForwardOneToOneDescriptor,
    ):
        return _forward(name, descriptor.field)
    if kind is descriptors.ReverseOneToOneDescriptor:
        return _reverse_one(name, descriptor.related)
    if kind is descriptors.ReverseManyToOneDescriptor:
        return _reverse_many(name, descriptor.rel)
    if kind is descriptors.ManyToManyDescriptor:
        return _many_to_many(name, descriptor.rel.field, is_reverse=descriptor.reverse)
    if apps.is_installed("django.contrib.contenttypes"):
        return _generic(model, name)
    return None


def _forward(name: str, field: Any) -> Relation | None:
    if len(field.related_fields) != 1:
        return None
    target = field.remote_field.model
    to = field.target_field
    back = None if field.remote_field.multiple else field.remote_field

    def put(instance: Any, found: list[Any]) -> None:
        row = found[0] if found else None
        field.set_cached_value(instance, row)
        if row is not None and back is not None:
            back.set_cached_value(row, instance)

    return Relation(
        name,
        target,
        None if to.primary_key else to,
        lambda instance: getattr(instance, field.attname),
        None,
        put,
        field.is_cached,
        _held_row(field),
    )


def _reverse_one(name: str, related: Any) -> Relation | None:
    field = related.field
    if len(field.related_fields) != 1:
        return None

    def put(instance: Any, found: list[Any]) -> None:
        row = found[0] if found else None
        related.set_cached_value(instance, row)
        if row is not None:
            field.set_cached_value(row, instance)

    return Relation(
        name,
        related.related_model,
        None,
        _value_of(field.target_field),
        (concrete_of(field.model), Members(field.attname)),
        put,
        related.is_cached,
        _held_row(related),
        has=field.attname,
    )


def _reverse_many(name: str, rel: Any) -> Relation | None:
    field, target = rel.field, rel.related_model
    order = _order_of(target)
    if len(field.related_fields) != 1 or order is None or not _shows_all(target):
        return None

    def put(instance: Any, found: list[Any]) -> None:
        for row in found:
            if not field.is_cached(row):
                field.set_cached_value(row, instance)
        _put_list(instance, name, rel.cache_name, found)

    return Relation(
        name,
        target,
        None,
        _value_of(field.target_field),
        (concrete_of(field.model), Members(field.attname, order=order)),
        put,
        _is_prefetched(rel.cache_name),
        _held_list(rel.cache_name),
        has=field.attname,
    )


def _many_to_many(name: str, field: Any, *, is_reverse: bool) -> Relation | None:
    through = field.remote_field.through
    ends = [field.m2m_field_name(), field.m2m_reverse_field_name()]
    source, to = (through._meta.get_field(end) for end in (reversed(ends) if is_reverse else ends))
    target = field.model if is_reverse else field.remote_field.model
    if not _shows_all(target) or _order_of(target) != ():
        return None
    if len(source.related_fields) != 1 or len(to.related_fields) != 1:
        return None
    cache_name = field.related_query_name() if is_reverse else field.name
    key = to.target_field
    return Relation(
        name,
        target,
        None if key.primary_key else key,
        _value_of(source.target_field),
        (through, Members(source.attname, gives=to.attname, order=(to.attname,))),
        lambda instance, found: _put_list(instance, name, cache_name, found),
        _is_prefetched(cache_name),
        _held_list(cache_name),
    )


def _generic(model: type[models.Model], name: str) -> Relation | None:
    from django.contrib.contenttypes.fields import GenericRelation

    field: Any = next((one for one in model._meta.private_fields if one.name == name), None)
    if not isinstance(field, GenericRelation):
        return None  # a GenericForeignKey leads to several models: see `generic_target()`
    target: Any = field.remote_field.model
    order = _order_of(target)
    if order is None or not _shows_all(target):
        return None
    type_field = target._meta.get_field(field.content_type_field_name)
    id_field = target._meta.get_field(field.object_id_field_name)
    rows_type = type_field.attname

    def chosen(row: Any, instance: Any) -> bool:
        return bool(getattr(row, rows_type) == _content_type(field, instance).pk)

    return Relation(
        name,
        target,
        None,
        lambda instance: instance.pk,
        (concrete_of(id_field.model), Members(id_field.attname, order=order)),
        lambda instance, found: _put_list(instance, name, field.attname, found),
        _is_prefetched(field.attname),
        _held_list(field.attname),
        has=id_field.attname,
        chosen=chosen,
    )


def _content_type(field: Any, instance: Any) -> Any:
    from django.contrib.contenttypes.models import ContentType

    types = ContentType.objects.db_manager(instance._state.db)
    return types.get_for_model(instance, for_concrete_model=field.for_concrete_model)


def is_generic(model: type[models.Model], name: str) -> bool:
    """Whether an attribute needs the content types of the database."""
    return any(one.name == name for one in model._meta.private_fields)


def generic_target(instance: Any, name: str) -> Relation | None:
    """Return the target of this instance's GenericForeignKey; None if it has none.

    The content type is asked of the database once for each.
    """
    if not apps.is_installed("django.contrib.contenttypes"):
        return None
    from django.contrib.contenttypes.fields import GenericForeignKey

    field: Any = next((one for one in instance._meta.private_fields if one.name == name), None)
    if type(field) is not GenericForeignKey:
        return None
    type_id = getattr(instance, instance._meta.get_field(field.ct_field).attname)
    model = None
    if type_id is not None:
        known = field.get_content_type(id=type_id, using=instance._state.db)
        model = known.model_class()
    if model is None:
        return None

    def source(one: Any) -> Any:
        value = getattr(one, field.fk_field)
        return None if value is None else model._meta.pk.to_python(value)

    return Relation(
        name,
        model,
        None,
        source,
        None,
        lambda one, found: field.set_cached_value(one, found[0] if found else None),
        field.is_cached,
        _held_row(field),
    )


def _value_of(field: Any) -> Callable[[Any], Any]:
    name = field.attname
    return lambda instance: getattr(instance, name)


def _held_row(cache: Any) -> Callable[[Any], list[Any]]:
    def held(instance: Any) -> list[Any]:
        row = cache.get_cached_value(instance, default=None)
        return [] if row is None else [row]

    return held


def _held_list(cache_name: str) -> Callable[[Any], list[Any]]:
    return lambda instance: list(instance._prefetched_objects_cache[cache_name])


def _is_prefetched(cache_name: str) -> Callable[[Any], bool]:
    return lambda instance: cache_name in getattr(instance, "_prefetched_objects_cache", ())


def _put_list(instance: Any, name: str, cache_name: str, found: list[Any]) -> None:
    """As `prefetch_related_objects()` does it."""
    if not hasattr(instance, "_prefetched_objects_cache"):
        instance._prefetched_objects_cache = {}
    rows = getattr(instance, name).get_queryset()
    rows._result_cache = found
    rows._prefetch_done = True
    instance._prefetched_objects_cache[cache_name] = rows


def _shows_all(model: type[models.Model]) -> bool:
    """Whether a related manager, of the default manager's class, filters no rows."""
    return type(model._default_manager).get_queryset is BaseManager.get_queryset


def _order_of(model: type[models.Model]) -> tuple[str, ...] | None:
    """The model's own order, as columns of one table; None if it is by anything else."""
    order: list[str] = []
    for one in model._meta.ordering or ():
        if not isinstance(one, str):
            return None
        try:
            field: Any = model._meta.get_field(one.lstrip("-"))
        except FieldDoesNotExist:
            return None
        if field.primary_key and not one.startswith("-"):
            break  # what comes behind it orders nothing
        if field.is_relation or field not in model._meta.concrete_fields:
            return None
        order.append(one)
    return tuple(order)
