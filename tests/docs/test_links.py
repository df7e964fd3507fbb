"""Links lead to files and headings that exist, and every page is in the index of the site."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, anchors, prose, read


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = PAGES[page]
    targets = re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)", prose(read(page)))
    for file, anchor in targets:
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{page} links to {file}"
        if anchor:
            assert anchor in anchors(target), f"{page} links to {file}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    trees = "".join(re.findall(r"```{toctree}.*?```", index, re.DOTALL))
    listed = set(re.findall(r"^([\w/-]+)$", trees, re.MULTILINE))
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix()
        for path in PAGES.values()
        if path.is_relative_to(DOCS)
    }
    assert listed == pages - {"index"}


def test_pages_that_docstrings_name_exist() -> None:
    named = {
        (page, path.name)
        for path in (ROOT / "redisdict").rglob("*.py")
        for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text("utf-8"))
    }
    assert named
    assert not [one for one in named if not (ROOT / one[0]).exists()]
