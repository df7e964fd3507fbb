"""Where the pages of stored dicts are, and what they show."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse

from redisdict import PersistentDict
from redisdict.models import StoredDict
from tests.admin.pages import Page

LIST = "/admin/redisdict/storeddict/"


HOSTILE = "<img src=x onerror=alert(1)>\"'&"


LAYOUTS = pytest.mark.parametrize("is_hash", [True, False], ids=["hash", "keys"])


def make(name: str, is_hash: bool = True) -> PersistentDict[Any, Any]:
    return PersistentDict(name, hset_enabled=is_hash)


def url_of(name: str, is_hash: bool = True, page: str = "change", alias: str = "default") -> str:
    stored = StoredDict.of(alias, [name], is_hash=is_hash)
    return reverse(f"admin:redisdict_storeddict_{page}", args=[quote(stored.pk)])


def item_url(name: str, key: str, is_hash: bool = True, page: str = "item") -> str:
    return f"{url_of(name, is_hash, page)}?field={key.encode('utf-8', 'surrogatepass').hex()}"


def items_on(client: Client, url: str, **query: Any) -> dict[str, dict[str, str]]:
    """The rows of a dict's page by their keys, which it shows as `repr()` does, or as hex."""
    page = Page(client.get(url, query).content)
    rows = page.rows("Key", "Value") if page.has_table("Key") else []
    return {_key(row["Key"]): row for row in rows}


def _key(text: str) -> str:
    return text if text.endswith("(bytes, as hex)") else str(ast.literal_eval(text))
