"""Find the function that names what a reader may see, by an alias's SCOPE."""

from __future__ import annotations

from collections.abc import Callable

from django.db import models
from django.utils.module_loading import import_string

from redisdict.conf import AliasConfig
from redisdict.exceptions import ConfigurationError

__all__ = ["Scope", "scope_of_alias"]

#: Gives, for a model and an alias of DATABASES, the name of what the current reader may see.
Scope = Callable[[type[models.Model], str], str]


def scope_of_alias(config: AliasConfig) -> Scope | None:
    """Import the function that SCOPE names; None without one.

    Raises:
        ConfigurationError: there is no such function.
    """
    if config.scope is None:
        return None
    where = f'REDISDICT["{config.alias}"]["SCOPE"]'
    try:
        scope: Scope = import_string(config.scope)
    except ImportError as error:
        raise ConfigurationError(
            f"{where} is {config.scope!r}, which can't be imported: {error}"
        ) from error
    if not callable(scope):
        raise ConfigurationError(
            f"{where} is {config.scope!r}, a {type(scope).__name__}; a function of a model and an"
            " alias of DATABASES is expected."
        )
    return scope
