"""The storefront graph's types, named and typed as seed A has them. Amounts are Floats with exact cents, times ISO 8601 UTC."""

from typing import Any, Self
from uuid import UUID

import strawberry

from orders import store
from orders.domain import Channel, ItemStatus, Line, Order, OrderType, PaymentStatus
from orders.life.nodes import OrderHold
from orders.metadata import Metadata
from orders.status import Command, OrderStatus
from shared.contracts.money import to_major
from shared.graphql import Info, iso, maybe_iso

strawberry.enum(OrderStatus, description="What stage of its life an order is in.")
strawberry.enum(
    PaymentStatus,
    description="How far the money has come. COMPLETED: our payment provider has it available for us, a few days after PAID. What"
    " staff or a partner took stays PAID: our provider holds nothing of it.",
)
strawberry.enum(OrderType)
strawberry.enum(Channel, description="Who placed it, and where.")


_FOR_STAFF = frozenset({Command.HOLD, Command.RELEASE})
"""Timeline entries whose reason staff keep to themselves."""


@strawberry.type(name="Address")
class AddressNode:
    street: str
    street2: str | None
    city: str
    state: str
    zip_code: str
    country: str
    name: str | None
    phone: str | None

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Self:
        values: dict[str, Any] = {name: raw.get(name) for name in cls.__annotations__}
        return cls(**values)


@strawberry.type(name="OrderItem")
class OrderItemNode:
    id: strawberry.ID
    product_id: str
    product_name: str
    product_sku: str | None
    quantity: int
    price: float
    subtotal: float
    status: ItemStatus
    cancelled_quantity: int
    shipped_quantity: int
    delivered_quantity: int
    returned_quantity: int
    discount: float
    tax: float
    refunded: float

    @classmethod
    def of(cls, order: Order, line: Line) -> Self:
        return cls(
            id=strawberry.ID(f"{order.id}:{line.line}"),
            product_id=line.product_id,
            product_name=line.name,
            product_sku=line.sku_id,
            quantity=line.quantity,
            price=to_major(line.unit_price, order.currency),
            subtotal=to_major(line.quantity * line.unit_price, order.currency),
            status=order.item_status(line),
            cancelled_quantity=order.cancelled_pieces(line),
            shipped_quantity=line.shipped,
            delivered_quantity=line.delivered,
            returned_quantity=line.returned,
            discount=to_major(line.discount, order.currency),
            tax=to_major(line.tax, order.currency),
            refunded=to_major(line.refunded, order.currency),
        )


@strawberry.type(name="User")
class UserNode:
    id: strawberry.ID
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None

    @classmethod
    def of(cls, row: Any) -> Self:
        first, _, last = row.name.partition(" ")
        return cls(
            id=strawberry.ID(str(row.id)),
            first_name=first or None,
            last_name=last or None,
            email=row.email,
            phone=row.phone,
        )


@strawberry.type(name="Sku", description="What the catalogue sells, at its present price.")
class SkuNode:
    id: strawberry.ID
    product_id: str
    name: str
    price: float
    shipping_price: float = strawberry.field(
        description="Kept for orders of partners; a shopper's order pays its delivery speed or its quote."
    )
    currency: str
    weight_grams: int
    available: bool
    available_from: str | None = strawberry.field(
        description="In the future: until then it is sold as a pre-order."
    )

    @classmethod
    def of(cls, sku_id: str, sku: Any) -> Self:
        """`sku`: its row, or the fact that lists it."""
        return cls(
            id=strawberry.ID(sku_id),
            product_id=sku.product_id,
            name=sku.name,
            price=to_major(sku.price, sku.currency),
            shipping_price=to_major(sku.shipping_price, sku.currency),
            currency=sku.currency,
            weight_grams=sku.weight_grams,
            available=sku.available,
            available_from=maybe_iso(sku.available_from),
        )


