"""What the package exports, and what it costs a project that only installs it."""

import socket
import subprocess
import sys

import pytest

import redisdict
from tests.waiting import LIMIT_S

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


#: What is imported when `django.setup()` is through.
IMPORTED = """
import sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", *sys.argv[1:]],
)
django.setup()
print(*sys.modules)
"""

#: Modules that the app may add to it: its settings, checks and models, a few milliseconds.
MOST_MODULES = 15

USE_AND_WAIT = """
import sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["redisdict"],
    REDISDICT={"default": {"LOCATION": sys.argv[1]}},
)
import django
django.setup()
from redisdict import ModelDict, PersistentDict, get_client
mapping = PersistentDict("never used")
mapping.child("neither")
repr(mapping)
"""


@pytest.mark.parametrize("name", redisdict.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(redisdict, name) is not None
    assert name in dir(redisdict)


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'PersistentDic'"):
        redisdict.PersistentDic  # noqa: B018


def test_installing_the_app_imports_no_client_and_no_serializer() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SETUP], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert done.stdout == "[]\n"


def test_installing_the_app_costs_little() -> None:
    def imported(*apps: str) -> set[str]:
        command = [sys.executable, "-c", IMPORTED, *apps]
        return set(subprocess.check_output(command, text=True, timeout=LIMIT_S).split())

    added = imported("redisdict") - imported()
    assert {name.partition(".")[0] for name in added} == {"redisdict"}
    assert len(added) <= MOST_MODULES


def test_nothing_is_connected_before_the_first_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        url = f"redis://127.0.0.1:{port}/0"
        subprocess.run([sys.executable, "-c", USE_AND_WAIT, url], timeout=LIMIT_S, check=True)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
