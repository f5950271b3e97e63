"""Builders of orders: `an_order()` is placed and unpaid; the others have come further."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from orders.checkout.basket import Basket, Delivery, Terms
from orders.checkout.pricing import Fee
from orders.checkout.taxes import Destination, TaxTable
from orders.domain import Act, Line, Order, OrderType, PaymentStatus
from orders.status import OrderStatus
from shared.auth import Principal, Role, Scope
from shared.ids import customer_id_of

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ACT = Act(NOW, "test", "because")
CUSTOMER = customer_id_of("test", "ann")
ADDRESS = {
    "name": "Ann Lee",
    "street": "1 Market Street",
    "street2": None,
    "city": "San Francisco",
    "state": "CA",
    "zip_code": "94105",
    "country": "US",
    "phone": None,
}
SHOPPER = Principal(
    Role.SHOPPER, "test|ann", "test", "ann", CUSTOMER, name="Ann Lee", email="ann@example.com"
)
OTHER = Principal(Role.SHOPPER, "test|bob", "test", "bob", customer_id_of("test", "bob"), name="Bob")
STAFF = Principal(Role.STAFF, "test|eve", "test", "eve", scopes=frozenset(Scope))


_number = count(1)


def later(seconds: int) -> Act:
    return Act(NOW + timedelta(seconds=seconds), "test", "because")


def a_line(line: int = 1, quantity: int = 2, unit_price: int = 1250) -> Line:
    return Line(line, f"SKU-{line}", f"P-{line}", f"Thing {line}", quantity, unit_price, 100, 300)


def an_order(*lines: Line, **changes: Any) -> Order:
    lines = lines or (a_line(1), a_line(2, 1, 500))
    subtotal = sum(line.quantity * line.unit_price for line in lines)
    order = Order(
        id=changes.pop("id", None) or uuid4(),
        version=1,
        order_number=f"ORD-20261122-{next(_number):05d}",
        customer_id=CUSTOMER,
        partner_id=None,
        status=OrderStatus.PENDING,
        payment_status=PaymentStatus.PENDING,
        order_type=OrderType.REGULAR,
        currency="USD",
        lines=lines,
        shipments=(),
        refunds=(),
        shipping_address=ADDRESS,
        billing_address=ADDRESS,
        subtotal=subtotal,
        shipping=599,
        tax=0,
        discount=0,
        platform_fee=0,
        stripe_fee=0,
        total=subtotal + 599,
        captured=0,
        refunded=0,
        payment_method="stripe",
        used_flat_rate=True,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(order, **changes)


TERMS = Terms(TaxTable({"US-CA": Decimal("0.0725"), "US-NY": Decimal("0.08875")}), Fee())


def a_basket(lines: tuple[Line, ...], **changes: Any) -> Basket:
    flat = Delivery("standard", 599, 7)
    return replace(Basket(lines, "USD", flat, Destination.of(ADDRESS), None), **changes)


def all_lines(order: Order) -> dict[int, int]:
    return {line.line: line.live for line in order.lines}


def an_id() -> UUID:
    return uuid4()
