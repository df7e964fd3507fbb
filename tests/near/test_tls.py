"""The listener over TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.backends.test_tls import PASSWORD, certificates, tls_flags, tls_port
from tests.backends.tls import Certificates
from tests.near.conftest import is_served, make, opened, settle, wait_until_on
from tests.waiting import wait_until

__all__ = ["certificates", "tls_flags", "tls_port"]


def test_many_pushes(
    tls_port: int,
    certificates: Certificates,
    alias_for: Callable[..., dict[str, Any]],
) -> None:
    values = alias_for(
        f"rediss://:{PASSWORD}@127.0.0.1:{tls_port}",
        OPTIONS={"ssl_ca_certs": str(certificates.authority)},
    )
    with opened(values) as backend, opened(values) as elsewhere:
        mapping = make(backend)
        other = make(elsewhere, near=None)
        wait_until_on(mapping)
        keys = [f"key {number}" * 10 for number in range(5000)]
        for value in ("old", "new"):
            other.update(dict.fromkeys(keys, value))
            wait_until(lambda: mapping.get_many(keys) == dict.fromkeys(keys, value))  # noqa: B023
            settle(mapping)
            mapping.get_many(keys)
            assert is_served(mapping, keys[7])
        mapping.delete_many(keys)
