"""Shipping over real PostgreSQL, a real sandbox and real HTTP, without a broker: facts are handed to its inbox."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr
from pyreqwest.client import Client, ClientBuilder

import sandbox
from sandbox.app import HttpServer
from shared.settings import Issuer
from shipping.app import build
from shipping.settings import Settings
from support.shipments import SECRET, Faults, Shop

SettingsFor = Callable[..., Awaitable[Settings]]


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[Client]:
    async with ClientBuilder().no_proxy().build() as client:
        yield client


@pytest.fixture(scope="session")
def faults() -> Faults:
    return Faults()


@pytest.fixture(scope="session")
async def box(faults: Faults) -> AsyncIterator[sandbox.Box]:
    async with sandbox.running(sandbox.Settings(port=0, smtp_port=0), faults=faults) as running:
        yield running


@pytest.fixture(scope="session")
def settings_for(box: sandbox.Box, fresh_databases: Any) -> SettingsFor:
    """Settings on a fresh database, with the sandbox as Shippo and as issuer."""

    async def make(**changes: Any) -> Settings:
        issuer = Issuer(issuer=box.issuer.url, jwks_url=f"{box.issuer.url}/jwks.json")
        url = (await fresh_databases("shipping"))["shipping"]
        given: dict[str, Any] = {
            "database_url": SecretStr(url),
            "kafka_url": "127.0.0.1:1",
            "auth_issuers": (issuer,),
            "shippo_api_key": SecretStr("shippo_test_key"),
            "shippo_api_base": f"{box.url}/shippo",
            "shippo_webhook_secret": SecretStr(f"retired, {SECRET}"),
            "label_second_look": 0.0,
            "outcome_wait": 20.0,
        }
        return Settings(**(given | changes))

    return make


@pytest.fixture(scope="session")
async def shop(
    box: sandbox.Box, faults: Faults, http: Client, settings_for: SettingsFor
) -> AsyncIterator[Shop]:
    """One service, working for the whole session; every test has orders of its own."""
    settings = await settings_for()
    service = build(settings)
    await service.db.open()
    service.started.set()
    worker = asyncio.create_task(service.worker.run())
    server = HttpServer(
        uvicorn.Config(service, port=0, lifespan="off", ws="none", log_config=None, access_log=False)
    )
    web = asyncio.create_task(server.serve())
    await server.ready.wait()
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    receiver = {"provider": "shippo", "url": f"{url}/webhooks/shippo", "secret": SECRET}
    changed = await http.post(f"{box.url}/control/webhooks/receivers").body_json(receiver).build().send()
    assert changed.status == 200
    yield Shop(service, settings, box, faults, http, url)
    server.should_exit = True
    await web
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await service._closing[0]()
    await service.authenticator.close()
    await service.db.close()


@pytest.fixture(scope="session")
async def dock(
    box: sandbox.Box, faults: Faults, http: Client, settings_for: SettingsFor
) -> AsyncIterator[Shop]:
    """A second service on a database of its own: nobody works there unless a test does, and no webhook comes."""
    settings = await settings_for()
    service = build(settings)
    await service.db.open()
    service.started.set()
    yield Shop(service, settings, box, faults, http, "")
    await service._closing[0]()
    await service.authenticator.close()
    await service.db.close()


@pytest.fixture(autouse=True)
def no_faults(faults: Faults) -> None:
    """No test sees the faults of another."""
    faults.lost.clear()
    faults.refused.clear()
