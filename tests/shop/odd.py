"""Models whose instances are more than the values of their columns, as those of public packages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models.query import ModelIterable
from django.utils.safestring import mark_safe

__all__ = ["Animal", "Colour", "Dog", "Leaf", "Page", "Patient", "Remembering", "Visit"]


class Colour(models.TextChoices):
    RED = "r"
    BLUE = "b"


class ColourField(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Gives members of an enum, as django-enumfields does."""

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        return self.to_python(value)

    def to_python(self, value: Any) -> Any:
        return None if value is None else Colour(value)


class HalfColourField(ColourField):
    """Can't make a member of what fixtures have."""

    def to_python(self, value: Any) -> Any:
        return value

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        return None if value is None else Colour(value)


class MarkupField(models.TextField):  # type: ignore[type-arg]
    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return None if value is None else mark_safe(value)


class Page(models.Model):
    id = models.BigAutoField(primary_key=True)
    colour = ColourField(max_length=1, null=True)
    half_colour = HalfColourField(max_length=1, null=True)
    markup = MarkupField(null=True)

    def __str__(self) -> str:
        return f"Page {self.pk}"


class _RealClasses(ModelIterable):  # type: ignore[type-arg]
    """Gives a row as an instance of the child it belongs to, as django-polymorphic does."""

    def __iter__(self) -> Iterator[Any]:
        for row in super().__iter__():
            is_child = type(row) is Animal and row.kind == "dog"
            yield Dog.objects.get(pk=row.pk) if is_child else row


class PolymorphicManager(models.Manager["Animal"]):
    def get_queryset(self) -> models.QuerySet[Animal]:
        rows = super().get_queryset()
        rows._iterable_class = _RealClasses
        return rows


class Animal(models.Model):
    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=10)

    objects = PolymorphicManager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return self.kind


class Dog(Animal):
    tricks = models.IntegerField(default=0)


class BranchManager(models.Manager["Leaf"]):
    """Adds to every row what isn't of it."""

    def get_queryset(self) -> models.QuerySet[Leaf]:
        rows = super().get_queryset().select_related("tree").prefetch_related("leaves")
        rows = rows.extra(select={"three": "1 + 2"})
        return rows.annotate(four=models.Value(4))


class Leaf(models.Model):
    id = models.BigAutoField(primary_key=True)
    tree = models.ForeignKey("self", models.CASCADE, null=True, related_name="leaves")

    objects = BranchManager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"Leaf {self.pk}"


class NumberingQuerySet(models.QuerySet["Visit"]):
    """Sets an attribute of its own on what it has fetched."""

    def _fetch_all(self) -> None:
        super()._fetch_all()
        for number, row in enumerate(self._result_cache or ()):
            row.number = number


class Visit(models.Model):
    id = models.BigAutoField(primary_key=True)
    number: int

    objects = NumberingQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return f"Visit {self.pk}"


class _Tracker:
    """Knows its instance and what the fields were, as that of django-model-utils does."""

    def __init__(self, instance: Remembering) -> None:
        self.instance = instance
        self.saved = {"name": instance.__dict__.get("name")}

    def has_changed(self) -> bool:
        return self.saved["name"] != self.instance.name


class _Rated:
    """A base behind Model, whose __init__() Django calls."""

    def __init__(self) -> None:
        super().__init__()
        self.rating = [5]


class Remembering(models.Model, _Rated):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.made_at = time.monotonic_ns()
        self.tracker = _Tracker(self)

    def __str__(self) -> str:
        return self.name


class Patient(models.Model, _Rated):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)
    ssn = models.CharField(max_length=50)
    doctor = models.ForeignKey(Remembering, models.CASCADE, null=True)
    number = models.IntegerField(unique=True, null=True)

    def __str__(self) -> str:
        return self.name
