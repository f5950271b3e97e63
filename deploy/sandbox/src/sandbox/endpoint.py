"""How a provider's operation becomes an HTTP endpoint.

Promises: a request is authenticated and read before anything else, its effect runs whole or not at all in one
transaction behind the fault seam, and every answer is noted in the record (status 0: the connection was reset instead).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.connection import NoAnswer, wait_for_end_of
from sandbox.injection import Fault, Injection, Kind
from sandbox.record import Record
from sandbox.state import State


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, body: Any, status: int = 200) -> "Answer":
        return cls(status, orjson.dumps(body))

    @classmethod
    def text(cls, body: str, status: int = 200) -> "Answer":
        return cls(status, body.encode(), "text/plain")


class Refusal(Exception):
    """Raised by an effect before it changed anything: the transaction is undone and `answer` is sent."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as its effect sees it. `origin` is this server's URL as the caller wrote it."""

    path: str
    parts: Mapping[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    credential: str = ""
    idempotency_key: str | None = None
    origin: str = ""


Effect = Callable[[Call], Answer]
FAILURES = {
    429: "Too many requests: slow down.",
    500: "Something went wrong on our side.",
    503: "The service is not available.",
}


@contextmanager
def unguarded(_: Call) -> Iterator[None]:
    yield


class Endpoints:
    """One provider's endpoints.

    `admit` authenticates and reads a request or raises Refusal; `guard` surrounds the whole call, fault seam included;
    `once` wraps an effect within its transaction; `failure` is the provider's answer 429, 500 or 503 with a message.
    """

    def __init__(
        self,
        provider: str,
        *,
        state: State,
        record: Record,
        faults: Injection,
        admit: Callable[[Request, bytes], Call],
        failure: Callable[[int, str], Answer],
        guard: Callable[[Call], Any] = unguarded,
        once: Callable[[Effect], Effect] = lambda effect: effect,
    ) -> None:
        self._provider = provider
        self._state = state
        self._record = record
        self._faults = faults
        self._admit = admit
        self._failure = failure
        self._guard = guard
        self._once = once

    def route(self, method: str, path: str, operation: str, effect: Effect) -> Route:
        """`operation` reads resource.verb; with the provider's name before it, it is the endpoint's name."""
        if "." in operation:
            self._faults.register(f"{self._provider}.{operation}")

        async def endpoint(request: Request) -> Response:
            body = await request.body()
            key = request.headers.get("idempotency-key")
            note = partial(self._record.request, self._provider, request.method, request.scope["path"])
            try:
                answer = await self._answer(operation, effect, self._admit(request, body), request)
            except Refusal as refusal:
                answer = refusal.answer
            except ConnectionResetError:
                note(0, key)
                return NoAnswer()
            note(answer.status, key)
            return Response(answer.body, answer.status, answer.headers, answer.media_type)

        return Route(path, endpoint, methods=[method])

    async def perform(
        self,
        operation: str,
        effect: Effect,
        call: Call,
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        """Run `effect` as this provider's endpoint would, after `before`, and without the faults of any rule: the control calls
        use it for what browsers do.
        """
        run = partial(self._run, self._once(effect), call)
        try:
            with self._guard(call):
                if before is not None:
                    await before()
                return await self._faults.scripted.around(f"{self._provider}.{operation}", run)
        except Refusal as refusal:
            return refusal.answer

    async def _answer(self, operation: str, effect: Effect, call: Call, request: Request) -> Answer:
        """What the caller gets, a rule's fault included. Raises ConnectionResetError for no answer."""
        fault = self._faults.choose(f"{self._provider}.{operation}")
        if fault is None:
            return await self.perform(operation, effect, call)
        if fault.kind in (Kind.ERROR, Kind.ERROR_AFTER_EFFECT):
            return await self.perform(operation, self._failing(effect, fault), call)
        self._faults.note(fault, call.path, call.idempotency_key)
        match fault.kind:
            case Kind.UNAVAILABLE:
                return self._failure(503, FAILURES[503])
            case Kind.RATE_LIMITED:
                limited = self._failure(429, FAILURES[429])
                return replace(limited, headers={"Retry-After": str(ceil(fault.seconds))})
            case Kind.SLOW:
                return await self.perform(
                    operation, effect, call, before=lambda: asyncio.sleep(fault.seconds)
                )
            case Kind.HANG:
                await self.perform(operation, effect, call, before=lambda: wait_for_end_of(request))
            case Kind.LOST_ANSWER:
                await self.perform(operation, effect, call)
        raise ConnectionResetError(fault.kind)

    def _failing(self, effect: Effect, fault: Fault) -> Effect:
        """A 500 in the place of the effect's answer. A call that is refused, or whose answer was saved before, meets no fault."""

        def failing(call: Call) -> Answer:
            if fault.kind is Kind.ERROR_AFTER_EFFECT:
                effect(call)
            self._faults.note(fault, call.path, call.idempotency_key)
            return self._failure(500, FAILURES[500])

        return failing

    def _run(self, effect: Effect, call: Call) -> Answer:
        with self._state.transaction():
            return effect(call)
