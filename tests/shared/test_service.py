"""The process around a service: it answers while it waits for others, stops while it waits, and closes what it opened."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import uvicorn
from pyreqwest.client import Client, ClientBuilder

from ordermesh.infrastructure import Infrastructure
from orders.app import build as build_orders
from orders.settings import Settings as OrdersSettings
from shared import service as service_module
from shared.bus import tell
from shared.db import Database
from shared.handlers import Handlers
from shared.service import Service
from shared.settings import ServiceSettings
from shared.testing import free_socket, serving, url_of
from shared.watchdog import Heartbeat
from support.till import a_sku


class Closed:
    """A provider's client that tells whether it was closed."""

    def __init__(self) -> None:
        self.count = 0

    async def close(self) -> None:
        self.count += 1


async def failing() -> None:
    raise ValueError("no reason at all")


def a_service(
    infrastructure: Infrastructure, url: str, closing: Any, background: Any = None, **settings: Any
) -> Service:
    known = {
        "kafka_url": infrastructure.kafka_url,
        "kafka_idempotence": infrastructure.kafka_idempotence,
        "kafka_fetch_max_wait_ms": infrastructure.kafka_fetch_max_wait_ms,
        **settings,
    }
    return Service(
        "orders",
        ServiceSettings(database_url=url, **known),
        handlers=Handlers("orders"),
        closing=closing,
        background=background,
    )


@pytest.fixture
async def database_url(fresh_databases: Any) -> str:
    return str((await fresh_databases("orders"))["orders"])


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with ClientBuilder().build() as made:
        yield made


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@asynccontextmanager
async def started_process(service: Service) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """As `serving`, but it does not wait for the service to be usable."""
    sock = free_socket()
    server = uvicorn.Server(uvicorn.Config(service, lifespan="on", ws="none", log_config=None))
    task = asyncio.create_task(server._serve(sockets=[sock]))
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    yield url_of(sock), server
    server.should_exit = True
    async with asyncio.timeout(20):
        await task
    sock.close()


async def ask(client: Client, url: str) -> tuple[int, Any]:
    response = await client.get(url).build().send()
    return response.status, orjson.loads(bytes(await response.bytes()))


@pytest.mark.parametrize("away", ["database", "broker"])
async def test_a_service_that_waits_is_alive_not_ready_refuses_work_and_stops_when_told(
    infrastructure: Infrastructure, database_url: str, client: Client, nobody: str, away: str
) -> None:
    closed = Closed()
    if away == "database":
        service = a_service(infrastructure, f"postgresql://u:p@{nobody}/orders", [closed.close])
    else:
        service = a_service(infrastructure, database_url, [closed.close], kafka_url=nobody)
    async with started_process(service) as (url, _):
        assert await ask(client, f"{url}/health/live") == (200, {"live": True})
        async with asyncio.timeout(20):
            while (await ask(client, f"{url}/health/ready"))[1]["problems"] != {
                "starting": f"waiting for {away}"
            }:
                await asyncio.sleep(0.01)
        assert (await ask(client, f"{url}/health/ready"))[0] == 503
        for path in ("/graphql", "/webhooks/stripe"):
            status, answer = await ask(client, f"{url}{path}")
            assert (status, answer["errors"][0]["extensions"]) == (503, {"code": "SERVICE_UNAVAILABLE"})
    assert closed.count == 1
    assert not service.started.is_set()


async def test_a_background_task_that_dies_shows_in_readiness_and_keeps_nothing_from_being_closed(
    infrastructure: Infrastructure, database_url: str, client: Client
) -> None:
    closed = Closed()
    service = a_service(infrastructure, database_url, [failing, closed.close])
    async with serving(service, free_socket()) as url:
        assert await ask(client, f"{url}/health/ready") == (
            200,
            {"service": "orders", "ready": True, "problems": {}},
        )
        service._run("relay", failing())
        async with asyncio.timeout(20):
            while not (answer := await ask(client, f"{url}/health/ready"))[1]["problems"]:
                await asyncio.sleep(0.01)
        assert answer == (
            503,
            {"service": "orders", "ready": False, "problems": {"tasks": "not running: relay"}},
        )
    assert closed.count == 1
    with pytest.raises(Exception, match="pool is clos"):
        async with service.db.connection():
            pass


