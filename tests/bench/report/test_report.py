"""The report's forms. One parser reads the tables of the original report and of ours."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest

from redisdict.bench.choices import CellStatus, Table
from redisdict.bench.errors import UsageError
from redisdict.bench.report import FORMATS, render
from redisdict.bench.report.files import from_json, to_json
from redisdict.bench.report.terminal import TIMES
from tests.bench.records import changed, make_record, measured, whole

#: Rows of the original report, as they were printed.
ORIGINAL = """\
# Benchmark Results (Averaged over 3 runs)

| Service | Mode | Pool | SET (ops/s) | GET (ops/s) | DEL (ops/s) | PIPE (ops/s) |
|---------|------|------|-------------|-------------|-------------|--------------|
| Standard Redis | ASYNC | AsyncConnectionPool | 3805 | 4119 | 3986 | 111751 |
| Standard Redis | SYNC | BlockingConnectionPool | 5985 | 6169 | 6126 | 126682 |
| Redis Sentinel | SYNC | Default | 10304 | 11415 | 11073 | 161890 |

## PersistentDict Benchmarks (Optimized with Lua)

| Variant | Set (ops/s) | Get (ops/s) | Del (ops/s) | Iter (ops/s) |
|---------|-------------|-------------|-------------|--------------|
| Sync (HSET)          | 4520 | 4640 | 4830 | ~4.4M |
| Async (No HSET)      | 3138 | 3240 | 3033 | ~2.7M |

