"""What type checkers see of a class that is registered; as in test_persistent_dict.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import assert_type

from redisdict.codec import register_type


def test_a_class_stays_what_it_is() -> None:
    def check() -> None:
        @register_type
        class Size(Enum):
            SMALL = 1

        @register_type(name="shop.Basket")
        @dataclass
        class Basket:
            owner: str

        assert_type(Size(1), Size)
        assert_type(Basket("ann").owner, str)
        Basket(1)  # type: ignore[arg-type]
        register_type(Fraction, name="fraction", to=str, from_=Fraction)
        register_type(Fraction, to=lambda value: value.numerator, from_=Fraction)
        register_type(Fraction, to=str, from_=int)  # type: ignore[arg-type]
        register_type(Fraction, to=str)  # type: ignore[call-overload]

    assert callable(check)
