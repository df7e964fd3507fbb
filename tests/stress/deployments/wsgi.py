"""The application as web servers see it: `/?count=100` reads, and tells what came of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

if os.environ.get("REDISDICT_PATCH"):
    from gevent import monkey

    monkey.patch_all()  # as gevent wants it of whoever imports the application before the fork

from tests.stress.deployments.reading import read  # what it imports is patched

__all__ = ["application"]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    count = int(parse_qs(environ["QUERY_STRING"])["count"][0])
    body = json.dumps(read(count)).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
