"""What an order is. Pure: no I/O, no clock, no random ids; amounts in minor units, times in UTC. `decisions` says how it decides.

An order is one row. Its lines carry quantities; what its shipments say sets them; folding the lines raises the triggers that
drive the status table. Payment is a second axis: captured and refunded amounts, never multiplied into the status.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from orders.status import OrderStatus
from shared.contracts.envelope import Fact


class PaymentStatus(StrEnum):
    PENDING = "PENDING"
    PAID = "PAID"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"


class OrderType(StrEnum):
    REGULAR = "REGULAR"
    PRE_ORDER = "PRE_ORDER"
    MIXED = "MIXED"


class Channel(StrEnum):
    """Who placed it, and where."""

    STOREFRONT = "STOREFRONT"
    GUEST = "GUEST"
    STAFF = "STAFF"
    PARTNER = "PARTNER"


class Stage(StrEnum):
    """How far a shipment has come, in this order; VOIDED and FAILED ones count for nothing."""

    PREPARED = "PREPARED"
    LABELLED = "LABELLED"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    RETURNED = "RETURNED"
    VOIDED = "VOIDED"
    FAILED = "FAILED"


_OUT = frozenset({Stage.DISPATCHED, Stage.DELIVERED, Stage.RETURNED})


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` was ordered; the rest say how many of them are where. Amounts are for the whole line."""

    line: int
    sku_id: str
    product_id: str
    name: str
    quantity: int
    unit_price: int
    shipping_price: int
    weight_grams: int
    discount: int = 0
    tax: int = 0
    cancelled: int = 0
    in_fulfilment: int = 0
    shipped: int = 0
    delivered: int = 0
    returned: int = 0
    refunded: int = 0
    shipping_refunded: int = 0
    pre_order: bool = False

    @property
    def live(self) -> int:
        return self.quantity - self.cancelled


@dataclass(frozen=True, slots=True)
class Shipment:
    """What orders knows of a shipment: enough to set the lines' quantities. `lines` maps line number to quantity."""

    id: UUID
    stage: Stage
    lines: dict[int, int]
    cost: int = 0


class WayOut(StrEnum):
    """How a hold ends at its deadline: by itself, with the order cancelled, or not before staff say so."""

    RELEASE = "RELEASE"
    CANCEL = "CANCEL"
    STAFF = "STAFF"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a paid order must not go out yet. `deadline` is when `way_out` is taken; open until `released_at`."""

    id: UUID
    reason: str
    held_at: datetime
    held_by: str
    way_out: WayOut
    deadline: datetime | None = None
    released_at: datetime | None = None


class RefundStatus(StrEnum):
    REQUESTED = "REQUESTED"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Refund:
    id: UUID
    amount: int
    reason: str
    status: RefundStatus
    requested_at: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """One order: its columns, as they stand in the row."""

    id: UUID
    version: int
    order_number: str
    customer_id: UUID
    partner_id: str | None
    status: OrderStatus
    payment_status: PaymentStatus
    order_type: OrderType
    currency: str
    lines: tuple[Line, ...]
    shipments: tuple[Shipment, ...]
    refunds: tuple[Refund, ...]
    shipping_address: dict[str, Any]
    billing_address: dict[str, Any]
    subtotal: int
    shipping: int
    tax: int
    discount: int
    platform_fee: int
    stripe_fee: int
    total: int
    captured: int
    refunded: int
    payment_method: str
    created_at: datetime
    updated_at: datetime
    payment_intent_id: str | None = None
    payment_processing: bool = False
    tracking: str | None = None
    tracking_url: str | None = None
    shipping_carrier: str | None = None
    shipping_service: str | None = None
    shippo_shipment_id: str | None = None
    shippo_rate_id: str | None = None
    shippo_label_url: str | None = None
    estimated_fulfillment_date: datetime | None = None
    flat_rate_charged: int | None = None
    actual_shipping_cost: int | None = None
    used_flat_rate: bool = False
    delivery_speed_selected: str | None = None
    delivery_deadline: datetime | None = None
    paid_at: datetime | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    returned_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    notes: str | None = None
    metadata: dict[str, Any] | None = None
    channel: Channel = Channel.STOREFRONT
    holds: tuple[Hold, ...] = ()
    discount_code: str | None = None

    @property
    def open_holds(self) -> tuple[Hold, ...]:
        return tuple(hold for hold in self.holds if hold.released_at is None)

    @property
    def refundable(self) -> int:
        """Captured, and neither refunded nor promised to a refund under way."""
        return self.captured - sum(r.amount for r in self.refunds if r.status is not RefundStatus.FAILED)

    @property
    def site_owner_amount(self) -> int:
        return self.subtotal + self.shipping + self.tax - self.discount

    @property
    def is_cancellable(self) -> bool:
        unshipped = not any(shipment.stage in _OUT for shipment in self.shipments)
        return self.status in {OrderStatus.PENDING, OrderStatus.PROCESSING} and unshipped

    @property
    def is_refundable(self) -> bool:
        shipped = {OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED}
        return self.refundable > 0 and self.status in shipped

    @property
    def is_shippable(self) -> bool:
        return self.status is OrderStatus.PROCESSING


@dataclass(frozen=True, slots=True)
class Act:
    """Who did it, when, and why; `amount` is for a refund (default: all that is left)."""

    now: datetime
    actor: str
    reason: str = ""
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the order's timeline."""

    at: datetime
    actor: str
    what: str
    from_status: OrderStatus
    to_status: OrderStatus
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows: the order as it is now, what is said about it, what its timeline gains; or why nothing does."""

    order: Order
    facts: tuple[Fact, ...] = ()
    entries: tuple[Entry, ...] = ()
    refused: str | None = None

    def then(self, other: "Decision") -> "Decision":
        return Decision(other.order, self.facts + other.facts, self.entries + other.entries, other.refused)
