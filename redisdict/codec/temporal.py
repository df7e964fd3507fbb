"""Pack dates, times and durations as bytes, with zone, fold and every microsecond kept.

A zone is stored by its name, not by its present offset: `ZoneInfo("Europe/Berlin")` comes back as
that zone; `timezone.utc` and `ZoneInfo("UTC")` stay different.
"""

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from struct import Struct
from typing import Final
from zoneinfo import ZoneInfo

from redisdict.codec.normalize import Unstorable

_DATE: Final = Struct(">HBB")
_TIME: Final = Struct(">BBBI")
_DATETIME: Final = Struct(">HBBBBBI")
_TIMEDELTA: Final = Struct(">iII")

# Microseconds need 20 bits; the fold takes the top one of 32.
_FOLD_SHIFT: Final = 31
_MICROSECOND_MASK: Final = (1 << _FOLD_SHIFT) - 1

_UTC_MARK: Final = b"U"
_OFFSET_MARK: Final = b"O"
_NAME_MARK: Final = b"Z"


def pack_date(value: date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def unpack_date(data: bytes) -> date:
    return date(*_DATE.unpack(data))


def pack_time(value: time) -> bytes:
    return _TIME.pack(
        value.hour, value.minute, value.second, value.microsecond | value.fold << _FOLD_SHIFT
    ) + _pack_zone(value.tzinfo)


def unpack_time(data: bytes) -> time:
    hour, minute, second, fraction = _TIME.unpack_from(data)
    zone = _unpack_zone(data[_TIME.size :])
    microsecond, fold = fraction & _MICROSECOND_MASK, fraction >> _FOLD_SHIFT
    return time(hour, minute, second, microsecond, zone, fold=fold)


def pack_datetime(value: datetime) -> bytes:
    return _DATETIME.pack(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond | value.fold << _FOLD_SHIFT,
    ) + _pack_zone(value.tzinfo)


def unpack_datetime(data: bytes) -> datetime:
    year, month, day, hour, minute, second, fraction = _DATETIME.unpack_from(data)
    zone = _unpack_zone(data[_DATETIME.size :])
    microsecond, fold = fraction & _MICROSECOND_MASK, fraction >> _FOLD_SHIFT
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def pack_timedelta(value: timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def unpack_timedelta(data: bytes) -> timedelta:
    return timedelta(*_TIMEDELTA.unpack(data))


def _pack_zone(zone: tzinfo | None) -> bytes:
    if zone is None:
        return b""
    if zone is UTC:
        return _UTC_MARK
    if type(zone) is ZoneInfo and zone.key is not None:
        return _NAME_MARK + zone.key.encode()
    if type(zone) is timezone:
        # pickle's protocol is the one public way to learn whether the offset was given a name.
        offset, *names = zone.__getinitargs__()  # type: ignore[attr-defined]  # not in typeshed
        label = b"".join(b"=" + name.encode("utf-8", "surrogatepass") for name in names)
        return _OFFSET_MARK + pack_timedelta(offset) + label
    raise Unstorable(
        f"the time zone {zone!r} has no name to store: use zoneinfo.ZoneInfo(name), "
        "datetime.timezone or none"
    )


def _unpack_zone(data: bytes) -> tzinfo | None:
    mark, rest = data[:1], data[1:]
    if not data:
        return None
    if data == _UTC_MARK:
        return UTC
    if mark == _NAME_MARK:
        return ZoneInfo(rest.decode())
    if mark == _OFFSET_MARK:
        offset, label = unpack_timedelta(rest[: _TIMEDELTA.size]), rest[_TIMEDELTA.size :]
        if not label:
            return timezone(offset)
        return timezone(offset, label.removeprefix(b"=").decode("utf-8", "surrogatepass"))
    raise ValueError(f"time zones have no form {mark!r}")
