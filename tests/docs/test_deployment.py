"""How to deploy: each block as it stands, in a fresh project, by the server that it is for.

What is changed in one process is seen by all, and no two of them use one connection.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from redisdict.servers.process import free_port
from tests.docs.pages import ROOT, fences
from tests.missing import end_without
from tests.stress.deployments.running import path_of
from tests.waiting import wait_until

pytestmark = pytest.mark.deep

PAGE = "docs/howto/deployment.md"

#: What a reader has beside the blocks: an application with a dict and a model.
PROJECT: Mapping[str, str] = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=50)
""",
    "shop/dicts.py": """
from redisdict import ModelDict, PersistentDict
from shop.models import Product

options = PersistentDict("options")
near_options = PersistentDict("options", hset_enabled=False, near="request")
products = ModelDict(Product)
""",
    "mysite/urls.py": """
import os

from django.http import JsonResponse
from django.urls import path

from redisdict import get_client
from shop.dicts import near_options, options, products
from shop.models import Product

def change(request, value):
    options["key"] = near_options["key"] = value
    Product.objects.update_or_create(pk=1, defaults={"name": value})
    return JsonResponse({})

def read(request):
    values = [options["key"], near_options["key"], products[1].name]
    who = {"pid": os.getpid(), "connection": get_client().client_id()}
    return JsonResponse({"values": values, **who})

async def aread(request):
    values = [await options.aget("key"), (await products.aget(1)).name]
    return JsonResponse({"values": values, "pid": os.getpid(), "connection": None})

urlpatterns = [path("change/<value>", change), path("read", read), path("aread", aread)]
""",
}

#: What a reader's settings have beside those of `startproject`, and the block of this page.
SETTINGS = """
INSTALLED_APPS = ["redisdict", "shop"]
MIDDLEWARE = ["redisdict.near.middleware.NearMiddleware"]
DATABASES["default"]["OPTIONS"] = {"timeout": 60}
"""

#: Where the servers of the blocks listen.
ADDRESS = "127.0.0.1:8000"

#: By name: the command, and the file of a block that it reads, with what is replaced there.
COMMANDS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {
    "gunicorn": ("gunicorn mysite.wsgi", "gunicorn.conf.py", {}),
    "gunicorn without preload": (
        "gunicorn mysite.wsgi",
        "gunicorn.conf.py",
        {"preload_app = True": "preload_app = False"},
    ),
    "uwsgi": (
        f"uwsgi --ini uwsgi.ini --home {sys.prefix}",  # of the environment that runs this
        "uwsgi.ini",
        {},
    ),
}


@pytest.fixture
def project(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the settings of the page, whose database is there."""
    [block] = [one.text for one in fences(PAGE, "python") if one.title == "settings.py"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "mysite.settings")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    manage("startproject", "mysite", ".", DJANGO_SETTINGS_MODULE="")
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with (tmp_path / "mysite" / "settings.py").open("a") as file:
        file.write(SETTINGS + block.replace('"shop"', f'"{tmp_path.name}"'))
    manage("makemigrations", "shop")
    manage("migrate")
    return tmp_path


def manage(*arguments: str, **environment: str) -> None:
    environ = {**os.environ, **environment}
    command = [sys.executable, "-m", "django", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def serving(command: list[str], log: Path) -> Iterator[Callable[[], bool]]:
    """Have a server run, and end as its operator ends it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield lambda: process.poll() is None
        process.terminate()
        assert process.wait() == 0, log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(url: str) -> Any:
    with urlopen(url, timeout=60) as response:
        return json.load(response)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_block_serves_as_it_stands(name: str, project: Path) -> None:
    command, title, changes = COMMANDS[name]
    program = path_of(command.split()[0])
    if program is None:
        end_without(f"{name} isn't installed; it is in requirements-dev.txt.")
    [block] = [one.text for one in fences(PAGE, "python", "ini") if one.title == title]
    for old, new in changes.items():
        assert old in block
        block = block.replace(old, new)
    address = f"127.0.0.1:{free_port()}"
    assert ADDRESS in block
    (project / title).write_text(block.replace(ADDRESS, address))
    words = [program, *command.split()[1:]]
    url = f"http://{address}"
    pids: set[int] = set()
    users: dict[int, set[int]] = {}
    log = project / "log"
    with serving(words, log) as is_alive, ThreadPoolExecutor(16) as threads:

        def answers() -> bool:
            assert is_alive(), log.read_text()
            with suppress(OSError):
                ask(f"{url}/change/first")
                return True
            return False

        wait_until(answers)
        for number in range(5):
            ask(f"{url}/change/{number}")
            paths = ["read"] * 60 + ["aread"] * 10
            for answer in threads.map(lambda path: ask(f"{url}/{path}"), paths):
                assert set(answer["values"]) == {str(number)}
                pids.add(answer["pid"])
                if answer["connection"] is not None:
                    users.setdefault(answer["connection"], set()).add(answer["pid"])
    assert len(pids) > 1
    assert all(len(each) == 1 for each in users.values())
