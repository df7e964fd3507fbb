"""`NearMiddleware` begins a request, in threads and in tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse

from redisdict.near.barrier import NO_REQUEST, near_barrier, start_of_request
from redisdict.near.clock import clock
from redisdict.near.middleware import NearMiddleware


def test_in_threads() -> None:
    starts: list[float] = []

    def respond(request: HttpRequest) -> HttpResponse:
        starts.append(start_of_request())
        return HttpResponse()

    before = clock()
    middleware = NearMiddleware(respond)
    assert not iscoroutinefunction(middleware)
    assert isinstance(middleware(HttpRequest()), HttpResponse)
    assert before <= starts[0] <= clock()
    assert start_of_request() == NO_REQUEST


def test_in_tasks() -> None:
    starts: list[float] = []

    async def respond(request: HttpRequest) -> HttpResponse:
        starts.append(start_of_request())
        return HttpResponse()

    middleware: Any = NearMiddleware(respond)
    assert iscoroutinefunction(middleware)

    async def ask() -> None:
        before = clock()
        responses = await asyncio.gather(*(middleware(HttpRequest()) for _ in range(3)))
        assert all(isinstance(each, HttpResponse) for each in responses)
        assert all(before <= start <= clock() for start in starts)
        assert start_of_request() == NO_REQUEST

    asyncio.run(ask())


def test_a_block_inside_of_another_begins_anew() -> None:
    with near_barrier():
        outer = start_of_request()
        with near_barrier():
            assert start_of_request() >= outer
        assert start_of_request() == outer
    assert start_of_request() == NO_REQUEST
