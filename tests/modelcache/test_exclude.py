"""Fields that are left out: their values never reach the server, on no way."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings
from redis import Redis

from redisdict import ConfigurationError, ModelDict
from redisdict.modelcache.overview import overview
from redisdict.modelcache.sameness import differences
from redisdict.servers.process import ServerProcess
from tests.conftest import program_for_tests
from tests.modelcache.counting import queries
from tests.shop.models import Book, Place, Point, Price, Product
from tests.shop.odd import Patient, Remembering

SECRET = "078-05-1120"


@pytest.fixture
def patient(database: str, server: str) -> Patient:
    doctor = Remembering.objects.create(name="Ann")
    made: Patient = Patient.objects.create(name="Bob", ssn=SECRET, doctor=doctor, number=7)
    return made


def everything_on(url: str) -> bytes:
    """All keys of a server with what they hold."""
    client: Any = Redis.from_url(url)
    read = {b"string": client.get, b"hash": client.hgetall}
    held = {key: read.get(client.type(key), client.dump)(key) for key in client.scan_iter()}
    return repr(held).encode()


def assert_deferred(database: str, missed: Any, hit: Any, *names: str) -> None:
    assert type(missed) is type(hit)
    assert set(differences(missed, hit)) <= {"made_at"}
    assert missed.get_deferred_fields() == hit.get_deferred_fields() == set(names)
    for each in (missed, hit):
        with queries(database) as asked:
            values = [getattr(each, name) for name in names]
        assert len(asked) == len(names)
        assert None not in values


def test_an_excluded_field_is_deferred_on_a_miss_and_on_a_hit(
    database: str, server: str, patient: Patient
) -> None:
    patients = ModelDict(Patient, exclude=("ssn",))
    with queries(database) as asked:
        missed = patients[patient.pk]
    assert "ssn" not in asked[0]["sql"]
    with queries(database) as asked:
        hit = patients[patient.pk]
        many = patients.get_many([patient.pk])[patient.pk]
        [(_, walked)] = patients.items()
    assert not asked
    for each in (many, walked):
        assert differences(each, hit) == []
    assert_deferred(database, missed, hit, "ssn")
    assert hit.ssn == SECRET


@pytest.fixture
def own_server(alias_for: Callable[..., dict[str, Any]]) -> Iterator[str]:
    """A server that has nothing of other tests."""
    with ServerProcess(program_for_tests("valkey")) as own:
        with override_settings(REDISDICT={"default": alias_for(own.url)}):
            yield own.url


def test_its_value_is_never_on_the_server(
    database: str, server: str, own_server: str, patient: Patient
) -> None:
    patients = ModelDict(Patient, exclude=["ssn"])
    by_number = ModelDict(Patient, key="number", exclude=["ssn"])
    assert patients.warm(Patient.objects.all()) == 1
    assert by_number[7].ssn == patient.ssn
    touched = patients[patient.pk]
    assert touched.ssn == patient.ssn
    touched.save()
    with transaction.atomic(database):
        Patient.objects.create(name="Eve", ssn=patient.ssn)
    assert {row.ssn for row in patients.get_many([1, 2, patient.pk, patient.pk + 1]).values()}
    assert b"Bob" in everything_on(own_server)
    assert patient.ssn.encode() not in everything_on(own_server)
    assert ModelDict(Patient)[patient.pk].ssn == patient.ssn
    assert patient.ssn.encode() in everything_on(own_server)  # so the search would find it


def test_a_save_leaves_the_deferred_field_alone(
    database: str, server: str, patient: Patient
) -> None:
    patients = ModelDict(Patient, exclude=("ssn",))
    assert patients[patient.pk]
    hit = patients[patient.pk]
    hit.name = "Robert"
    hit.save()
    assert patients[patient.pk].name == "Robert"
    assert Patient.objects.get(pk=patient.pk).ssn == SECRET


def change_by_save(pk: int) -> None:
    row = Patient.objects.get(pk=pk)
    row.name = "new"
    row.save()


def change_in_transaction(pk: int) -> None:
    with transaction.atomic(Patient.objects.db):
        change_by_save(pk)


def change_by_statement(pk: int) -> None:
    with connections[Patient.objects.db].cursor() as cursor:
        cursor.execute("UPDATE shop_patient SET name = 'new' WHERE id = %s", [pk])


@pytest.mark.parametrize("change", [change_by_save, change_in_transaction, change_by_statement])
def test_all_dicts_of_a_model_hear_of_a_change(
    database: str, server: str, patient: Patient, change: Callable[[int], None]
) -> None:
    choices: list[tuple[str, ...]] = [(), ("ssn",), ("doctor_id", "ssn")]
    dicts = [ModelDict(Patient, exclude=choice) for choice in choices]
    dicts.append(pickle.loads(pickle.dumps(dicts[2])))  # a handle of the same rows
    for _ in range(2):
        assert {each[patient.pk].name for each in dicts} == {"Bob"}
    with queries(database) as asked:
        found = [each[patient.pk] for each in dicts]
    assert not asked  # none of them has taken another's place
    assert [len(each.get_deferred_fields()) for each in found] == [0, 1, 2, 2]
    change(patient.pk)
    assert {each[patient.pk].name for each in dicts} == {"new"}
    dicts[1].invalidate(patient.pk)
    for each in dicts:
        with queries(database) as asked:
            assert each[patient.pk]
        assert len(asked) == (0 if each is dicts[3] else 1)  # the last two share rows


def test_the_overview_tells_them_apart(database: str, server: str, patient: Patient) -> None:
    ModelDict(Patient)
    assert ModelDict(Patient, exclude=("ssn", "name"))[patient.pk]
    found = {one.model: one.stats for one in overview()}
    assert set(found) == {"shop.Patient", "shop.Patient without name, ssn"}
    stats = found["shop.Patient without name, ssn"]
    assert stats is not None
    assert stats.fills == 1


def test_kinds_of_models_and_fields(database: str, server: str) -> None:
    book = Book.objects.create(name="Leaves", pages=3, description="long")
    books = ModelDict(Book, exclude=("description", "pages"))
    assert_deferred(database, books[book.pk], books[book.pk], "description", "pages")
    place = Place.objects.create(name="x", at=Point(1, 2), facts={"a": 1}, picture="a.png")
    places = ModelDict(Place, exclude=("at", "name_in_capitals", "picture", "facts"))
    missed, hit = places[place.pk], places[place.pk]
    assert hit.picture.name == "a.png"  # its descriptor asks, too
    assert missed.picture.name == "a.png"
    assert_deferred(database, missed, hit, "at", "name_in_capitals", "facts")
    price = Price.objects.create(product=book, currency="E", amount=3)
    prices = ModelDict(Price, exclude=("amount",))
    assert_deferred(database, prices[price.pk], prices[price.pk], "amount")


@pytest.mark.django_db(databases=[])
@pytest.mark.parametrize(
    ("model", "names", "key", "wrong"),
    [
        (Patient, ("snn",), "pk", "'snn'"),
        (Patient, ("id",), "pk", "'id'"),
        (Patient, ("pk",), "pk", "'pk'"),
        (Patient, ("number",), "number", "'number'"),
        (Book, ("id",), "pk", "'id'"),
        (Book, ("product_ptr",), "pk", "'product_ptr'"),
        (Book, ("tags",), "pk", "'tags'"),
        (Price, ("currency",), "pk", "'currency'"),
        (Patient, (1,), "pk", "1"),
    ],
)
def test_what_cannot_be_excluded(model: Any, names: Any, key: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{wrong} is no field") as raised:
        ModelDict(model, key=key, exclude=names)
    assert "Possible are: " in str(raised.value)
    assert ("name" in str(raised.value)) is (model is not Price)


@pytest.mark.django_db(databases=[])
def test_a_single_text_is_no_tuple_of_names() -> None:
    with pytest.raises(ConfigurationError, match=r"a tuple of field names is expected, as \('ssn"):
        ModelDict(Patient, exclude="ssn")


async def test_tasks_get_the_same(database: str, server: str, patient: Patient) -> None:
    patients = ModelDict(Patient, exclude=("ssn",))
    missed = await patients.agetitem(patient.pk)
    hit = await patients.agetitem(patient.pk)
    assert missed.get_deferred_fields() == hit.get_deferred_fields() == {"ssn"}
    assert (await patients.astats()).hits == 1


def test_a_product_with_bulk_changes(database: str, server: str) -> None:
    made = Product.objects.create(name="Tea", description="x" * 5000)
    short, whole = ModelDict(Product, exclude=("description",)), ModelDict(Product)
    for _ in range(2):
        assert short[made.pk].name == whole[made.pk].name == "Tea"
    Product.objects.filter(pk=made.pk).update(name="Oolong")
    assert short[made.pk].name == whole[made.pk].name == "Oolong"
    whole.clear()
    short.clear()
    assert list(short) == list(whole) == []
