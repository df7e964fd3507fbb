"""After a migration what was stored before is a miss, for the new code and for the old one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from redisdict import ModelDict
from tests.modelcache.counting import queries

APP = "shop"

#: What happens to the gadgets' table.
MIGRATIONS = [
    migrations.AddField("gadget", "colour", models.CharField(max_length=20, default="red")),
    migrations.RemoveField("gadget", "weight"),
    migrations.RenameField("gadget", "name", "title"),
    migrations.AlterField("gadget", "weight", models.CharField(max_length=20)),
    migrations.AlterField("gadget", "name", models.CharField(max_length=5, null=True)),
]


class Deployment:
    """The table as the migrations so far have made it, and the model as the code then has it."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.state = ProjectState()

    def migrate(self, operation: Operation) -> None:
        before, after = self.state, self.state.clone()
        operation.state_forwards(APP, after)
        with connections[self.database].schema_editor() as editor:
            operation.database_forwards(APP, editor, before, after)
        self.state = after

    def model(self) -> Any:
        return self.state.apps.get_model(APP, "gadget")


@pytest.fixture
def deployment(database: str) -> Iterator[Deployment]:
    made = Deployment(database)
    made.migrate(
        migrations.CreateModel(
            "Gadget",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=50)),
                ("weight", models.IntegerField(default=7)),
            ],
        )
    )
    yield made
    made.migrate(migrations.DeleteModel("gadget"))


def values(row: models.Model) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_state"}


@pytest.mark.parametrize("operation", MIGRATIONS, ids=lambda operation: operation.describe())
def test_what_was_stored_before_is_a_miss(
    deployment: Deployment, server: str, operation: Operation
) -> None:
    old_model = deployment.model()
    old: ModelDict[Any] = ModelDict(old_model)
    pk = old_model.objects.create(name="Lamp").pk
    assert old[pk].weight == 7
    with queries(deployment.database) as asked:
        assert old[pk].weight == 7
    assert not asked

    deployment.migrate(operation)
    new_model = deployment.model()
    assert new_model is not old_model
    new: ModelDict[Any] = ModelDict(new_model)
    with queries(deployment.database) as asked:
        found = [new[pk], new.get_many([pk])[pk]]
    assert len(asked) == 1
    expected = values(new_model.objects.get(pk=pk))
    assert [values(row) for row in found] == [expected] * 2
    assert list(new) == [pk]
    assert new.stats().outages == 0


def test_old_and_new_processes_share_a_server_for_a_while(
    deployment: Deployment, server: str
) -> None:
    """A rolling deployment: each side reads what it can read, and neither gets the other's."""
    old_model = deployment.model()
    pk = old_model.objects.create(name="Lamp").pk
    old: ModelDict[Any] = ModelDict(old_model)
    deployment.migrate(MIGRATIONS[0])
    new: ModelDict[Any] = ModelDict(deployment.model())
    for _ in range(3):
        assert not hasattr(old[pk], "colour")
        assert new[pk].colour == "red"
        assert list(old) == []  # the new ones' rows are none of its own
        assert [row.colour for _, row in new.items()] == ["red"]
