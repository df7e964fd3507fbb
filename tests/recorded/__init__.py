"""Replies of real KeyDB and Dragonfly, and a server that gives them where neither is installed."""

from tests.recorded.server import RecordedServer

__all__ = ["RecordedServer"]
