"""What each of the processes needs, imported and set up: they are forked by one that has this."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

import tests.stress.near.worker  # noqa: E402, F401  # needs Django set up
