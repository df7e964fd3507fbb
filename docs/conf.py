"""The site of the documentation: `python -m sphinx -W -n -b html docs docs/_build`.

The pages are plain Markdown that reads well on the repository's web view too: links are relative
paths, and a heading is linked to by the anchor that the web view gives it.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

project = "redisdict"
author = "The redisdict developers"
copyright = author  # noqa: A001 - the name is Sphinx's

DOCS = Path(__file__).parent
ROOT = DOCS.parent

_source = (ROOT / "redisdict" / "version.py").read_text(encoding="utf-8")
(release,) = re.findall(r'^__version__ = "(.*)"$', _source, re.MULTILINE)
version = release

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "images"]

#: Headings down to this level have an anchor, made as the web view makes it.
myst_heading_anchors = 5

html_theme = "furo"
html_title = f"redisdict {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
# The same bytes from the same sources.
html_last_updated_fmt = None

_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = _project["urls"]["Source"]


def lead_to_the_repository(app: Any, page: str, source: list[str]) -> None:
    """Have links to files outside of the documents lead to them on the repository's web view."""
    folder = (DOCS / page).parent

    def absolute(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[1]))
        if target.is_relative_to(DOCS) or not target.exists():
            return link[0]
        return f"]({REPOSITORY}/blob/main/{target.relative_to(ROOT).as_posix()}"

    source[0] = re.sub(r"\]\((\.\./[^)#\s]+)", absolute, source[0])


def setup(app: Any) -> None:
    app.connect("source-read", lead_to_the_repository)
