"""How a table is laid out on a terminal that is as wide as it is.

When there is no room for all columns, the leading labels become headings above their rows, one
after the other, and then the table's next, narrower form is tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text

from redisdict.bench.report.tables import MISSING

__all__ = ["Form", "laid_out"]

#: Between two columns.
GAP = "  "


@dataclass(frozen=True)
class Form:
    """A table as text: columns of labels on the left, and of figures, set flush right."""

    labels: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[Text]]]


def laid_out(forms: Iterable[Form], width: int) -> list[Text]:
    """The lines of the first form that is no wider than that; of the narrowest, if none is."""
    lines: list[Text] = []
    for form in forms:
        for sections in range(len(form.labels)):
            lines = list(_lines(form, sections))
            if max(line.cell_len for line in lines) <= width:
                return lines
    return lines


def _lines(form: Form, sections: int) -> Iterator[Text]:
    """The table with so many labels as headings above their rows."""
    beside = len(form.labels) - sections
    headings = [Text(text) for text in (*form.labels[sections:], *form.columns)]
    rows = [[*map(Text, labels[sections:]), *figures] for labels, figures in form.rows]
    widths = [max(text.cell_len for text in column) for column in zip(headings, *rows, strict=True)]
    heading = _line(headings, widths, beside)
    heading.stylize("bold")
    yield heading
    yield Text("─" * heading.cell_len, style="dim")
    numbered = list(zip((labels[:sections] for labels, _ in form.rows), rows, strict=True))
    for place, (section, members) in enumerate(groupby(numbered, key=lambda one: one[0])):
        if section:
            if place:
                yield Text()
            yield Text(_section_name(form.labels, section), style="bold")
        named = ""
        for _, row in members:
            # A service is named in the first of its rows.
            is_named = beside > 1 and row[0].plain == named
            named = row[0].plain
            yield _line([Text() if is_named else row[0], *row[1:]], widths, beside)


def _line(texts: Sequence[Text], widths: Sequence[int], left: int) -> Text:
    """One line, of whose columns the first ones are set flush left."""
    padded = []
    for place, (text, width) in enumerate(zip(texts, widths, strict=True)):
        space = " " * (width - text.cell_len)
        padded.append(text + space if place < left else Text(space) + text)
    line = Text(GAP).join(padded)
    line.rstrip()
    return line


def _section_name(labels: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(
        f"{value} {label.lower()}" if value.isdecimal() else value
        for label, value in zip(labels, values, strict=False)
        if value != MISSING
    )
