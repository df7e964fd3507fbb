"""Which files of tests are begun first where workers share them out, so that all end together."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadFileScheduling

__all__ = ["LongFilesFirst"]

#: Files with few tests that take seconds each: servers that come up and fail over, other processes.
#: xdist begins with those of many tests, after which one worker would be left alone with these.
LONG = (
    "tests/backends/",
    "tests/bench/",
    "tests/benchmarks/",
    "tests/browser/",
    "tests/connections/test_registry.py",
    "tests/distribution/",
    "tests/docs/",
    "tests/modelcache/test_identity.py",
    "tests/modelcache/test_outages.py",
    "tests/modelcache/test_topologies.py",
    "tests/near/test_faults.py",
    "tests/near/test_processes.py",
    "tests/near/test_topologies.py",
    "tests/servers/",
)


class LongFilesFirst(LoadFileScheduling):
    def _assign_work_unit(self, node: Any) -> None:
        for file in self.workqueue:
            if file.startswith(LONG):
                self.workqueue.move_to_end(file, last=False)
                break
        super()._assign_work_unit(node)