@strawberry.type(description="Who did what to the order, when and why.")
class TimelineEntry:
    at: str
    actor: str
    what: str
    from_status: OrderStatus
    to_status: OrderStatus
    why: str

    @classmethod
    def of(cls, row: Any, *, for_staff: bool) -> Self:
        """A shopper learns the role that acted, not the person, and not why an order is held."""
        return cls(
            at=iso(row.at),
            actor=row.actor if for_staff else row.actor.partition(":")[0],
            what=row.what,
            from_status=OrderStatus(row.from_status),
            to_status=OrderStatus(row.to_status),
            why="" if row.what in _FOR_STAFF and not for_staff else row.why,
        )


@strawberry.federation.type(name="Order", keys=["id"])
class OrderNode:
    id: strawberry.ID
    order_number: str
    customer_id: str
    status: OrderStatus
    payment_status: PaymentStatus = strawberry.field(
        description="REFUNDED as soon as any of the money went back: the amounts tell how much."
    )
    items: list[OrderItemNode]
    shipping_address: AddressNode
    billing_address: AddressNode
    currency: str
    subtotal: float
    shipping: float
    tax: float
    discount: float
    platform_fee: float
    stripe_fee: float
    total: float = strawberry.field(
        description="Of what was ordered, with the tax of where it goes. What is left without the cancelled items is"
        " explainOrder's `worth`."
    )
    payment_method: str
    payment_intent_id: str | None
    tracking: str | None
    tracking_url: str | None
    shipping_carrier: str | None
    shipping_service: str | None
    shippo_label_url: str | None
    shippo_shipment_id: str | None = strawberry.field(
        description="For staff: Shippo's object that the label was rated by."
    )
    shippo_rate_id: str | None = strawberry.field(
        description="For staff: Shippo's rate that the label was bought at; before there is one, that which the shopper was quoted."
    )
    order_type: OrderType
    pre_order_items: list[OrderItemNode] | None
    estimated_fulfillment_date: str | None
    flat_rate_charged: float | None
    actual_shipping_cost: float | None
    used_flat_rate: bool
    delivery_speed_selected: str | None
    delivery_deadline: str | None
    shipped_at: str | None
    delivered_at: str | None
    cancelled_at: str | None
    notes: str | None
    created_at: str
    updated_at: str
    item_count: int
    is_shippable: bool = strawberry.field(
        description="It is paid, not all of it is out, and nothing holds it."
    )
    is_cancellable: bool
    is_refundable: bool = strawberry.field(
        description="It went out, and money is left to give back. What else can go back (of a refund that failed): explainOrder."
    )
    is_pre_order: bool
    shipping_margin: float | None
    site_owner_amount: float
    next_statuses: list[OrderStatus]
    holds: list[OrderHold]
    channel: Channel
    discount_code: str | None
    metadata: Metadata | None = strawberry.field(
        description="What the shop's own systems keep with the order; whoever may see the order sees it."
    )
    guest_token: str | None = strawberry.field(
        default=None,
        description="For who placed it without an account, in createOrder's answer alone: the bearer token of this one order.",
    )

    @strawberry.field
    async def customer(self, info: Info) -> UserNode | None:
        context = info.context

        async def load(ids: list[Any]) -> list[UserNode | None]:
            rows = await store.customers_by_id(context.service.db, ids)
            return [UserNode.of(rows[key]) if key in rows else None for key in ids]

        found: UserNode | None = await context.loader("customers", load).load(_uuid(self.customer_id))
        return found

    @strawberry.field(description="Oldest first; of more than 200 entries, the newest 200.")
    async def timeline(self, info: Info) -> list[TimelineEntry]:
        context = info.context
        for_staff = context.principal.is_staff

        async def load(ids: list[Any]) -> list[list[TimelineEntry]]:
            rows = await store.timelines(context.service.db, ids)
            return [[TimelineEntry.of(row, for_staff=for_staff) for row in rows[key]] for key in ids]

        entries: list[TimelineEntry] = await context.loader("timelines", load).load(_uuid(self.id))
        return entries

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:  # noqa: A002 - the key's name
        order = await load_order(info, str(id))
        return cls.of(order, for_staff=info.context.principal.is_staff) if order else None

    @classmethod
    def of(cls, order: Order, *, for_staff: bool) -> Self:
        """What only staff may know (fees, label, margin, notes) is empty for others."""
        return cls(
            **_identity(order),
            **_money(order, for_staff=for_staff),
            **_shipping(order, for_staff=for_staff),
            holds=[OrderHold.of(hold, for_staff=for_staff) for hold in order.holds],
        )


