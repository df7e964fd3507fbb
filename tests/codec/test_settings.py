"""Names, dotted paths and objects as settings; old values after a change of settings."""

import random
import sys
import threading
from itertools import product

import pytest
from psycopg.types.range import Range

from redisdict.codec import Codec, get_codec, serializers
from redisdict.codec.codec import codec_of
from redisdict.conf import parse_alias
from redisdict.exceptions import ConfigurationError, DeserializationError, SerializationError
from tests.codec import custom

SERIALIZERS = ["msgpack", "json", "raw"]
COMPRESSORS = [None, "zlib", "zstd", "lz4"]


@pytest.mark.parametrize("written", list(product(SERIALIZERS, COMPRESSORS)))
@pytest.mark.parametrize("read", list(product([*SERIALIZERS, "pickle"], COMPRESSORS)))
def test_old_values_stay_readable(
    written: tuple[str, str | None], read: tuple[str, str | None]
) -> None:
    value = b"abc" * 1000 if written[0] == "raw" else "abc" * 1000
    stored = get_codec(*written).encode(value)
    assert get_codec(*read).decode(stored) == value
    assert (len(stored) < 1000) == (written[1] is not None)


def test_pickled_values_stay_readable_where_a_setting_says_so() -> None:
    stored = get_codec("pickle").encode({1, 2})
    assert Codec("msgpack", also_read=["pickle"]).decode(stored) == {1, 2}
    assert Codec("msgpack", also_read=["pickle"]).encode("a") == get_codec().encode("a")
    with pytest.raises(DeserializationError, match="pickle"):
        Codec("msgpack").decode(stored)


def test_codecs_of_names_are_shared() -> None:
    assert get_codec("json", "zlib") is get_codec("json", "zlib")
    assert get_codec("msgpack") is get_codec()
    assert get_codec("json") is not get_codec("json", "zlib")
    assert get_codec(custom.ReprSerializer) is not get_codec(custom.ReprSerializer)
    assert repr(get_codec("json", "zlib")) == "<Codec JsonSerializer compressor=ZlibCompressor>"
    assert repr(get_codec("json")) == "<Codec JsonSerializer compressor=None>"


@pytest.mark.parametrize(
    "serializer",
    ["tests.codec.custom.ReprSerializer", "tests.codec.custom.instance", custom.instance],
)
def test_a_serializer_of_your_own(serializer: object) -> None:
    codec = get_codec(serializer, None)
    stored = codec.encode("a")
    assert stored[:-4] == b"\x8c'a'"
    assert codec.decode(stored) == "a"
    assert codec.encode(5) == b"5"
    assert Codec(also_read=[serializer]).decode(stored) == "a"
    with pytest.raises(DeserializationError, match="a serializer with the code 12"):
        get_codec().decode(stored)


def test_errors_of_a_serializer_of_your_own() -> None:
    codec = get_codec(custom.instance)
    with pytest.raises(SerializationError, match="ReprSerializer can't store a str: no luck"):
        codec.encode("unlucky")
    with pytest.raises(DeserializationError, match=r"ReprSerializer: KeyError: '1\.5'"):
        codec.decode(codec.encode(1.5))


def test_a_compressor_of_your_own() -> None:
    codec = get_codec("msgpack", "tests.codec.custom.Bz2Compressor")
    stored = codec.encode("abc" * 1000)
    assert stored[0] == 0xF0
    assert codec.decode(stored) == "abc" * 1000
    with pytest.raises(DeserializationError, match="a compressor with the code 7"):
        get_codec().decode(stored)


@pytest.mark.parametrize("compressor", ["zlib", "zstd", "lz4"])
def test_short_values_are_stored_as_they_are(
    compressor: str,
) -> None:
    codec = get_codec("msgpack", compressor)
    # The MessagePack form of n characters is n + 3 bytes long here.
    assert codec.encode("x" * 1020) == get_codec().encode("x" * 1020)
    assert codec.encode("x" * 1021) != get_codec().encode("x" * 1021)
    eager = Codec("msgpack", compressor, compress_min_length=0)
    assert eager.encode("x") == get_codec().encode("x")


