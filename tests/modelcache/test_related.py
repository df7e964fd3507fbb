"""What relations lead to, from the cells of rows and lists: the same as `prefetch_related()`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, models, transaction
from django.db.models import Prefetch, prefetch_related_objects

from redisdict import ConfigurationError, ModelDict
from redisdict.modelcache.related import following, relations
from tests.modelcache.counting import queries
from tests.shop.models import (
    AnnouncedShortly,
    Book,
    Category,
    Comment,
    Label,
    Note,
    Product,
    Shelf,
    Slot,
    Tag,
)

NAMES = ("label", "labels", "slots", "note", "comments")


@pytest.fixture(autouse=True)
def _own_content_types() -> Iterator[None]:
    ContentType.objects.clear_cache()
    yield
    ContentType.objects.clear_cache()


@pytest.fixture
def shelves(server: str) -> ModelDict[Shelf]:
    return ModelDict(Shelf, related=(*NAMES, "label__parent", "slots__shelf"))


@pytest.fixture
def filled(database: str, shelves: ModelDict[Shelf]) -> list[Shelf]:
    """Shelves with everything, and one with nothing; all of it is on the server."""
    top = Label.objects.create(text="top")
    labels = [Label.objects.create(text=f"label {n}", parent=top) for n in range(3)]
    made = [Shelf.objects.create(code=f"shelf {n}", label=labels[n]) for n in range(2)]
    for n, shelf in enumerate(made):
        shelf.labels.set(labels[n:])
        Note.objects.create(shelf=shelf, text=f"note {n}")
        for place in (1, 3, 2):
            Slot.objects.create(shelf=shelf, place=place)
        Comment.objects.create(text=f"comment {n}", about=shelf)
        Comment.objects.create(text="not it", about=labels[n])
    made.append(Shelf.objects.create(code="empty"))
    shelves.prefetch(fresh(), *NAMES, "label__parent")
    return fresh()


def fresh() -> list[Shelf]:
    return list(Shelf.objects.order_by("pk"))


def everything(shelf: Shelf) -> dict[str, Any]:
    """What relations of a shelf lead to."""
    return {
        "label": shelf.label and shelf.label.text,
        "labels": sorted(one.text for one in shelf.labels.all()),
        "slots": [one.place for one in shelf.slots.all()],
        "note": getattr(getattr(shelf, "note", None), "text", None),
        "comments": [one.text for one in shelf.comments.all()],
    }


def plain() -> list[dict[str, Any]]:
    found = fresh()
    prefetch_related_objects(found, *NAMES)
    return [everything(shelf) for shelf in found]


def test_what_is_kept_asks_nothing(
    filled: list[Shelf], shelves: ModelDict[Shelf], database: str
) -> None:
    with queries(database) as asked:
        shelves.prefetch(filled, *NAMES, "label__parent", "slots__shelf")
        got = [everything(shelf) for shelf in filled]
        assert [shelf.label and shelf.label.parent.text for shelf in filled] == ["top", "top", None]
        slot = filled[0].slots.all()[0]
        assert slot.shelf is filled[0]
        assert filled[0].note.shelf is filled[0]
    assert not asked
    assert got == plain()
    assert got[0]["slots"] == [3, 2, 1]
    labels = filled[0].labels.all()
    assert list(labels) == sorted(labels, key=lambda label: label.pk)
    assert got[2] == {"label": None, "labels": [], "slots": [], "note": None, "comments": []}


def test_rows_are_shared(filled: list[Shelf], shelves: ModelDict[Shelf]) -> None:
    Shelf.objects.update(label=filled[0].label_id)
    found = fresh()
    shelves.prefetch(found, "label")
    assert found[0].label is found[1].label


async def test_the_same_in_tasks(
    filled: list[Shelf], shelves: ModelDict[Shelf], database: str
) -> None:
    from asgiref.sync import sync_to_async

    await shelves.aprefetch(filled, *NAMES, "label__parent")
    assert [everything(shelf) for shelf in filled] == await sync_to_async(plain)()
    again = await sync_to_async(fresh)()
    label = await shelves.aget_related(again[0], "label")
    assert label is again[0].label
    assert len(await shelves.aget_related(again[0], "slots")) == 3
    with pytest.raises(SynchronousOnlyOperation, match="aprefetch"):
        shelves.prefetch(again, "label")
    with pytest.raises(SynchronousOnlyOperation, match="aget_related"):
        shelves.get_related(again[0], "label")
    await shelves.aprefetch([], "label")


def test_round_trips(
    filled: list[Shelf], shelves: ModelDict[Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A level of foreign keys is one, and one of lists two, however many relations."""
    driver: Any = shelves._lookup().table.backend.driver
    sent: list[Any] = []
    run = driver.run

    def count(operation: Any) -> Any:
        def counted() -> Any:
            answer, step = None, operation.send
            try:
                while True:
                    request = step(answer)
                    sent.append(request)
                    try:
                        answer, step = (yield request), operation.send
                    except Exception as error:  # noqa: BLE001  # passed on
                        answer, step = error, operation.throw
            except StopIteration as stop:
                return stop.value

        return run(counted())

    monkeypatch.setattr(driver, "run", count)
    shelves.prefetch(fresh(), "label", "label__parent")
    assert len(sent) == 2
    sent.clear()
    shelves.prefetch(fresh(), "label", "labels", "slots")
    assert len(sent) == 2


