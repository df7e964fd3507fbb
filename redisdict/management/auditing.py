"""Carry out `manage.py modeldict audit`: passes, reports, exit status."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.db import DatabaseError
from django.utils import timezone

from redisdict import conf
from redisdict.management import audits
from redisdict.modelcache.audit.nines import at_least
from redisdict.modelcache.audit.passes import MOST_EXAMPLES, Audit, TableCount
from redisdict.modelcache.outages import UNREACHED
from redisdict.modelcache.overview import import_urls

#: Exit statuses. 1 is also that of a CommandError, and 2 that of wrong arguments.
AGREED = 0
DISAGREED = 1
UNAVAILABLE = 3

#: Seconds from the end of a pass to the next one, with --forever.
INTERVAL_S = 60.0

#: Days that counts are kept.
KEEP_DAYS = 400


def add_audit_arguments(parser: CommandParser) -> None:
    """Declare the options that only an audit has."""
    group = parser.add_argument_group("audit")
    group.add_argument("--using", help="an alias of REDISDICT; all if none")
    group.add_argument(
        "--sample",
        type=_positive_int,
        metavar="N",
        help="number of cells per pass, at random; all if none",
    )
    group.add_argument(
        "--seconds",
        type=_positive_float,
        help="pass after pass for this many seconds, instead of one pass",
    )
    group.add_argument("--forever", action="store_true", help="pass after pass, until interrupted")
    group.add_argument(
        "--interval",
        type=_positive_float,
        default=INTERVAL_S,
        help=f"seconds between two passes with --forever; {INTERVAL_S:.0f} if none",
    )
    group.add_argument(
        "--json", action="store_true", help="a JSON object for each pass, on one line"
    )
    group.add_argument(
        "--repair",
        action="store_true",
        help="remove cells that disagree, so that their rows are read again",
    )
    group.add_argument(
        "--no-save", action="store_true", help="don't save the counts for the admin's page"
    )
    group.add_argument(
        "--keep",
        type=_positive_int,
        metavar="DAYS",
        default=KEEP_DAYS,
        help=f"days that counts are kept; {KEEP_DAYS} if none",
    )
    group.add_argument(
        "--textfile",
        metavar="PATH",
        help="write the metrics of the audit there after each pass, for the textfile collector of"
        " Prometheus's node exporter",
    )


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _positive_float(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ValueError
    return number


# argparse names them in its errors.
_positive_int.__name__ = "number above 0"
_positive_float.__name__ = "number above 0"


class Auditing:
    """One call of the command.

    Raises:
        CommandError: an alias isn't configured, or nothing is cached.
    """

    def __init__(
        self, stdout: OutputWrapper, stderr: OutputWrapper, options: Mapping[str, Any]
    ) -> None:
        using = options["using"]
        if using is not None and using not in conf.aliases():
            raise CommandError(f"--using is {using!r}; an alias of REDISDICT is expected.")
        self._stdout = stdout
        self._stderr = stderr
        self._options = options
        self._audit = Audit(using, options["database"], repairs=options["repair"])
        self._status = AGREED

    def run(self) -> int:
        """Make the passes that were asked for, and give the exit status."""
        import_urls()
        try:
            if not self._audit.tables():
                raise CommandError("No model has a ModelDict here, so there is nothing to audit.")
            for counts in self._passes():
                self._report(counts)
                self._keep(counts)
        except KeyboardInterrupt:
            self._stderr.write("Ended.")
        except (*UNREACHED, DatabaseError) as error:
            self._stderr.write(f"The audit has ended: {error}")
            return UNAVAILABLE
        return self._status

    def _passes(self) -> Iterator[list[TableCount]]:
        seconds, is_forever = self._options["seconds"], self._options["forever"]
        ends_at = None if seconds is None else time.monotonic() + seconds
        totals: list[TableCount] = []
        while True:
            try:
                counts = self._audit.run(self._options["sample"], ends_at)
            except (*UNREACHED, DatabaseError) as error:
                if not is_forever:
                    raise
                self._stderr.write(f"A pass has ended: {error}")
                counts = []
            if is_forever:
                yield counts
                if ends_at is not None and time.monotonic() >= ends_at:
                    return
                time.sleep(self._options["interval"])
                continue
            totals = merged(totals, counts)
            is_over = ends_at is None or time.monotonic() >= ends_at
            if is_over:
                yield totals
                return
            if not any(count.judged for count in counts):
                time.sleep(0.1)  # there is nothing yet

    def _report(self, counts: Sequence[TableCount]) -> None:
        if any(count.disagreed for count in counts):
            self._status = DISAGREED
        if self._options["json"]:
            self._stdout.write(json.dumps(as_json(counts)))
            return
        for count in counts:
            for line in lines(count):
                self._stdout.write(line)

    def _keep(self, counts: Sequence[TableCount]) -> None:
        if self._options["textfile"] is not None:
            _write_textfile(self._options["textfile"])
        if self._options["no_save"]:
            return
        now = timezone.now()
        try:
            audits.save(counts, now)
            audits.prune(now, self._options["keep"])
        except DatabaseError as error:
            self._stderr.write(f"The counts weren't saved: {error} Was `migrate` run?")


def merged(totals: Sequence[TableCount], counts: Sequence[TableCount]) -> list[TableCount]:
    """Add up the counts of several passes. Ages are those of the last one."""
    before = {(one.model, one.database, one.alias): one for one in totals}
    for count in counts:
        other = before.pop((count.model, count.database, count.alias), None)
        if other is not None:
            count.judged += other.judged
            count.disagreed += other.disagreed
            count.by_age += other.by_age
            count.unjudged += other.unjudged
            count.repaired += other.repaired
            count.examples = (other.examples + count.examples)[:MOST_EXAMPLES]
    return [*before.values(), *counts]


def as_json(counts: Sequence[TableCount]) -> dict[str, Any]:
    """Return the counts of a pass as JSON."""
    return {
        "time": timezone.now().isoformat(),
        "judged": sum(count.judged for count in counts),
        "disagreed": sum(count.disagreed for count in counts),
        "repaired": sum(count.repaired for count in counts),
        "tables": [
            {
                "model": count.model,
                "database": count.database,
                "alias": count.alias,
                "judged": count.judged,
                "disagreed": count.disagreed,
                "by_age": dict(count.by_age),
                "unjudged": dict(+count.unjudged),
                "repaired": count.repaired,
                "nines_at_least": at_least(count.judged, count.disagreed),
                "examples": [
                    {"key": key, "differs": list(fields)} for key, fields in count.examples
                ],
            }
            for count in counts
        ],
    }


def lines(count: TableCount) -> Iterator[str]:
    """Describe the counts of one table, for people."""
    nines = at_least(count.judged, count.disagreed)
    proven = "" if nines is None else f"; at least {nines:.1f} nines"
    text = f"{count.model} ({count.database} on {count.alias}): {count.judged:,} judged"
    text += f", {count.disagreed:,} disagree{proven}"
    unjudged: Counter[str] = +count.unjudged
    if unjudged:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in unjudged.most_common())
        text += f"; not judged: {reasons}"
    yield text
    if count.repaired:
        yield f"  {count.repaired:,} removed."
    for age, number in count.by_age.items():
        yield f"  disagree since {age.replace('_', ' ')}: {number:,}"
    for key, fields in count.examples:
        yield f"  {key!r:.80}: {', '.join(fields)}"


def _write_textfile(path: str) -> None:
    from redisdict.metrics.prometheus import write_textfile

    write_textfile(path)
