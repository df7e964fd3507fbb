"""A dict is found in every process, or a warning tells where it is made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import redisdict

#: Where the package under test is.
ROOT = Path(redisdict.__file__).parents[1]

FILES = {
    "shop/__init__.py": "",
    "shop/models.py": (
        "from django.db import models\n"
        "class Product(models.Model):\n"
        "    name = models.CharField(max_length=9)\n"
        "class Order(models.Model):\n"
        "    name = models.CharField(max_length=9)\n"
    ),
    "shop/dicts.py": (
        "from django.contrib.auth.models import Group\n"
        "from redisdict import ModelDict\n"
        "groups = ModelDict(Group)\n"
    ),
    "shop/views.py": (
        "from redisdict import ModelDict\n"
        "from shop.models import Order\n"
        "\n"
        "orders = ModelDict(Order)\n"
    ),
    "late/__init__.py": "",
    "late/apps.py": (
        "from django.apps import AppConfig\n"
        "class Late(AppConfig):\n"
        "    name = 'late'\n"
        "    def ready(self):\n"
        "        from redisdict import ModelDict\n"
        "        from shop.models import Product\n"
        "        self.products = ModelDict(Product)\n"
    ),
    "urls.py": "import shop.views\nurlpatterns = []\n",
    "settings.py": (
        "SECRET_KEY = 'x'\n"
        "USE_TZ = True\n"
        "DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'\n"
        "INSTALLED_APPS = ['django.contrib.contenttypes', 'django.contrib.auth', 'redisdict',"
        " 'shop', 'late.apps.Late']\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
        "ROOT_URLCONF = 'urls'\n"
        "REDISDICT = {'default': {'LOCATION': 'redis://127.0.0.1:1', 'OPTIONS':"
        " {'socket_timeout': 1}}}\n"
    ),
}


def run_in_project(
    folder: Path, code: str, files: Mapping[str, str] = FILES
) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return subprocess.run(
        [sys.executable, "-c", "import django; django.setup()\n" + code],
        cwd=folder,
        env={"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_the_modules_of_all_apps_and_what_they_do_when_ready(tmp_path: Path) -> None:
    done = run_in_project(
        tmp_path,
        "from redisdict.modelcache.registrations import cached_models\n"
        "from redisdict.modelcache.invalidation.cursors import WATCH\n"
        "from django.db import connection, connections\n"
        "print(sorted(one.model._meta.label for one in cached_models()))\n"
        "connection.ensure_connection()\n"
        "print(WATCH in connections['default'].__dict__)\n",
    )
    assert done.stdout == "['auth.Group', 'shop.Product']\nTrue\n"
    assert "ModelDict" not in done.stderr


def test_the_only_dict_is_made_when_the_last_app_is_ready(tmp_path: Path) -> None:
    """Nothing of the model cache is loaded before."""
    done = run_in_project(
        tmp_path,
        "from redisdict.modelcache.registrations import cached_models\n"
        "from redisdict.modelcache.invalidation.cursors import WATCH\n"
        "from django.db import connection, connections\n"
        "print([one.model._meta.label for one in cached_models()])\n"
        "connection.ensure_connection()\n"
        "print(WATCH in connections['default'].__dict__)\n",
        FILES | {"shop/dicts.py": ""},
    )
    assert done.stdout == "['shop.Product']\nTrue\n"


def test_a_dict_made_in_views(tmp_path: Path) -> None:
    done = run_in_project(
        tmp_path, "from django.core.management import call_command\ncall_command('check')\n"
    )
    assert "redisdict.W104" in done.stderr
    assert "shop/views.py:4" in done.stderr
    assert "shop.Order" in done.stderr
    assert "auth.Group" not in done.stderr
