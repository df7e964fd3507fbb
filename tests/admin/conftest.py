"""Users of the admin, by what they may do."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client


@pytest.fixture
def client_with(db: None) -> Callable[..., Client]:
    """A logged-in staff user with these permissions of the app and no others."""

    def make(*codenames: str) -> Client:
        user = User.objects.create_user(f"staff-{User.objects.count()}", is_staff=True)
        permissions = Permission.objects.filter(
            content_type__app_label="redisdict", codename__in=codenames
        )
        assert permissions.count() == len(codenames)
        user.user_permissions.set(permissions)
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def viewer(client_with: Callable[..., Client]) -> Client:
    """May look at runs, and at nothing else."""
    return client_with("view_benchmarkrun")


@pytest.fixture
def outsider(client_with: Callable[..., Client]) -> Client:
    """May enter the admin, and see nothing of this app."""
    return client_with()
