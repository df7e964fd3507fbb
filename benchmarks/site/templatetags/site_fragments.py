"""What other caches' fragments need in a site with forms."""

from __future__ import annotations

from typing import Any

from django import template
from django.apps import apps
from django.template.base import NodeList, Parser, Token

from benchmarks.site.settings import CACHE

if CACHE == "cacheops":
    import cacheops
    from cacheops.templatetags.cacheops import CacheopsLibrary

    register = CacheopsLibrary()

    @register.decorator_tag  # type: ignore[untyped-decorator]
    def cached_as_models(labels: str, name: str, *values: Any) -> Any:
        """Its own tag takes one queryset; for several it has one write a tag like this."""
        models = [apps.get_model(label) for label in labels.split()]
        return cacheops.cached_as(*models, timeout=3600, extra=(name, *values))

else:
    register = template.Library()

#: Stands where a visitor's token goes.
PLACE = "the-token-of-the-visitor-goes-here"


class CsrfApartNode(template.Node):
    """Puts the visitor's token into a fragment that was kept without one."""

    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: Any) -> Any:
        token = context["csrf_token"]
        with context.push(csrf_token=PLACE):
            text = self.nodelist.render(context)
        return text.replace(PLACE, str(token)) if PLACE in text else text


@register.tag  # type: ignore[untyped-decorator]
def csrf_apart(parser: Parser, token: Token) -> CsrfApartNode:
    nodelist = parser.parse(("endcsrf_apart",))
    parser.delete_first_token()
    return CsrfApartNode(nodelist)
