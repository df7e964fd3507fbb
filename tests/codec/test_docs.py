"""docs/codec.md says what the code does: its tables and its example."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from redisdict.codec import envelope, extensions, get_codec
from redisdict.codec.codec import DEFAULT_COMPRESS_MIN_LENGTH
from redisdict.exceptions import SerializationError
from tests.codec.comparing import assert_same

PAGE = (Path(__file__).parents[2] / "docs" / "codec.md").read_text()


def section(title: str) -> str:
    _before, _title, after = PAGE.partition(f"# {title}\n")
    return re.split(r"^#+ ", after, maxsplit=1, flags=re.MULTILINE)[0]


def test_every_extension_type_is_documented() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", section("MessagePack extension types"), re.MULTILINE)
    documented = {int(code) for row in rows for code in row.split(",")}
    assert documented == {*extensions.UNPACK_OF_CODE, *extensions.PUT_TOGETHER_OF_CODE}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("msgpack", envelope.MSGPACK),
        ("json", envelope.JSON),
        ("pickle", envelope.PICKLE),
        ("raw", envelope.RAW),
        ("zlib", envelope.ZLIB),
        ("zstd", envelope.ZSTD),
        ("lz4", envelope.LZ4),
    ],
)
def test_every_code_of_the_format_byte_is_documented(name: str, code: int) -> None:
    assert re.search(rf"\| {code} \| `{name}`", section("The format byte"))


def test_the_limits_are_documented() -> None:
    assert f"at least {DEFAULT_COMPRESS_MIN_LENGTH} bytes" in section("Compression")
    assert f"all other containers {extensions.MAX_NESTED_CONTAINERS};" in PAGE


def test_the_example_of_registered_types_works() -> None:
    (example,) = re.findall(r"```python\n(# shop/types\.py\n.*?)```", PAGE, flags=re.DOTALL)
    exec(example, shop := ModuleType("shop.types").__dict__)
    basket = shop["Basket"]("ann", {"tea": 2})
    codec = get_codec()
    value = [basket, shop["OrderedDict"](a=1), shop["Fraction"](1, 2), shop["Size"].LARGE]
    assert_same(codec.decode(codec.encode(value)), value)


def test_the_example_of_a_serializer_works() -> None:
    (example,) = re.findall(r"```python\n(# shop/serializers\.py\n.*?)```", PAGE, flags=re.DOTALL)
    shop: dict[str, Any] = {"__name__": "shop.serializers"}
    exec(example, shop)
    codec = get_codec(shop["BasketSerializer"])
    basket = shop["Basket"]("ann", {"tea": 2})
    assert codec.decode(codec.encode(basket)) == basket
    with pytest.raises(SerializationError, match="a Basket is needed, not a str"):
        codec.encode("tea")
