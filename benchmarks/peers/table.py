"""The report as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.peers.promises import PROMISES, measured_ratios, overtaken, verdict
from benchmarks.peers.results import TWIN, Measured
from benchmarks.peers.roster import REFERENCE, Client, Kind

__all__ = ["report"]


def report(results: Sequence[Measured], facts: Sequence[str]) -> str:
    """All tables, what they prove, and what has no figure.

    Args:
        facts: where and how it was measured, a sentence each.
    """
    parts = ["# This package and its peers", *(f"- {fact}" for fact in facts), ""]
    for measured in results:
        parts += [f"## {measured.table.title}", "", *_table(measured), "", *_notes(measured)]
    parts += ["## What the package promises", "", *_promises(results), ""]
    parts += ["## Peers that are faster", "", *_overtaken(results), ""]
    return "\n".join(parts)


def _table(measured: Measured) -> Iterator[str]:
    columns = list(measured.series)
    yield from _header(["ops/s (ratio)", *columns])
    for kind in Kind:
        for client in measured.table.clients:
            if client.kind is kind:
                cells = (_cell(measured, column, client.name) for column in columns)
                yield _line([_label(measured, client), *cells])
                if client.name == REFERENCE:
                    twins = (_cell(measured, column, TWIN) for column in columns)
                    yield _line([TWIN, *twins])


def _label(measured: Measured, client: Client) -> str:
    mark = " †" if client.name in measured.item_by_item and _is_bulk(measured) else ""
    name = f"**{client.name}**" if client.kind is Kind.OURS else client.name
    return f"{'limit: ' if client.kind is Kind.LIMIT else ''}{name}{mark}"


def _cell(measured: Measured, column: str, client: str) -> str:
    speed = measured.ops_per_second(column, client)
    if speed is None:
        return "failed" if measured.failure(column, client) else "none"
    ratio = measured.ratio(column, client)
    return f"{_thousands(speed)} ({ratio.value:.2f})" if ratio else _thousands(speed)


def _notes(measured: Measured) -> Iterator[str]:
    twins = [
        ratio for column in measured.series if (ratio := measured.ratio(column, TWIN)) is not None
    ]
    if twins:
        floor = max(abs(math.log(twin.value)) for twin in twins)
        yield f"Noise floor (the A/A twin's greatest distance from 1): {floor:.1%}."
        yield ""
    if _is_bulk(measured) and measured.item_by_item:
        yield "† makes a round trip for every item or every few, so it got a tenth of the items."
        yield ""
    reasons = list(_reasons(measured))
    if reasons:
        yield from reasons
        yield ""


def _reasons(measured: Measured) -> Iterator[str]:
    """Why there is no figure, each reason once a client."""
    for client in measured.table.clients:
        columns: dict[str, list[str]] = {}
        for column in measured.series:
            if reason := measured.failure(column, client.name):
                columns.setdefault(reason, []).append(column)
        for reason, where in columns.items():
            yield f"- {client.name}, {', '.join(where)}: {reason}"


def _promises(results: Sequence[Measured]) -> Iterator[str]:
    yield from _header(["table", "client", "against", "at least", "measured", ""])
    for promise in PROMISES:
        for measured in results:
            ratios = measured_ratios(promise, measured)
            if not ratios:
                continue
            yield _line(
                [
                    measured.table.name,
                    promise.client,
                    promise.other,
                    f"{promise.at_least:g}",
                    ", ".join(f"{column} {ratio.value:.2f}" for column, ratio in ratios.items()),
                    verdict(promise, ratios),
                ]
            )


def _overtaken(results: Sequence[Measured]) -> Iterator[str]:
    lines = [
        f"- {measured.table.title}, {one}" for measured in results for one in overtaken(measured)
    ]
    yield from lines or ["None, in no column."]


def _header(cells: Sequence[str]) -> Iterator[str]:
    yield _line(cells)
    yield _line(["---"] * len(cells))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _is_bulk(measured: Measured) -> bool:
    return any(column.is_bulk for column in measured.table.columns)


def _thousands(speed: float) -> str:
    if speed >= 1e6:
        return f"{speed / 1e6:.2f} M"
    return f"{speed / 1e3:.1f} k" if speed < 1e5 else f"{speed / 1e3:.0f} k"
