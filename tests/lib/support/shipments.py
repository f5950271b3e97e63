"""A running shipping service as its neighbours see it, and builders of the facts it hears and of shipments in any state."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pyreqwest.client import Client
from sqlalchemy import select

import sandbox
from sandbox.issuer import TokenRequest
from shared import commands
from shared.contracts import orders
from shared.contracts.catalog import SkuListed
from shared.contracts.envelope import FACTS, Envelope, Fact
from shared.contracts.topics import topic_of
from shared.ids import customer_id_of
from shared.inbox import Inbox, Record
from shared.jobs import Jobs
from shared.tx import Tx
from shared.worker import Worker
from shipping.app import Shipping
from shipping.domain import Consignment, Decision, LabelStage, Line, LineQuantity, Shipment, ShipmentStatus
from shipping.handlers import handlers
from shipping.settings import Settings
from shipping.store import CONSIGNMENTS, SHIPMENTS, apply
from shipping.tables import shipments

SECRET = "shippo_secret"
T = TypeVar("T")
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ADDRESS = orders.Address(street="1 Main St", city="Chicago", state="IL", zip_code="60601", country="US")
_offsets = itertools.count()


def placed(order_id: UUID, **changes: Any) -> orders.OrderPlaced:
    """Two lines, of two and one pieces."""
    lines = tuple(
        orders.Line(
            line=number,
            sku_id=f"SKU-{number}",
            product_id=f"P-{number}",
            name="Thing",
            quantity=quantity,
            unit_price=1250,
            weight_grams=300,
        )
        for number, quantity in ((1, 2), (2, 1))
    )
    given = {
        "order_id": order_id,
        "order_number": "ORD-20261122-00001",
        "customer_id": uuid4(),
        "currency": "USD",
        "placed_at": NOW,
        "lines": lines,
        "total": 4349,
        "payment_method": "stripe",
        "contact": orders.Contact(name="Ada Lovelace", email="ada@example.com", phone="+13125550100"),
        "shipping_address": ADDRESS,
    }
    return orders.OrderPlaced.model_validate(given | changes)


def paid(order_id: UUID) -> orders.OrderPaid:
    lines = (orders.LineQuantity(line=1, quantity=2), orders.LineQuantity(line=2, quantity=1))
    return orders.OrderPaid(**_about(order_id), paid_at=NOW, amount=4349, method="stripe", lines=lines)


def listed(sku_id: str, weight_grams: int) -> SkuListed:
    return SkuListed(
        sku_id=sku_id,
        product_id="P-1",
        name="Thing",
        price=1250,
        shipping_price=0,
        currency="USD",
        weight_grams=weight_grams,
    )


def cancelled(order_id: UUID) -> orders.OrderCancelled:
    return orders.OrderCancelled(**_about(order_id), cancelled_at=NOW, reason="shopper")


def _quantities(lines: dict[int, int]) -> tuple[orders.LineQuantity, ...]:
    return tuple(orders.LineQuantity(line=line, quantity=quantity) for line, quantity in lines.items())


def items_cancelled(order_id: UUID, lines: dict[int, int]) -> orders.OrderItemsCancelled:
    return orders.OrderItemsCancelled(
        **_about(order_id), cancelled_at=NOW, lines=_quantities(lines), reason="shopper"
    )


def handed_over(order_id: UUID, lines: dict[int, int]) -> orders.OrderHandedOver:
    return orders.OrderHandedOver(
        **_about(order_id),
        handed_over_at=NOW,
        lines=_quantities(lines),
        carrier="UPS",
        tracking_number="1Z999",
    )


def address_changed(order_id: UUID, **address: Any) -> orders.OrderAddressChanged:
    changed = ADDRESS.model_copy(update=address)
    return orders.OrderAddressChanged(**_about(order_id), changed_at=NOW, shipping_address=changed)


def held(order_id: UUID, hold_id: UUID, reason: str = "checking the address") -> orders.OrderHeld:
    return orders.OrderHeld(**_about(order_id), hold_id=hold_id, held_at=NOW, reason=reason)


def released(order_id: UUID, hold_id: UUID) -> orders.OrderReleased:
    return orders.OrderReleased(**_about(order_id), hold_id=hold_id, released_at=NOW)


def _about(order_id: UUID) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "order_number": "ORD-20261122-00001",
        "customer_id": uuid4(),
        "currency": "USD",
    }


def record(fact: Fact, event_id: UUID | None = None) -> Record:
    """The fact as a broker would deliver it."""
    envelope = Envelope(
        event_id or uuid4(), fact.type, fact.version, "orders", fact.key, datetime.now(UTC), "test", ""
    )
    headers = tuple((name, value.encode()) for name, value in envelope.headers().items())
    topic = topic_of(type(fact)).name
    return Record(topic, 0, next(_offsets), fact.key.encode(), fact.model_dump_json().encode(), headers)


def customer_of(issuer: str, sub: str) -> UUID:
    return customer_id_of(issuer, sub)


def a_consignment(**changes: Any) -> Consignment:
    consignment = Consignment(
        order_id=uuid4(),
        version=1,
        order_number="ORD-20261122-00001",
        customer_id=uuid4(),
        partner_id=None,
        currency="USD",
        address=ADDRESS.model_dump(),
        lines=(Line(1, 2, 300), Line(2, 1, 250)),
        placed_at=NOW,
    )
    return replace(consignment, **changes)


def a_shipment(
    status: ShipmentStatus = ShipmentStatus.PREPARED, label: LabelStage = LabelStage.NONE, **changes: Any
) -> Shipment:
    """As it would stand in that state: with a tracking number once it has one, with the time of its dispatch."""
    travelling = {ShipmentStatus.DISPATCHED, ShipmentStatus.DELIVERED, ShipmentStatus.RETURNED}
    has_label = label in {LabelStage.BOUGHT, LabelStage.REFUNDING, LabelStage.REFUNDED}
    given: dict[str, Any] = {}
    if status in travelling or (status is ShipmentStatus.FAILED and has_label):
        given |= {"dispatched_at": NOW}
    if has_label or status in travelling:
        given |= {"tracking_number": "9201", "carrier": "USPS"}
    if has_label:
        given |= {
            "transaction_id": "t1",
            "service": "Ground",
            "cost": 566,
            "currency": "USD",
            "rate_id": "r1",
        }
    if label is LabelStage.RATED:
        given |= {
            "rate_id": "r1",
            "rated_at": NOW,
            "carrier": "USPS",
            "service": "Ground",
            "cost": 566,
            "currency": "USD",
        }
    shipment = Shipment(
        id=uuid4(),
        version=1,
        order_id=uuid4(),
        customer_id=uuid4(),
        partner_id=None,
        status=status,
        lines=(LineQuantity(1, 2), LineQuantity(2, 1)),
        label=label,
        prepared_at=NOW,
    )
    return replace(shipment, **(given | changes))


class Faults(sandbox.Faults):
    """Loses the answers to as many calls as `lost` says, by endpoint: the effect has happened, the caller's connection is reset.

    `refused`: reset without the effect.
    """

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
    settings: Settings
    box: sandbox.Box
    faults: Faults
    http: Client
    url: str

    async def hear(self, *heard: Fact | Record) -> None:
        records = [fact if isinstance(fact, Record) else record(fact) for fact in heard]
        await Inbox(self.service.db, handlers).receive(records)

    async def wish(self, order_id: UUID, decide: Callable[[Shipment], Decision]) -> None:
        """What a mutation commits about the order's one shipment, without its wait."""

        async def command(tx: Tx) -> str:
            apply(tx, decide(tx.all(SHIPMENTS, order_id)[-1]))
            return str(order_id)

        loads = ((CONSIGNMENTS, [str(order_id)]), (SHIPMENTS, [str(order_id)]))
        await commands.execute(self.service.db, "shipping", command, *loads, correlation_id="test")

    @asynccontextmanager
    async def working(self, jobs: Jobs | None = None) -> AsyncIterator[None]:
        """A worker for as long as the block runs; it ends like a killed process, with its calls wherever they are."""
        worker = Worker(self.service.db, "shipping", jobs or self.service.jobs)
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            calls = list(worker._calls)
            for one in (*calls, task):
                one.cancel()
            await asyncio.gather(task, *calls, return_exceptions=True)

    async def leases_run_out(self) -> None:
        """As after a minute without the process that took them."""
        async with self.service.db.connection() as conn:
            await conn.execute(
                "UPDATE jobs SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
            )

    async def paid_order(self, **changes: Any) -> UUID:
        """Placed and paid: one shipment is prepared."""
        order_id: UUID = changes.pop("order_id", None) or uuid4()
        await self.hear(placed(order_id, **changes), paid(order_id))
        return order_id

    async def shipments(self, order_id: UUID) -> list[Shipment]:
        wanted = select(shipments).where(shipments.c.order_id == order_id).order_by(shipments.c.id)
        return [SHIPMENTS.entity_of(row._asdict()) for row in await self.service.db.fetch(wanted)]

    async def shipment(self, order_id: UUID) -> Shipment:
        [only] = await self.shipments(order_id)
        return only

    async def said(self, order_id: UUID) -> list[Fact]:
        async with self.service.db.connection() as conn:
            rows = await conn.fetch(
                "SELECT type, body FROM event_log WHERE key = $1 ORDER BY id", str(order_id)
            )
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

    def token(self, role: str = "staff", sub: str = "eve", scope: str | None = None) -> str:
        return self.box.issuer.token(TokenRequest.model_validate({"role": role, "sub": sub, "scope": scope}))

    async def graph(
        self,
        query: str,
        *,
        role: str | None = "staff",
        sub: str = "eve",
        scope: str | None = None,
        key: str | None = None,
        **variables: Any,
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.token(role, sub, scope)}"} if role else {}
        if key:
            headers["idempotency-key"] = key
        request = self.http.post(f"{self.url}/graphql").headers(headers)
        answer = await request.body_json({"query": query, "variables": variables}).build().send()
        assert answer.status == 200
        parsed: dict[str, Any] = await answer.json()
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

    async def split(self, shipment_id: UUID, lines: dict[int, int], **more: Any) -> dict[str, Any]:
        query = "mutation($id: ID!, $lines: [ShipmentLineInput!]!) { it: splitShipment(shipmentId: $id, lines: $lines) { %s } }"
        pieces = [{"line": line, "quantity": quantity} for line, quantity in lines.items()]
        return await self.graph(query % FIELDS, id=str(shipment_id), lines=pieces, **more)

    async def labelled_order(self, **changes: Any) -> UUID:
        order_id = await self.paid_order(**changes)
        answer = await self.buy((await self.shipment(order_id)).id)
        assert answer["data"]["it"]["status"] == "LABELLED"
        return order_id


FIELDS = """id status carrier service trackingNumber trackingUrl labelUrl cost currency lines { line quantity }
    checkpoints { time status message location } preparedAt labelledAt dispatchedAt failureReason staffCase"""
