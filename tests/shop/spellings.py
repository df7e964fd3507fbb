"""Models whose keys the database compares in its own way."""

from __future__ import annotations

from typing import Any

from django.db import models

from redisdict import CachedManager


class Word(models.Model):
    """Its table is made by the test, each time with another type of text."""

    spelling = models.CharField(max_length=10, primary_key=True)
    nick = models.CharField(max_length=10, unique=True)
    worth = models.IntegerField(default=0)

    objects = CachedManager()

    class Meta:
        managed = False

    def __str__(self) -> str:
        return self.spelling


class Translation(models.Model):
    """A part of its primary key is a word."""

    pk = models.CompositePrimaryKey("word_id", "language")
    word = models.ForeignKey(Word, models.CASCADE, db_constraint=False)
    language = models.CharField(max_length=5)
    text = models.CharField(max_length=10)

    objects = CachedManager()

    class Meta:
        managed = False

    def __str__(self) -> str:
        return self.text


class Weight(models.Model):
    grams = models.DecimalField(max_digits=30, decimal_places=2, primary_key=True)
    ounces = models.DecimalField(max_digits=12, decimal_places=4, unique=True)
    worth = models.IntegerField(default=0)

    objects = CachedManager()

    def __str__(self) -> str:
        return f"{self.grams} g"


class Moment(models.Model):
    at = models.DateTimeField(primary_key=True)
    until = models.DateTimeField(unique=True)
    worth = models.IntegerField(default=0)

    objects = CachedManager()

    def __str__(self) -> str:
        return str(self.at)


class Badge(models.Model):
    number = models.UUIDField(primary_key=True)
    address = models.GenericIPAddressField(unique=True)
    worth = models.IntegerField(default=0)

    objects = CachedManager()

    def __str__(self) -> str:
        return str(self.number)


class Reading(models.Model):
    """Keys of types that are rarely keys."""

    seal = models.BinaryField(primary_key=True)
    degrees = models.FloatField(unique=True)
    lasts: Any = models.DurationField(unique=True)
    worth = models.IntegerField(default=0)

    objects = CachedManager()

    def __str__(self) -> str:
        return str(self.degrees)


class Length(models.Model):
    metres = models.FloatField(primary_key=True)
    worth = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.metres} m"


class Day(models.Model):
    lasts: Any = models.DurationField(primary_key=True)
    worth = models.IntegerField(default=0)

    def __str__(self) -> str:
        return str(self.lasts)


class LowercaseField(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Made lower-case on the way to the database, as fields for e-mail addresses are."""

    def get_prep_value(self, value: Any) -> Any:
        prepared = super().get_prep_value(value)
        return None if prepared is None else prepared.lower()


class Mailbox(models.Model):
    address = LowercaseField(max_length=50, primary_key=True)
    worth = models.IntegerField(default=0)

    objects = CachedManager()

    def __str__(self) -> str:
        return f"mailbox {self.pk}"
