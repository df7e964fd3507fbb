"""Ways to change rows by way of others: of a parent, of a tree, of what a foreign key names."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.db.models import F

from tests.stress.modelcache.models import Leaf, Node, Office, Owner, Part, Place, Shop, step_of
from tests.stress.modelcache.subjects import LEAVES, NODES, PARTS, PLACES, state_of
from tests.stress.modelcache.unknown_ways import UnknownWays

__all__ = ["KIN_WAYS", "KinWays"]

KIN_WAYS = (
    "save_child",
    "update_child",
    "update_parent",
    "sql_on_parent",
    "move_node",
    "move_node_in_autocommit",
    "delete_owner",
    "make_owner",
    "change_part",
)


class KinWays(UnknownWays):
    def save_child(self) -> None:
        kind: Any = self.random.choice([Shop, Office])
        with transaction.atomic():
            pk = self.some_pk(PLACES)
            version = Place.objects.select_for_update().get(pk=pk).version + 1
            child = kind.objects.get(pk=pk)
            child.version = version
            child.save()
        self.publish(PLACES.item(pk), state_of(version))

    def update_child(self) -> None:
        kind: Any = self.random.choice([Shop, Office])
        kind.objects.filter(pk=(pk := self.some_pk(PLACES))).update(version=F("version") + 1)
        self.published(PLACES.item(pk))

    def update_parent(self) -> None:
        Place.objects.filter(pk=(pk := self.some_pk(PLACES))).update(version=F("version") + 1)
        self.published(PLACES.item(pk))

    def sql_on_parent(self) -> None:
        pk = self.some_pk(PLACES)
        self.execute(f"UPDATE modelcache_place SET version = version + 1 WHERE id = {pk}")
        self.published(PLACES.item(pk))

    def move_node(self) -> None:
        """As tree packages do: a statement for a whole subtree, and one for each parent."""
        with transaction.atomic():
            if connection.features.has_select_for_update:  # one at a time
                Node.objects.select_for_update().get(pk=1)
            move = self.some_move()
            if move is None:
                return
            old, new = move
            self.move_subtree(old, new)
            for parent, by in ((old, -1), (new, 1)):
                self.execute(
                    "UPDATE modelcache_node SET children = children + %s, version = version + 1"
                    " WHERE path = %s",
                    [by, parent[: -len(step_of(1))]],
                )
            changed = dict(Node.objects.values_list("pk", "version"))
        for pk, version in changed.items():
            self.publish(NODES.item(pk), state_of(version))

    def move_node_in_autocommit(self) -> None:
        """One statement that changes a subtree, visible to all at once."""
        path = Node.objects.values_list("path", flat=True).get(pk=self.some_pk(NODES))
        self.move_subtree(path, path)
        self.published(*map(NODES.item, Node.objects.values_list("pk", flat=True)))

    def some_move(self) -> tuple[str, str] | None:
        """The path of a node, and the one that it is to have under another parent."""
        paths = dict(Node.objects.values_list("pk", "path"))
        pk = self.random.choice(sorted(paths.keys() - {1}))
        old = paths[pk]
        parents = [path for path in paths.values() if not path.startswith(old)]
        new = self.random.choice(sorted(parents)) + step_of(pk)
        return None if new == old else (old, new)

    def move_subtree(self, old: str, new: str) -> None:
        self.execute(
            "UPDATE modelcache_node SET path = %s || substr(path, %s), version = version + 1"
            " WHERE path LIKE %s",
            [new, len(old) + 1, old + "%"],
        )

    def delete_owner(self) -> None:
        """The database takes the owner from its part and deletes its leaf."""
        pk = self.some_pk(PARTS)
        with transaction.atomic():
            leaf = Leaf.objects.select_for_update().filter(pk=pk).first()
            part = Part.objects.select_for_update().get(pk=pk)
            if leaf is None or part.owner_id is None:
                return
            self.note_deletion(LEAVES.item(pk), leaf.version + 1)
            how = self.random.randrange(3)
            if how == 0:
                Owner.objects.get(pk=pk).delete()
            elif how == 1:
                Owner.objects.filter(pk=pk)._raw_delete("default")  # type: ignore[attr-defined]  # the stubs lack it
            else:
                self.execute(f"DELETE FROM modelcache_owner WHERE id = {pk}")
        self.publish(LEAVES.item(pk), state_of(leaf.version + 1, is_deleted=True))
        self.publish(PARTS.item(pk), state_of(part.version, is_deleted=True))

    def make_owner(self) -> None:
        """Owners that are missing come back, with their part and their leaf."""
        present = set(Owner.objects.values_list("pk", flat=True))
        for pk in range(1, self.ledger.counts[PARTS] + 1):
            if pk in present:
                continue
            with transaction.atomic():
                version = self.version_after_deletion(LEAVES.item(pk))
                if version is None:
                    continue
                owner = Owner.objects.create(pk=pk)
                Leaf.objects.create(pk=pk, version=version, owner=owner)
                Part.objects.filter(pk=pk).update(owner=owner, version=F("version") + 1)
                part = Part.objects.get(pk=pk)
            self.publish(LEAVES.item(pk), state_of(version))
            self.publish(PARTS.item(pk), state_of(part.version))

    def change_part(self) -> None:
        pk = self.some_pk(PARTS)
        Part.objects.filter(pk=pk).update(version=F("version") + 1)
        Leaf.objects.filter(pk=pk).update(version=F("version") + 1)
        self.published(PARTS.item(pk), LEAVES.item(pk))

    def note_deletion(self, item: int, version: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO modelcache_deletion (row, version, is_undone) VALUES (%s, %s, %s)",
                [item, version, False],
            )
