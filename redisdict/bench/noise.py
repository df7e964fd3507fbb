"""Estimate the difference between equal things: within one run, and from run to run.

Within a run the A/A twins show it: two copies of the reference, whose true ratio is 1. The *noise
floor* of an operation in a group is the end of the twin's interval that is farther from 1.

Two runs differ by more than the rounds of either can show: by the layout of memory and the seeds of
hash functions, which stay the same as long as a process lives, and by the machine's other work.
Every run stores a standard deviation of this kind for each operation (`estimate()`): from the
restarts of its servers, from a calibration of the machine, or the usual one of such machines.
Comparisons across runs (`between_runs()`) use it, or the noise floor if that is greater. And if the
machine was much slower in one of two runs, ratios of unlike things shift (`conditions()`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redisdict.bench.choices import Comparison
from redisdict.bench.measure.environment import HIGH_FOREIGN_SHARE
from redisdict.bench.measure.statistics import CONFIDENCE, Ratio, upper_factor
from redisdict.bench.operations import ITERATIONS
from redisdict.bench.records import alike_speed, speed_of, speeds_across
from redisdict.bench.spec import ASYNC, DICT_POOLS
from redisdict.models import BenchmarkResult, BenchmarkRun

#: Where a run keeps its estimate, in `environment`.
KEY = "between_runs"

#: The source that a run names for its estimate.
USUAL = "what such machines usually show"

#: The half-width of the interval of `CONFIDENCE`, in standard deviations.
REACH = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Family:
    """Operations that vary between runs alike.

    Attributes:
        usual: by how much they usually vary, as a deviation of the ratio's logarithm, for one start
            of the servers.
        process: by how much they vary because the client is another process, however often the
            servers were started.
        shift: by how much their ratio is shifted, likewise, where other programs make the machine e
            times as slow: the more, the less the call and its reference have in common.
        host: by how much, where no other program runs and the host makes it so.
    """

    name: str
    usual: float
    process: float
    shift: float = 0.1
    host: float = 0.01


CALLS = Family("calls", 0.008, 0.004)
OTHER_POOL = Family("asynchronous calls beside those of another kind of pool", 0.008, 0.007)
CROSSING = Family("asynchronous calls beside blocking ones", 0.03, 0.02, shift=0.25, host=0.06)
CROWDED = Family("calls of many workers", 0.03, 0.005)
WALKS = Family("iterations", 0.075, 0.02)
DICTS = Family("calls of a dict beside commands", 0.015, 0.01, shift=0.2, host=0.4)
ASYNC_DICTS = Family(
    "asynchronous calls of a dict beside commands", 0.015, 0.008, shift=0.2, host=0.06
)
FAMILIES = (CALLS, OTHER_POOL, DICTS, ASYNC_DICTS, CROSSING, CROWDED, WALKS)


def family_of(result: BenchmarkResult) -> Family:
    if result.operation in ITERATIONS:
        return WALKS
    if result.concurrency > 1:
        return CROWDED
    is_async = result.mode == ASYNC
    if is_async and "alike" not in result.details:
        return CROSSING
    if result.variant:
        return ASYNC_DICTS if is_async else DICTS
    # The reference of such calls takes a connection from a pool for each.
    return OTHER_POOL if is_async and result.pool == DICT_POOLS[ASYNC] else CALLS


def estimate(run: BenchmarkRun, calibration: BenchmarkRun | None = None) -> dict[str, Any]:
    """Estimate by how much another run like this one would differ, as runs store it.

    Args:
        calibration: the last one of this machine.

    Gives `source` in words and `deviations` by family, of a ratio's logarithm over the whole run.
    """
    starts = _starts_of(run)
    sources = []
    # Usual and calibrated deviations are for one start of the servers; several average out.
    deviations = {family.name: family.usual / math.sqrt(starts) for family in FAMILIES}
    if calibration is not None:
        known: Mapping[str, float] = calibration.environment[KEY]["deviations"]
        deviations |= {name: value / math.sqrt(starts) for name, value in known.items()}
        sources += [f"the calibration of {calibration.started_at:%Y-%m-%d %H:%M}"]
    if restarted := _restarts(run.measured):
        deviations |= {
            name: max(value, deviations[name] if calibration is not None else 0.0)
            for name, value in restarted.items()
        }
        sources += [f"{starts} starts of each server"]
    # What another client process differs by was there in a calibration, and didn't average out.
    add = math.hypot if calibration is None else max
    processes = {family.name: family.process for family in FAMILIES}
    deviations = {name: add(value, processes.get(name, 0.0)) for name, value in deviations.items()}
    return {"source": " and ".join(sources) or USUAL, "deviations": deviations}


def _starts_of(run: BenchmarkRun) -> int:
    starts: int = run.spec.get("precision", {}).get("server_starts", 1)
    return starts


def calibrate(runs: Sequence[BenchmarkRun]) -> dict[str, float]:
    """Estimate by how much runs differ that are truly equal, by family.

    Args:
        runs: at least two runs of one commit and one specification, each by a process of its own.
    """
    logs: dict[Any, list[float]] = {}
    within: dict[Any, list[float]] = {}
    members: dict[Any, BenchmarkResult] = {}
    for run in runs:
        for cell in run.measured:
            speed = alike_speed(cell) or speed_of(cell)
            if speed is not None and 0 < speed.deviation < math.inf:
                members[cell.key] = cell
                logs.setdefault(cell.key, []).append(math.log(speed.value))
                within.setdefault(cell.key, []).append(speed.deviation**2)
    excess: dict[Family, list[float]] = {}
    for key, values in logs.items():
        if len(values) > 1:
            more = statistics.variance(values) - statistics.fmean(within[key])
            excess.setdefault(family_of(members[key]), []).append(more)
    # The cells of a run aren't independent: they share a reference and the hour.
    # For one start of the servers; over several, as in a run, it averages out.
    starts = max(_starts_of(run) for run in runs)
    factor = upper_factor(len(runs) - 1) * math.sqrt(starts)
    # Nothing is ever trusted to vary less than a quarter of what is usual.
    return {
        family.name: max(factor * math.sqrt(variance), family.usual / 4)
        for family, variance in _variances(excess).items()
    }


def between_runs(run: BenchmarkRun, result: BenchmarkResult) -> float:
    """Return the deviation between runs of one cell: the stored one, or that between the twins.

    Of the twins' difference only that counts which is beyond chance: the chance of so many rounds
    is in the cell's own interval. Runs of earlier versions know the whole floor only.
    """
    stored = run.environment.get(KEY, {}).get("deviations", {})
    family = family_of(result)
    deviation: float = stored.get(family.name, family.usual)
    least: float | None = result.details.get("least_noise")
    return max(deviation, _floor(run, result) / REACH if least is None else least)


def disturbance(*runs: BenchmarkRun) -> float:
    """Estimate how much other programs disturbed one of these runs: from 0 to 1, which is much.

    Runs on which nothing is known count as disturbed.
    """
    share: float = max(run.environment.get("foreign_cpu_share", math.inf) for run in runs)
    return min(share / HIGH_FOREIGN_SHARE, 1.0)


def conditions(before: BenchmarkResult, after: BenchmarkResult, disturbed: float = 1.0) -> float:
    """Estimate by how much a cell's ratio shifts because one run had another machine, as it were.

    A process that shares its CPU with others finds its caches emptied, and is interrupted more
    often the longer its blocks are, so on a busy machine the ratios of unlike calls differ. The
    measure for that is how much slower, in operations a second, the cell and the reference were
    that it is compared through. These shifts were read off some 200 pairs of equal runs under a
    load of 1 to 18 on two CPUs: they grow with the square of a small slowdown, and no faster than a
    great one, so that a cell that is truly ten times as slow is still told.

    Where nothing else runs, the host of a virtual machine can make it slower all the same, by what
    its neighbours need of the caches. In 205 pairs of equal runs, of which one was up to twice as
    slow, this shifted the ratios of like calls hardly, but a dict's to redis-py's by 13 %.

    Args:
        disturbed: by other programs, see `disturbance()`.
    """
    speeds = speeds_across(before, after)
    if speeds is None or not (before.ops_per_second and after.ops_per_second):
        return 0.0
    was, now = speeds
    own = math.log(after.ops_per_second / before.ops_per_second)
    reference = own - math.log(now.value / was.value)
    slowdown = max(abs(own), abs(reference))
    family = family_of(after)
    by_others = family.shift * (slowdown**2 if slowdown < 1 else 2 * slowdown - 1)
    # A cell that is truly slower says nothing of the host.
    return math.hypot(disturbed * by_others, family.host * abs(reference))


def ratio_of(comparison: Mapping[str, Any]) -> Ratio:
    """Read the ratio of a stored comparison."""
    return Ratio(*(comparison[name] for name in ("ratio", "low", "high", "rounds")))


def twins(run: BenchmarkRun) -> list[Mapping[str, Any]]:
    """List the run's comparisons of two copies of the reference."""
    return [one for one in run.comparisons if one["kind"] == Comparison.TWIN]


