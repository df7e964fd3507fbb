"""Make the long description: README.md with links that lead somewhere wherever it is read.

All else about the package is in pyproject.toml.
"""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
REPOSITORY = "redisdict/django-redisdict"

#: The beginning of a link or of a picture in Markdown, with a target that is a file of this tree.
LINK = re.compile(r"(!?)(\[[^\[\]]*\])\((?![a-z]+:|#)([^()\s]+)\)")


def readme() -> str:
    """Make every link to a file one to that file of this version's tag."""
    code = (HERE / "redisdict" / "version.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', code, re.MULTILINE)

    def absolute(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        if mark:
            return f"!{text}(https://raw.githubusercontent.com/{REPOSITORY}/v{version}/{target})"
        return f"{text}(https://github.com/{REPOSITORY}/blob/v{version}/{target})"

    return LINK.sub(absolute, (HERE / "README.md").read_text(encoding="utf-8"))


setup(long_description=readme(), long_description_content_type="text/markdown")
