"""A password in an address is on no page and in no export."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from redisdict.models import BenchmarkRun

PASSWORD = "hunter2"

LIST = "/admin/redisdict/benchmarkrun/"


@pytest.mark.django_db
def test_run_over_an_address_with_a_password_shows_none(
    admin_client: Client, redis_url: str
) -> None:
    address = redis_url.replace("redis://", f"redis://user:{PASSWORD}@")
    # The server knows no such user, so the reason is about just this address.
    with pytest.raises(CommandError):
        call_command("redisbench", "--quick", "--url", f"Mine={address}", "--service", "Mine")
    run = BenchmarkRun.objects.get()
    pages = [
        LIST,
        f"{LIST}{run.pk}/change/",
        f"{LIST}{run.pk}/history/",
        f"{LIST}{run.pk}/delete/",
        f"{LIST}trend/",
        *(f"{LIST}export/?run={run.pk}&format={name}" for name in ("csv", "json", "markdown")),
    ]
    for page in pages:
        response = admin_client.get(page)
        assert response.status_code == 200, page
        assert PASSWORD not in response.content.decode(), page
    assert "Mine" in admin_client.get(f"{LIST}{run.pk}/change/").content.decode()
