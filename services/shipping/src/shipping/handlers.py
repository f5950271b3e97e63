"""What shipping does about what orders says."""

from dataclasses import replace

from shared.contracts.orders import OrderCancelled, OrderPaid, OrderPlaced
from shared.handlers import Handlers
from shared.tx import Tx
from shipping.domain import Consignment, Line, LineQuantity, cancel, prepare
from shipping.store import CONSIGNMENTS, SHIPMENTS, apply

handlers = Handlers("shipping")


@handlers.on(OrderPlaced, CONSIGNMENTS)
async def on_order_placed(fact: OrderPlaced, tx: Tx) -> None:
    if tx.find(CONSIGNMENTS, fact.order_id) is None:
        tx.add(CONSIGNMENTS, _consignment(fact))


@handlers.on(OrderPaid, CONSIGNMENTS, SHIPMENTS)
async def on_order_paid(fact: OrderPaid, tx: Tx) -> None:
    consignment = tx.get(CONSIGNMENTS, fact.order_id)
    if consignment.paid_at is None and consignment.cancelled_at is None:
        tx.save(CONSIGNMENTS, replace(consignment, paid_at=fact.paid_at))
        lines = [LineQuantity(line.line, line.quantity) for line in fact.lines]
        apply(tx, prepare(consignment, lines, tx.new_id(), tx.now))


@handlers.on(OrderCancelled, CONSIGNMENTS, SHIPMENTS)
async def on_order_cancelled(fact: OrderCancelled, tx: Tx) -> None:
    consignment = tx.get(CONSIGNMENTS, fact.order_id)
    if consignment.cancelled_at is None:
        tx.save(CONSIGNMENTS, replace(consignment, cancelled_at=fact.cancelled_at))
        for shipment in tx.all(SHIPMENTS, fact.order_id):
            apply(tx, cancel(shipment, tx.now))


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
    )
