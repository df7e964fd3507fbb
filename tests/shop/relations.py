"""Models that are related in every way there is."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models

__all__ = ["Comment", "Label", "Note", "Shelf", "Slot"]


class Label(models.Model):
    id = models.BigAutoField(primary_key=True)
    text = models.CharField(max_length=50)
    parent: Any = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")

    def __str__(self) -> str:
        return self.text


class Comment(models.Model):
    """On a row of any model."""

    id = models.BigAutoField(primary_key=True)
    text = models.CharField(max_length=50)
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True)
    object_id = models.CharField(max_length=50, null=True)  # noqa: DJ001  # of nothing
    about: Any = GenericForeignKey("content_type", "object_id")

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return self.text


class Shelf(models.Model):
    id = models.BigAutoField(primary_key=True)
    code = models.CharField(max_length=50, unique=True)
    label = models.ForeignKey(Label, models.SET_NULL, null=True)
    labels: Any = models.ManyToManyField(Label, related_name="shelves")
    comments: Any = GenericRelation(Comment)

    def __str__(self) -> str:
        return self.code


class Slot(models.Model):
    """Points at another field than a primary key, and has an order of its own."""

    id = models.BigAutoField(primary_key=True)
    shelf = models.ForeignKey(Shelf, models.CASCADE, to_field="code", related_name="slots")
    place = models.IntegerField()

    class Meta:
        ordering = ("-place",)

    def __str__(self) -> str:
        return f"{self.place} of {self.shelf_id}"


class Note(models.Model):
    """One for each shelf, or none."""

    shelf = models.OneToOneField(Shelf, models.CASCADE, primary_key=True)
    text = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.text
