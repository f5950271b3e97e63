"""A service's whole process in one place: HTTP, consumer, relay, worker and maintenance, started and stopped in order.

`shared.main` is the entry point. SIGTERM stops gracefully: requests finish, the batch in hand is committed, exit code 0.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import orjson
import strawberry
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from shared import maintenance
from shared.auth import Authenticator
from shared.bus import Bus
from shared.db import UNAVAILABLE, Database
from shared.graphql import GraphQLEndpoint
from shared.handlers import Handlers
from shared.inbox import Inbox
from shared.jobs import Jobs
from shared.outbox import Relay
from shared.settings import ServiceSettings
from shared.waits import Waits
from shared.worker import Worker

log = structlog.get_logger(__name__)

START_PAUSE_SECONDS = 0.5


class Service:
    """One service: give it what it hears (`handlers`), does (`jobs`) and answers (`schema`, `routes`)."""

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        *,
        handlers: Handlers,
        jobs: Jobs | None = None,
        schema: strawberry.Schema | None = None,
        routes: Sequence[BaseRoute] = (),
        closing: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        self.name, self.settings = name, settings
        self.db = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
        self.waits = Waits(self.db)
        self.authenticator = Authenticator(settings.auth_issuers)
        self.bus = Bus(settings)
        self.handlers, self.jobs = handlers, jobs or Jobs()
        self.relay = Relay(self.db, self.bus.publish)
        self.worker = Worker(self.db, name, self.jobs)
        self._closing = closing
        self._tasks: list[asyncio.Task[None]] = []
        self._graph = GraphQLEndpoint(schema, self.authenticator, self) if schema else None
        own = [
            Route("/health/live", _live),
            Route("/health/ready", self._ready),
            Route("/metrics", _metrics),
        ]
        self._rest = Starlette(routes=[*own, *routes])
        if handlers.by_fact:
            self.bus.listen(self.db, Inbox(self.db, handlers), name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app; the graph goes before the router."""
        if scope["type"] == "lifespan":
            return await _lifespan(self, receive, send)
        if self._graph is not None and scope.get("path") == "/graphql":
            return await self._graph(scope, receive, send)
        scope.setdefault("app", self._rest)
        return await self._rest(scope, receive, send)

    async def start(self) -> None:
        """Waits for the database and the broker as long as it takes: they may come up after us."""
        await self._until_available("database", self.db.open)
        await self._until_available("broker", self.bus.start)
        settings = self.settings
        tidying = maintenance.run(
            self.db,
            event_log_days=settings.event_log_retention_days,
            inbox_days=settings.inbox_retention_days,
        )
        self._tasks = [asyncio.create_task(work) for work in (self.relay.run(), self.worker.run(), tidying)]

    async def stop(self) -> None:
        """The batch in hand is committed, calls under way are recorded; what is not yet sent waits in the outbox."""
        await self.bus.stop_listening()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.bus.stop()
        for close in self._closing:
            await close()
        await self.authenticator.close()
        await self.db.close()

    async def _until_available(self, what: str, open_: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                return await open_()
            except (*UNAVAILABLE, *Bus.UNAVAILABLE) as away:
                log.warning("waiting", what=what, reason=f"{type(away).__name__}: {away}")
                await asyncio.sleep(START_PAUSE_SECONDS)

    async def _ready(self, _: Request) -> Response:
        problems: dict[str, str] = {}
        try:
            async with self.db.connection() as conn:
                await conn.fetchval("SELECT 1")
        except (*UNAVAILABLE, RuntimeError) as away:
            problems["database"] = type(away).__name__
        if self.bus.stopped_because is not None:
            problems["consumer"] = self.bus.stopped_because
        if any(task.done() for task in self._tasks) or not self._tasks:
            problems["tasks"] = "a background task is not running"
        body = orjson.dumps({"service": self.name, "ready": not problems, "problems": problems})
        return Response(body, 503 if problems else 200, media_type="application/json")


async def _live(_: Request) -> Response:
    return Response(b'{"live":true}', media_type="application/json")


async def _metrics(_: Request) -> Response:
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


async def _lifespan(service: Service, receive: Receive, send: Send) -> None:
    await receive()
    try:
        await service.start()
    except Exception:
        log.exception("start failed")
        await send({"type": "lifespan.startup.failed", "message": "see the log"})
        return
    gc.collect()
    gc.freeze()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await service.stop()
    await send({"type": "lifespan.shutdown.complete"})
