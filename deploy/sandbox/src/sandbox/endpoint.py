"""How a provider's operation becomes an HTTP endpoint.

Promises: a request is authenticated and read before anything else, its effect runs whole or not at all in one
transaction behind the fault seam, and every answer is noted in the record.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.faults import Faults
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


@contextmanager
def unguarded(_: Call) -> Iterator[None]:
    yield


class Endpoints:
    """One provider's endpoints.

    `admit` authenticates and reads a request or raises Refusal; `guard` surrounds the whole call, fault seam included;
    `once` wraps an effect within its transaction.
    """

    def __init__(
        self,
        provider: str,
        *,
        state: State,
        record: Record,
        faults: Faults,
        admit: Callable[[Request, bytes], Call],
        guard: Callable[[Call], Any] = unguarded,
        once: Callable[[Effect], Effect] = lambda effect: effect,
    ) -> None:
        self._provider = provider
        self._state = state
        self._record = record
        self._faults = faults
        self._admit = admit
        self._guard = guard
        self._once = once

    def route(self, method: str, path: str, operation: str, effect: Effect) -> Route:
        """`operation` reads resource.verb; with the provider's name before it, it is the endpoint's name."""

        async def endpoint(request: Request) -> Response:
            body = await request.body()
            key = request.headers.get("idempotency-key")
            try:
                answer = await self.perform(operation, effect, self._admit(request, body))
            except Refusal as refusal:
                answer = refusal.answer
            self._record.request(self._provider, request.method, request.scope["path"], answer.status, key)
            return Response(answer.body, answer.status, answer.headers, answer.media_type)

        return Route(path, endpoint, methods=[method])

    async def perform(self, operation: str, effect: Effect, call: Call) -> Answer:
        """Run `effect` as this provider's endpoint would; the control calls use it for what browsers do."""
        run = partial(self._run, self._once(effect), call)
        try:
            with self._guard(call):
                return await self._faults.around(f"{self._provider}.{operation}", run)
        except Refusal as refusal:
            return refusal.answer

    def _run(self, effect: Effect, call: Call) -> Answer:
        with self._state.transaction():
            return effect(call)
