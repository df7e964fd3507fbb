"""The site of the documentation: `python -m sphinx -W -n -b html docs docs/_build`.

The pages are plain Markdown that reads well on the repository's web view too: links are relative
paths, and a heading is linked to by the anchor that the web view gives it.
"""

import re
from pathlib import Path

project = "redisdict"
author = "The redisdict developers"
copyright = author  # noqa: A001 - the name is Sphinx's

_source = (Path(__file__).parents[1] / "redisdict" / "__init__.py").read_text(encoding="utf-8")
(release,) = re.findall(r'^__version__ = "(.*)"$', _source, re.MULTILINE)
version = release

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "images"]

#: Headings down to this level have an anchor, made as the web view makes it.
myst_heading_anchors = 5

html_theme = "furo"
html_title = f"redisdict {release}"
html_static_path: list[str] = []
html_copy_source = False
# The same bytes from the same sources.
html_last_updated_fmt = None
