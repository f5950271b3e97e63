"""The sandbox as one process: an HTTP server that dispatches by path prefix, an SMTP server and the jobs behind them."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox.connection import Connection
from sandbox.control import Control
from sandbox.faults import Faults
from sandbox.injection import Injection
from sandbox.issuer import Issuer
from sandbox.jobs import Jobs
from sandbox.record import Record
from sandbox.settings import Settings
from sandbox.shippo.account import Account as ShippoAccount
from sandbox.shippo.api import Shippo
from sandbox.slack import Slack
from sandbox.smtp import Sink, SmtpServer
from sandbox.state import State
from sandbox.stripe.account import Account as StripeAccount
from sandbox.stripe.api import Stripe
from sandbox.twilio import Twilio
from sandbox.webhooks import Webhooks

MAX_BODY = 1_048_576  # bytes
KEEP_ALIVE = 120  # seconds: longer than any client keeps an idle connection

logger = logging.getLogger(__name__)


class Box:
    """A sandbox: its addresses, its record, and the parts that tests and the control calls play."""

    def __init__(
        self, settings: Settings, state: State, scripted: Faults, *, port: int, smtp_port: int
    ) -> None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"http://{host}:{port}"
        self.smtp_port = smtp_port
        self.record = Record(state)
        self.jobs = Jobs(state)
        self.faults = faults = Injection(state, scripted)
        self.webhooks = Webhooks(settings, state, self.jobs, faults)
        self.issuer = Issuer(state, settings.issuer_url or f"{self.url}/issuer")
        self.stripe = Stripe(
            StripeAccount(settings, state, self.record, self.jobs, self.webhooks), self.record, faults
        )
        self.shippo = Shippo(ShippoAccount(state, self.record, self.webhooks), self.record, faults)
        self.sink = Sink(state, self.record, faults)
        control = Control(
            record=self.record,
            jobs=self.jobs,
            webhooks=self.webhooks,
            stripe=self.stripe,
            shippo=self.shippo,
            faults=faults,
        )
        routes = [
            Mount("/stripe", routes=self.stripe.routes),
            Mount("/shippo", routes=self.shippo.routes),
            Mount("/twilio", routes=Twilio(state, self.record, faults).routes),
            Mount("/slack", routes=Slack(state, self.record, faults).routes),
            Mount("/issuer", routes=self.issuer.routes),
            Mount("/control", routes=control.routes),
            Route("/health/live", healthy),
            Route("/health/ready", healthy),
        ]
        self.app: ASGIApp = without_trailing_slash(Starlette(routes=routes, max_body_size=MAX_BODY))

    async def settled(self) -> None:
        """Return once every webhook is accepted and every fee booked."""
        await self.jobs.settled()


async def healthy(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def without_trailing_slash(app: ASGIApp) -> ASGIApp:
    """Shippo's SDK writes some of its paths with a final slash and some without; both are the same resource."""

    async def trimmed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope["path"] = scope["path"].rstrip("/") or "/"
        await app(scope, receive, send)

    return trimmed


class HttpServer(uvicorn.Server):
    """Leaves signals to the process that embeds it, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def running(settings: Settings, *, faults: Faults | None = None) -> AsyncIterator[Box]:
    """A sandbox that serves real sockets in the running loop for as long as the block runs.

    Raises OSError when a port is taken, and what `State` raises.
    """
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(contextlib.closing(_listen(settings.host, settings.port)))
        smtp = stack.enter_context(contextlib.closing(_listen(settings.host, settings.smtp_port)))
        state = State(settings.state)
        stack.callback(state.close)
        box = Box(
            settings, state, faults or Faults(), port=http.getsockname()[1], smtp_port=smtp.getsockname()[1]
        )
        async with serving(box, http, smtp):
            yield box


@contextlib.asynccontextmanager
async def serving(box: Box, http: socket.socket, smtp: socket.socket) -> AsyncIterator[None]:
    server = HttpServer(
        uvicorn.Config(
            box.app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=1,
        )
    )
    mail = SmtpServer(box.sink, smtp)
    await mail.start()
    jobs = asyncio.create_task(box.jobs.run())
    web = asyncio.create_task(server.serve(sockets=[http]))
    try:
        await server.ready.wait()
        yield
    finally:
        server.should_exit = True
        await web
        await mail.close()
        jobs.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await jobs
        await box.webhooks.close()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError when the port is taken, also by who bound it at the same moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only for sockets that name the protocol (socket.create_server does not);
    # with it on, every answer would wait 40 ms for the client's delayed acknowledgement.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock
