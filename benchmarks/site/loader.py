"""Templates whose fragments are kept by the tag that each cache's documents recommend.

`{% kept "name" "app.Model …" [values …] %} … {% endkept %}` becomes the tags of the contender;
"all" stands for all models that pages of products are made of.
"""

from __future__ import annotations

import re
from typing import Any

from django.template.loaders import filesystem

from benchmarks.site.settings import CACHE, SHOWN

OPENING = re.compile(r'\{% kept (?P<name>"[^"]*") "(?P<labels>[^"]*)"(?P<values>[^%]*)%\}')

OPENED = {
    "redisdict": '{%% load redisdict_cache %%}{%% cached_on "%(labels)s" %(name)s%(values)s%%}',
    "cacheops": (
        "{%% load site_fragments %%}{%% csrf_apart %%}"
        '{%% cached_as_models "%(labels)s" %(name)s%(values)s%%}'
    ),
    "cachalot": (
        "{%% load cachalot cache site_fragments %%}{%% csrf_apart %%}"
        "{%% get_last_invalidation %(quoted)s as last_invalidation %%}"
        "{%% cache 3600 %(name)s last_invalidation%(values)s%%}"
    ),
}
CLOSED = {
    "redisdict": "{% endcached_on %}",
    "cacheops": "{% endcached_as_models %}{% endcsrf_apart %}",
    "cachalot": "{% endcache %}{% endcsrf_apart %}",
}


class Loader(filesystem.Loader):
    """Loads from the file system."""

    def get_contents(self, origin: Any) -> str:
        return OPENING.sub(_opened, super().get_contents(origin)).replace(
            "{% endkept %}", CLOSED[CACHE]
        )


def _opened(found: re.Match[str]) -> str:
    name = found["name"].replace('"', "") if CACHE == "cachalot" else found["name"]
    labels = SHOWN if found["labels"] == "all" else found["labels"].split()
    return OPENED[CACHE] % {
        "name": name,
        "labels": " ".join(labels),
        "quoted": " ".join(f'"{label}"' for label in labels),
        "values": found["values"],
    }
