"""Encode the value of a unique field as its part of a key.

A key is bytes, but the database has its own rules for which values are equal: 1.5 and 1.50, one
instant in two zones, "tea" and "TEA" under some collations. If the rule is known, equal values have
one key. If it isn't, as for collated text, a row still has only one key: that of its spelling in
the database. Then no cell can be stale, because

- a cell is only filled with a row whose own spelling is the cell's: a reader who asks by another
  spelling gets the row from the database and stores nothing (`loading.Matched`);
- a row's absence is cached only under a value that `KeyForm.is_exact()`;
- a writer puts barriers on the cells of the rows that a change names if those values are exact, and
  otherwise on the whole table, because changed rows may be spelled differently
  (`CachedTable.keys()`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.utils import timezone

from redisdict.mapping.keys import encode_text
from redisdict.modelcache.connection_state import ask

KINDS: dict[type[models.Field[Any, Any]], type] = {
    models.IntegerField: int,  # the auto fields among them
    models.CharField: str,
    models.TextField: str,
    models.UUIDField: UUID,
}

#: What fields raise for a value that isn't theirs; somebody's own fields may raise any of these.
NOT_ITS_OWN = (ValidationError, ValueError, TypeError, ArithmeticError, AttributeError)

#: Wide enough to write any number that a database holds without rounding it.
WIDE = Context(prec=200_000, Emax=MAX_EMAX, Emin=MIN_EMIN)

#: SQLite keeps decimals as floats, which have so many digits for sure.
DIGITS_OF_SQLITE = 15

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class KeyForm:
    """The form of one field's values in keys: equal values alike, different ones differently.

    Args:
        field: the primary key, a composite one too, or another unique field.
        database: the alias of DATABASES whose rule of equality counts.
    """

    def __init__(self, field: models.Field[Any, Any], database: str) -> None:
        self._field = field
        self._database = database
        parts = getattr(field, "fields", None)
        self._parts = [KeyForm(part, database) for part in parts] if parts else None
        self._vendor = connections[database].vendor
        self._is_text_exact: bool | None = None
        while isinstance(field, models.ForeignKey):
            field = field.target_field
        self._python: Callable[[Any], Any] = field.to_python
        self._decimal_places = getattr(field, "decimal_places", None)
        self._is_address = isinstance(field, models.GenericIPAddressField)
        # What somebody's own field makes of a value says little of what the database compares.
        is_djangos = type(field).__module__.startswith("django.db.models.")
        self._prepare: Callable[[Any], Any] | None = None if is_djangos else field.get_prep_value
        #: The class of values that the field takes as they are, where that is quickly told.
        kinds = [kind for one, kind in KINDS.items() if is_djangos and isinstance(field, one)]
        self._kind = kinds[0] if kinds else None

    def encode(self, value: Any) -> bytes:
        """Encode a value, also one that the field would make its own, such as "42".

        Raises:
            TypeError: the field has no such value.
        """
        kind = type(value)
        if kind is self._kind:
            if kind is int:
                return b"%d" % value
            return _write_uuid(value) if kind is UUID else encode_text(value)
        if self._parts is not None:
            encoded = [part.encode(item) for part, item in self._items(self._parts, value)]
            return b",".join(item.replace(b"%", b"%25").replace(b",", b"%2C") for item in encoded)
        return self._write(self._own(value), value)

    def is_exact(self, value: Any) -> bool:
        """Return whether a row that the database finds by this value has the value's key.

        If not, the row may be spelled otherwise, as "tea" is where "TEA" finds it, so the database
        has to be asked for it, and a change that names the value counts as one of the whole table.
        A value that the field can't have isn't exact either.

        The first text asks the database for its collation: one query. Call it where one may.
        """
        if type(value) is self._kind and self._kind is not str:
            return True
        try:
            if self._parts is not None:
                return all(part.is_exact(item) for part, item in self._items(self._parts, value))
            own = self._own(value)
            self._write(own, value)
        except TypeError:
            return False
        if isinstance(own, int | UUID) or type(own) is date:
            return True
        if self._vendor not in ("postgresql", "sqlite"):
            return False  # times may be rounded, and text is compared by any rule
        if isinstance(own, str):
            return _is_address(own) if self._is_address else self._compares_text_exactly()
        if isinstance(own, Decimal):
            return self._is_kept_whole(own)
        if isinstance(own, datetime):
            # In a column with zones two instants a year have the same local time.
            return own.tzinfo is not None or self._vendor == "sqlite"
        if isinstance(own, time):
            return own.tzinfo is None
        return isinstance(own, float | bytes | timedelta)

    def _items(self, parts: list[KeyForm], value: Any) -> list[tuple[KeyForm, Any]]:
        if not isinstance(value, tuple | list) or len(value) != len(parts):
            raise TypeError(
                f"{value!r:.80} is {type(value).__name__}; a tuple of {len(parts)} values is"
                f" expected, for {self._field}."
            )
        return list(zip(parts, value, strict=True))

    def to_python(self, value: Any) -> Any:
        """Convert a value to that of the field's attribute, which can be used in a query.

        Raises:
            TypeError: the field has no such value.
        """
        if self._parts is not None:
            return tuple(part.to_python(item) for part, item in self._items(self._parts, value))
        own = None
        if value is not None and not isinstance(value, models.Model):
            try:  # suppress() would take longer than the rest
                own = self._python(value)
            except NOT_ITS_OWN:
                own = None
        if own is None:
            raise self._refusal(value)
        return own

    def _own(self, value: Any) -> Any:
        """The value as the database compares it."""
        own = self.to_python(value)
        try:
            if self._prepare is not None:
                own = self._prepare(own)
            if isinstance(own, datetime):
                own = _as_stored(own)
        except NOT_ITS_OWN as error:
            raise self._refusal(value) from error
        return bytes(own) if isinstance(own, bytearray | memoryview) else own

    def _refusal(self, value: Any) -> TypeError:
        return TypeError(
            f"{value!r:.80} is {type(value).__name__}; a value of {self._field} is expected."
        )

    def _write(self, own: Any, value: Any) -> bytes:
        if isinstance(own, int):
            return b"%d" % own
        if isinstance(own, str):
            text = str.__str__(own)  # of an enum's member that is its value
            return _write_address(text) if self._is_address else encode_text(text)
        if isinstance(own, Decimal):
            return _write_decimal(own)
        if isinstance(own, datetime):
            return _write_instant(own)
        if isinstance(own, float):
            return b"%r" % (own + 0.0)  # which makes 0.0 of -0.0
        if isinstance(own, bytes):
            return own.hex().encode()
        if isinstance(own, UUID):
            return _write_uuid(own)
        if isinstance(own, date | time | timedelta):
            return str(own).encode()
        if not _has_text(type(own)):
            raise TypeError(
                f"{value!r:.80} can't be a key: get_prep_value() of {self._field} makes"
                f" {type(own).__name__} of it, which has no text; text, a number or a UUID is"
                " expected. Look its rows up by another field."
            )
        return encode_text(str(own))

    def _compares_text_exactly(self) -> bool:
        if self._is_text_exact is None:
            self._is_text_exact = compares_text_exactly(self._field, self._database)
        return bool(self._is_text_exact)

    def _is_kept_whole(self, own: Decimal) -> bool:
        """Whether the column keeps a number as it is, without rounding."""
        if not own.is_finite():
            return False
        digits, exponent = own.normalize(WIDE).as_tuple()[1:]
        if self._vendor == "sqlite" and len(digits) > DIGITS_OF_SQLITE:
            return False
        places = self._decimal_places
        return places is None or -int(exponent) <= places


def _has_text(kind: Any) -> bool:
    """Whether str() of an object of this class shows more than its memory address."""
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def _write_uuid(own: UUID) -> bytes:
    return b"%032x" % own.int


def _write_decimal(own: Decimal) -> bytes:
    if own.is_snan():
        own = Decimal("NaN")
    return str(own.normalize(WIDE)).encode() if own else b"0"


def _as_stored(own: datetime) -> datetime:
    """With a zone where the database's times have one, and without it elsewhere."""
    if timezone.is_aware(own) is settings.USE_TZ:
        return own
    return timezone.make_aware(own) if settings.USE_TZ else timezone.make_naive(own)


