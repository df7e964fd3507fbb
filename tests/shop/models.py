"""A shop, for the tests of the model cache: every kind of model that can be cached."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.db import models
from django.db.models.functions import Upper

from redisdict import CachedManager


class Named(models.Model):
    """Without a table: its heirs have the fields in their own."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Category(Named):
    pass


class Product(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True, null=True)  # noqa: DJ001  # unique, where there is one
    description = models.TextField(default="", blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=1)
    stock = models.IntegerField(default=0)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(null=True)
    released_on = models.DateField(null=True)
    sku = models.UUIDField(null=True)
    rating = models.FloatField(null=True)
    category = models.ForeignKey(Category, models.SET_NULL, null=True, blank=True)
    tags: Any = models.ManyToManyField("Tag", blank=True)

    objects = CachedManager()
    plain = models.Manager()  # noqa: DJ012  # it is a manager, too

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return self.name


class ProductProxy(Product):
    class Meta:
        proxy = True


class Book(Product):
    """A table of its own beside its parent's."""

    pages = models.IntegerField(default=0)


class Signed(models.Model):
    """A second parent, with a primary key of another name."""

    signed_id = models.BigAutoField(primary_key=True)
    signature = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.signature


class SignedBook(Book, Signed):  # type: ignore[misc]  # two managers of one name; Book's wins
    copies = models.IntegerField(default=1)


class Tag(Named):
    pass


class Stamp(models.Model):
    """Its primary key is text."""

    code = models.CharField(max_length=50, primary_key=True)
    worth = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.code


class Point:
    """What a field of somebody's own may give."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]  # it can be changed


class PointField(models.Field):  # type: ignore[type-arg]  # not subscriptable at run time
    def get_internal_type(self) -> str:
        return "CharField"

    def from_db_value(self, value: str | None, *_: Any) -> Point | None:
        return None if value is None else Point(*map(int, value.split(",")))

    def to_python(self, value: Any) -> Any:
        return self.from_db_value(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else f"{value.x},{value.y}"

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.get_prep_value(self.value_from_object(obj)))


class Place(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)
    name_in_capitals = models.GeneratedField(
        expression=Upper("name"), output_field=models.CharField(max_length=50), db_persist=True
    )
    at = PointField(max_length=50, null=True)
    facts: Any = models.JSONField(default=dict)
    opens_for = models.DurationField(null=True)
    opens_at = models.TimeField(null=True)
    picture = models.FileField(null=True)
    seal = models.BinaryField(null=True)

    def __str__(self) -> str:
        return self.name


class Price(models.Model):
    pk = models.CompositePrimaryKey("product_id", "currency")
    product = models.ForeignKey(Product, models.CASCADE, related_name="prices")
    currency = models.CharField(max_length=3)
    amount = models.IntegerField()

    objects = CachedManager()

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class ShortManager(models.Manager["Announced"]):
    """Leaves a column out of every query, and adds one."""

    def get_queryset(self) -> models.QuerySet[Announced]:
        return super().get_queryset().defer("name").annotate(one=models.Value(1))


class Review(models.Model):
    """Changed by the database itself, where Django can have it do that."""

    id = models.BigAutoField(primary_key=True)
    text = models.CharField(max_length=50)
    product = models.ForeignKey(Product, getattr(models, "DB_CASCADE", models.CASCADE))
    tag = models.ForeignKey(Tag, getattr(models, "DB_SET_NULL", models.SET_NULL), null=True)

    def __str__(self) -> str:
        return self.text


class Event(models.Model):
    """With fields that only PostgreSQL has."""

    id = models.BigAutoField(primary_key=True)
    scores: Any = ArrayField(models.IntegerField(), default=list)
    during: Any = DateTimeRangeField(null=True)

    class Meta:
        required_db_vendor = "postgresql"

    def __str__(self) -> str:
        return f"Event {self.pk}"


class Announced(models.Model):
    """Whose instances are made in a way of their own."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)

    objects = models.Manager()
    short = ShortManager()

    class Meta:
        base_manager_name = "short"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_db(cls, *arguments: Any, **options: Any) -> Announced:
        made = super().from_db(*arguments, **options)
        made.was_loaded = True
        return made

    was_loaded = False


class AnnouncedShortly(Announced):
    class Meta:
        proxy = True
        default_manager_name = "short"


from tests.shop import odd as _odd  # noqa: E402, F401  # Django finds models in models.py
from tests.shop.relations import (  # noqa: E402, F401  # Django looks for models here
    Comment,
    Label,
    Note,
    Shelf,
    Slot,
)
from tests.shop.spellings import (  # noqa: E402, F401  # Django looks for models here
    Badge,
    Day,
    Length,
    Mailbox,
    Moment,
    Reading,
    Translation,
    Weight,
    Word,
)
