"""Shipping over real PostgreSQL, a real sandbox and real HTTP, without a broker: facts are handed to its inbox."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import orjson
import pytest
import sandbox
import uvicorn
from pydantic import SecretStr
from pyreqwest.client import Client, ClientBuilder
from sandbox.app import HttpServer
from sandbox.issuer import TokenRequest
from shared.contracts.envelope import FACTS, Fact
from shared.inbox import Inbox
from shared.settings import Issuer
from shipping.app import Shipping, build
from shipping.domain import Shipment
from shipping.handlers import handlers
from shipping.settings import Settings
from shipping.store import SHIPMENTS
from shipping.tables import shipments
from sqlalchemy import select

from tests.shipping import facts

SECRET = "shippo_secret"
T = TypeVar("T")


class Faults(sandbox.Faults):
    """Loses the answers to as many calls as `lost` says, by endpoint: the effect has happened, the caller sees a 500."""

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def around(self, endpoint: str, effect: Callable[[], T]) -> T:
        if self.refused[endpoint]:
            self.refused[endpoint] -= 1
            raise ConnectionResetError(endpoint)
        done = effect()
        if self.lost[endpoint]:
            self.lost[endpoint] -= 1
            raise ConnectionResetError(endpoint)
        return done


@dataclass
class Shop:
    """The service as its neighbours see it: facts in, facts out, its graph, its provider's record."""

    service: Shipping
    box: sandbox.Box
    faults: Faults
    http: Client
    url: str
    queries: list[str] = field(default_factory=list)

    async def hear(self, *heard: Fact) -> None:
        await Inbox(self.service.db, handlers).receive([facts.record(fact) for fact in heard])

    async def paid_order(self, **changes: Any) -> UUID:
        """Placed and paid: one shipment is prepared."""
        order_id: UUID = changes.pop("order_id", None) or uuid4()
        await self.hear(facts.placed(order_id, **changes), facts.paid(order_id))
        return order_id

    async def shipments(self, order_id: UUID) -> list[Shipment]:
        wanted = select(shipments).where(shipments.c.order_id == order_id).order_by(shipments.c.id)
        return [SHIPMENTS.entity_of(row._asdict()) for row in await self.service.db.fetch(wanted)]

    async def shipment(self, order_id: UUID) -> Shipment:
        [only] = await self.shipments(order_id)
        return only

    async def said(self, order_id: UUID) -> list[Fact]:
        async with self.service.db.connection() as conn:
            rows = await conn.fetch("SELECT type, body FROM event_log WHERE key = $1 ORDER BY id", str(order_id))
        return [FACTS[row["type"], 1].model_validate_json(row["body"]) for row in rows]

    async def types(self, order_id: UUID) -> list[str]:
        return [fact.type.removeprefix("shipment.") for fact in await self.said(order_id)]

    async def settle(self) -> None:
        """Until nothing is left to do, here and in the sandbox."""
        async with asyncio.timeout(30):
            while True:
                await self.box.settled()
                async with self.service.db.connection() as conn:
                    if not await conn.fetchval("SELECT count(*) FROM jobs WHERE state = 'due'"):
                        return
                await asyncio.sleep(0.02)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(30):
            while not await holds():
                await asyncio.sleep(0.02)

    def effects(self, kind: str, order_id: UUID) -> list[str]:
        """The resources of the sandbox's effects of a kind."""
        return [effect.resource for effect in self.box.record.effects(kind=kind, order_id=str(order_id))]

    def live_labels(self, order_id: UUID) -> list[str]:
        returned = self.effects("shippo.label.refunded", order_id)
        return [label for label in self.effects("shippo.label.purchased", order_id) if label not in returned]

    async def scan(self, status: str, **parcel: str) -> None:
        url = f"{self.box.url}/control/shippo/track"
        answer = await self.http.post(url).body_json({"status": status, **parcel}).build().send()
        assert answer.status == 200

    def token(self, role: str = "staff", sub: str = "eve") -> str:
        return self.box.issuer.token(TokenRequest.model_validate({"role": role, "sub": sub}))

    async def graph(
        self, query: str, *, role: str | None = "staff", sub: str = "eve", key: str | None = None, **variables: Any
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.token(role, sub)}"} if role else {}
        if key:
            headers["idempotency-key"] = key
        request = self.http.post(f"{self.url}/graphql").headers(headers)
        answer = await request.body_json({"query": query, "variables": variables}).build().send()
        assert answer.status == 200
        parsed: dict[str, Any] = orjson.loads(await answer.bytes())
        return parsed

    async def buy(self, shipment_id: UUID, **more: Any) -> dict[str, Any]:
        query = "mutation($id: ID!, $service: String) { it: buyShippingLabel(shipmentId: $id, service: $service) { %s } }"
        return await self.graph(query % FIELDS, id=str(shipment_id), **more)

    async def dispatch(self, shipment_id: UUID, **more: Any) -> dict[str, Any]:
        query = """mutation($id: ID!, $number: String, $carrier: String) {
            it: dispatchShipment(shipmentId: $id, trackingNumber: $number, carrier: $carrier) { %s } }"""
        return await self.graph(query % FIELDS, id=str(shipment_id), **more)

    async def void(self, shipment_id: UUID, **more: Any) -> dict[str, Any]:
        query = "mutation($id: ID!) { it: voidShippingLabel(shipmentId: $id) { %s } }"
        return await self.graph(query % FIELDS, id=str(shipment_id), **more)

    async def labelled_order(self, **changes: Any) -> UUID:
        order_id = await self.paid_order(**changes)
        answer = await self.buy((await self.shipment(order_id)).id)
        assert answer["data"]["it"]["status"] == "LABELLED"
        return order_id


FIELDS = """id status carrier service trackingNumber trackingUrl labelUrl cost currency lines { line quantity }
    checkpoints { time status message location } preparedAt labelledAt dispatchedAt failureReason staffCase"""


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
def settings_for(box: sandbox.Box, fresh_databases: Any) -> Callable[..., Awaitable[Settings]]:
    """Settings on a fresh database, with the sandbox as Shippo and as issuer."""

    async def make(**changes: Any) -> Settings:
        issuer = Issuer(issuer=box.issuer.url, jwks_url=f"{box.issuer.url}/jwks.json")
        url = (await fresh_databases("shipping"))["shipping"]
        given = {
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
    box: sandbox.Box, faults: Faults, http: Client, settings_for: Callable[..., Awaitable[Settings]]
) -> AsyncIterator[Shop]:
    """One service, working for the whole session; every test has orders of its own."""
    service = build(await settings_for())
    await service.db.open()
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
    yield Shop(service, box, faults, http, url)
    server.should_exit = True
    await web
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await service._closing[0]()
    await service.authenticator.close()
    await service.db.close()
