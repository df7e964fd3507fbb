"""Models for the codec's tests: one with every field type that works on every database."""

from typing import Any

from django.db import models
from django.db.models.functions import Upper


class Color(models.TextChoices):
    RED = "r", "red"
    BLUE = "b", "blue"


class Size(models.IntegerChoices):
    SMALL = 1, "small"
    LARGE = 2, "large"


class Author(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class EveryField(models.Model):
    auto = models.BigAutoField(primary_key=True)
    big_integer = models.BigIntegerField()
    binary = models.BinaryField()
    boolean = models.BooleanField()
    char = models.CharField(max_length=100)
    color = models.CharField(max_length=1, choices=Color)
    size = models.IntegerField(choices=Size)
    date = models.DateField()
    datetime = models.DateTimeField()
    decimal = models.DecimalField(max_digits=20, decimal_places=5)
    duration = models.DurationField()
    email = models.EmailField()
    file = models.FileField()
    file_path = models.FilePathField()
    float = models.FloatField()
    foreign_key = models.ForeignKey(Author, models.CASCADE, related_name="+")
    generated = models.GeneratedField(
        expression=Upper("char"), output_field=models.CharField(max_length=100), db_persist=True
    )
    generic_ip_address = models.GenericIPAddressField()
    image = models.FileField(null=True)
    integer = models.IntegerField()
    json: Any = models.JSONField()
    nothing = models.IntegerField(null=True)
    one_to_one = models.OneToOneField(Author, models.CASCADE, related_name="+")
    positive_big_integer = models.PositiveBigIntegerField()
    positive_integer = models.PositiveIntegerField()
    positive_small_integer = models.PositiveSmallIntegerField()
    slug = models.SlugField()
    small_integer = models.SmallIntegerField()
    text = models.TextField()
    time = models.TimeField()
    url = models.URLField()
    uuid = models.UUIDField()

    def __str__(self) -> str:
        return self.char


class Child(Author):
    """A table of its own beside its parent's."""

    age = models.IntegerField()


class AuthorProxy(Author):
    class Meta:
        proxy = True
