"""How an order decides. Pure: no I/O, no clock, no random ids; amounts in minor units, times in UTC.

A trigger is looked up in the status table and its cell is carried out; what the lines and amounts newly say is raised in turn.
"""

from dataclasses import replace
from typing import Any
from uuid import uuid5

from orders.domain import NO_REASON, Act, Decision, Entry, Order, Refund, RefundStatus
from orders.status import (
    TABLE,
    Allow,
    Command,
    Compensate,
    Happened,
    Ignore,
    Move,
    OrderStatus,
    Refuse,
    Remedy,
    Trigger,
)
from shared.contracts import orders as facts
from shared.contracts.envelope import Fact


def decide(order: Order, trigger: Trigger, act: Act) -> Decision:
    """Look the trigger up in the status table and carry its cell out."""
    cell = TABLE[order.status][trigger]
    match cell:
        case Refuse(reason):
            return Decision(order, refused=reason)
        case Ignore() | Allow():
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
    """The order in its new status, with the timestamp, the facts and the timeline entry that belong to the move."""
    entry = Entry(act.now, act.actor, str(trigger), order.status, to, act.reason)
    moved = replace(order, status=to, updated_at=act.now)
    about = about_order(order)
    said: tuple[Fact, ...]
    match to:
        case OrderStatus.PROCESSING:
            moved = replace(moved, paid_at=act.now)
            wanted = tuple(facts.LineQuantity(line=n.line, quantity=n.live) for n in order.lines if n.live)
            method = order.payment_method
            said = (
                facts.OrderPaid(**about, paid_at=act.now, amount=order.captured, method=method, lines=wanted),
            )
        case OrderStatus.SHIPPED:
            moved = replace(moved, shipped_at=order.shipped_at or act.now)
            said = (_shipped(moved),)
        case OrderStatus.DELIVERED:
            moved = replace(moved, shipped_at=order.shipped_at or act.now, delivered_at=act.now)
            said = (facts.OrderDelivered(**about, delivered_at=act.now),)
        case OrderStatus.RETURNED:
            moved = replace(moved, shipped_at=order.shipped_at or act.now, returned_at=act.now)
            said = (facts.OrderReturned(**about, returned_at=act.now),)
        case OrderStatus.CANCELLED:
            reason = "expired" if trigger is Happened.EXPIRED else act.reason or NO_REASON
            moved = replace(moved, cancelled_at=act.now, cancel_reason=reason)
            said = (facts.OrderCancelled(**about, cancelled_at=act.now, reason=reason),)
        case _:
            said = ()
    return Decision(moved, said, (entry,)).then(_unheld(moved, act))


def _unheld(order: Order, act: Act) -> Decision:
    """A hold keeps a paid order from going out; in any other status there is nothing to keep it from."""
    if order.status is OrderStatus.PROCESSING or not order.open_holds:
        return Decision(order)
    closed = tuple(hold if hold.released_at else replace(hold, released_at=act.now) for hold in order.holds)
    said = tuple(
        facts.OrderReleased(**about_order(order), hold_id=hold.id, released_at=act.now)
        for hold in order.open_holds
    )
    return Decision(replace(order, holds=closed), said)


def _remedy(order: Order, remedy: Remedy, trigger: Trigger, act: Act) -> Decision:
    if remedy is Remedy.STAFF:
        note = noted(order, trigger, act, "a person has to look")
        return Decision(replace(order, updated_at=act.now), (), (note,))
    return request_refund(order, act, asked_by=act.actor if trigger is Command.REFUND else "")


def request_refund(order: Order, act: Act, asked_by: str = "") -> Decision:
    """Reserve a refund of `act.amount` (default: all that is left) and ask payments for it; nothing left is nothing to do."""
    amount = order.refundable if act.amount is None else act.amount
    if amount <= 0 or amount > order.refundable:
        return Decision(order)
    refund = Refund(
        act.refund_id or uuid5(order.id, f"refund {len(order.refunds) + 1}"),
        amount,
        act.reason or "refund",
        RefundStatus.REQUESTED,
        act.now,
        act.items,
        asked_by,
    )
    requested = facts.OrderRefundRequested(
        **about_order(order), refund_id=refund.id, requested_at=act.now, amount=amount, reason=refund.reason
    )
    entry = noted(order, "refund requested", act, refund.reason)
    return Decision(
        replace(order, refunds=(*order.refunds, refund), updated_at=act.now), (requested,), (entry,)
    )


def _shipped(order: Order) -> facts.OrderShipped:
    return facts.OrderShipped(
        **about_order(order),
        shipped_at=order.shipped_at,
        carrier=order.shipping_carrier or "",
        tracking_number=order.tracking or "",
        tracking_url=order.tracking_url,
    )


def noted(order: Order, what: str, act: Act, why: str = "") -> Entry:
    """A timeline entry of what leaves the order in its status; `why` stands for the act's own reason."""
    return Entry(act.now, act.actor, str(what), order.status, order.status, why or act.reason)


def about_order(order: Order) -> dict[str, Any]:
    """What every fact about the order carries."""
    return {
        "order_id": order.id,
        "order_number": order.order_number,
        "customer_id": order.customer_id,
        "partner_id": order.partner_id,
        "currency": order.currency,
    }
