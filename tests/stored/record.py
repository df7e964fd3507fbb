"""Record what this version stores: `python -m tests.stored.record`, once before each release.

Writes `tests/stored/VERSION.json`: every key with its type, its contents and its time to live, and
a file of `dump()`. A recording is never made again, since it stands for what is on servers.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import django

from redisdict import __version__
from redisdict.servers.process import ServerProcess
from redisdict.servers.programs import find_program

HOME = Path(__file__).parent


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from tests.stored import contents

    path = HOME / f"{__version__}.json"
    if path.exists():
        raise SystemExit(f"{path} is there, and stays as it is.")
    with (
        ServerProcess(find_program("valkey")) as server,
        contents.settings_for(server.url, contents.PREFIX),
    ):
        dump = contents.dumped()
        contents.store_dicts()
        contents.store_cache()
        recording = {
            "server": str(find_program("valkey")),
            "dump": text(dump),
            "keys": [recorded(server.url, key) for key in keys_of(server.url)],
        }
    path.write_text(json.dumps(recording, indent=1) + "\n")
    sys.stdout.write(f"{path}: {len(recording['keys'])} keys\n")


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def keys_of(url: str) -> list[bytes]:
    import redis

    with redis.Redis.from_url(url) as client:
        keys: Any = client.keys("*")
        return sorted(keys)


def recorded(url: str, key: bytes) -> dict[str, Any]:
    """Read one key by commands that every server has."""
    import redis

    with redis.Redis.from_url(url) as client:
        kind: Any = client.type(key)
        left: Any = client.pttl(key)
        contents: Any
        if kind == b"string":
            contents = text(client.get(key))
        elif kind == b"hash":
            pairs: Any = client.hgetall(key)
            contents = [[text(field), text(value)] for field, value in sorted(pairs.items())]
        elif kind == b"zset":
            members: Any = client.zrange(key, 0, -1, withscores=True)
            contents = [[text(member), score] for member, score in members]
        else:
            raise SystemExit(f"{key!r} is a {kind!r}, which no stored form has been so far")
    return {
        "key": text(key),
        "type": kind.decode(),
        "contents": contents,
        "milliseconds_left": max(left, 0),
    }


if __name__ == "__main__":
    main()