def _floor(run: BenchmarkRun, result: BenchmarkResult) -> float:
    """Find the noise floor of the cell's group; runs of earlier versions have one for all."""
    floor: float | None = result.details.get("noise_floor")
    return floor if floor is not None else run.noise_floor or 0.0


#: The least number of starts from which their variation can be estimated.
FEWEST_STARTS = 3

#: The starts of one run are few, so the usual deviation is weighed in like this many more starts.
PRIOR_DEGREES = 4


def _restarts(results: Iterable[BenchmarkResult]) -> dict[str, float]:
    """Estimate the deviation of the mean from the differences between starts within the run."""
    excess: dict[Family, list[float]] = {}
    starts = 0
    for one in results:
        logs = [math.log(ratio) for ratio in one.details.get("starts", ())]
        speed = speed_of(one)
        if len(logs) < FEWEST_STARTS or speed is None or not 0 < speed.deviation < math.inf:
            continue
        if "alike" in one.details:
            continue  # its ratio to a blocking call varies with the machine, too
        starts = max(starts, len(logs))
        more = statistics.variance(logs) / len(logs) - speed.deviation**2
        excess.setdefault(family_of(one), []).append(more)
    own = max(starts - 1, 1)
    degrees = own + PRIOR_DEGREES
    return {
        family.name: upper_factor(degrees)
        * math.sqrt((own * variance + PRIOR_DEGREES * family.usual**2 / starts) / degrees)
        for family, variance in _variances(excess).items()
    }


def _variances(excess: Mapping[Family, Sequence[float]]) -> dict[Family, float]:
    """Average variances beyond those within a run, by family.

    A negative one is as much an accident as a great one, so the mean is taken over all cells.
    """
    return {family: max(statistics.fmean(values), 0.0) for family, values in excess.items()}
