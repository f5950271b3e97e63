"""A provider's webhooks: answered before Starlette's router, and stored in lots, each answered 200 only after its commit.

What arrives while an insert is under way shares the next one: a burst costs a commit or two and not one an event.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import structlog
from starlette.types import Receive, Scope, Send

from shared.crash import crash_point
from shared.db import UNAVAILABLE, Database, describe
from shared.flush import flush
from shared.pace import Pace
from shared.tx import Cause, Tx

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 1024 * 1024
"""More than any event has."""
BATCH = 200
TAKEN, REFUSED, WRONG_METHOD, TOO_LARGE, AWAY = 200, 400, 405, 413, 503
"""What a webhook is answered."""


@dataclass(frozen=True, slots=True)
class Request:
    """A webhook's request: its body, its headers by lower-case name, its query string as it came."""

    body: bytes
    headers: Mapping[bytes, bytes]
    query: bytes

    def header(self, name: str) -> str | None:
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")


Hook = Callable[[Request], Awaitable[int]]
"""Answers the HTTP status.

One of db.UNAVAILABLE makes it 503: the provider comes again. asyncpg.DataError makes it 400: no column holds such a value (a
null character), however often it comes.
"""


@dataclass(frozen=True, slots=True)
class Event:
    """A provider's event as a job to be: of `kind`, about aggregate `key`, known by the provider's id `dedupe`."""

    kind: str
    key: str
    dedupe: str
    payload: dict[str, Any]
    correlation_id: str


class Arrivals:
    """Stores events once by their provider's id, before anything is done about them."""

    def __init__(self, db: Database) -> None:
        self._db, self._pace = db, Pace()
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._storing: asyncio.Task[None] | None = None

    async def store(self, event: Event) -> None:
        """Returns when the event is committed, now or before. Raises what PostgreSQL raises."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, stored))
        if self._storing is None:
            self._storing = asyncio.create_task(self._run(), name="arrivals")
        await stored

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._pace.rest()
                lot, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                with self._pace.round():
                    await self._store(lot)
        finally:
            self._storing = None

    async def _store(self, lot: Sequence[tuple[Event, "asyncio.Future[None]"]]) -> None:
        try:
            await self._insert([event for event, _ in lot])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to those who wait
            if len(lot) > 1 and not isinstance(error, UNAVAILABLE):
                for each in lot:  # one of them breaks the insert of all
                    await self._store([each])
                return
            told = list(lot)
            if isinstance(error, UNAVAILABLE):
                # Who came meanwhile does not wait for the same silence once more.
                told, self._waiting = told + self._waiting, []
            for _, stored in told:
                if not stored.done():
                    stored.set_exception(error)
        else:
            for _, stored in lot:
                if not stored.done():
                    stored.set_result(None)

    async def _insert(self, events: Sequence[Event]) -> None:
        tx = Tx("webhooks", datetime.now(UTC), Cause("", ""))
        for event in events:
            tx.begin_message(Cause(event.correlation_id, event.correlation_id))
            tx.request(event.kind, event.key, event.payload, dedupe=event.dedupe)
        async with self._db.connection() as conn:
            await flush(conn, tx)
        crash_point("webhook_stored")
        self._db.announce([event.key for event in events], due=tx.due)


async def answer(hook: Hook, scope: Scope, receive: Receive, send: Send) -> None:
    """The whole of a webhook's request: 405 for another method than POST, 413 for a body that is no event's."""
    status = WRONG_METHOD if scope["method"] != "POST" else await _status(hook, scope, receive)
    if status is None:
        return
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
    crash_point("webhook_answered")


async def _status(hook: Hook, scope: Scope, receive: Receive) -> int | None:
    """None when the provider has hung up before its request was whole."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY_BYTES:
            return TOO_LARGE
    try:
        return await hook(Request(body, dict(scope["headers"]), scope["query_string"]))
    except UNAVAILABLE:
        return AWAY
    except asyncpg.DataError as malformed:
        log.warning("webhook malformed", reason=describe(malformed))
        return REFUSED
