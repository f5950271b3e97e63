"""The gateway as one ASGI app: ``/graphql`` first, then what is passed through, health and metrics.

Every GraphQL request is checked in the order of cost: method and media type, size, shape, caller, limits; only then
is it planned. What goes wrong unforeseen is logged under the request's id, and the client is told no more than that.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from gateway.asgi import (
    JSON,
    REQUEST_ID,
    Cors,
    RawHeaders,
    Receive,
    Scope,
    Send,
    client_address,
    forwarded,
    must_be,
    read_body,
    refuse,
    request_id,
    respond,
)
from gateway.auth import Authenticate, anyone, by_issuers
from gateway.client import Client
from gateway.federation import Code, Engine, EngineOptions, Graph, Plan, RequestRefused
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.passthrough import Passthrough
from gateway.rate_limit import RateLimit
from gateway.settings import Settings
from gateway.supergraph import LastGood, Supergraph
from gateway.transport import Headers, HttpTransport, Transport
from shared.auth import Authenticator

log = logging.getLogger(__name__)

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
UNSUPPORTED_MEDIA = 415


@dataclass(frozen=True, slots=True)
class _Asked:
    query: str
    variables: dict[str, Any] | None
    operation_name: str | None


class Gateway:
    """The ASGI app. ``connect`` makes its transport; ``on_graph`` is called after each graph that goes into service."""

    def __init__(
        self,
        settings: Settings,
        *,
        authenticate: Authenticate = anyone,
        connect: Callable[[], Transport] | None = None,
        on_graph: Callable[[], None] = lambda: None,
        closing: Sequence[Callable[[], Awaitable[None]]] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._closing = closing
        self._authenticate = authenticate
        self._connect = connect or self._http_transport
        self._on_graph = on_graph
        self._cors = Cors(settings.cors_origins)
        self._mutations = RateLimit(settings.anonymous_mutations_per_minute, what="mutations", now=now)
        per_minute = settings.anonymous_costly_queries_per_minute
        self._costly_queries = RateLimit(per_minute, what="such queries", now=now)
        self.metrics = Metrics()
        self.supergraph: Supergraph | None = None
        self._passthrough: Passthrough | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of any kind."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"] == "/graphql":
            await self._serve_graphql(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in self._settings.passthrough:
            await self._serve_passthrough(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve_rest(scope, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Supergraph]:
        """Watch the subgraphs inside this context."""
        settings, transport = self._settings, self._connect()
        targets = {path: str(url) for path, url in settings.passthrough.items()}
        self._passthrough = Passthrough(targets, settings.subgraph_timeout)
        client = Client(
            settings.subgraphs,
            transport,
            self.metrics,
            breaker_threshold=settings.breaker_threshold,
            breaker_open=settings.breaker_open,
        )
        self.supergraph = Supergraph(
            settings.subgraphs,
            client.fetch_sdl,
            lambda graph: self._engine(graph, client),
            LastGood(settings.state_dir),
            self.metrics,
            settings.poll_interval,
        )
        self.supergraph.restore()
        watching = asyncio.create_task(self.supergraph.watch())
        try:
            yield self.supergraph
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await transport.close()
            await self._passthrough.close()
            for close in self._closing:
                await close()

    def _http_transport(self) -> Transport:
        settings = self._settings
        urls = {name: str(url) for name, url in settings.subgraphs.items()}
        return HttpTransport(urls, settings.subgraph_timeout, settings.subgraph_timeouts)

    def _engine(self, graph: Graph, client: Client) -> Engine:
        settings = self._settings
        limits = Limits(settings.max_depth, settings.max_aliases, settings.max_root_fields)
        options = EngineOptions(
            introspection=settings.introspection,
            max_tokens=settings.max_tokens,
            cache_size=settings.plan_cache_size,
            check=limits.check,
            costly=frozenset(settings.costly_queries),
        )
        queries = graph.api.query_type.fields if graph.api.query_type else {}
        if unknown := sorted(options.costly.difference(queries)):
            log.warning("the graph has no query that COSTLY_QUERIES calls %s", ", ".join(unknown))
        engine = Engine(graph, client.send, options)
        self._on_graph()
        return engine

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve_rest(self, scope: Scope, send: Send) -> None:
        try:
            status, body, media_type = self._page(scope["path"])
            must_be(scope["method"], "GET", "HEAD")
            await respond(send, status, body, [], media_type)
        except RequestRefused as refused:
            await refuse(send, refused, [])

    def _page(self, path: str) -> tuple[int, bytes, bytes]:
        """Return status, body and media type."""
        match path:
            case "/health/live":
                return 200, b'{"live":true}', JSON
            case "/health/ready":
                report = self.supergraph.report() if self.supergraph else {"ready": False}
                return 200 if report["ready"] else 503, orjson.dumps(report), JSON
            case "/metrics":
                return 200, self.metrics.exposition(), TEXT
        raise RequestRefused(Code.BAD_REQUEST, "There is nothing at this path", status=404)

    async def _serve_graphql(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers.get(b"origin")
        if scope["method"] == "OPTIONS":
            status, allowed = self._cors.preflight(origin, b"POST")
            await respond(send, status, b"", allowed, JSON)
            return
        request = request_id(headers)
        own = [(REQUEST_ID, request.encode()), *self._cors.headers(origin)]
        began = time.perf_counter()
        try:
            body = await self._answer(scope, headers, request, receive)
            outcome = "errors" if body.startswith(b'{"errors"') else "ok"
            await respond(send, 200, body, own, JSON)
        except Exception as problem:  # noqa: BLE001 - it is logged there
            outcome = await _refuse(send, problem, request, own)
        self.metrics.requests.labels(outcome).inc()
        self.metrics.request_seconds.observe(time.perf_counter() - began)

    async def _serve_passthrough(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whoever may call ``/graphql`` may ask; what for, the service judges."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        origin = headers.get(b"origin")
        if scope["method"] == "OPTIONS":
            status, allowed = self._cors.preflight(origin, b"GET")
            await respond(send, status, b"", allowed, JSON)
            return
        request = request_id(headers)
        own = [(REQUEST_ID, request.encode()), *self._cors.headers(origin)]
        try:
            passthrough, passed = await self._may_pass(scope["method"], headers, request)
            outcome = await passthrough.serve(scope, receive, send, passed, own)
        except Exception as problem:  # noqa: BLE001 - it is logged there
            outcome = await _refuse(send, problem, request, own)
        self.metrics.passthroughs.labels(scope["path"], outcome).inc()

    async def _may_pass(
        self, method: str, headers: dict[bytes, bytes], request: str
    ) -> tuple[Passthrough, Headers]:
        must_be(method, "GET", "OPTIONS")
        passed = forwarded(headers, request)
        await self._authenticate(dict(passed).get("authorization"))
        if self._passthrough is None:
            raise RequestRefused(Code.SERVICE_UNAVAILABLE, "The gateway is not ready yet", status=503)
        return self._passthrough, passed

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], request: str, receive: Receive
    ) -> bytes:
        must_be(scope["method"], "POST", "OPTIONS")
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != JSON:
            raise RequestRefused(
                Code.BAD_REQUEST, "The body must be application/json", status=UNSUPPORTED_MEDIA
            )
        asked = _parsed(await read_body(receive, self._settings.max_body))
        passed = forwarded(headers, request)
        has_account = await self._authenticate(dict(passed).get("authorization"))
        engine = self.supergraph.engine if self.supergraph else None
        if engine is None:
            raise RequestRefused(Code.SERVICE_UNAVAILABLE, "The graph is not ready yet", status=503)
        admit = _admit if has_account else partial(self._admit_anonymous, scope)
        return await engine.execute(asked.query, asked.variables, asked.operation_name, passed, admit)

    def _admit_anonymous(self, scope: Scope, plan: Plan) -> None:
        """Raise ``RateLimited`` for who asks for more without an account than its address may."""
        if plan.is_query:
            limit, count = self._costly_queries, plan.costly
        else:
            limit, count = self._mutations, len(plan.root_fields)
        if count:
            limit.take(client_address(scope, self._settings.trusted_proxies), count)


def build(settings: Settings, *, on_graph: Callable[[], None] = lambda: None) -> Gateway:
    """The gateway as it is deployed: it believes the configured issuers."""
    authenticator = Authenticator(settings.auth_issuers)
    return Gateway(
        settings,
        authenticate=by_issuers(authenticator),
        on_graph=on_graph,
        closing=[authenticator.close],
    )


def _admit(_: Plan) -> None:
    """Who has an account is known, and judged by the services."""


async def _refuse(send: Send, problem: Exception, request: str, own: RawHeaders) -> str:
    """Send a refusal, or of what was unforeseen no more than that it was; return its code."""
    if isinstance(problem, RequestRefused):
        refused = problem
    else:  # amid an answer passed through the server refuses this one too, and closes the connection
        log.error("request %s failed", request, exc_info=problem)
        refused = RequestRefused(Code.INTERNAL, "Internal error", status=500)
    await refuse(send, refused, own)
    return refused.code.value


def _parsed(body: bytes) -> _Asked:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as invalid:
        raise RequestRefused(Code.BAD_REQUEST, "The body is not valid JSON") from invalid
    if not isinstance(given, dict):
        raise RequestRefused(Code.BAD_REQUEST, "The body must be one JSON object; batches are not served")
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str):
        raise RequestRefused(Code.BAD_REQUEST, "The body needs a query")
    if not isinstance(variables, dict | None):
        raise RequestRefused(Code.BAD_REQUEST, "variables must be an object")
    if not isinstance(name, str | None):
        raise RequestRefused(Code.BAD_REQUEST, "operationName must be a string")
    return _Asked(query, variables, name)
