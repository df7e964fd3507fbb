"""What the processes fight over.

None of the models has a manager of the package's: what is cached has to be right without.
"""

from __future__ import annotations

from django.db import models


class Row(models.Model):
    """Every change of a row has a higher version than the one before it."""

    id = models.BigAutoField(primary_key=True)
    code = models.CharField(max_length=20, unique=True)
    version = models.IntegerField()
    name = models.CharField(max_length=100, default="a row like any other")
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.pk} in version {self.version}"


class Shown(models.Model):
    """A second model of the table of `Row`, which has fewer of its columns."""

    id = models.BigAutoField(primary_key=True)
    version = models.IntegerField()
    code = models.CharField(max_length=20)

    class Meta:
        db_table = "modelcache_row"
        managed = False

    def __str__(self) -> str:
        return f"{self.pk} shown in version {self.version}"


def code_of(pk: int) -> str:
    """What a row can be looked up by, beside its primary key."""
    return f"row {pk}"


class Deletion(models.Model):
    """Deleted rows leave their version here; who makes the row again goes on from it.

    Only one may: two who went on from the same version would give the row one that it had before.
    """

    id = models.BigAutoField(primary_key=True)
    row = models.BigIntegerField()
    version = models.IntegerField()
    is_undone = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.row} deleted in version {self.version}"


class Bump(models.Model):
    """When one is inserted, a trigger raises the version of the `Row` that it names."""

    id = models.BigAutoField(primary_key=True)
    row = models.BigIntegerField()

    def __str__(self) -> str:
        return f"of row {self.row}"


class Place(models.Model):
    """Each place is a shop and an office as well: two children of one parent row."""

    id = models.BigAutoField(primary_key=True)
    version = models.IntegerField()

    def __str__(self) -> str:
        return f"place {self.pk} in version {self.version}"


class Shop(Place):
    goods = models.CharField(max_length=100, default="tea")


class Office(Place):
    desks = models.IntegerField(default=1)


class Node(models.Model):
    """A tree by materialised paths: a node's begins with its parent's and ends with its own key."""

    id = models.BigAutoField(primary_key=True)
    path = models.CharField(max_length=255)
    children = models.IntegerField(default=0)
    version = models.IntegerField()

    def __str__(self) -> str:
        return f"node {self.path} in version {self.version}"


def step_of(pk: int) -> str:
    """What a node adds to the path of its parent."""
    return f"{pk:04}"


class Owner(models.Model):
    """What it means that one is deleted, only the database knows."""

    id = models.BigAutoField(primary_key=True)

    def __str__(self) -> str:
        return f"owner {self.pk}"


class Part(models.Model):
    """Loses its owner (ON DELETE SET NULL), and gets one again in the next version."""

    id = models.BigAutoField(primary_key=True)
    version = models.IntegerField()
    owner = models.ForeignKey(
        Owner, models.DO_NOTHING, null=True, db_constraint=False, related_name="parts"
    )

    class Meta:
        managed = False
        db_table = "modelcache_part"

    def __str__(self) -> str:
        return f"part {self.pk} in version {self.version}"


class Leaf(models.Model):
    """Goes with its owner (ON DELETE CASCADE); there is another in the next version."""

    id = models.BigAutoField(primary_key=True)
    version = models.IntegerField()
    owner = models.ForeignKey(Owner, models.DO_NOTHING, db_constraint=False, related_name="leaves")

    class Meta:
        managed = False
        db_table = "modelcache_leaf"

    def __str__(self) -> str:
        return f"leaf {self.pk} in version {self.version}"
