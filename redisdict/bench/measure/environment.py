"""Describe where a run takes place: one small function for each fact, none of them a secret."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

#: A machine of which others take more disturbs.
HIGH_FOREIGN_SHARE = 0.1

#: The packages whose versions decide how fast a client is.
PACKAGES = ("django-redisdict", "redis", "hiredis", "Django", "uvloop", "ormsgpack")


def collect() -> dict[str, Any]:
    """Collect all facts of this machine and interpreter that a figure may depend on."""
    return {
        "cpu_model": cpu_model(),
        "cpu_count": os.cpu_count(),
        "cpus_allowed": cpus_allowed(),
        "cpu_governor": cpu_governor(),
        "is_virtual_machine": is_virtual_machine(),
        "machine_hash": machine_hash(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "is_gil_enabled": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "packages": package_versions(),
        "load_average": load_average(),
    }


def machine() -> str:
    """Name the machine in one line; without its host name, which may be private."""
    return f"{platform.system()} {platform.machine()}, {cpu_model()}, {os.cpu_count()} CPUs"


def cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpus_allowed() -> int | None:
    """Count the CPUs this process may use; containers often have fewer than the machine."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return len(os.sched_getaffinity(0))


def cpu_governor() -> str:
    """Read how Linux sets the CPU's clock rate, such as "performance"; empty where it can't."""
    with suppress(OSError):
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    return ""


def is_virtual_machine() -> bool:
    with suppress(OSError):
        return " hypervisor" in Path("/proc/cpuinfo").read_text()
    return False


def machine_hash() -> str:
    """Return an anonymous id of this machine."""
    identity = platform.node()
    for path in ("/var/lib/dbus/machine-id", "/etc/machine-id"):  # the last one counts
        with suppress(OSError):
            identity = Path(path).read_text().strip() or identity
    return hashlib.sha256(f"redisbench {identity}".encode()).hexdigest()[:12]


def package_versions() -> dict[str, str | None]:
    """Read the installed versions; None where a package is missing."""
    versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def load_average() -> list[float]:
    with suppress(OSError):
        return [round(load, 2) for load in os.getloadavg()]
    return []


def commit(directory: Path) -> str:
    """Name the project's git commit, with "+" when files differ from it; empty outside of git."""
    revision = _git(directory, "rev-parse", "--short=12", "HEAD")
    if not revision:
        return ""
    is_changed = bool(_git(directory, "status", "--porcelain", "--untracked-files=no"))
    return f"{revision}+" if is_changed else revision


def _git(directory: Path, *arguments: str) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.strip()
    return ""


@dataclass(frozen=True)
class CpuTimes:
    """Clock ticks since boot, of the whole machine and of single processes (Linux only)."""

    total: int
    busy: int
    steal: int
    processes: Mapping[int, int]

    @classmethod
    def now(cls, pids: tuple[int, ...]) -> CpuTimes | None:
        """Read the times so far; None where there is no /proc."""
        try:
            ticks = cpu_ticks()["cpu"]
        except OSError:
            return None
        return cls(*ticks, processes={pid: _process_ticks(pid) for pid in pids})


class Ticks(NamedTuple):
    """Clock ticks since boot of one CPU, or of all together."""

    total: int
    busy: int
    steal: int


def cpu_ticks() -> dict[str, Ticks]:
    """Read /proc/stat, which has "cpu" for all and "cpu0" on; `OSError` where there is none."""
    ticks = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name.startswith("cpu"):
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, values[:8])
            busy = user + nice + system + irq + softirq
            ticks[name] = Ticks(busy + idle + iowait + steal, busy, steal)
    return ticks


def cpu_shares(before: CpuTimes | None, after: CpuTimes | None) -> dict[str, float]:
    """Compute the shares of CPU time that others took, by the names that runs store; 0.1 is 10 %.

    `foreign_cpu_share` is that of all processes but those that both measurements name, together
    with `steal_share`, which the host gave to other machines. Empty where they can't be known.
    """
    if before is None or after is None or after.total <= before.total:
        return {}
    own = sum(
        max(ticks - before.processes.get(pid, 0), 0) for pid, ticks in after.processes.items()
    )
    steal = after.steal - before.steal
    foreign = after.busy - before.busy - own + steal
    total = after.total - before.total
    return {"foreign_cpu_share": max(foreign, 0) / total, "steal_share": steal / total}


def _process_ticks(pid: int) -> int:
    """User and system time of a process with all its threads (proc(5), fields 14 and 15)."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0
