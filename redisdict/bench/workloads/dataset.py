"""Keys and values, made before anything is timed; the same seed gives the same data."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["key_names", "texts", "zipf_choices"]

T = TypeVar("T")

_ALPHABET = string.ascii_letters + string.digits


def key_names(prefix: str, count: int) -> list[str]:
    """Keys of equal length, so that no cell sends more bytes than another."""
    width = len(str(count - 1))
    return [f"{prefix}:{number:0{width}d}" for number in range(count)]


def texts(rng: random.Random, count: int, lengths: int | Sequence[int]) -> list[str]:
    """Texts of ASCII characters that hardly compress, of one length or of any of several."""
    choices = [lengths] if isinstance(lengths, int) else lengths
    return ["".join(rng.choices(_ALPHABET, k=rng.choice(choices))) for _ in range(count)]


def zipf_choices(rng: random.Random, items: Sequence[T], count: int, skew: float = 1.0) -> list[T]:
    """Choices among which the n-th item comes up in proportion to 1 / n**skew, as in caches."""
    weights = [1 / rank**skew for rank in range(1, len(items) + 1)]
    return rng.choices(items, weights, k=count)
