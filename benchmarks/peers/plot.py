"""The ratios as a plot: a row for each client, a dot for each operation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.results import Measured
from benchmarks.peers.roster import REFERENCE, Kind

__all__ = ["draw"]

#: By kind of row; dark enough on white, and told apart by people who don't see red and green.
COLOURS = {Kind.OURS: "#0b6bcb", Kind.PEER: "#6b6b6b", Kind.LIMIT: "#b35900"}

MARKERS = ("o", "s", "^", "D")

ROW_INCHES, WIDTH_INCHES = 0.26, 9.0


def draw(results: Sequence[Measured], file: Path) -> None:
    """Write an SVG with one panel a table."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "peers"  # the same results give the same file
    from matplotlib import pyplot

    heights = [len(measured.table.clients) + 4 for measured in results]
    figure, panels = pyplot.subplots(
        len(results),
        1,
        figsize=(WIDTH_INCHES, ROW_INCHES * sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for panel, measured in zip(panels[:, 0], results, strict=True):
        _panel(panel, measured)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def _panel(panel: Any, measured: Measured) -> None:
    clients = [client for kind in Kind for client in measured.table.clients if client.kind is kind]
    for marker, column in zip(MARKERS, measured.series, strict=False):
        for row, client in enumerate(clients):
            ratio = measured.ratio(column, client.name)
            if ratio is None:
                continue
            panel.plot(
                ratio.value,
                row,
                marker,
                color=COLOURS[client.kind],
                fillstyle="none",
                markersize=6,
                label=column if client.name == REFERENCE else None,
            )
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("{x:g}")
    panel.tick_params(axis="x", which="both", labelsize=7)
    panel.axvline(1, color="#999999", linewidth=0.8)
    panel.set_yticks(range(len(clients)), [client.name for client in clients], fontsize=8)
    for label, client in zip(panel.get_yticklabels(), clients, strict=True):
        label.set_color(COLOURS[client.kind])
    panel.invert_yaxis()
    panel.grid(axis="x", alpha=0.3)
    panel.set_title(f"{measured.table.title}: speed, {REFERENCE} = 1", fontsize=10, loc="left")
    panel.legend(
        fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(MARKERS), frameon=False
    )
