"""Placing an order: priced from the catalogue, then written. Refusals are typed. Amounts in minor units, times in UTC."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from orders import deadlines
from orders.domain import Line, Order, OrderType, PaymentStatus
from orders.status import OrderStatus
from orders.store import ORDERS
from orders.tables import customers, timeline
from shared.contracts import orders as facts
from shared.errors import Code, Refusal
from shared.tx import Tx

MAX_LINES = 100
MAX_QUANTITY = 10_000
MAX_TOTAL = 10**11
"""In minor units; amounts in facts end at ten times that."""


@dataclass(frozen=True, slots=True)
class Customer:
    id: UUID
    issuer: str | None
    subject: str | None
    name: str
    email: str | None
    phone: str | None

    def said(self) -> dict[str, Any]:
        """What this order says of it: what it does not say (a phone) is not forgotten."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def is_known(self, sku: Any) -> bool:
        """Whether all of that is stored already (`store.skus_for`): then there is nothing to write, and no row to lock."""
        return all(getattr(sku, f"customer_{name}") == value for name, value in self.said().items())


@dataclass(frozen=True, slots=True)
class Placing:
    """An order to be: everything is priced and checked, nothing is written yet."""

    number: str
    customer: Customer
    lines: tuple[Line, ...]
    currency: str
    shipping: int
    delivery_speed: str
    shipping_address: dict[str, Any]
    billing_address: dict[str, Any]
    unpaid_expiry: timedelta
    customer_is_known: bool = False


def priced(wanted: Sequence[tuple[str, int]], skus: dict[str, Any], currency: str) -> tuple[Line, ...]:
    """The lines at the catalogue's prices. Raises Refusal: SKU_NOT_FOUND, SKU_UNAVAILABLE, BAD_INPUT."""
    if not 1 <= len(wanted) <= MAX_LINES:
        raise Refusal(Code.BAD_INPUT, f"An order has 1 to {MAX_LINES} items")
    if len({sku for sku, _ in wanted}) != len(wanted):
        raise Refusal(Code.BAD_INPUT, "A SKU is listed twice: add its quantities up")
    lines = []
    for number, (sku_id, quantity) in enumerate(wanted, 1):
        sku = skus.get(sku_id)
        if sku is None:
            raise Refusal(Code.SKU_NOT_FOUND, f"There is no SKU {sku_id}", sku=sku_id)
        if not sku.available:
            raise Refusal(Code.SKU_UNAVAILABLE, f"{sku.name} is not for sale now", sku=sku_id)
        if sku.currency != currency:
            raise Refusal(
                Code.BAD_INPUT, f"{sku.name} is sold in {sku.currency}, this order is in {currency}"
            )
        if not 1 <= quantity <= MAX_QUANTITY:
            raise Refusal(Code.BAD_INPUT, f"A quantity is 1 to {MAX_QUANTITY}", sku=sku_id)
        lines.append(
            Line(
                number,
                sku_id,
                sku.product_id,
                sku.name,
                quantity,
                sku.price,
                sku.shipping_price,
                sku.weight_grams,
            )
        )
    if sum(line.quantity * line.unit_price for line in lines) > MAX_TOTAL:
        raise Refusal(Code.BAD_INPUT, "The order is worth more than one order can be")
    return tuple(lines)


async def place(placing: Placing, actor: str, tx: Tx) -> str:
    """The new order's id."""
    order = _placed(placing, tx.new_id(), tx.now)
    tx.add(ORDERS, order)
    if not placing.customer_is_known:
        tx.upsert(customers, **placing.customer.said(), updated_at=tx.now)
    tx.insert(
        timeline,
        id=tx.new_id(),
        order_id=order.id,
        at=tx.now,
        actor=actor,
        what="placed",
        from_status=order.status,
        to_status=order.status,
        why="",
    )
    tx.emit(_order_placed(order, placing))
    tx.request(deadlines.UNPAID, order.id, due_at=tx.now + placing.unpaid_expiry)
    return str(order.id)


def _placed(placing: Placing, order_id: UUID, now: datetime) -> Order:
    subtotal = sum(line.quantity * line.unit_price for line in placing.lines)
    order = Order(
        id=order_id,
        version=1,
        order_number=placing.number,
        customer_id=placing.customer.id,
        partner_id=None,
        status=OrderStatus.PENDING,
        payment_status=PaymentStatus.PENDING,
        order_type=OrderType.REGULAR,
        currency=placing.currency,
        lines=placing.lines,
        shipments=(),
        refunds=(),
        shipping_address=placing.shipping_address,
        billing_address=placing.billing_address,
        subtotal=subtotal,
        shipping=placing.shipping,
        tax=0,
        discount=0,
        platform_fee=0,
        stripe_fee=0,
        total=0,
        captured=0,
        refunded=0,
        payment_method="stripe",
        created_at=now,
        updated_at=now,
        flat_rate_charged=placing.shipping,
        used_flat_rate=True,
        delivery_speed_selected=placing.delivery_speed,
    )
    return replace(order, total=order.site_owner_amount + order.platform_fee)


def _order_placed(order: Order, placing: Placing) -> facts.OrderPlaced:
    who = placing.customer
    return facts.OrderPlaced(
        order_id=order.id,
        order_number=order.order_number,
        customer_id=order.customer_id,
        partner_id=order.partner_id,
        currency=order.currency,
        placed_at=order.created_at,
        lines=tuple(
            facts.Line(
                line=line.line,
                sku_id=line.sku_id,
                product_id=line.product_id,
                name=line.name,
                quantity=line.quantity,
                unit_price=line.unit_price,
                weight_grams=line.weight_grams,
            )
            for line in order.lines
        ),
        total=order.total,
        payment_method=order.payment_method,
        contact=facts.Contact(name=who.name, email=who.email, phone=who.phone),
        shipping_address=facts.Address(**order.shipping_address),
    )
