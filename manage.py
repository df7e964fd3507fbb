#!/usr/bin/env python
"""Django's command-line utility for the demo project `benchsite`."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchsite.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            "Django isn't installed for this Python. Run the first command of README.md, "
            "or activate the virtual environment it made (.venv)."
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
