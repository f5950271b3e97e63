"""The rules of calling subgraphs: a second try for what may be repeated, a breaker for what keeps failing."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from gateway.federation import Code, SubgraphFailed
from gateway.metrics import Metrics
from gateway.transport import Answer, Failure, Headers, Transport, TransportFailed

UNAVAILABLE_STATUS = 503
SERVER_ERRORS = 500
CLIENT_ERRORS = 400

_FAILED = {
    Failure.UNREACHABLE: (Code.SERVICE_UNAVAILABLE, "{} is unavailable"),
    Failure.BROKEN: (Code.SERVICE_UNAVAILABLE, "{} closed the connection before it answered"),
    Failure.TIMEOUT: (Code.SERVICE_TIMEOUT, "{} took too long to answer"),
}


class Breaker:
    """Stops asking after failures in a row; then lets one request through per period until one succeeds."""

    def __init__(self, threshold: int, open_seconds: float, now: Callable[[], float]) -> None:
        self._threshold = threshold
        self._open_seconds = open_seconds
        self._now = now
        self._failures = 0
        self._closed_until = 0.0

    def allows(self) -> bool:
        """Say whether to ask now. A yes while open is the one trial of this period."""
        if self._failures < self._threshold:
            return True
        if self._now() < self._closed_until:
            return False
        self._closed_until = self._now() + self._open_seconds
        return True

    def note(self, *, succeeded: bool) -> None:
        """Take the outcome of one request, however often it was tried."""
        self._failures = 0 if succeeded else self._failures + 1
        if self._failures == self._threshold:
            self._closed_until = self._now() + self._open_seconds


class Client:
    """Reaches subgraphs by name; its ``send`` is what an engine asks them through."""

    def __init__(
        self,
        subgraphs: Iterable[str],
        transport: Transport,
        metrics: Metrics,
        *,
        breaker_threshold: int = 5,
        breaker_open: float = 5.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._metrics = metrics
        self._now = now
        self._breakers = {name: Breaker(breaker_threshold, breaker_open, now) for name in subgraphs}

    async def send(self, subgraph: str, body: bytes, *, repeatable: bool, context: Any) -> bytes:
        """Return a subgraph's GraphQL answer, also one with an HTTP error status.

        ``context`` holds the headers to forward. Raises ``SubgraphFailed``.
        """
        breaker = self._breakers[subgraph]
        if not breaker.allows():
            self._metrics.fetches.labels(subgraph, "refused").inc()
            raise SubgraphFailed(Code.SERVICE_UNAVAILABLE, f"{subgraph} is unavailable")
        started = self._now()
        try:
            answer = await self._ask(subgraph, body, context, tries=2 if repeatable else 1)
        except TransportFailed as failed:
            breaker.note(succeeded=False)
            self._metrics.fetches.labels(subgraph, failed.failure.value).inc()
            code, message = _FAILED[failed.failure]
            raise SubgraphFailed(code, message.format(subgraph)) from failed
        breaker.note(succeeded=answer.status < SERVER_ERRORS)
        self._metrics.fetches.labels(subgraph, f"{answer.status // 100}xx").inc()
        self._metrics.fetch_seconds.labels(subgraph).observe(self._now() - started)
        if answer.status >= CLIENT_ERRORS and not _is_graphql(answer.body):
            code = Code.SERVICE_UNAVAILABLE if answer.status >= SERVER_ERRORS else Code.SERVICE_INVALID_ANSWER
            raise SubgraphFailed(code, f"{subgraph} answered with HTTP status {answer.status}")
        return answer.body

    async def fetch_sdl(self, subgraph: str) -> str:
        """Return a subgraph's SDL. Not counted by the breaker: this is how a subgraph's return is noticed."""
        body = b'{"query":"{_service{sdl}}"}'
        try:
            answer = await self._transport.post(subgraph, body, ())
            sdl = orjson.loads(answer.body)["data"]["_service"]["sdl"]
        except TransportFailed as failed:
            raise SubgraphFailed(
                Code.SERVICE_UNAVAILABLE, f"{subgraph} is {failed.failure.value}"
            ) from failed
        except (orjson.JSONDecodeError, KeyError, TypeError) as invalid:
            raise SubgraphFailed(Code.SERVICE_INVALID_ANSWER, f"{subgraph} gave no SDL") from invalid
        if not isinstance(sdl, str):
            raise SubgraphFailed(Code.SERVICE_INVALID_ANSWER, f"{subgraph} gave no SDL")
        return sdl

    async def _ask(self, subgraph: str, body: bytes, headers: Headers, tries: int) -> Answer:
        """Try again what never arrived or was put off, if asking twice does no harm."""
        try:
            answer = await self._transport.post(subgraph, body, headers)
        except TransportFailed as failed:
            if tries == 1 or failed.failure is Failure.TIMEOUT:
                raise
            return await self._ask(subgraph, body, headers, tries - 1)
        if answer.status == UNAVAILABLE_STATUS and tries > 1:
            return await self._ask(subgraph, body, headers, tries - 1)
        return answer


def _is_graphql(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{" and (b'"errors"' in body or b'"data"' in body)
