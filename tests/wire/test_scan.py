"""Cursors that lead through several tables: what a caller holds, and what is read from it."""

from __future__ import annotations

from redisdict.wire.scan import SLOTS, ClusterCursor, ShardsCursor, table_bits


def test_a_cursor_of_a_cluster_tells_the_node_and_the_place_there() -> None:
    cursor = ClusterCursor(7, 5461)
    assert bytes(cursor) == b"%d" % (7 * SLOTS + 5461)
    assert ClusterCursor.parse(bytes(cursor)) == cursor
    assert ClusterCursor.parse(b"0") == ClusterCursor.parse(0) == (0, 0)
    assert bytes(ClusterCursor(0, 0)) == b"0"


def test_a_cursor_of_shards_tells_where_each_of_them_is() -> None:
    cursor = ShardsCursor(9, [(7, b"12"), (8, b"0")])
    assert bytes(cursor) == b"9:7=12,8=0"
    assert ShardsCursor.parse(bytes(cursor)) == cursor
    assert ShardsCursor.parse(b"0") == (0, [])


def test_how_large_the_tables_are_at_least() -> None:
    assert table_bits(b"0") == [0]
    assert table_bits(b"12") == [4]
    assert table_bits(b"9:7=12,8=0") == [4, 0]