**Conclusion:**
- **Optimization Successful**: …
"""


def parsed(text: str) -> dict[str, list[dict[str, str | float | None]]]:
    """The two tables of a report: heading line -> rows as dicts, speeds as numbers."""
    tables: dict[str, list[dict[str, str | float | None]]] = {}
    headings: list[str] | None = None
    for line in text.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            headings = None
        elif headings is None:
            headings = cells
            tables[line] = []
        elif not set(line) <= set("|-"):
            tables[list(tables)[-1]].append(
                {
                    heading: speed(cell) if "(ops/s)" in heading else cell
                    for heading, cell in zip(headings, cells, strict=True)
                }
            )
    return tables


def speed(text: str) -> float | None:
    if text in ("-", "failed"):
        return None
    number = text.lstrip("~")
    return float(number[:-1]) * 1e6 if number.endswith("M") else float(number)


def test_the_headings_and_columns_are_the_original_ones_to_the_letter() -> None:
    original, ours = parsed(ORIGINAL), parsed(render(make_record(), "markdown"))
    assert list(ours)[:2] == list(original)
    text = render(make_record(), "markdown")
    for line in ORIGINAL.splitlines():
        if set(line) <= set("|-") and line:
            assert line in text.splitlines()


def test_the_titles_have_the_original_form() -> None:
    for text in (ORIGINAL, render(make_record(), "markdown")):
        assert re.search(r"\A# Benchmark Results \([^()]+\)\n\n\| Service ", text)
        assert re.search(r"\n\n## PersistentDict Benchmarks \([^()]+\)\n\n\| Variant ", text)
        assert "\n**Conclusion:**\n- " in text


def test_the_parser_reads_the_original() -> None:
    pools, dicts = parsed(ORIGINAL).values()
    assert pools[2]["Service"] == "Redis Sentinel"
    assert pools[2]["PIPE (ops/s)"] == 161890
    assert dicts[0] == {
        "Variant": "Sync (HSET)", "Set (ops/s)": 4520, "Get (ops/s)": 4640,
        "Del (ops/s)": 4830, "Iter (ops/s)": 4.4e6,
    }  # fmt: skip


def test_the_parser_reads_our_figures_back() -> None:
    record = make_record()
    pools, dicts, *_ = parsed(render(record, "markdown")).values()
    assert [(row["Mode"], row["Pool"]) for row in pools[:5]] == [
        ("ASYNC", "AsyncConnectionPool"),
        ("ASYNC", "AsyncBlockingConnectionPool"),
        ("ASYNC", "OptimizedAsyncConnectionPool"),
        ("SYNC", "ConnectionPool"),
        ("SYNC", "BlockingConnectionPool"),
    ]
    for row in pools[:5]:
        length = len(str(row["Pool"]))
        assert [row[f"{name} (ops/s)"] for name in ("SET", "GET", "DEL", "PIPE")] == [
            place * 10_000 + length for place in (1, 2, 3, 4)
        ]
    assert [row["Variant"] for row in dicts] == [
        "Sync (HSET)", "Sync (No HSET)", "Async (HSET)", "Async (No HSET)",
    ]  # fmt: skip
    assert dicts[0]["Get (ops/s)"] == 50_000
    assert dicts[0]["Iter (ops/s)"] == 2.51e6


def test_a_service_that_is_not_there_keeps_its_row_with_the_reason() -> None:
    pools = next(iter(parsed(render(make_record(), "markdown")).values()))
    (row,) = [row for row in pools if row["Service"] == "KeyDB"]
    assert row["Pool"] == (
        "not available: No KeyDB program is here: see compose.yaml | or build it."
    )
    assert row["SET (ops/s)"] is None


def test_a_failed_cell_says_so_in_its_place_and_why_below() -> None:
    record = make_record()
    failed = changed(
        measured(), status=CellStatus.FAILED, reason="Connection reset", ops_per_second=None
    )
    record.put([failed])
    text = render(record, "markdown")
    assert (
        "| Standard Redis | SYNC | BlockingConnectionPool | 10022 | failed | 30022 | 40022 |"
        in text
    )
    assert "- Failed: Standard Redis SYNC BlockingConnectionPool GET: Connection reset" in text


def test_conclusions_are_sentences_made_from_intervals() -> None:
    lines = render(make_record(), "markdown").splitlines()
    assert "- Sync HASH Get is 0.97 [0.96, 0.98] of direct keys: slower." in lines
    assert "- Sync HASH Set is 1.00 [0.99, 1.01] of direct keys: same." in lines
    assert (
        "- Valkey against Standard Redis: GET 1.12 [1.11, 1.13] faster,"
        " SET 1.01 [1.00, 1.02] unsure." in lines
    )
    assert (
        "- Standard Redis, SYNC BlockingConnectionPool against SYNC ConnectionPool:"
        " GET 0.99 [0.98, 1.00] same." in lines
    )


def test_the_footnote_tells_method_environment_noise_and_what_iter_counts() -> None:
    text = render(make_record(), "markdown")
    for part in (
        "medians over 1000 rounds (preset standard, seed 1)",
        "with 95 % intervals",
        "a batch of 100 without MULTI/EXEC",
        "when they are started 8 times: Get 0.4%, Set 0.4%, GET 0.4%, SET 0.4%.",
        "Equal runs deviate by calls 0.8%, iterations 7.5% (what such machines usually",
        "Latencies are those of 2000 calls, each timed by itself.",
        "on the same CPU: Standard Redis",
        "Iter counts the keys per second that whole iterations over 5000 items delivered."
        " Keys with their decoded values: Sync (HSET) 50,000",
        "redis 8.1.0, hiredis 3.5.0, event loop asyncio, commit 0123456789ab",
        "Standard Redis is Redis 7.0.15 (persistence off)",
    ):
        assert part in text


def test_calls_at_a_rate_are_told() -> None:
    record = make_record()
    for result in record.cells:
        if result.operation in ("SET", "GET"):
            result.details["rate_per_second"] = 500.0
    text = render(record, "markdown")
    assert "calls of SET and GET were made 500 times a second, whether or not the last" in text


def test_latencies_of_every_cell_stand_in_the_markdown() -> None:
    text = render(make_record(), "markdown")
    assert "## Single calls, in microseconds" in text
    assert (
        "| Standard Redis | DEL | ConnectionPool | 30.5 | 40.0 | 90.2 | 500 | 20.0 | 5.0 |" in text
    )
    assert "| Standard Redis | Get | Sync (No HSET) | 30.5 |" in text


def test_ratios_stand_in_a_table_of_their_own() -> None:
    text = render(make_record(), "markdown")
    assert "## Speed relative to Standard Redis SYNC ConnectionPool" in text
    assert "| Standard Redis | SYNC | ConnectionPool | 1.00 [1.00, 1.00] |" in text
    assert "| Standard Redis | ASYNC | AsyncConnectionPool | 0.40 [0.40, 0.40] |" in text


def test_concurrency_and_workloads_have_tables_when_measured() -> None:
    record = make_record()
    record.put(
        [
            measured(table=Table.CONCURRENCY, concurrency=50, connections=5),
            measured(
                40_000,
                table=Table.CONCURRENCY,
                concurrency=50,
                connections=5,
                variant="Sync (HSET)",
                operation="Get",
            ),
            measured(table=Table.WORKLOADS, operation="MIX 80/20"),
        ]
    )
    text = render(record, "markdown")
    assert "## Pools under concurrency" in text
    assert (
        "| Standard Redis | SYNC | 50 | 5 | BlockingConnectionPool | - | 20000 | - | 40000 |"
        in text
    )
    assert "| Standard Redis | SYNC | BlockingConnectionPool | MIX 80/20 | 20000 |" in text
    text = render(record, "table")
    figures = f"20,000 {TIMES}1.00 +40,000 {TIMES}1.00"
    assert re.search(rf"50 +5 +BlockingConnectionPool +{figures}", text)
    assert re.search(rf"MIX 80/20 +20,000 {TIMES}1.00", text)


def test_csv_has_one_line_a_cell_and_leaves_empty_what_was_not_measured() -> None:
    record = make_record()
    rows = list(csv.DictReader(io.StringIO(render(record, "csv"))))
    assert len(rows) == len(record.cells)
    assert rows[0]["service"] == "Standard Redis"
    assert float(rows[0]["ops_per_second"]) == record.cells[0].ops_per_second
    assert rows[0]["p999_us"] == ""
    (missing,) = [row for row in rows if row["status"] == "unavailable"]
    assert missing["ops_per_second"] == ""
    assert "compose.yaml" in missing["reason"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_run_can_be_reported(name: str) -> None:
    assert render(make_record(results=[], comparisons=[]), name).endswith("\n")


# Exchange.


def test_a_run_survives_its_file_to_the_last_bit() -> None:
    record = make_record(warnings=[{"name": "drift", "text": "…", "advice": "…"}])
    assert whole(from_json(to_json(record))) == whole(record)
    assert to_json(from_json(to_json(record))) == to_json(record)


def test_the_file_says_what_it_is() -> None:
    document = json.loads(to_json(make_record()))
    assert (document["schema"], document["version"]) == ("redisdict-benchmark-run", 1)
    assert document["run"]["started_at"] == "2026-03-01T12:30:15.123456+00:00"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "isn't JSON"),
        ("[]", "isn't a benchmark run"),
        ('{"schema": "other"}', "isn't a benchmark run"),
        (
            '{"schema": "redisdict-benchmark-run", "version": 2}',
            "has version 2 .* Update redisdict",
        ),
        ('{"schema": "redisdict-benchmark-run", "version": 1, "run": {}}', "is damaged: KeyError"),
    ],
)
def test_a_wrong_file_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_json(text)


def test_a_damaged_run_is_refused() -> None:
    for old, new in (('"measured"', '"guessed"'), ('"rounds"', '"round"'), ("2026-03", "2026-33")):
        with pytest.raises(UsageError, match="is damaged"):
            from_json(to_json(make_record()).replace(old, new))
