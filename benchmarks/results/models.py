"""What is read: products of the usual kinds of fields, each with its category."""

from __future__ import annotations

from typing import Any

from django.db import models

from benchmarks.results.settings import KIND, OURS, RESULTS, ROWS

manager: Any = models.Manager
if KIND in OURS:
    from redisdict import CachedManager

    manager = CachedManager


class Category(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)

    objects = manager()

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
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
    category = models.ForeignKey(Category, models.CASCADE)

    objects = manager()

    def __str__(self) -> str:
        return self.name


if KIND in ROWS:
    from redisdict import ModelDict

    products = ModelDict(Product)

if KIND in RESULTS:
    from redisdict import cache_results_of

    cache_results_of(Product, Category)
