"""What shipping does about what orders says."""

from collections.abc import Sequence
from dataclasses import replace

from shared.contracts import orders
from shared.contracts.catalog import SkuListed
from shared.contracts.orders import (
    OrderAddressChanged,
    OrderCancelled,
    OrderHandedOver,
    OrderHeld,
    OrderItemsCancelled,
    OrderPaid,
    OrderPlaced,
    OrderReleased,
)
from shared.handlers import Handlers
from shared.tx import Tx
from shipping import changes
from shipping.domain import Consignment, Hold, Line, LineQuantity, cancel
from shipping.store import CONSIGNMENTS, SHIPMENTS, apply, apply_change
from shipping.tables import skus

handlers = Handlers("shipping")


@handlers.on(OrderPlaced, CONSIGNMENTS)
async def on_order_placed(fact: OrderPlaced, tx: Tx) -> None:
    if tx.find(CONSIGNMENTS, fact.order_id) is None:
        tx.add(CONSIGNMENTS, _consignment(fact))


@handlers.on(OrderPaid, CONSIGNMENTS, SHIPMENTS)
async def on_order_paid(fact: OrderPaid, tx: Tx) -> None:
    consignment = tx.get(CONSIGNMENTS, fact.order_id)
    if consignment.paid_at is None and consignment.cancelled_at is None:
        paid = replace(consignment, paid_at=fact.paid_at)
        apply_change(tx, changes.begin(paid, _quantities(fact.lines), tx.new_id(), tx.now))


@handlers.on(OrderCancelled, CONSIGNMENTS, SHIPMENTS)
async def on_order_cancelled(fact: OrderCancelled, tx: Tx) -> None:
    consignment = tx.get(CONSIGNMENTS, fact.order_id)
    if consignment.cancelled_at is None:
        tx.save(CONSIGNMENTS, replace(consignment, cancelled_at=fact.cancelled_at))
        for shipment in tx.all(SHIPMENTS, fact.order_id):
            apply(tx, cancel(shipment, tx.now))


@handlers.on(OrderItemsCancelled, CONSIGNMENTS, SHIPMENTS)
async def on_order_items_cancelled(fact: OrderItemsCancelled, tx: Tx) -> None:
    consignment, of_order = tx.get(CONSIGNMENTS, fact.order_id), tx.all(SHIPMENTS, fact.order_id)
    apply_change(tx, changes.withdraw(consignment, of_order, _quantities(fact.lines), tx.new_id, tx.now))


@handlers.on(OrderHandedOver, CONSIGNMENTS, SHIPMENTS)
async def on_order_handed_over(fact: OrderHandedOver, tx: Tx) -> None:
    consignment, of_order = tx.get(CONSIGNMENTS, fact.order_id), tx.all(SHIPMENTS, fact.order_id)
    apply_change(tx, changes.hand_over(consignment, of_order, _quantities(fact.lines), tx.now))


@handlers.on(OrderAddressChanged, CONSIGNMENTS, SHIPMENTS)
async def on_order_address_changed(fact: OrderAddressChanged, tx: Tx) -> None:
    consignment, of_order = tx.get(CONSIGNMENTS, fact.order_id), tx.all(SHIPMENTS, fact.order_id)
    address = fact.shipping_address.model_dump()
    apply_change(tx, changes.redirect(consignment, of_order, address, tx.new_id, tx.now))


@handlers.on(OrderHeld, CONSIGNMENTS)
async def on_order_held(fact: OrderHeld, tx: Tx) -> None:
    consignment = tx.get(CONSIGNMENTS, fact.order_id)
    tx.save(CONSIGNMENTS, changes.hold(consignment, Hold(fact.hold_id, fact.reason)))


@handlers.on(OrderReleased, CONSIGNMENTS)
async def on_order_released(fact: OrderReleased, tx: Tx) -> None:
    tx.save(CONSIGNMENTS, changes.release(tx.get(CONSIGNMENTS, fact.order_id), fact.hold_id))


@handlers.on(SkuListed)
async def on_sku_listed(fact: SkuListed, tx: Tx) -> None:
    tx.upsert(skus, id=fact.sku_id, weight_grams=fact.weight_grams, updated_at=tx.now)


def _quantities(lines: Sequence[orders.LineQuantity]) -> list[LineQuantity]:
    return [LineQuantity(line.line, line.quantity) for line in lines]


def _consignment(fact: OrderPlaced) -> Consignment:
    """A label needs a name and a phone number: the contact's, where the address has none."""
    address = fact.shipping_address.model_dump()
    address["name"] = fact.shipping_address.name or fact.contact.name
    address["phone"] = fact.shipping_address.phone or fact.contact.phone
    return Consignment(
        order_id=fact.order_id,
        version=1,
        order_number=fact.order_number,
        customer_id=fact.customer_id,
        partner_id=fact.partner_id,
        currency=fact.currency,
        address=address,
        lines=tuple(Line(line.line, line.quantity, line.weight_grams) for line in fact.lines),
        placed_at=fact.placed_at,
        shipping_rate_id=fact.shipping_rate_id,
        shipping_service=fact.shipping_service,
    )