def _move_label(shelf: Shelf) -> None:
    shelf.label = Label.objects.get(text="label 2")
    shelf.save()


def _rename_label(shelf: Shelf) -> None:
    Label.objects.filter(pk=shelf.label_id).update(text="other")


def _add_label(shelf: Shelf) -> None:
    shelf.labels.add(Label.objects.create(text="new"))


def _remove_label(shelf: Shelf) -> None:
    shelf.labels.remove(Label.objects.get(text="label 1"))


def _clear_labels(shelf: Shelf) -> None:
    shelf.labels.clear()


def _delete_label(shelf: Shelf) -> None:
    Label.objects.filter(text="label 1").delete()


def _point_elsewhere(shelf: Shelf) -> None:
    through = Shelf.labels.through
    other = Label.objects.create(text="pointed at")
    through.objects.filter(shelf=shelf, label__text="label 1").update(label=other)


def _reorder_slots(shelf: Shelf) -> None:
    Slot.objects.filter(shelf=shelf, place=1).update(place=9)


def _move_slot(shelf: Shelf) -> None:
    Slot.objects.filter(shelf=shelf, place=1).update(shelf="empty")


def _delete_note(shelf: Shelf) -> None:
    Note.objects.get(shelf=shelf).delete()


def _comment(shelf: Shelf) -> None:
    shelf.comments.create(text="new")


def _comment_on_another(shelf: Shelf) -> None:
    for one in Comment.objects.filter(text="comment 0"):
        one.about = Shelf.objects.get(code="empty")
        one.save()


def _by_sql(shelf: Shelf) -> None:
    with connections[str(shelf._state.db)].cursor() as cursor:
        cursor.execute("DELETE FROM shop_shelf_labels WHERE shelf_id = %s", [shelf.pk])


