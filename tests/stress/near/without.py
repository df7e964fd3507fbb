"""Take a rule out of the near cache of this process: then the judges have to find a breach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from redisdict.near.access import Access
from redisdict.near.eviction import Entry
from redisdict.near.listener import Listener
from redisdict.near.state import NEVER, FillToken, NearState
from redisdict.wire.requests import Command


def _keep_every_reply() -> None:
    complete_fill = NearState.complete_fill

    def complete(state: NearState, token: FillToken, *args: Any, **options: Any) -> bool:
        state.abandon_fill(token)
        return complete_fill(state, state.begin_fill(token.key), *args, **options)

    NearState.complete_fill = complete  # type: ignore[method-assign]


def _look_at_no_watermark() -> None:
    lookup = NearState.lookup

    def look(state: NearState, key: Any, now: float, not_before: float) -> Entry | None:
        return lookup(state, key, now, NEVER)

    NearState.lookup = look  # type: ignore[method-assign]


def _drop_nothing() -> None:
    def drop(_access: Access, _commands: Sequence[Command]) -> None:
        pass

    Access.drop = drop  # type: ignore[method-assign]


def _know_no_end() -> None:
    lookup = NearState.lookup

    def look(state: NearState, key: Any, now: float, not_before: float) -> Entry | None:
        return lookup(state, key, 0, not_before)

    NearState.lookup = look  # type: ignore[method-assign]


def _forget_nothing_with_the_connection() -> None:
    def connect(state: NearState) -> None:
        state.is_connected = True

    def disconnect(_state: NearState) -> None:
        pass

    NearState.connect = connect  # type: ignore[method-assign]
    NearState.disconnect = disconnect  # type: ignore[method-assign]


def _forget_nothing_with_the_server() -> None:
    apply = Listener._apply

    def apply_keys(listener: Listener, keys: Sequence[bytes] | None) -> None:
        if keys is not None:
            apply(listener, keys)

    Listener._apply = apply_keys  # type: ignore[method-assign]


def _ask_for_no_keys() -> None:
    def track(_listener: Listener, _state: NearState, _keys: Sequence[Any]) -> bool:
        return True

    async def atrack(_listener: Listener, _state: NearState, _keys: Sequence[Any]) -> bool:
        return True

    Listener.track = track  # type: ignore[method-assign]
    Listener.atrack = atrack  # type: ignore[method-assign]


def _hear_nothing() -> None:
    def invalidate(_state: NearState, _keys: Iterable[Any]) -> None:
        pass

    NearState.invalidate = invalidate  # type: ignore[method-assign]


#: By the numbers of docs/near.md.
RULES: Final[dict[str, Callable[[], None]]] = {
    "1": _keep_every_reply,
    "2": _look_at_no_watermark,
    "3": _drop_nothing,
    "4": _know_no_end,
    "5-connection": _forget_nothing_with_the_connection,
    "5-flush": _forget_nothing_with_the_server,
    "pushes": _hear_nothing,
}

#: Of plain tracking alone.
PLAIN_RULES: Final[dict[str, Callable[[], None]]] = {"asking": _ask_for_no_keys}