def _identity(order: Order) -> dict[str, Any]:
    items = [OrderItemNode.of(order, line) for line in order.lines]
    pre_ordered = [item for item, line in zip(items, order.lines, strict=True) if line.pre_order]
    return {
        "id": strawberry.ID(str(order.id)),
        "order_number": order.order_number,
        "customer_id": str(order.customer_id),
        "status": order.status,
        "payment_status": order.payment_status,
        "items": items,
        "pre_order_items": pre_ordered or None,
        "item_count": sum(line.quantity for line in order.lines),
        "order_type": order.order_type,
        "is_pre_order": order.order_type is OrderType.PRE_ORDER,
        "is_shippable": order.is_shippable,
        "is_cancellable": order.is_cancellable,
        "is_refundable": order.is_refundable,
        "next_statuses": list(order.next_statuses),
        "channel": order.channel,
        "discount_code": order.discount_code,
        "metadata": order.metadata,
        "payment_method": order.payment_method,
        "payment_intent_id": order.payment_intent_id,
        "created_at": iso(order.created_at),
        "updated_at": iso(order.updated_at),
        "cancelled_at": maybe_iso(order.cancelled_at),
    }


def _money(order: Order, *, for_staff: bool) -> dict[str, Any]:
    currency = order.currency
    margin = None
    if for_staff and order.flat_rate_charged is not None and order.actual_shipping_cost is not None:
        margin = to_major(order.flat_rate_charged - order.actual_shipping_cost, currency)
    return {
        "currency": currency,
        "subtotal": to_major(order.subtotal, currency),
        "shipping": to_major(order.shipping, currency),
        "tax": to_major(order.tax, currency),
        "discount": to_major(order.discount, currency),
        "platform_fee": to_major(order.platform_fee, currency),
        "stripe_fee": to_major(order.stripe_fee if for_staff else 0, currency),
        "total": to_major(order.total, currency),
        "flat_rate_charged": _maybe_major(order.flat_rate_charged, currency),
        "actual_shipping_cost": _maybe_major(order.actual_shipping_cost, currency) if for_staff else None,
        "shipping_margin": margin,
        "site_owner_amount": to_major(order.site_owner_amount, currency),
    }


def _shipping(order: Order, *, for_staff: bool) -> dict[str, Any]:
    return {
        "shipping_address": AddressNode.of(order.shipping_address),
        "billing_address": AddressNode.of(order.billing_address),
        "tracking": order.tracking,
        "tracking_url": order.tracking_url,
        "shipping_carrier": order.shipping_carrier,
        "shipping_service": order.shipping_service,
        "shippo_label_url": order.shippo_label_url if for_staff else None,
        "shippo_shipment_id": order.shippo_shipment_id if for_staff else None,
        "shippo_rate_id": order.shippo_rate_id if for_staff else None,
        "estimated_fulfillment_date": maybe_iso(order.estimated_fulfillment_date),
        "used_flat_rate": order.used_flat_rate,
        "delivery_speed_selected": order.delivery_speed_selected,
        "delivery_deadline": maybe_iso(order.delivery_deadline),
        "shipped_at": maybe_iso(order.shipped_at),
        "delivered_at": maybe_iso(order.delivered_at),
        "notes": order.notes if for_staff else None,
    }


async def load_order(info: Info, order_id: str) -> Order | None:
    """The order, if the caller may see it; many of one request are one query."""
    context = info.context

    async def load(ids: list[Any]) -> list[Order | None]:
        found = await store.orders_by_id(context.service.db, context.principal, ids)
        return [found.get(key) for key in ids]

    key = _uuid(order_id)
    if key is None:
        return None
    order: Order | None = await context.loader("orders", load).load(key)
    return order


def _uuid(value: str) -> UUID | None:
    """An id that is no UUID names nothing of ours: the same as an unknown one."""
    try:
        return UUID(value)
    except ValueError:
        return None


def _maybe_major(minor: int | None, currency: str) -> float | None:
    return None if minor is None else to_major(minor, currency)
