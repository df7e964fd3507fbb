"""Read the pages of the documentation: their fences, tables, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"

#: All pages, by their path from the root of the repository.
PAGES: Final = {
    path.relative_to(ROOT).as_posix(): path
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted(DOCS.rglob("*.md")),
    )
    if "_build" not in path.parts
}

_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A block of code.

    Attributes:
        line: of its first line, from 1.
        title: what its first line names, as a file: `# mysite/settings.py`. Empty if it doesn't.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def title(self) -> str:
        found = re.match(r"# ([\w./]+\.(?:py|ini))", self.text)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: str) -> str:
    return PAGES[page].read_text(encoding="utf-8")


def fences(page: str, *languages: str) -> list[Fence]:
    """List the blocks of a page in these languages, in their order."""
    text = read(page)
    found = [
        Fence(page, text.count("\n", 0, match.start()) + 2, match[2], match[3])
        for match in _FENCE.finditer(text)
    ]
    return [one for one in found if one.language in languages]


def prose(text: str) -> str:
    """Take the blocks of code out."""
    return _FENCE.sub("", text)


def section(text: str, heading: str) -> str:
    """Give the prose below a heading, up to the next of its level or a higher one."""
    text = prose(text)
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, heading
    rest = text[found.end() :]
    return re.split(rf"^#{{1,{len(found[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in a text."""
    for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE):
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]


def first_names(text: str) -> set[str]:
    """The names in backticks in the first cells of all rows."""
    return {name for cells in rows(text) for name in re.findall(r"`([^`]+)`", cells[0])}


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the web view of a repository makes them."""
    titles = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
