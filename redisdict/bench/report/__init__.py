"""A run as a table for the terminal, as Markdown, JSON and CSV."""

from redisdict.bench.report.formats import FORMATS, render

__all__ = ["FORMATS", "render"]
