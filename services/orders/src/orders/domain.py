"""What an order is. Pure: no I/O, no clock, no random ids; amounts in minor units, times in UTC. `decisions` says how it decides.

An order is one row. Its lines carry quantities; what its shipments say sets them; folding the lines raises the triggers that
drive the status table. Payment is a second axis: captured and refunded amounts, never multiplied into the status.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from orders.metadata import Metadata
from orders.status import OrderStatus, next_statuses
from shared.contracts.envelope import Fact

NO_REASON = "cancelled"
"""Why an order was cancelled for which nobody gave a reason."""


class PaymentStatus(StrEnum):
    """COMPLETED: what our provider captured has become available to us. REFUNDED before COMPLETED before PAID."""

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


OUT = frozenset({Stage.DISPATCHED, Stage.DELIVERED, Stage.RETURNED})


class ItemStatus(StrEnum):
    """What the quantities of a line say; never stored beside them."""

    PENDING = "PENDING"
    PAID = "PAID"
    IN_FULFILMENT = "IN_FULFILMENT"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    RETURNED = "RETURNED"
    CANCELLED = "CANCELLED"


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

    @property
    def cancellable(self) -> int:
        """Pieces that are in no parcel yet."""
        return max(0, self.live - self.in_fulfilment - self.shipped)

    def worth(self, pieces: int) -> int:
        """What the first `pieces` cost: their price, less their discount, plus their tax. All of them cost the whole line."""
        return pieces * self.unit_price - self._share(self.discount, pieces) + self._share(self.tax, pieces)

    def _share(self, amount: int, pieces: int) -> int:
        """Of the first pieces, as `allocate` splits it; there may be ten thousand, so none is looked at by itself."""
        each, rest = divmod(amount, self.quantity)
        return pieces * each + min(pieces, rest)


@dataclass(frozen=True, slots=True)
class Label:
    """Where a shipment's label is, what Shippo knows it by, and which of the carrier's services it is for."""

    url: str | None = None
    shipment_id: str | None = None
    rate_id: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Shipment:
    """What orders knows of a shipment: enough to set the lines' quantities. `lines` maps line number to quantity.

    `by_hand`: staff gave it to a courier without shipping's knowledge. `label` until it went back.
    """

    id: UUID
    stage: Stage
    lines: dict[int, int]
    cost: int = 0
    by_hand: bool = False
    label: Label | None = None


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
class RefundedLine:
    """The part of a refund that is for `quantity` pieces of a line; `amount` in minor units."""

    line: int
    quantity: int
    amount: int


@dataclass(frozen=True, slots=True)
class Refund:
    """`lines` is empty for an amount that is for no item in particular. `asked_by` is the actor."""

    id: UUID
    amount: int
    reason: str
    status: RefundStatus
    requested_at: datetime
    lines: tuple[RefundedLine, ...] = ()
    asked_by: str = ""


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
    metadata: Metadata | None = None
    channel: Channel = Channel.STOREFRONT
    holds: tuple[Hold, ...] = ()
    discount_code: str | None = None
    discount_counted: bool = False
    """Whether it took one of the limited uses of its code."""
    earlier_trackings: tuple[str, ...] = ()
    """Numbers of parcels that left before the one that `tracking` is of, oldest first."""
    settled_at: datetime | None = None
    """When our provider had what it captured available; kept for when a refund is sent back."""
    refund_failed: bool = False
    """Whether staff may ask again for one that failed: set as the order is written, for lists."""

    @property
    def open_holds(self) -> tuple[Hold, ...]:
        return tuple(hold for hold in self.holds if hold.released_at is None)

    @property
    def frees_discount(self) -> bool:
        """Cancelled before it was paid: another may have the use of the code that it took."""
        return self.discount_counted and self.status is OrderStatus.CANCELLED and self.paid_at is None

    def followed_by(self, tracking: str | None) -> dict[str, Any]:
        """The columns of an order whose latest parcel has this number: an earlier one is not forgotten."""
        known = (*self.earlier_trackings, self.tracking)
        return {
            "tracking": tracking,
            "earlier_trackings": tuple(dict.fromkeys(each for each in known if each and each != tracking)),
        }

    @property
    def refundable(self) -> int:
        """Captured, and neither refunded nor promised to a refund under way."""
        return self.captured - sum(refund.amount for refund in self.live_refunds)

    @property
    def live_refunds(self) -> tuple[Refund, ...]:
        """Those that were paid out, or will be."""
        return tuple(refund for refund in self.refunds if refund.status is not RefundStatus.FAILED)

    def refunded_pieces(self, line: int) -> int:
        """Pieces of the line whose money went back, or is on its way."""
        return sum(part.quantity for part in self._refunded_parts(line))

    def refunded_for(self, line: int) -> int:
        """What those pieces' money comes to."""
        return sum(part.amount for part in self._refunded_parts(line))

    def _refunded_parts(self, line: int) -> Iterator[RefundedLine]:
        return (part for refund in self.live_refunds for part in refund.lines if part.line == line)

    def item_status(self, line: Line) -> ItemStatus:
        if line.live and line.returned >= line.live:
            return ItemStatus.RETURNED
        if line.delivered and line.delivered + line.returned >= line.live:
            return ItemStatus.DELIVERED
        if line.shipped and line.shipped >= line.live:
            return ItemStatus.SHIPPED
        if not line.live or self.status is OrderStatus.CANCELLED:
            return ItemStatus.CANCELLED
        if line.in_fulfilment or line.shipped:
            return ItemStatus.IN_FULFILMENT
        return ItemStatus.PENDING if self.status is OrderStatus.PENDING else ItemStatus.PAID

    def cancelled_pieces(self, line: Line) -> int:
        """A cancelled order keeps nothing but what had left before."""
        return line.quantity - line.shipped if self.status is OrderStatus.CANCELLED else line.cancelled

    @property
    def next_statuses(self) -> tuple[OrderStatus, ...]:
        """Where a command can still take it; what is partly out cannot be cancelled, what is held does not go out."""
        closed = {OrderStatus.SHIPPED} if self.open_holds else set()
        closed |= set() if self.is_cancellable else {OrderStatus.CANCELLED}
        return tuple(to for to in next_statuses(self.status) if to not in closed)

    @property
    def is_address_fixed(self) -> bool:
        """A label bears it."""
        return any(s.stage is Stage.LABELLED or s.stage in OUT for s in self.shipments)

    @property
    def is_partly_out(self) -> bool:
        return any(shipment.stage in OUT for shipment in self.shipments)

    @property
    def site_owner_amount(self) -> int:
        return self.subtotal + self.shipping + self.tax - self.discount

    @property
    def is_cancellable(self) -> bool:
        return self.status in {OrderStatus.PENDING, OrderStatus.PROCESSING} and not self.is_partly_out

    @property
    def is_refundable(self) -> bool:
        shipped = {OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED}
        return self.refundable > 0 and self.status in shipped

    @property
    def is_shippable(self) -> bool:
        return self.status is OrderStatus.PROCESSING and not self.open_holds


@dataclass(frozen=True, slots=True)
class Act:
    """Who did it, when, and why; the rest is for a refund.

    `amount` (default: all that is left), `items` for pieces of lines, `refund_id` where one act must never make two of them.
    """

    now: datetime
    actor: str
    reason: str = ""
    amount: int | None = None
    items: tuple[RefundedLine, ...] = ()
    refund_id: UUID | None = None


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
