"""Read forged values, and fail if Python tells its audit hooks of anything.

`python -m tests.cache.no_code EXAMPLES` tries so many of each kind.

A program of its own, for an audit hook can't be taken away again. While a value is read, and used
as Django uses it, the hook sees every import, `exec`, `compile`, unpickled global, opened file,
started program and socket (PEP 578). What the package needs itself is imported before.

The values are what someone could store who can write to the server and knows this package: sealed
with the right checksum, with its own MessagePack extensions, with the names of models, classes,
functions and templates where it has names; its own values with bytes changed; and pickles, as other
backends store them, as its serializer does, and inside its own forms.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
import zlib
from collections import Counter
from contextlib import suppress
from typing import Any, NamedTuple

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.http import HttpResponse  # noqa: E402  # after setup()
from django.template import engines  # noqa: E402
from django.template.response import TemplateResponse  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from ormsgpack import OPT_NON_STR_KEYS, Ext, packb  # noqa: E402
from psycopg.types.range import Range  # noqa: E402

from redisdict.cache.codecs import CacheCodec  # noqa: E402
from redisdict.cache.foreign import MAGIC  # noqa: E402
from redisdict.cache.options import parse_options  # noqa: E402
from redisdict.codec import extensions, get_codec, instances, register_type, registry  # noqa: E402
from redisdict.codec.envelope import MSGPACK, PICKLE, format_byte, seal  # noqa: E402
from redisdict.exceptions import DeserializationError  # noqa: E402
from tests.cache import test_no_code as pickles  # noqa: E402
from tests.codec import strategies  # noqa: E402
from tests.codec.models import Author  # noqa: E402

ours = get_codec("msgpack", None)
#: What reads: the codec of each cache that isn't told to read pickles.
READERS = [pickles.codec_of(options) for options in pickles.OPTIONS]
#: What a cache that is told to reads pickles by.
PICKLE_READER = CacheCodec(
    parse_options("default", "redis://127.0.0.1/0", {"OPTIONS": {"READ_FROM": "django-redis"}}),
    "msgpack",
    None,
)

#: What is looked for in vain where the package isn't installed.
KNOWN = {"rest_framework", "wagtail"}

events: list[str] = []
is_reading = False
seen: Counter[str] = Counter()


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not is_reading or is_harmless(event, arguments):
        return
    events.append(f"{event}{arguments!r}"[:300])


def is_harmless(event: str, arguments: tuple[Any, ...]) -> bool:
    """Tell of what does nothing, of reading a time zone's file, and of the packages that are known.

    The standard library keeps the zone's name within its folders. Where the system has no such zone
    it looks for it in the package tzdata. A value of a known package's type has that package
    imported; where it is installed, `warm_up()` has done so.
    """
    what = str(arguments[0]) if arguments else ""
    if event == "open":
        return "zoneinfo" in what
    if event == "import":
        return what.startswith("tzdata") or what in KNOWN
    return event == "builtins.id"


@register_type(name="registered")
class Registered(NamedTuple):
    number: Any = None


class Unregistered:
    """What nobody registered, and must not be called, by whatever name it is asked for."""

    def __init__(self, *_: object) -> None:
        events.append("called")

    __setstate__ = __init__


NAMES = [
    "os.system",
    "os",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "antigravity",
    "this",
    "tests.cache.no_code.Unregistered",
    "tests.cache.no_code",
    "django.core.management.call_command",
    "django.http.response.HttpResponse",
    "django.http.response.FileResponse",
    "django.template.response.TemplateResponse",
    "django.template.response.SimpleTemplateResponse",
    "django.shortcuts.render",
    "rest_framework.response.Response",
    "rest_framework.views.APIView",
    "wagtail.models.sites.SiteRootPath",
    "wagtail.models.Page",
    "registered",
    "codec.Author",
    "auth.User",
    "sessions.Session",
    "no.Model",
    "admin/login.html",
    "../../../../etc/passwd",
    "/etc/passwd",
    "Europe/Berlin",
    "os/system",
    "default",
    "cos\nsystem\n(S'true'\ntR.",
]
ATTRIBUTES = [
    *("_container", "headers", "cookies", "status_code", "_charset", "_reason_phrase", "closed"),
    *("_is_rendered", "template_name", "context_data", "using", "_request", "_resource_closers"),
    *("_post_render_callbacks", "_handler_class", "render", "close", "__class__", "__reduce__"),
    *("rendered_content", "resolve_template", "_closable_objects", "streaming", "backend"),
]

leaves: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(NAMES),
    st.sampled_from(ATTRIBUTES),
    st.binary(max_size=20),
    st.sampled_from(pickles.PROTOCOLS),
)


def nest(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Put values into lists, maps and extensions, those of the package among them."""
    several = st.lists(values, max_size=5)
    return st.one_of(
        several,
        st.dictionaries(st.sampled_from(ATTRIBUTES) | st.sampled_from(NAMES), values, max_size=4),
        st.builds(extension, st.integers(0, 127), several),
        st.builds(extension, st.sampled_from(sorted(extensions.PUT_TOGETHER_OF_CODE)), several),
        st.builds(Ext, st.integers(0, 25), st.binary(max_size=20) | texts),
        st.builds(registered, st.sampled_from(NAMES), several),
        st.builds(response, st.sampled_from(RESPONSES), states(values)),
        st.builds(instance, st.booleans(), several),
    )


