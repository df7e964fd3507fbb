"""The values of every model field, as a database gives them, and whole instances."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.db import models
from django.db.models.fields.files import FieldFile

from redisdict.codec import get_codec
from redisdict.codec.instances import ModelChanged, _shape_of
from redisdict.exceptions import SerializationError
from tests.codec.comparing import assert_same
from tests.codec.models import Author, AuthorProxy, Child, Color, EveryField, Size

codec = get_codec("msgpack", None)


def store_and_read(value: Any) -> Any:
    return codec.decode(codec.encode(value))


@pytest.fixture
def saved(db: None) -> EveryField:
    author = Author.objects.create(name="Ann")
    made = EveryField.objects.create(
        big_integer=2**63 - 1,
        binary=b"\x00\xff",
        boolean=True,
        char="Grüße",
        color=Color.BLUE,
        size=Size.SMALL,
        date=date(2024, 2, 29),
        datetime=datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
        decimal=Decimal("1.50000"),
        duration=timedelta(days=-1, microseconds=1),
        email="ann@example.com",
        file="a/b.txt",
        file_path="/tmp",
        float=0.1,
        foreign_key=author,
        generic_ip_address="2001:db8::1",
        integer=-5,
        json={"a": [1, None, {"b": 0.5}]},
        one_to_one=author,
        positive_big_integer=5,
        positive_integer=5,
        positive_small_integer=5,
        slug="a-b",
        small_integer=-5,
        text="",
        time=time(1, 2, 3, 4),
        url="https://example.com/",
        uuid=uuid4(),
    )
    return EveryField.objects.get(pk=made.pk)


def test_the_model_has_every_field_type_of_django() -> None:
    # Other sizes of what is there; no column; what only old migrations still use; needs Pillow.
    elsewhere = {"AutoField", "SmallAutoField", "ManyToManyField", "ImageField"}
    elsewhere |= {"CommaSeparatedIntegerField", "IPAddressField", "NullBooleanField"}
    present = {type(field).__name__ for field in EveryField._meta.get_fields()}
    existing = {
        name
        for name in models.__all__
        if name.endswith("Field")
        and name != "Field"
        and issubclass(getattr(models, name), models.Field)
    }
    assert existing - elsewhere <= present


def test_the_value_of_each_field(saved: EveryField) -> None:
    for field in saved._meta.concrete_fields:
        value = getattr(saved, field.attname)
        if isinstance(value, FieldFile):
            value = value.name
        assert_same(store_and_read(value), value)


def test_a_whole_instance(saved: EveryField) -> None:
    back = store_and_read({"row": saved})["row"]
    assert_same(back, saved)
    assert back == saved
    assert back.file.name == "a/b.txt"
    assert back.foreign_key.name == "Ann"


def test_a_file_that_was_looked_at(saved: EveryField) -> None:
    assert isinstance(saved.file, FieldFile)
    back = store_and_read(saved)
    assert back.file == saved.file


def test_a_loaded_instance_can_be_saved_again(saved: EveryField) -> None:
    back = store_and_read(saved)
    back.char = "new"
    back.save()
    assert EveryField.objects.get().char == "new"


def test_an_unsaved_instance_is_still_unsaved(db: None) -> None:
    back = store_and_read(Author(name="Bob"))
    assert back._state.adding
    assert back._state.db is None
    back.save()
    assert Author.objects.get().name == "Bob"


def test_deferred_fields_stay_deferred(saved: EveryField) -> None:
    deferred = EveryField.objects.only("char", "file").get()
    back = store_and_read(deferred)
    assert_same(back, deferred)
    assert back.get_deferred_fields() == deferred.get_deferred_fields()
    assert back.integer == -5


def test_a_deferred_generated_field(db: None) -> None:
    unsaved = EveryField(char="a")
    assert "generated" in unsaved.get_deferred_fields()
    assert "generated" in store_and_read(unsaved).get_deferred_fields()


def test_inheritance(db: None) -> None:
    Child.objects.create(name="Eve", age=3)
    child, proxy = Child.objects.get(), AuthorProxy.objects.get()
    assert_same(store_and_read([child, proxy]), [child, proxy])


def test_annotations_and_cached_relations_are_left_out(saved: EveryField) -> None:
    fetched = EveryField.objects.select_related("foreign_key").annotate(
        twice=models.F("integer") * 2
    )
    back = store_and_read(fetched.get())
    assert not hasattr(back, "twice")
    assert not back._state.fields_cache


def test_a_file_that_is_not_saved_yet_is_refused() -> None:
    row = EveryField(file=ContentFile(b"...", name="new.txt"))
    message = r"value\[0\]: the file 'new.txt' of the field 'file' isn't saved yet"
    with pytest.raises(SerializationError, match=message):
        codec.encode([row])
    assert not row.file._committed
    with pytest.raises(SerializationError, match=message):
        codec.encode([row])


def test_a_file_field_on_its_own_is_refused() -> None:
    with pytest.raises(SerializationError, match="FieldFile"):
        codec.encode(EveryField(file="a").file)


def test_an_error_names_the_field() -> None:
    author = Author(name=object())
    with pytest.raises(SerializationError, match=r"^value\['ann'\]\.name: object can't"):
        codec.encode({"ann": author})


def test_a_change_of_the_fields_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = codec.encode(Author(name="Ann"))
    monkeypatch.setattr(Author._meta.get_field("name"), "max_length", 60)
    _shape_of.cache_clear()
    with pytest.raises(ModelChanged, match=r"codec\.Author.*fields have changed"):
        codec.decode(stored)
    monkeypatch.undo()
    _shape_of.cache_clear()
    assert codec.decode(stored).name == "Ann"


def test_a_model_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = codec.encode(Author(name="Ann"))
    monkeypatch.delitem(Author._meta.apps.all_models["codec"], "author")
    with pytest.raises(ModelChanged, match="no installed app has this model"):
        codec.decode(stored)
