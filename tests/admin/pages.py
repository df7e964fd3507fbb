"""Reading the HTML of a page the way a person does: tables by their cells."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

__all__ = ["Page"]


class Page(HTMLParser):
    """The tables, data blocks and visible text of a page, and what its policy would refuse."""

    def __init__(self, html: bytes | str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.data: list[Any] = []
        self.inline_code: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self._script = ""
        self._is_data = False
        self.feed(html.decode() if isinstance(html, bytes) else html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    def rows(self, *titles: str) -> list[dict[str, str]]:
        """The rows of the only table whose head has all these titles, by their titles.

        A cell that spans the rest of its row stands under each title of it.
        """
        [found] = [table for table in self.tables if table and set(titles) <= set(table[0])]
        head = found[0]
        return [
            dict(zip(head, row + row[-1:] * (len(head) - len(row)), strict=True))
            for row in found[1:]
        ]

    def has_table(self, *titles: str) -> bool:
        return any(table and set(titles) <= set(table[0]) for table in self.tables)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.inline_code += [
            f"{name}={value}" for name, value in attrs if name == "style" or name.startswith("on")
        ]
        if tag == "a" and attributes.get("href"):
            self.links.append(str(attributes["href"]))
        if tag == "style":
            self.inline_code.append("<style>")
        if tag == "script":
            self._is_data = attributes.get("type") == "application/json"
            if not self._is_data and "src" not in attributes:
                self.inline_code.append("<script>")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self.tables[-1][-1].append("")
        if tag in ("script", "style", "td", "th"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._is_data:
            self.data.append(json.loads(self._script))
            self._script, self._is_data = "", False
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self._script += data if self._is_data else ""
            return
        self._words.append(data)
        if self._open and self._open[-1] in ("td", "th"):
            cell = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = " ".join(f"{cell} {data}".split())
