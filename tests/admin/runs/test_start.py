"""Starting a run from the admin: who may, what is asked, and how a run's progress is told.

That a started process really measures is tried in the browser tests, on a site of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.checks import run_checks
from django.test import Client, override_settings
from django.utils import timezone

from redisdict.admin.runs.start import SILENT_AFTER
from redisdict.bench.measure.services import discover
from redisdict.bench.settings import may_run_benchmarks
from redisdict.exceptions import ConfigurationError
from redisdict.models import BenchmarkProgress, BenchmarkRun
from tests.admin.factories import make_run
from tests.admin.pages import Page

pytestmark = pytest.mark.django_db

LIST = "/admin/redisdict/benchmarkrun/"
ADD = f"{LIST}add/"
TURNED_ON = override_settings(REDISDICT_ADMIN={"RUN_BENCHMARKS": True})


@pytest.fixture
def starter(client_with: Callable[..., Client]) -> Client:
    return client_with("view_benchmarkrun", "add_benchmarkrun")


def running_run(**progress: Any) -> BenchmarkRun:
    run = make_run([], status="running", finished_at=None, noise_floor=None)
    BenchmarkProgress.objects.create(run=run, **{"updated_at": timezone.now(), **progress})
    return run


@pytest.mark.parametrize("setting", [{}, {"RUN_BENCHMARKS": False}])
def test_it_is_off_until_a_setting_turns_it_on(
    starter: Client, admin_client: Client, setting: dict[str, bool]
) -> None:
    with override_settings(REDISDICT_ADMIN=setting):
        for client in (starter, admin_client):
            assert client.get(ADD).status_code == 403
            assert ADD not in Page(client.get(LIST).content).links


@pytest.mark.parametrize("setting", [{"RUN_BENCHMARK": True}, True, {"RUN_BENCHMARKS": "yes"}])
def test_wrong_setting_is_an_error_that_says_what_is_right(starter: Client, setting: Any) -> None:
    with override_settings(REDISDICT_ADMIN=setting):
        with pytest.raises(ConfigurationError, match="RUN_BENCHMARKS"):
            may_run_benchmarks()
        [message] = run_checks(tags=["redisdict"])
        tell_it(starter, message.msg)
        assert message.id == "redisdict.E003"
        assert "RUN_BENCHMARKS" in message.msg
    assert run_checks(tags=["redisdict"]) == []


@TURNED_ON
@pytest.mark.parametrize("setting", [None, [], {"SERVICE": {}}, {"SERVICES": {"valky": "x"}}])
def test_wrong_services_are_told_where_runs_are_started(starter: Client, setting: Any) -> None:
    with override_settings(REDISDICT_BENCH=setting):
        [message] = run_checks(tags=["redisdict"])
        assert message.id == "redisdict.E007"
        tell_it(starter, message.msg)


@TURNED_ON
def test_a_wrong_address_leaves_the_other_services(starter: Client) -> None:
    with override_settings(REDISDICT_BENCH={"SERVICES": {"redis": "http://h"}}):
        assert ADD in Page(starter.get(LIST).content).links
        html = starter.get(ADD).content.decode()
        assert 'value="valkey"' in html
        assert 'value="redis"' not in html


def tell_it(starter: Client, text: str) -> None:
    """All pages are there, and the list tells of the mistake to who would start runs."""
    assert starter.get("/admin/").status_code == 200
    page = starter.get(ADD, follow=True)
    assert page.redirect_chain == [(LIST, 302)]
    assert Page(page.content).text.count(text) == 1
    assert starter.post(ADD, {"preset": "quick", "services": ["valkey"]}).status_code == 302
    assert not BenchmarkRun.objects.exists()


def test_a_wrong_setting_is_not_told_to_who_starts_nothing(viewer: Client) -> None:
    with override_settings(REDISDICT_ADMIN=5):
        assert "REDISDICT_ADMIN" not in viewer.get(LIST).content.decode()
        assert viewer.get(ADD).status_code == 403


@TURNED_ON
def test_only_those_with_the_permission(
    client_with: Callable[..., Client], outsider: Client, client: Client
) -> None:
    viewer = client_with("view_benchmarkrun", "change_benchmarkrun", "delete_benchmarkrun")
    run = running_run()
    cancel = f"{LIST}{run.pk}/cancel/"
    for one in (viewer, outsider):
        assert one.get(ADD).status_code == 403
        assert one.post(ADD, {"preset": "quick", "services": ["valkey"]}).status_code == 403
        assert one.post(cancel).status_code == 403
    assert client.post(ADD).status_code == 302
    assert outsider.get(f"{LIST}{run.pk}/progress/").status_code == 403
    assert ADD not in Page(viewer.get(LIST).content).links
    assert "Cancel the run" not in viewer.get(f"{LIST}{run.pk}/change/").content.decode()
    assert BenchmarkRun.objects.count() == 1
    assert not BenchmarkProgress.objects.get().is_cancel_requested


@TURNED_ON
def test_form_offers_presets_and_the_services_that_are_there(starter: Client) -> None:
    assert ADD in Page(starter.get(LIST).content).links
    html = starter.get(ADD).content.decode()
    for preset in ("quick", "standard", "rigorous"):
        assert f'<option value="{preset}"' in html
    assert 'value="valkey"' in html
    for service in discover():
        assert (f'value="{service.key}"' in html) is service.is_available
    assert Page(html).inline_code == []


@TURNED_ON
@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "endless", "services": ["valkey"]},
        {"preset": "quick", "services": ["nosuch"]},
        {"preset": "quick"},
        {"preset": "quick", "services": ["valkey"], "label": "x" * 201},
        {"preset": "quick", "services": ["--url=redis://evil"]},
    ],
)
def test_wrong_choices_start_nothing(starter: Client, wrong: dict[str, Any]) -> None:
    response = starter.post(ADD, wrong)
    assert response.status_code == 200
    assert 'class="errorlist' in response.content.decode()
    assert not BenchmarkRun.objects.exists()


@TURNED_ON
def test_one_run_at_a_time(starter: Client) -> None:
    running_run()
    response = starter.post(ADD, {"preset": "quick", "services": ["valkey"]})
    assert "two at a time would disturb each other" in Page(response.content).text
    assert BenchmarkRun.objects.count() == 1


def test_progress_of_a_run(client_with: Callable[..., Client]) -> None:
    viewer = client_with("view_benchmarkrun")
    run = running_run(fraction=0.25, activity="Valkey: <pools>")
    url = f"{LIST}{run.pk}/progress/"
    assert viewer.get(url).json() == {
        "is_over": False,
        "fraction": 0.25,
        "activity": "Valkey: <pools>",
    }
    html = viewer.get(f"{LIST}{run.pk}/change/").content.decode()
    assert f'data-progress-url="{url}"' in html
    assert 'value="0.25"' in html
    assert "Valkey: &lt;pools&gt;" in html

    BenchmarkRun.objects.update(status="finished")
    assert viewer.get(url).json()["is_over"] is True
    assert "data-progress-url" not in viewer.get(f"{LIST}{run.pk}/change/").content.decode()
    assert viewer.get(f"{LIST}999/progress/").status_code == 404


def test_run_of_the_command_line_is_shown_without_a_measure(
    client_with: Callable[..., Client],
) -> None:
    viewer = client_with("view_benchmarkrun")
    run = make_run([], status="running", finished_at=None, noise_floor=None)
    page = Page(viewer.get(f"{LIST}{run.pk}/change/").content)
    assert "This run is in progress" in page.text
    assert viewer.get(f"{LIST}{run.pk}/progress/").json()["fraction"] is None


@TURNED_ON
def test_cancelling_asks_the_process(starter: Client) -> None:
    run = running_run()
    url = f"{LIST}{run.pk}/cancel/"
    assert starter.get(url).status_code == 405
    assert starter.post(url).headers["Location"] == f"{LIST}{run.pk}/change/"
    assert BenchmarkProgress.objects.get().is_cancel_requested
    assert BenchmarkRun.objects.get().status == "running"
    assert LogEntry.objects.get().change_message == "Cancelled."


@TURNED_ON
def test_cancelling_a_run_whose_process_is_gone_ends_it(starter: Client) -> None:
    run = running_run(updated_at=timezone.now() - SILENT_AFTER - timedelta(seconds=1))
    starter.post(f"{LIST}{run.pk}/cancel/")
    run.refresh_from_db()
    assert (run.status, run.error) == ("interrupted", "its process ended without an error message")
    assert run.finished_at is not None


@TURNED_ON
def test_silent_run_does_not_keep_others_from_starting(starter: Client) -> None:
    running_run(updated_at=timezone.now() - SILENT_AFTER - timedelta(seconds=1))
    response = starter.post(ADD, {"preset": "quick"})
    assert "two at a time" not in Page(response.content).text


def test_csrf_is_checked(starter: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = starter.cookies
    run = running_run()
    with TURNED_ON:
        assert strict.post(ADD, {"preset": "quick"}).status_code == 403
        assert strict.post(f"{LIST}{run.pk}/cancel/").status_code == 403