texts = (st.sampled_from(NAMES) | st.text(max_size=8)).map(str.encode)


def extension(code: int, parts: list[Any]) -> Ext:
    return Ext(code, pack(parts))


def registered(name: str, parts: list[Any]) -> Ext:
    return Ext(22, pack([name, *parts]))


RESPONSES = [name for name in NAMES if name.startswith("django.")]


def states(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The attributes of a response, up to three of which are anything at all."""
    right = st.fixed_dictionaries(
        {
            "_container": st.just([b"content"]),
            "headers": st.just(["Content-Type", "text/html"]),
            "cookies": st.just([["a", "a", "b", "b", {"path": "/"}]]),
            "status_code": st.just(200),
            "_charset": st.sampled_from([None, "utf-8", "antigravity"]),
            "closed": st.booleans(),
            "_is_rendered": st.booleans(),
            "template_name": st.sampled_from(["admin/login.html", ["/etc/passwd"]]),
            "context_data": st.none(),
            "using": st.none(),
            "_post_render_callbacks": st.just([]),
        }
    )
    wrong = st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=3)
    return st.builds(lambda one, other: {**one, **other}, right, wrong)


def response(name: str, state: dict[str, Any]) -> Ext:
    return registered(name, extensions.alternate(state))


def instance(is_right: bool, values: list[Any]) -> Ext:
    fingerprint = instances._shape_of(Author).fingerprint if is_right else b"12345678"
    return Ext(13, pack(["codec.Author", fingerprint, "default", False, None, *values[:2]]))


def pack(value: Any) -> bytes:
    return packb(value, option=OPT_NON_STR_KEYS)


def sealed(code: int, compressor: int, body: bytes) -> bytes:
    return seal(format_byte(code, compressor) + (zlib.compress(body) if compressor else body))


some = st.recursive(leaves, nest, max_leaves=12)
#: What is most like what the package stores; the others come to an end early.
likely = st.one_of(
    st.builds(response, st.sampled_from(RESPONSES), states(leaves)),
    st.builds(registered, st.sampled_from(NAMES), st.lists(leaves, max_size=2)),
    st.builds(instance, st.just(True), st.lists(leaves, min_size=2, max_size=2)),
    st.builds(extension, st.just(20), st.lists(leaves, min_size=3, max_size=3)),
)
packed = some.map(pack)
foreign = packed | packed.map(zlib.compress) | packed.map(gzip.compress)
forged = st.builds(sealed, st.integers(0, 15), st.just(0) | st.just(1), packed)
ours_in_form = st.builds(sealed, st.just(MSGPACK), st.just(0), packed)
ours_in_detail = st.builds(sealed, st.just(MSGPACK), st.just(0), likely.map(pack))
honest = st.one_of(
    strategies.values.map(ours.encode),
    st.sampled_from(["<p>", "x" * 300]).map(HttpResponse).map(ours.encode),
    st.sampled_from(pickles.STORED),
    st.sampled_from(pickles.PROTOCOLS).map(lambda data: sealed(MSGPACK, 0, pack(data))),
    st.sampled_from(pickles.PROTOCOLS).map(lambda data: sealed(PICKLE, 1, data)),
)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Bytes that were stored, with some changed, and the checksum right for what they are now."""
    data = bytearray(draw(honest))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)))):
        if place < len(data):
            data[place] = byte
    return seal(bytes(data[:-4])) if draw(st.booleans()) else bytes(data)


