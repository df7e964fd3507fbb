"""No circle of files: what is read in one file leads on, and never back to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: The files of the package, by the names of their modules.
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "redisdict").rglob("*.py")
}


def imports_of(path: Path) -> Iterator[str]:
    """The package's modules that a file imports: inside of functions and for type checkers, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else str(node.module)


def check(graph: dict[str, set[str]]) -> None:
    TopologicalSorter(graph).prepare()


def test_no_circle_of_files() -> None:
    check({module: set(imports_of(path)) - {module} for module, path in FILES.items()})


def test_a_circle_would_be_found() -> None:
    assert "redisdict.conf" in set(imports_of(FILES["redisdict.checks"]))
    with pytest.raises(CycleError):
        check({"a": {"b"}, "b": {"c"}, "c": {"a"}})