@pytest.mark.parametrize("compressor", ["zlib", "zstd", "lz4"])
def test_noise_is_never_made_longer(compressor: str) -> None:
    noise = random.Random(1).randbytes(2000)
    assert get_codec("raw", compressor).encode(noise) == get_codec("raw").encode(noise)


def test_threads_share_a_zstd_codec() -> None:
    codec = Codec("msgpack", "zstd", compress_min_length=0)
    wrong: list[str] = []

    def work(letter: str) -> None:
        values = [letter * length for length in range(100, 400)]
        wrong.extend(one for one in values if codec.decode(codec.encode(one)) != one)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("serializer", "message"),
    [
        ("msgpak", "SERIALIZER 'msgpak' isn't known: did you mean 'msgpack'"),
        ("JSON", "did you mean 'json'"),
        ("no.such.module", "SERIALIZER 'no.such.module' can't be imported"),
        ("json.nothing", "can't be imported"),
        ("tests.codec.custom.WithoutLoads", "it has no method loads"),
        (object(), "it has no method dumps and no method loads"),
        ("tests.codec.custom.WithoutCode", "has the code None: give it a `code` .* from 12 to 15"),
        ("tests.codec.custom.WithTakenCode", "has the code 3"),
    ],
)
def test_wrong_serializers(serializer: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        get_codec(serializer)
    with pytest.raises(ConfigurationError, match=message):
        Codec(also_read=[serializer])


def test_the_codec_of_an_alias() -> None:
    good = parse_alias("shop", {"LOCATION": "redis://h", "COMPRESSOR": "zlib"})
    assert codec_of(good) is get_codec("msgpack", "zlib")
    assert codec_of(good, "json", "lz4") is get_codec("json", "lz4")
    bad = parse_alias("shop", {"LOCATION": "redis://h", "SERIALIZER": "yaml"})
    with pytest.raises(ConfigurationError, match=r'^REDISDICT\["shop"\]: SERIALIZER \'yaml\''):
        codec_of(bad)
    with pytest.raises(ConfigurationError, match=r"^SERIALIZER 'toml' isn't known\. There are"):
        codec_of(bad, "toml")


def test_a_class_that_cannot_be_made_or_imported_is_one_line() -> None:
    for path, why in {
        "tests.codec.custom.Unmakable": "can't be made without arguments: ZeroDivisionError: on",
        "tests.checks.broken.anything": "can't be imported: ZeroDivisionError: on purpose",
    }.items():
        with pytest.raises(ConfigurationError, match=why) as caught:
            get_codec(path)
        assert "\n" not in str(caught.value)


def test_two_serializers_with_one_code() -> None:
    class Other(custom.ReprSerializer):
        pass

    with pytest.raises(ConfigurationError, match="Other and ReprSerializer both have the code 12"):
        Codec(custom.instance, also_read=[Other])
    Codec(custom.instance, also_read=[custom.ReprSerializer])


@pytest.mark.parametrize(
    ("compressor", "message"),
    [
        ("gzip", "COMPRESSOR 'gzip' isn't known: did you mean 'zlib'"),
        ("zstandard", "did you mean 'zstd'"),
        ("tests.codec.custom.instance", "no method compress and no method decompress"),
    ],
)
def test_wrong_compressors(compressor: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        get_codec("msgpack", compressor)


@pytest.mark.parametrize(
    ("compressor", "module"),
    [
        ("lz4", "lz4.frame"),
        ("zstd", "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"),
    ],
)
def test_a_missing_extra_is_named(
    compressor: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Codec("msgpack", compressor).encode("x" * 2000)
    monkeypatch.setitem(sys.modules, module, None)
    serializers.builtin_compressor.cache_clear()
    install = rf"pip install 'django-redisdict\[{compressor}\]'"
    with pytest.raises(ConfigurationError, match=install):
        Codec("msgpack", compressor)
    with pytest.raises(DeserializationError, match=install):
        Codec("msgpack").decode(stored)


def test_a_range_needs_psycopg_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = get_codec().encode(Range(1, 5))
    monkeypatch.setitem(sys.modules, "psycopg.types.range", None)
    with pytest.raises(DeserializationError, match="psycopg"):
        get_codec().decode(stored)