CHANGES = [
    _move_label,
    _rename_label,
    _add_label,
    _remove_label,
    _clear_labels,
    _delete_label,
    _point_elsewhere,
    _reorder_slots,
    _move_slot,
    _delete_note,
    _comment,
    _comment_on_another,
    _by_sql,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change(
    filled: list[Shelf], shelves: ModelDict[Shelf], change: Callable[[Shelf], None]
) -> None:
    with transaction.atomic(using=filled[0]._state.db):
        change(filled[0])
        found = fresh()
        shelves.prefetch(found, *NAMES)
        assert [everything(shelf) for shelf in found] == plain()
    found = fresh()
    shelves.prefetch(found, *NAMES)
    assert [everything(shelf) for shelf in found] == plain()


def test_what_instances_have_is_left(filled: list[Shelf], shelves: ModelDict[Shelf]) -> None:
    prefetch_related_objects(filled, "labels", "label")
    Label.objects.update(text="other")
    shelves.prefetch(filled, "labels", "label", "label__parent")
    assert filled[0].label is not None
    assert filled[0].label.text == "label 0"
    assert filled[0].label.parent.text == "other"


def test_one_relation(filled: list[Shelf], shelves: ModelDict[Shelf]) -> None:
    first, empty = filled[0], filled[2]
    assert shelves.get_related(first, "label") is first.label
    assert shelves.get_related(first, "note") is first.note
    assert [one.place for one in shelves.get_related(first, "slots")] == [3, 2, 1]
    assert shelves.get_related(empty, "label") is None
    assert shelves.get_related(empty, "note") is None
    assert shelves.get_related(empty, "labels") == []
    with pytest.raises(ValueError, match="names several relations"):
        shelves.get_related(first, "label__parent")


def test_names_that_are_none(filled: list[Shelf], shelves: ModelDict[Shelf]) -> None:
    for name in ("colour", "code", "label__colour", "label__parent__colour"):
        with pytest.raises((AttributeError, ValueError)) as ours:
            shelves.prefetch(fresh(), name)
        with pytest.raises((AttributeError, ValueError)) as djangos:
            prefetch_related_objects(fresh(), name)
        assert str(ours.value) == str(djangos.value)
    with pytest.raises(TypeError, match=r"instances of shop\.Shelf are expected"):
        shelves.prefetch([Label()], "label")  # type: ignore[list-item]


def test_generic_foreign_keys(
    filled: list[Shelf], shelves: ModelDict[Shelf], database: str
) -> None:
    comments = ModelDict(Comment, related=("about",))
    Comment.objects.create(text="on nothing")
    found = list(Comment.objects.order_by("pk"))
    comments.prefetch(found, "about")
    found = list(Comment.objects.order_by("pk"))
    with queries(database) as asked:
        comments.prefetch(found, "about")
        about = [one.about for one in found]
    assert not asked
    assert about == [one.about for one in Comment.objects.order_by("pk")]
    label = Label.objects.get(text="label 0")
    label.text = "renamed"
    label.save()
    assert comments.get_related(Comment.objects.filter(text="not it")[0], "about").text == "renamed"


async def test_generic_foreign_keys_in_tasks(
    filled: list[Shelf], shelves: ModelDict[Shelf]
) -> None:
    comments = ModelDict(Comment, related=("about",))
    found = [one async for one in Comment.objects.order_by("pk")]
    ContentType.objects.clear_cache()
    await comments.aprefetch(found, "about")
    assert [type(one.about) for one in found] == [Shelf, Label, Shelf, Label]


def test_what_no_dict_keeps_is_asked_of_the_database(database: str, server: str) -> None:
    products = ModelDict(Product)
    drinks = Category.objects.create(name="Drinks")
    tea = Product.objects.create(name="Tea", category=drinks)
    tea.tags.add(Tag.objects.create(name="new"))
    found = Product.plain.get(pk=tea.pk)
    with queries(database) as asked:
        products.prefetch([found], "category", "tags")
    assert len(asked) == 2
    with queries(database) as asked:
        assert found.category == drinks
        assert [tag.name for tag in found.tags.all()] == ["new"]
    assert not asked
    # Its model has a dict from now on.
    ModelDict(Category)
    found = Product.plain.get(pk=tea.pk)
    products.prefetch([found], "category")
    with queries(database) as asked:
        products.prefetch([found], "category", Prefetch("tags"))
    assert len(asked) == 1


def test_parents_and_children(database: str, server: str) -> None:
    books = ModelDict(Book, related=("product_ptr", "category", "tags"))
    products = ModelDict(Product, related=("book", "category__product_set"))
    drinks = Category.objects.create(name="Drinks")
    book = Book.objects.create(name="Tea", pages=3, category=drinks)
    book.tags.add(Tag.objects.create(name="new"))
    for _ in range(2):
        found = Book.objects.get(pk=book.pk)
        books.prefetch([found], "product_ptr", "category", "tags")
        assert found.category == drinks
        assert [tag.name for tag in found.tags.all()] == ["new"]
        parent = Product.plain.get(pk=book.pk)
        products.prefetch([parent], "book", "category__product_set")
        assert parent.book.pages == 3
        assert parent.category is not None
        assert [one.pk for one in parent.category.product_set.all()] == [book.pk]


def test_a_row_that_has_moved_meanwhile(
    filled: list[Shelf], shelves: ModelDict[Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the list when that is read, and not when it is read itself."""
    find = following.ListLookup.find_lists

    def move_after(lookup: Any, keys: Any, caller: Any) -> Any:
        found = yield from find(lookup, keys, caller)
        monkeypatch.undo()
        _move_slot(filled[0])
        return found

    monkeypatch.setattr(following.ListLookup, "find_lists", move_after)
    shelves.prefetch(filled, "slots")
    assert [one.place for one in filled[0].slots.all()] == [3, 2]


def test_rows_of_another_database_are_left_to_django(
    filled: list[Shelf], shelves: ModelDict[Shelf], database: str
) -> None:
    filled[0]._state.db = "default"
    with queries(database) as asked:  # where the router leads
        shelves.prefetch(filled[:1], "label")
    assert len(asked) == 1


def test_pickles(filled: list[Shelf], shelves: ModelDict[Shelf]) -> None:
    other = pickle.loads(pickle.dumps(shelves))  # our own
    other.prefetch(filled, *NAMES)
    assert [everything(shelf) for shelf in filled] == plain()


def test_what_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="a tuple of names is expected"):
        ModelDict(Product, related="category")
    with pytest.raises(ConfigurationError, match="names of relations are expected"):
        ModelDict(Product, related=(Category,))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="'category__colour' is no chain of relations"):
        ModelDict(Product, related=("category__colour",))


def test_managers_that_choose_rows_are_left_to_django(
    filled: list[Shelf], shelves: ModelDict[Shelf], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisdict.modelcache.related.relations._shows_all", lambda _model: False)
    shelves._follower._known.clear()
    with queries(database) as asked:
        shelves.prefetch(filled, "slots", "labels", "comments", "label")
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("ordering", "order"),
    [
        ((), ()),
        (("-place", "code", "pk"), None),
        (("-place",), ("-place",)),
        (("place", "id", "shelf"), ("place",)),
        (("shelf",), None),
        (("shelf__code",), None),
        ((models.F("place").desc(),), None),
    ],
)
def test_orders(
    monkeypatch: pytest.MonkeyPatch, ordering: tuple[Any, ...], order: tuple[str, ...] | None
) -> None:
    monkeypatch.setattr(Slot._meta, "ordering", ordering)
    assert relations._order_of(Slot) == order


def test_managers() -> None:
    assert relations._shows_all(Product)
    assert relations._shows_all(Slot)
    assert not relations._shows_all(AnnouncedShortly)
