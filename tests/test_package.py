"""What the package exports, and what it costs a project that only installs it."""

import subprocess
import sys

import pytest

import redisdict

SETUP = """
import sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "redisdict"],
)
import django
django.setup()
print([name for name in ("redis", "hiredis", "ormsgpack", "rich") if name in sys.modules])
"""


@pytest.mark.parametrize("name", redisdict.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(redisdict, name) is not None
    assert name in dir(redisdict)


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'PersistentDic'"):
        redisdict.PersistentDic  # type: ignore[attr-defined]  # the point # noqa: B018


def test_installing_the_app_imports_no_client_and_no_serializer() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SETUP], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[]\n"
