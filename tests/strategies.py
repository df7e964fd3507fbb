"""Hypothesis strategies that tests of several parts share."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["nested"]


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a leaf, or a small list, tuple, frozenset or dict, within which there may be others.

    Args:
        leaves: values that can be hashed; members of sets and keys of dicts are among them, too.
    """
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.frozensets(leaves, max_size=3),
            st.dictionaries(leaves, inner, max_size=3),
        ),
        max_leaves=6,
    )
