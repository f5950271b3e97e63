"""Placing an order: what it costs is worked out, then it is written. Refusals are typed. Amounts in minor units, times in UTC."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from orders import deadlines
from orders.checkout.basket import Basket, Delivery, Offer, Terms, offer
from orders.checkout.discounts import DiscountCode, invalid
from orders.checkout.store import DISCOUNTS
from orders.decisions import about_order, noted
from orders.domain import Act, Channel, Decision, Order, PaymentStatus
from orders.handlers import settle
from orders.metadata import Metadata
from orders.status import OrderStatus
from orders.store import ORDERS
from orders.tables import customers
from shared.contracts import orders as facts
from shared.tx import Tx


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
    """An order to be: all that it takes is read and checked, nothing is written yet."""

    number: str
    channel: Channel
    customer: Customer
    basket: Basket
    terms: Terms
    shipping_address: dict[str, Any]
    billing_address: dict[str, Any]
    unpaid_expiry: timedelta
    code: DiscountCode | None = None
    customer_is_known: bool = False
    metadata: Metadata | None = None


async def place(placing: Placing, actor: str, tx: Tx) -> str:
    """The new order's id. Raises Refusal INVALID_DISCOUNT or BAD_INPUT (`basket.offer`)."""
    code = _still_good(placing.code, tx)
    offered = offer(placing.basket, placing.terms, code, tx.now)
    if code is not None and code.is_limited:
        tx.save(DISCOUNTS, code.used(tx.now))
    order = _placed(placing, offered, code, tx.new_id(), tx.now)
    tx.add(ORDERS, order)
    if not placing.customer_is_known:
        tx.upsert(customers, **placing.customer.said(), updated_at=tx.now)
    entry = noted(order, "placed", Act(tx.now, actor))
    settle(tx, Decision(order, (_order_placed(order, placing),), (entry,)))
    tx.request(deadlines.UNPAID, order.id, due_at=tx.now + placing.unpaid_expiry)
    return str(order.id)


def _still_good(code: DiscountCode | None, tx: Tx) -> DiscountCode | None:
    """A code with a limit as it is under its lock: another order may just have had the last use."""
    if code is None or not code.is_limited:
        return code
    locked = tx.find(DISCOUNTS, code.code)
    if locked is None:
        raise invalid("unknown", "There is no such discount code")
    return locked


def _placed(
    placing: Placing, offered: Offer, code: DiscountCode | None, order_id: UUID, now: datetime
) -> Order:
    return Order(
        id=order_id,
        version=1,
        order_number=placing.number,
        customer_id=placing.customer.id,
        partner_id=None,
        status=OrderStatus.PENDING,
        payment_status=PaymentStatus.PENDING,
        order_type=offered.order_type,
        currency=offered.currency,
        lines=offered.lines,
        shipments=(),
        refunds=(),
        shipping_address=placing.shipping_address,
        billing_address=placing.billing_address,
        **_amounts(offered),
        captured=0,
        refunded=0,
        payment_method=facts.STRIPE,
        created_at=now,
        updated_at=now,
        estimated_fulfillment_date=offered.estimated_fulfillment_date,
        delivery_deadline=offered.delivery_deadline,
        **_delivery(placing.basket.delivery),
        channel=placing.channel,
        discount_code=code.code if code is not None else None,
        discount_counted=code is not None and code.is_limited,
        metadata=placing.metadata,
    )


def _delivery(delivery: Delivery) -> dict[str, Any]:
    rate = delivery.rate
    if rate is None:
        how: dict[str, Any] = {"flat_rate_charged": delivery.charge, "used_flat_rate": True}
    else:
        how = {
            "shippo_rate_id": rate.rate_id,
            "shipping_service": rate.service,
            "shipping_carrier": rate.carrier,
        }
    return {"delivery_speed_selected": delivery.speed, **how}


def _amounts(offered: Offer) -> dict[str, Any]:
    price = offered.price
    return {
        "subtotal": price.subtotal,
        "shipping": price.shipping,
        "tax": price.tax,
        "discount": price.discount,
        "platform_fee": price.platform_fee,
        "stripe_fee": 0,
        "total": price.total,
    }


def _order_placed(order: Order, placing: Placing) -> facts.OrderPlaced:
    who = placing.customer
    return facts.OrderPlaced(
        **about_order(order),
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
        shipping_rate_id=order.shippo_rate_id,
        shipping_service=order.shipping_service,
    )
