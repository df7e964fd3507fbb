"""The row that is read: eleven fields of the usual kinds."""

from __future__ import annotations

from django.db import models

from redisdict import CachedManager


class Fields(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    description = models.TextField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField()
    is_active = models.BooleanField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    sku = models.UUIDField()
    rating = models.FloatField(null=True)

    class Meta:
        abstract = True


class Product(Fields):
    """Kept by a `ModelDict`."""

    objects = CachedManager()

    def __str__(self) -> str:
        return self.name


class PlainProduct(Fields):
    """Kept by none: what the ORM itself costs."""

    objects = models.Manager()

    def __str__(self) -> str:
        return self.name


class OtherProduct(Fields):
    """Kept by the other caches."""

    objects = models.Manager()

    def __str__(self) -> str:
        return self.name
