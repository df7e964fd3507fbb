"""Calls `manage.py redisbench`, and what came of it."""

from __future__ import annotations

import io

from django.core.management import call_command


class Outcome:
    """What a call printed and how it ended."""

    def __init__(self, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.status = 0
        try:
            call_command("redisbench", *arguments, stdout=out, stderr=err)
        except SystemExit as end:
            self.status = int(str(end.code))
        self.out, self.err = out.getvalue(), err.getvalue()


ONE = ["--service", "valkey", "--operation", "get", "--mode", "sync", "--table", "pools"]
