"""An eventually consistent system, tested as if it were a function: any set of services in one event loop, and `settle`.

`settle` reads the databases, not clocks: nothing pending in an outbox, no job due, every fact that anybody acts on in that
service's inbox. `shared.delivery` makes facts arrive twice, shuffled, or again after a crash.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import uvicorn

from shared.contracts.topics import TOPICS
from shared.service import Service

SOON_SECONDS = 300
"""A job that is due within this time is in flight (a retry); later ones are deadlines."""
SETTLE_SECONDS = 90
_SOON = "state = 'due' AND due_at < now() + $1::float * interval '1 second'"
_JOBS = f"SELECT count(*) FROM jobs WHERE {_SOON}"  # noqa: S608 - constants of this module
_WAITING = f"""
(SELECT format('%s of %s, attempt %s, due %s: %s', kind, key, attempts, due_at, last_error) AS what
 FROM jobs WHERE {_SOON} ORDER BY due_at LIMIT 5)
UNION ALL
(SELECT format('dead letter of %s: %s', aggregate_key, reason) FROM dead_letters ORDER BY id LIMIT 5)
"""  # noqa: S608 - constants of this module


class Unsettled(AssertionError):
    """Something is still in flight; the message says what."""


class Network:
    """Services that hear one another over one broker; `elsewhere` counts what is in flight outside (webhooks)."""

    def __init__(
        self, services: Sequence[Service], elsewhere: Callable[[], Awaitable[int]] | None = None
    ) -> None:
        self.services = {service.name: service for service in services}
        self._elsewhere = elsewhere
        self._heard: dict[str, set[UUID]] = {name: set() for name in self.services}

    async def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Return when nothing is in flight, twice in a row. Raises Unsettled."""
        quiet, until = 0, time.monotonic() + seconds
        while quiet < 2:  # noqa: PLR2004 - what left one place may not have been counted in the next yet
            in_flight = await self._in_flight()
            quiet = 0 if in_flight else quiet + 1
            if in_flight and time.monotonic() > until:
                raise Unsettled(f"after {seconds} s: {in_flight}, {await self._why()}")
            await asyncio.sleep(0.05)

    async def _why(self) -> list[str]:
        """The first few jobs and letters of each service that it waits for."""
        found: list[str] = []
        for name, service in self.services.items():
            async with service.db.connection() as conn:
                rows = await conn.fetch(_WAITING, float(SOON_SECONDS))
            found += [f"{name}: {row['what']}" for row in rows]
        return found

    async def _in_flight(self) -> dict[str, int]:
        found: dict[str, int] = {}
        if self._elsewhere is not None:
            found["elsewhere"] = await self._elsewhere()
        for name, service in self.services.items():
            async with service.db.connection() as conn:
                found[f"{name} outbox"] = await conn.fetchval("SELECT count(*) FROM outbox_pending")
                found[f"{name} jobs"] = await conn.fetchval(_JOBS, float(SOON_SECONDS))
        for name in self.services:
            found[f"{name} unheard"] = await self._unheard(name)
        return {what: count for what, count in found.items() if count}

    async def _unheard(self, consumer: str) -> int:
        """Facts that `consumer` acts on and that are not in its inbox yet."""
        service, heard = self.services[consumer], self._heard[consumer]
        types = [fact.type for fact in service.handlers.by_fact]
        said: set[UUID] = set()
        for topic in TOPICS:
            producers = self.services.keys() & set(topic.producers) if consumer in topic.consumers else ()
            for producer in producers:
                async with self.services[producer].db.connection() as conn:
                    rows = await conn.fetch(
                        "SELECT event_id FROM event_log WHERE topic = $1 AND type = ANY($2::text[])",
                        topic.name,
                        types,
                    )
                said |= {row["event_id"] for row in rows}
        if missing := said - heard:
            async with service.db.connection() as conn:
                rows = await conn.fetch(
                    "SELECT event_id FROM inbox WHERE event_id = ANY($1::uuid[])", list(missing)
                )
            heard |= {row["event_id"] for row in rows}
        return len(said - heard)


def free_socket() -> socket.socket:
    """A listening place on loopback, taken: its port can be told to others before anything serves there.

    asyncio switches Nagle's algorithm off only for a socket that names TCP: with it on, answers wait 40 ms.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"http://{host}:{port}"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: Any, sock: socket.socket) -> AsyncIterator[str]:
    """The ASGI app, really served on the socket, its lifespan run; yields the URL when it is usable."""
    config = uvicorn.Config(app, lifespan="on", ws="none", log_config=None, access_log=False)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not (server.started and _usable(app)):
            if task.done():
                await task
                raise RuntimeError("the app did not start: see the log")
            await asyncio.sleep(0.01)
        yield url_of(sock)
    finally:
        server.should_exit = True
        await task
        sock.close()


def _usable(app: Any) -> bool:
    """A service answers before it is usable. Raises RuntimeError when it never will be."""
    if getattr(app, "start_failure", None) is not None:
        raise RuntimeError(f"the service did not start: {app.start_failure}")
    started: asyncio.Event | None = getattr(app, "started", None)
    return started is None or started.is_set()
