"""The scripts and styles of the admin: ours are small, the vendored one is what it says it is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.test import override_settings

import redisdict

STATIC = Path(redisdict.__file__).parent / "static" / "redisdict"
CHART_JS = STATIC / "vendor" / "chartjs"


def test_our_own_javascript_stays_small() -> None:
    lines = [line for path in STATIC.glob("*.js") for line in path.read_text().splitlines()]
    assert 0 < len(lines) < 300


def test_chart_js_is_the_file_of_its_package() -> None:
    """Without the line that names its source map, which isn't shipped."""
    readme = (CHART_JS / "README.md").read_text()
    script = (CHART_JS / "chart.umd.min.js").read_text()
    [version] = set(re.findall(r"(?:chart\.js@|# Chart\.js )(\d+\.\d+\.\d+)", readme))
    assert f"Chart.js v{version}" in script[:200]
    original = script + "//# sourceMappingURL=chart.umd.min.js.map\n"
    assert hashlib.sha256(original.encode()).hexdigest() in readme
    assert "MIT License" in (CHART_JS / "LICENSE.md").read_text()


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.css")]:
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", path.read_text()), path


def test_manifest_storage_accepts_them(tmp_path: Path) -> None:
    backend = f"{ManifestStaticFilesStorage.__module__}.{ManifestStaticFilesStorage.__name__}"
    with override_settings(
        STATIC_ROOT=str(tmp_path), STORAGES={"staticfiles": {"BACKEND": backend}}
    ):
        call_command("collectstatic", interactive=False, verbosity=0)
    hashed = {re.sub(r"\.[0-9a-f]{12}\.", ".", path.name) for path in tmp_path.rglob("redisdict/*")}
    assert {"admin.css", "forest.css", "narrow.css", "charts.js", "progress.js"} <= hashed