def _write_instant(own: datetime) -> bytes:
    if own.tzinfo is None:
        return own.isoformat().encode() + b"f" * own.fold
    return b"%d" % ((own - EPOCH) // MICROSECOND)


def _write_address(text: str) -> bytes:
    # Not as text, which differs between versions of Python for IPv4 in IPv6.
    return ipaddress.ip_address(text).packed.hex().encode() if _is_address(text) else text.encode()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# One row: whether equality of the column's values is that of their bytes. Nondeterministic
# collations have a rule of their own, as other types of text do: citext, char(n) with its padding.
ON_POSTGRESQL = """
SELECT attribute.atttypid IN ('text'::regtype, 'varchar'::regtype)
       AND coalesce(rule.collisdeterministic, true)
FROM pg_catalog.pg_attribute AS attribute
LEFT JOIN pg_catalog.pg_collation AS rule ON rule.oid = attribute.attcollation
WHERE attribute.attrelid = to_regclass(%s) AND attribute.attname = %s
"""

# SQLite doesn't tell a column's collation, but keeps the statement that made the table.
ON_SQLITE = """
SELECT type = 'table' AND sql LIKE 'CREATE TABLE%' AND sql NOT LIKE '%COLLATE%'
FROM (SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master)
WHERE name = ? COLLATE NOCASE
"""


def compares_text_exactly(field: models.Field[Any, Any], database: str) -> bool | None:
    """Ask the database whether the field's column takes only identical texts for equal.

    Other databases than PostgreSQL and SQLite are believed to take more for equal: the default
    collations of MySQL and MariaDB ignore case, and Oracle has its own rules. So is a table of
    SQLite of which any column has a COLLATE, and a view.

    Returns:
        None when there is no such table yet.

    One query, past Django's own cursor, since tests of the project may count what goes over that.
    """
    connection = connections[database]
    table, column = field.model._meta.db_table, str(field.column)
    if connection.vendor == "postgresql":
        rows = ask(connection, ON_POSTGRESQL, [connection.ops.quote_name(table), column])
    elif connection.vendor == "sqlite":
        rows = ask(connection, ON_SQLITE, [table])
    else:
        return False
    return all(is_exact for (is_exact,) in rows) if rows else None
