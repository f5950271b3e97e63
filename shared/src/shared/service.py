"""A service's whole process in one place: HTTP, consumer, relay, worker, redrive and maintenance, started and stopped in order.

`shared.main` is the entry point. It answers from the first moment: alive, not ready, 503 for all work until the database and
the broker are there. SIGTERM stops gracefully, also while it waits for them: requests finish, the batch in hand is committed,
exit code 0. A start that can never succeed (a wrong password, no such database) ends the process with exit code 1.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import orjson
import strawberry
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from shared import maintenance, telemetry
from shared.auth import Authenticator
from shared.backlog import Backlog
from shared.bus import Bus
from shared.db import UNAVAILABLE, Database
from shared.errors import Code
from shared.graphql import GraphQLEndpoint
from shared.handlers import Handlers
from shared.inbox import Inbox
from shared.jobs import Jobs
from shared.outbox import Relay
from shared.redrive import Redriver
from shared.settings import ServiceSettings
from shared.waits import Waits
from shared.webhooks import Arrivals, Hook, answer
from shared.worker import Worker

log = structlog.get_logger(__name__)

START_PAUSE_SECONDS = 0.5
REQUESTS_SECONDS = 6
"""What requests in flight get when the process is told to stop: a little more than the bounded wait for an outcome."""
DRAIN_SECONDS = 8
"""What the batch in hand and the calls under way get after that."""
CLOSE_SECONDS = 5
"""What farewells get at last. All three together stay below the 20 s after which a launcher kills."""
_ANSWERED_ALWAYS = ("/health/live", "/health/ready", "/metrics")


class Service:
    """One service: give it what it hears (`handlers`), does (`jobs`) and answers (`schema`, `webhooks` by their path, `routes`).

    `background` has what else runs as long as the service does, by name: it ends only by being cancelled.
    """

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        *,
        handlers: Handlers,
        jobs: Jobs | None = None,
        schema: strawberry.Schema | None = None,
        webhooks: Mapping[str, Hook] | None = None,
        routes: Sequence[Route] = (),
        background: Mapping[str, Callable[[Database], Coroutine[Any, Any, None]]] | None = None,
        closing: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        self.name, self.settings = name, settings
        self.db = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
        self.waits, self.arrivals = Waits(self.db), Arrivals(self.db)
        self.authenticator = Authenticator(settings.auth_issuers)
        self.bus = Bus(settings)
        self.handlers, self.jobs = handlers, jobs or Jobs()
        self.relay = Relay(self.db, self.bus.publish)
        self.worker = Worker(self.db, name, self.jobs, lease=settings.job_lease)
        self._backlog = Backlog(self.db, name, self.jobs)
        self._redriver: Redriver | None = None
        self._closing, self._webhooks = closing, dict(webhooks or {})
        self._background = dict(background or {})
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: asyncio.Task[None] | None = None
        self._lagging: set[tuple[str, str, str]] = set()
        self._waits_for = "nothing yet"
        self.started = asyncio.Event()
        self.start_failure: str | None = None
        self._graph = GraphQLEndpoint(schema, self.authenticator, self) if schema else None
        probes = {"/health/live": self._liveness, "/health/ready": self._readiness, "/metrics": self._metrics}
        self._rest = Starlette(routes=[*(Route(path, probe) for path, probe in probes.items()), *routes])
        self.inbox = Inbox(self.db, handlers)
        if handlers.by_fact:
            self.bus.listen(self.db, self.inbox, name)
            self._redriver = Redriver(self.db, self.inbox, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app; the graph and the webhooks go before the router."""
        if scope["type"] == "lifespan":
            return await _lifespan(self, receive, send)
        path = scope.get("path", "")
        if not self.started.is_set() and path not in _ANSWERED_ALWAYS:
            return await _unavailable(scope, receive, send)
        if self._graph is not None and path == "/graphql":
            return await self._graph(scope, receive, send)
        if (hook := self._webhooks.get(path)) is not None:
            return await answer(hook, scope, receive, send)
        scope.setdefault("app", self._rest)
        return await self._rest(scope, receive, send)

    def begin(self) -> None:
        """Start in the background; `started` is set when the service is usable, `start_failure` when it never will be."""
        self._starting = asyncio.create_task(self._begin())

    async def _begin(self) -> None:
        try:
            await self.start()
        except Exception as fault:
            self.start_failure = f"{type(fault).__name__}: {fault}"
            log.exception("start failed")

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
        self._run("relay", self.relay.run())
        self._run("worker", self.worker.run())
        self._run("maintenance", tidying)
        if self._redriver is not None:
            self._run("redrive", self._redriver.run())
        for name, work in self._background.items():
            self._run(name, work(self.db))
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self.started.set()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_tell_its_end)
        self._tasks.append(task)

    async def stop(self) -> None:
        """The batch in hand is committed, calls under way are recorded; what is not yet sent waits in the outbox.

        Whatever was opened is closed, whether or not the start came to its end and whatever died meanwhile.
        """
        self.started.clear()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(
            _attempt(self.bus.stop_listening, DRAIN_SECONDS), _ended(self._tasks, DRAIN_SECONDS)
        )
        closing = (self.bus.stop, *self._closing, self.authenticator.close, self.db.close)
        await asyncio.gather(*(_attempt(close, CLOSE_SECONDS) for close in closing))

    async def _until_available(self, what: str, open_: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._waits_for = what
        while True:
            try:
                return await open_()
            except (*UNAVAILABLE, *Bus.UNAVAILABLE) as away:
                log.warning("waiting", what=what, reason=f"{type(away).__name__}: {away}")
                await asyncio.sleep(START_PAUSE_SECONDS)

    async def _readiness(self, _: Request) -> Response:
        problems = await self._problems() if self.started.is_set() else self._not_started()
        body = orjson.dumps({"service": self.name, "ready": not problems, "problems": problems})
        return Response(body, 503 if problems else 200, media_type="application/json")

    async def _liveness(self, _: Request) -> Response:
        """Waiting for others is life; a consumer that is stuck is for the orchestrator to end."""
        live = not self._is_stuck()
        return Response(orjson.dumps({"live": live}), 200 if live else 503, media_type="application/json")

    def _is_stuck(self) -> bool:
        return self.bus.silent_for() > self.settings.consumer_stuck_after

    async def _metrics(self, _: Request) -> Response:
        if self.started.is_set():
            await self._backlog.refresh()
        lag = await self.bus.lag()
        for gone in self._lagging - lag.keys():
            telemetry.CONSUMER_LAG.remove(*gone)
        for labels, records in lag.items():
            telemetry.CONSUMER_LAG.labels(*labels).set(records)
        self._lagging = set(lag)
        return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    def _not_started(self) -> dict[str, str]:
        if self.start_failure is not None:
            return {"start": self.start_failure.partition(":")[0]}
        return {"starting": f"waiting for {self._waits_for}"}

    async def _problems(self) -> dict[str, str]:
        problems: dict[str, str] = {}
        try:
            async with self.db.connection() as conn:
                await conn.fetchval("SELECT 1")
        except UNAVAILABLE as away:
            problems["database"] = type(away).__name__
        if self.bus.stopped_because is not None:
            problems["consumer"] = self.bus.stopped_because
        elif self._is_stuck():
            problems["consumer"] = "stuck"
        if ended := [task.get_name() for task in self._tasks if task.done()]:
            problems["tasks"] = f"not running: {', '.join(ended)}"
        return problems


def _tell_its_end(task: asyncio.Task[None]) -> None:
    """A task that ends by itself is a defect: it is in the log at once, and in the readiness."""
    if not task.cancelled():
        log.error("background task ended", task=task.get_name(), exc_info=task.exception())


async def _ended(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """What does not end in time is left to its lease, or to the outbox."""
    if tasks and (left := (await asyncio.wait(tasks, timeout=seconds))[1]):
        log.warning("left behind", tasks=[task.get_name() for task in left])


async def _attempt(close: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
    """What fails to close, or takes for ever, must not keep the rest open."""
    try:
        async with asyncio.timeout(seconds):
            await close()
    except Exception:
        log.exception("not closed cleanly")


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    error = {"message": "The service is starting", "extensions": {"code": Code.SERVICE_UNAVAILABLE}}
    body = orjson.dumps({"data": None, "errors": [error]})
    response = Response(body, 503, headers={"retry-after": "1"}, media_type="application/json")
    await response(scope, receive, send)


async def _lifespan(service: Service, receive: Receive, send: Send) -> None:
    await receive()
    service.begin()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await service.stop()
    await send({"type": "lifespan.shutdown.complete"})
