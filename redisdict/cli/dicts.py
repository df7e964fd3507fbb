"""List dicts, and show one."""

from __future__ import annotations

from itertools import islice
from typing import Any

from django.template.defaultfilters import filesizeformat

from redisdict import conf
from redisdict.cli.chosen import Options, choose, describe_dict, layout_text, one_line
from redisdict.cli.output import ExitStatus, Output
from redisdict.connections.registry import get_backend
from redisdict.inspection.finding import all_dicts, facts_of
from redisdict.inspection.json_lines import described, records_of
from redisdict.inspection.names import shown_path
from redisdict.inspection.servers import SERVER_ERRORS
from redisdict.inspection.values import lifetime_text, show_key, show_value
from redisdict.mapping.catalog import DictFacts, FoundDict

HEADINGS = ("ALIAS", "NAME", "LAYOUT", "ITEMS", "MEMORY", "LIFETIME")


def list_dicts(options: Options, output: Output) -> int:
    """Write a line for each dict of an alias, or of all, and report servers that fail."""
    aliases = conf.aliases() if options["using"] is None else (options["using"],)
    rows, status = [], ExitStatus.FINE
    for alias in aliases:
        try:
            with output.progress(f"{alias}: found", noun="dicts") as progress:
                for found, facts in all_dicts(get_backend(alias)):
                    progress.add(1)
                    rows.append((alias, found, facts))
        except SERVER_ERRORS as error:
            if len(aliases) == 1:
                raise
            output.note(f"{alias}: {one_line(error)}")
            status = ExitStatus.FAILED_SERVER
    if output.is_json:
        for alias, found, facts in rows:
            output.result({"using": alias, **describe_dict(found), **_described(facts)}, "")
    else:
        output.table([_row(*row) for row in rows], HEADINGS)
    return status


def show(options: Options, output: Output) -> None:
    """Write what one dict costs, and some of its items."""
    chosen = choose(options)
    facts = facts_of(chosen.backend, chosen.found)
    items = list(islice(records_of(chosen.mapping), options["items"]))
    if output.is_json:
        sample = [described(record) for record in items]
        output.result({**chosen.described, **_described(facts), "sample": sample}, "")
        return
    output.facts(
        {
            "name": chosen.name,
            "alias": chosen.backend.config.alias,
            "server": chosen.backend.address,
            "prefix": chosen.backend.config.key_prefix,
            "layout": chosen.layout,
            "items": f"{facts.item_count:,}",
            "memory": _memory(facts),
            "lifetime": _lifetime(facts),
        }
    )
    for field, stored, left_ms in items:
        value = show_value(stored)
        text = value.problem or value.text + "…" * value.is_cut
        left = "" if left_ms < 0 else f"  ({lifetime_text(left_ms)} left)"
        output.write(f"  {show_key(field).text}: {' '.join(text.split())}{left}")


def _row(alias: str, found: FoundDict, facts: DictFacts) -> tuple[str, ...]:
    return (
        alias,
        shown_path(found.path),
        layout_text(found),
        f"{facts.item_count:,}",
        _memory(facts),
        _lifetime(facts),
    )


def _memory(facts: DictFacts) -> str:
    if facts.memory_bytes is None:
        return "unknown"
    return str(filesizeformat(facts.memory_bytes)).replace("\N{NO-BREAK SPACE}", " ")


def _lifetime(facts: DictFacts) -> str:
    shortest, longest = lifetime_text(facts.shortest_ms), lifetime_text(facts.longest_ms)
    return shortest if shortest == longest else f"{shortest} to {longest}"


def _described(facts: DictFacts) -> dict[str, Any]:
    return {
        "items": facts.item_count,
        "memory_bytes": facts.memory_bytes,
        "shortest_milliseconds_left": facts.shortest_ms,
        "longest_milliseconds_left": facts.longest_ms,
    }