def read(reader: CacheCodec, stored: bytes) -> None:
    """Read a value as a cache does, use it as Django does, and look at what the hook has seen."""
    global is_reading
    events.clear()
    pickles.ran.clear()
    is_reading = True
    try:
        with suppress(DeserializationError):
            use(reader.decode(stored))
            reader.decode_many([stored, stored])
    finally:
        is_reading = False
    assert not events + pickles.ran, f"{events} {pickles.ran}"


def use(value: Any) -> None:
    """Do what Django's cache middleware and handler do with a response; count what came."""
    seen[type(value).__name__] += 1
    if not isinstance(value, HttpResponse):
        return
    # What was forged may be of no use.
    with suppress(AttributeError, LookupError, TypeError, ValueError):
        if callable(getattr(value, "render", None)):
            value = value.render()  # type: ignore[attr-defined]  # of a template's response
        value.serialize()
        value.cookies.output()
        value.close()


def nothing_happens(kind: st.SearchStrategy[bytes], examples: int) -> None:
    @settings(
        max_examples=examples,
        derandomize=True,  # for all that is to be read has to come
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],  # without the one that traces lines
        suppress_health_check=list(HealthCheck),
    )
    @given(stored=kind)
    def check(stored: bytes) -> None:
        for reader in READERS:
            read(reader, stored)

    check()


def the_hook_sees() -> None:
    """Make sure that what runs would be seen: the same pickles, read where a setting says so."""
    global is_reading
    for stored in pickles.STORED:
        is_reading = True
        PICKLE_READER.decode(stored)
        is_reading = False
        assert any(event.startswith("pickle.find_class") for event in events), stored
        assert pickles.ran
        events.clear()
        pickles.ran.clear()


def warm_up() -> None:
    """Import what reading the package's own forms needs."""
    template = engines["django"].from_string("a")
    rendered = TemplateResponse(None, template).render()  # type: ignore[arg-type]
    for value in (HttpResponse("a"), rendered, Range(1, 2), Author(pk=1, name="a")):
        for _ in range(2):
            use(ours.decode(ours.encode(value)))
    for stored in (
        pickle.dumps(1),
        zlib.compress(b"a"),
        gzip.compress(b"a"),
        *(magic for magic, _ in MAGIC),
    ):
        for reader in READERS:
            with suppress(DeserializationError):
                reader.decode(stored)
    for name in registry._TYPES_OF_PACKAGES:
        with suppress(DeserializationError):
            ours.decode(sealed(MSGPACK, 0, pack(registered(name, []))))


if __name__ == "__main__":
    warm_up()
    sys.addaudithook(hook)
    the_hook_sees()
    for kind in (foreign, forged, ours_in_form, ours_in_detail, changed()):
        nothing_happens(kind, examples=int(sys.argv[1]))
    print(json.dumps(seen))