async def test_what_runs_in_the_background_has_the_database_ends_with_the_service_and_is_missed_when_it_dies(
    infrastructure: Infrastructure, database_url: str, client: Client
) -> None:
    ended: list[int] = []

    async def lives(db: Database) -> None:
        async with db.connection() as conn:
            one: int = await conn.fetchval("SELECT 1")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(one)

    async def dies(_: Database) -> None:
        raise ValueError("no reason at all")

    service = a_service(infrastructure, database_url, [], background={"lives": lives, "dies": dies})
    async with serving(service, free_socket()) as url:
        async with asyncio.timeout(20):
            while not (answer := await ask(client, f"{url}/health/ready"))[1]["problems"]:
                await asyncio.sleep(0.01)
        assert answer[1]["problems"] == {"tasks": "not running: dies"}
        assert ended == []
    assert ended == [1]


async def test_a_start_that_cannot_succeed_ends_the_process_with_1(
    infrastructure: Infrastructure, database_url: str
) -> None:
    elsewhere = f"{database_url.rpartition('/')[0]}/nowhere"
    with pytest.raises(RuntimeError, match="did not start"):
        async with serving(a_service(infrastructure, elsewhere, []), free_socket()):
            pass
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orders"),
        env={"DATABASE_URL": elsewhere, "KAFKA_URL": infrastructure.kafka_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"start failed" in said


async def test_what_never_closes_does_not_keep_the_process(
    infrastructure: Infrastructure, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "DRAIN_SECONDS", 0.1)
    monkeypatch.setattr(service_module, "CLOSE_SECONDS", 0.1)
    closed = Closed()
    service = a_service(infrastructure, database_url, [asyncio.Event().wait, closed.close])
    async with serving(service, free_socket()):
        service._run("stubborn", stubborn(under_way := asyncio.Event()))
        await under_way.wait()
    assert closed.count == 1
    assert [task.get_name() for task in service._tasks if not task.done()] == ["stubborn"]
    service._tasks[-1].cancel()


async def stubborn(under_way: asyncio.Event) -> None:
    """Does not end when it is told to, until it is told again."""
    under_way.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def test_a_service_whose_consumer_is_stuck_is_not_alive(
    infrastructure: Infrastructure, database_url: str, client: Client
) -> None:
    service = a_service(infrastructure, database_url, [], consumer_stuck_after=0.2)
    async with serving(service, free_socket()) as url:
        assert await ask(client, f"{url}/health/live") == (200, {"live": True})
        service.bus.silent_for = Heartbeat().silence  # type: ignore[method-assign] # as if its loop hung
        async with asyncio.timeout(20):
            while await ask(client, f"{url}/health/live") != (503, {"live": False}):
                await asyncio.sleep(0.01)
        assert (await ask(client, f"{url}/health/ready"))[1]["problems"] == {"consumer": "stuck"}


async def test_the_lag_of_what_is_heard_is_a_metric(
    infrastructure: Infrastructure, database_url: str, client: Client
) -> None:
    """One partition's at least: that of what the shop lists here."""
    await tell(infrastructure.kafka_url, "shop", [a_sku("LAGGING")])
    settings = OrdersSettings(
        database_url=database_url,
        kafka_url=infrastructure.kafka_url,
        kafka_idempotence=infrastructure.kafka_idempotence,
        kafka_fetch_max_wait_ms=infrastructure.kafka_fetch_max_wait_ms,
    )
    async with serving(build_orders(settings), free_socket()) as url, asyncio.timeout(60):
        while 'ordermesh_consumer_lag{group="orders' not in await text(client, f"{url}/metrics"):
            await asyncio.sleep(0.1)


async def text(client: Client, url: str) -> str:
    response = await client.get(url).build().send()
    return bytes(await response.bytes()).decode()
