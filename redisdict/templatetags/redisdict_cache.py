"""Cache a part of a template until its tables change: the tag `{% cached_on %}`."""

from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.utils.crypto import salted_hmac

from redisdict.modelcache.results.fragments import render_kept

register = template.Library()

USAGE = '{% cached_on "shop.Product shop.Category" "menu" [values …] [timeout=300] %}'


class CachedOnNode(template.Node):
    """The nodes between the tags."""

    def __init__(
        self,
        nodelist: NodeList,
        source: str,
        values: list[FilterExpression],
        options: dict[str, FilterExpression],
    ) -> None:
        self.nodelist = nodelist
        self.source = source
        self.values = values
        self.options = options

    def render(self, context: Context) -> str:
        labels, name, *vary_on = [value.resolve(context) for value in self.values]
        options: dict[str, Any] = {
            key: value.resolve(context) for key, value in self.options.items()
        }
        token = context.get("csrf_token")
        place = {} if token is None else {"csrf_token": token_place()}

        def render() -> str:
            # What the fragment sets isn't there on a hit, so it isn't on a miss.
            with context.push(**place):
                return self.nodelist.render(context)

        varied = [*vary_on, *place.values()]
        text = render_kept(name, labels.split(), varied, self.source, render, **options)
        for one in place.values():
            if one in text:
                text = text.replace(one, str(token))
        return text


def token_place() -> str:
    """The placeholder in a cached fragment for each visitor's CSRF token.

    Nobody can guess it, and have a token put into a text of his own.
    """
    return salted_hmac("redisdict.cached_on", "csrf_token", algorithm="sha256").hexdigest()


@register.tag
def cached_on(parser: Parser, token: Token) -> CachedOnNode:
    """Cache the rendered text between the tags until one of the models' tables changes.

    The models are labels in one text, and have to be among those of `cache_results_of()`; then come
    the fragment's name, and any values for which it is another. `timeout` is in seconds, `using` an
    alias of REDISDICT. Where it has `{% csrf_token %}` each visitor gets a token of his own.
    """
    ahead: list[Any] = list(parser.tokens)  # in reverse order
    nodelist = parser.parse(("endcached_on",))
    source = "\n".join(one.contents for one in reversed(ahead[len(parser.tokens) :]))
    parser.delete_first_token()
    bits = token.split_contents()[1:]
    values = [bit for bit in bits if not token_kwargs([bit], parser)]
    options = token_kwargs([bit for bit in bits if bit not in values], parser)
    if len(values) < 2 or not {*options} <= {"timeout", "using"}:
        raise template.TemplateSyntaxError(f"cached_on got {' '.join(bits)}; expected is {USAGE}")
    return CachedOnNode(
        nodelist, source, [parser.compile_filter(value) for value in values], options
    )
