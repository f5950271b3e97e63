"""Checkout's types of the storefront graph. Amounts are Floats with exact cents, times ISO 8601 UTC."""

from typing import Self

import strawberry

from orders.checkout.basket import Offer
from orders.checkout.discounts import DiscountCode, DiscountKind
from orders.domain import Line, OrderType
from shared.contracts.money import to_major
from shared.graphql import iso, maybe_iso

strawberry.enum(DiscountKind)


@strawberry.type(
    description="A line as it would be ordered; `discount` and `tax` are its share, for the whole line."
)
class PricedItem:
    sku: str
    product_id: str
    product_name: str
    quantity: int
    price: float
    subtotal: float
    discount: float
    tax: float
    pre_order: bool

    @classmethod
    def of(cls, line: Line, currency: str) -> Self:
        return cls(
            sku=line.sku_id,
            product_id=line.product_id,
            product_name=line.name,
            quantity=line.quantity,
            price=to_major(line.unit_price, currency),
            subtotal=to_major(line.quantity * line.unit_price, currency),
            discount=to_major(line.discount, currency),
            tax=to_major(line.tax, currency),
            pre_order=line.pre_order,
        )


@strawberry.type(description="What createOrder would charge now for the same input.")
class OrderPrice:
    items: list[PricedItem]
    currency: str
    subtotal: float
    shipping: float
    tax: float
    discount: float
    platform_fee: float
    total: float
    order_type: OrderType
    estimated_fulfillment_date: str | None
    delivery_deadline: str | None

    @classmethod
    def of(cls, offer: Offer) -> Self:
        price, currency = offer.price, offer.currency
        return cls(
            items=[PricedItem.of(line, currency) for line in offer.lines],
            currency=currency,
            subtotal=to_major(price.subtotal, currency),
            shipping=to_major(price.shipping, currency),
            tax=to_major(price.tax, currency),
            discount=to_major(price.discount, currency),
            platform_fee=to_major(price.platform_fee, currency),
            total=to_major(price.total, currency),
            order_type=offer.order_type,
            estimated_fulfillment_date=maybe_iso(offer.estimated_fulfillment_date),
            delivery_deadline=maybe_iso(offer.delivery_deadline),
        )


@strawberry.type(
    name="DiscountCode",
    description="`value` is in percent, or in `currency`. `uses` are counted only under a limit, `maxUses`.",
)
class DiscountCodeNode:
    code: str
    kind: DiscountKind
    value: float
    currency: str
    minimum_subtotal: float
    starts_at: str | None
    ends_at: str | None
    max_uses: int | None
    uses: int
    active: bool
    updated_at: str

    @classmethod
    def of(cls, code: DiscountCode) -> Self:
        in_percent = code.kind is DiscountKind.PERCENT
        return cls(
            code=code.code,
            kind=code.kind,
            value=code.value / 100 if in_percent else to_major(code.value, code.currency),
            currency=code.currency,
            minimum_subtotal=to_major(code.minimum, code.currency),
            starts_at=maybe_iso(code.starts_at),
            ends_at=maybe_iso(code.ends_at),
            max_uses=code.max_uses,
            uses=code.uses,
            active=code.active,
            updated_at=iso(code.updated_at),
        )
