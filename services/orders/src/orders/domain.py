"""What an order is and how it decides. Pure: no I/O, no clock, no random ids; amounts in minor units, times in UTC.

An order is one row. Its lines carry quantities; what its shipments say sets them; folding the lines raises the triggers that
drive the status table. Payment is a second axis: captured and refunded amounts, never multiplied into the status.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from orders.status import TABLE, Compensate, Happened, Ignore, Move, OrderStatus, Refuse, Remedy, Trigger
from shared.contracts import orders as facts
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


def decide(order: Order, trigger: Trigger, act: Act) -> Decision:
    """Look the trigger up in the status table and carry its cell out."""
    cell = TABLE[order.status][trigger]
    match cell:
        case Refuse(reason):
            return Decision(order, refused=reason)
        case Ignore():
            return Decision(order)
        case Compensate(remedy):
            return _remedy(order, remedy, trigger, act)
        case Move(to, remedy):
            moved = _moved(order, to, trigger, act)
            return moved.then(_remedy(moved.order, remedy, trigger, act)) if remedy else moved


def derive(before: Order, decision: Decision, act: Act) -> Decision:
    """Raise what the lines and amounts newly say (in a new status: all they say), until nothing moves any more."""
    raised = {(before.status, trigger) for trigger in _folded(before)}
    while True:
        order = decision.order
        new = [trigger for trigger in _folded(order) if (order.status, trigger) not in raised]
        if not new:
            return decision
        raised.add((order.status, new[0]))
        decision = decision.then(decide(order, new[0], act))


def _folded(order: Order) -> list[Happened]:
    live = [line for line in order.lines if line.live]
    raised = {
        Happened.ALL_CANCELLED: not live,
        Happened.ALL_RETURNED: live and all(line.returned >= line.live for line in live),
        # What came back is not on its way any more: the order has arrived when the rest of it has.
        Happened.ALL_DELIVERED: any(line.delivered for line in live)
        and all(line.delivered + line.returned >= line.live for line in live),
        Happened.ALL_SHIPPED: live and all(line.shipped >= line.live for line in live),
        Happened.FULLY_REFUNDED: 0 < order.captured <= order.refunded,
    }
    return [trigger for trigger, is_so in raised.items() if is_so]


def _moved(order: Order, to: OrderStatus, trigger: Trigger, act: Act) -> Decision:
    """The order in its new status, with the timestamp, the fact and the timeline entry that belong to the move."""
    entry = Entry(act.now, act.actor, str(trigger), order.status, to, act.reason)
    moved = replace(order, status=to, updated_at=act.now)
    about = _about(order)
    match to:
        case OrderStatus.PROCESSING:
            moved = replace(moved, paid_at=act.now)
            wanted = tuple(facts.LineQuantity(line=n.line, quantity=n.live) for n in order.lines if n.live)
            paid = facts.OrderPaid(
                **about, paid_at=act.now, amount=order.captured, method=order.payment_method, lines=wanted
            )
            return Decision(moved, (paid,), (entry,))
        case OrderStatus.SHIPPED:
            moved = replace(moved, shipped_at=order.shipped_at or act.now)
            return Decision(moved, (_shipped(moved),), (entry,))
        case OrderStatus.DELIVERED:
            moved = replace(moved, shipped_at=order.shipped_at or act.now, delivered_at=act.now)
            return Decision(moved, (facts.OrderDelivered(**about, delivered_at=act.now),), (entry,))
        case OrderStatus.RETURNED:
            moved = replace(moved, shipped_at=order.shipped_at or act.now, returned_at=act.now)
            return Decision(moved, (facts.OrderReturned(**about, returned_at=act.now),), (entry,))
        case OrderStatus.CANCELLED:
            reason = "expired" if trigger is Happened.EXPIRED else act.reason or "cancelled"
            moved = replace(moved, cancelled_at=act.now, cancel_reason=reason)
            cancelled = facts.OrderCancelled(**about, cancelled_at=act.now, reason=reason)
            return Decision(moved, (cancelled,), (entry,))
        case _:
            return Decision(moved, (), (entry,))


def _remedy(order: Order, remedy: Remedy, trigger: Trigger, act: Act) -> Decision:
    if remedy is Remedy.STAFF:
        note = Entry(act.now, act.actor, str(trigger), order.status, order.status, "a person has to look")
        return Decision(replace(order, updated_at=act.now), (), (note,))
    return request_refund(order, act)


def request_refund(order: Order, act: Act) -> Decision:
    """Reserve a refund of `act.amount` (default: all that is left) and ask payments for it; nothing left is nothing to do."""
    amount = order.refundable if act.amount is None else act.amount
    if amount <= 0 or amount > order.refundable:
        return Decision(order)
    refund = Refund(
        uuid5(order.id, f"refund {len(order.refunds) + 1}"),
        amount,
        act.reason or "refund",
        RefundStatus.REQUESTED,
        act.now,
    )
    requested = facts.OrderRefundRequested(
        **_about(order), refund_id=refund.id, requested_at=act.now, amount=amount, reason=refund.reason
    )
    entry = Entry(act.now, act.actor, "refund requested", order.status, order.status, refund.reason)
    return Decision(
        replace(order, refunds=(*order.refunds, refund), updated_at=act.now), (requested,), (entry,)
    )


def _shipped(order: Order) -> facts.OrderShipped:
    return facts.OrderShipped(
        **_about(order),
        shipped_at=order.shipped_at,
        carrier=order.shipping_carrier or "",
        tracking_number=order.tracking or "",
        tracking_url=order.tracking_url,
    )


def _about(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.id,
        "order_number": order.order_number,
        "customer_id": order.customer_id,
        "partner_id": order.partner_id,
        "currency": order.currency,
    }
