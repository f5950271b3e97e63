"""Builders of the facts that shipping hears, and of shipments in any state."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from shared.contracts import orders
from shared.contracts.envelope import Envelope, Fact
from shared.ids import customer_id_of
from shared.inbox import Record
from shipping.domain import Consignment, LabelStage, Line, LineQuantity, Shipment, ShipmentStatus

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ADDRESS = orders.Address(
    street="1 Main St", city="Chicago", state="IL", zip_code="60601", country="US"
)
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
    return orders.OrderPaid(
        **_about(order_id), paid_at=NOW, amount=4349, method="stripe", lines=lines
    )


def cancelled(order_id: UUID) -> orders.OrderCancelled:
    return orders.OrderCancelled(**_about(order_id), cancelled_at=NOW, reason="shopper")


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
    return Record("order-events", 0, next(_offsets), fact.key.encode(), fact.model_dump_json().encode(), headers)


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
        given |= {"transaction_id": "t1", "service": "Ground", "cost": 566, "currency": "USD", "rate_id": "r1"}
    if label is LabelStage.RATED:
        given |= {"rate_id": "r1", "rated_at": NOW, "carrier": "USPS", "service": "Ground", "cost": 566, "currency": "USD"}
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
