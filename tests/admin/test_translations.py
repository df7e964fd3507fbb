"""The German translation is whole, compiled, and shown."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils.translation.template import templatize

import redisdict
from tests.admin.factories import make_run
from tests.admin.pages import Page

PACKAGE = Path(redisdict.__file__).parent
CATALOG = PACKAGE / "locale" / "de" / "LC_MESSAGES"

#: What marks a text for translation, and at which places its arguments have context and texts.
MARKERS = {
    "_": (None, 0),
    "gettext": (None, 0),
    "gettext_lazy": (None, 0),
    "ngettext": (None, 0),
    "pgettext": (0, 1),
    "pgettext_lazy": (0, 1),
}

#: In a .mo file a context stands before its text, with this between them.
CONTEXT_END = "\x04"


def marked_texts(code: str) -> Iterator[str]:
    """The texts of Python code that are marked for translation, as a catalog names them."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in MARKERS:
            context_place, place = MARKERS[node.func.id]
            values = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            context = "" if context_place is None else f"{values[context_place]}{CONTEXT_END}"
            yield f"{context}{values[place]}"


@pytest.fixture(scope="module")
def marked() -> set[str]:
    """All texts of the package that are marked for translation."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if "migrations" not in path.parts:
            found |= set(marked_texts(path.read_text()))
    for path in PACKAGE.rglob("*.html"):
        code = templatize(path.read_text())
        for call in re.findall(r" ((?:_|n?p?gettext)\(.*?\)) ", code, re.DOTALL):
            found |= set(marked_texts(call))
    return found


@pytest.fixture(scope="module")
def translations() -> dict[str, str]:
    with (CATALOG / "django.mo").open("rb") as file:
        catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]  # no other way to list it
    # Of a plural the singular stands for both.
    catalog = {key if isinstance(key, tuple) else (key, 0): text for key, text in catalog.items()}
    return {text: german for (text, form), german in catalog.items() if text and form == 0}


def test_every_text_is_translated(translations: dict[str, str], marked: set[str]) -> None:
    assert len(marked) > 200
    assert marked - set(translations) == set()


def test_no_translation_is_left_over(translations: dict[str, str], marked: set[str]) -> None:
    assert set(translations) - marked == set()


def test_compiled_catalog_is_that_of_the_source(translations: dict[str, str]) -> None:
    source = (CATALOG / "django.po").read_text()
    assert "#, fuzzy" not in source
    assert 'msgstr ""\n\n' not in source
    texts = re.findall(r'^msgstr(?:\[0\])? "(.+)"$', source, re.MULTILINE)
    assert sorted(text.replace('\\"', '"') for text in texts) == sorted(translations.values())


def test_placeholders_are_kept(translations: dict[str, str]) -> None:
    for text, translated in translations.items():
        placeholder = re.compile(r"%\(\w+\)[sd]|%%")
        assert sorted(placeholder.findall(text)) == sorted(placeholder.findall(translated)), text


@pytest.mark.django_db
def test_pages_are_german_for_those_who_want_it(admin_client: Client) -> None:
    run = make_run()
    german = {"accept-language": "de"}
    page = Page(
        admin_client.get(f"/admin/redisdict/benchmarkrun/{run.pk}/change/", headers=german).content
    )
    assert "1 Warnung" in page.text
    assert page.has_table("Dienst", "Modus", "Pool", "SET (Op/s)")
    assert page.data[0]["axis"]["label"] == "Operationen je Sekunde"
    text = Page(admin_client.get("/admin/redisdict/benchmarkrun/", headers=german).content).text
    assert "Benchmark-Läufe" in text
    assert "beendet" in text
