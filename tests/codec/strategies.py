"""Hypothesis strategies for every value that the default serializer keeps."""

import ipaddress
from datetime import UTC, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.safestring import SafeString
from hypothesis import strategies as st
from psycopg.types.range import Range

# Text with lone surrogates too, which neither UTF-8 nor most serializers can hold.
text = st.text(st.characters(exclude_categories=[])) | st.text(max_size=100)

offsets = st.builds(
    timezone,
    st.timedeltas(timedelta(hours=-24, microseconds=1), timedelta(hours=24, microseconds=-1)),
)
named_offsets = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), text)
zones: st.SearchStrategy[tzinfo | None] = (
    st.none()
    | st.just(UTC)
    | st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]).map(ZoneInfo)
    | offsets
    | named_offsets
)


def with_fold(value: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([0, 1]).map(lambda fold: value.replace(fold=fold))


decimals = (
    st.decimals()
    | st.from_regex(r"-?[0-9]{1,30}(\.[0-9]{1,30})?(E[+-]?[0-9]{1,4})?", fullmatch=True).map(
        Decimal
    )
    | st.sampled_from(["sNaN", "-sNaN123", "NaN77", "-0E+5", "Infinity"]).map(Decimal)
)
ip_addresses = st.ip_addresses()
ip_others: st.SearchStrategy[Any] = (
    st.builds(ipaddress.IPv4Network, st.tuples(st.ip_addresses(v=4), st.just(32)))
    | st.builds(ipaddress.IPv6Network, st.tuples(st.ip_addresses(v=6), st.just(128)))
    | st.builds(ipaddress.IPv4Interface, st.tuples(st.ip_addresses(v=4), st.integers(0, 32)))
    | st.builds(ipaddress.IPv6Interface, st.tuples(st.ip_addresses(v=6), st.integers(0, 128)))
)


def ranges_of(ends: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Ranges as PostgreSQL gives them: with and without ends, and the empty one."""
    pairs = st.tuples(st.none() | ends, st.none() | ends)
    bounds = st.sampled_from(["[)", "(]", "()", "[]"])
    return st.builds(lambda pair, kind: Range(*pair, kind), pairs, bounds) | st.just(
        Range(empty=True)
    )


ranges = ranges_of(st.integers()) | ranges_of(decimals) | ranges_of(st.datetimes(timezones=zones))

hashable_scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.integers(2**2040, 2**2060),
    st.floats(),
    text,
    text.map(SafeString),
    st.binary(),
    # A signalling NaN can't be hashed.
    decimals.filter(lambda value: not value.is_snan()),
    st.datetimes(timezones=zones, allow_imaginary=True).flatmap(with_fold),
    st.dates(),
    st.times(timezones=zones).flatmap(with_fold),
    st.timedeltas(),
    st.uuids(),
    ip_addresses,
    ip_others,
)
hashables: st.SearchStrategy[Any] = st.recursive(
    hashable_scalars,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
scalars = hashable_scalars | decimals | ranges
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(text, inner, max_size=5),
        st.dictionaries(hashables, inner, max_size=5),
        st.sets(hashables, max_size=5),
        st.frozensets(hashables, max_size=5),
    ),
    max_leaves=20,
)
