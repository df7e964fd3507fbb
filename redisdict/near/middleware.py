"""Make every HTTP request a request of `near="request"`, by a middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from redisdict.near.barrier import near_barrier


class NearMiddleware:
    """Begin a request for the dicts with `near="request"`, as `near_barrier()` does.

    Put it in `MIDDLEWARE` before everything that reads such dicts. A streaming response is produced
    after the request: its reads ask the server.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self,
        get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
    ) -> None:
        self._get_response: Callable[[HttpRequest], Any] = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._respond(request)
        with near_barrier():
            response: HttpResponseBase = self._get_response(request)
            return response

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        with near_barrier():
            response: HttpResponseBase = await self._get_response(request)
            return response
