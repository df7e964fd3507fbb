"""Which files of tests are begun when, where workers share them out.

So that tests that wait run beside tests that compute, and all workers end together.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadFileScheduling

__all__ = ["LongFilesBesideOthers"]

#: Files with few tests that take seconds each: servers that come up and fail over, other processes.
#: They wait more than they compute. The longest are first.
LONG = (
    "tests/bench/cli/command/test_run.py",
    "tests/browser/",
    "tests/bench/test_ab.py",
    "tests/bench/cli/command/",
    "tests/near/test_faults.py",
    "tests/near/test_topologies.py",
    "tests/servers/",
    "tests/backends/test_cluster.py",
    "tests/backends/test_durable.py",
    "tests/bench/test_endings.py",
    "tests/modelcache/test_outages.py",
    "tests/mapping/test_background",
    "tests/modelcache/near/test_lists.py",
    "tests/near/test_processes.py",
    "tests/backends/",
    "tests/distribution/",
    "tests/forks/",
    "tests/connections/test_registry.py",
    "tests/modelcache/identity/",
    "tests/modelcache/test_topologies.py",
    "tests/managed/test_addresses.py",
    "tests/cache/test_places.py",
    "tests/benchmarks/",
    "tests/bench/",
    "tests/docs/",
)


class LongFilesBesideOthers(LoadFileScheduling):
    """Every second worker begins with the long files, and the others with those of many tests.

    Each goes on with the rest when there are no more of its own.
    """

    def _assign_work_unit(self, node: Any) -> None:
        has_long = self.nodes.index(node) % 2 == 0
        own = [file for file in self.workqueue if file.startswith(LONG) is has_long]
        if own:
            first = min(own, key=_place) if has_long else own[0]
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def _place(file: str) -> int:
    return next(place for place, start in enumerate(LONG) if file.startswith(start))
