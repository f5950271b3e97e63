"""Holds: why a paid order must not go out yet, and how that ends. Pure; times in UTC."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid5

from orders.decisions import about_order, decide, noted
from orders.domain import Act, Decision, Hold, Order, OrderType, WayOut
from orders.status import Command, OrderStatus
from shared.contracts import orders as facts
from shared.errors import Code, Refusal

UNDERPAID = "less was paid than it costs"
PRE_ORDERED = "its items are not available yet"
NO_PARCEL = "no parcel could be made ready"


def hold(order: Order, act: Act, way_out: WayOut, deadline: datetime | None = None) -> Decision:
    """Held for `act.reason`; refused where the table refuses."""
    decision = decide(order, Command.HOLD, act)
    if decision.refused is not None:
        return decision
    hold_id = uuid5(order.id, f"hold {len(order.holds) + 1}")
    new = Hold(hold_id, act.reason, act.now, act.actor, way_out, deadline)
    said = facts.OrderHeld(
        **about_order(order), hold_id=hold_id, held_at=act.now, reason=act.reason, deadline=deadline
    )
    held = replace(order, holds=(*order.holds, new), updated_at=act.now)
    return Decision(held, (said,), (noted(order, Command.HOLD, act),))


def release(order: Order, hold_id: UUID, act: Act) -> Decision:
    """The hold is over; one that was over before stays as it was."""
    decision = decide(order, Command.RELEASE, act)
    open_hold = next((hold for hold in order.open_holds if hold.id == hold_id), None)
    if open_hold is None or decision.refused is not None:
        return decision
    over = tuple(replace(hold, released_at=act.now) if hold is open_hold else hold for hold in order.holds)
    said = facts.OrderReleased(**about_order(order), hold_id=hold_id, released_at=act.now)
    released = replace(order, holds=over, updated_at=act.now)
    return Decision(released, (said,), (noted(order, Command.RELEASE, act),))


def deadline_passed(order: Order, hold_id: UUID, act: Act) -> Decision:
    """The hold's way out is taken, if it is still open. What is partly out cannot be cancelled: then staff decide."""
    passed = next((hold for hold in order.open_holds if hold.id == hold_id), None)
    if passed is None:
        return Decision(order)
    if passed.way_out is WayOut.RELEASE:
        return release(order, hold_id, act)
    if passed.way_out is WayOut.CANCEL and order.is_cancellable:
        return decide(order, Command.CANCEL, act)
    case = noted(order, Command.HOLD, act, "its deadline has passed: a person has to look")
    return Decision(replace(order, updated_at=act.now), (), (case,))


def on_payment(order: Order, act: Act) -> Decision:
    """What keeps an order that was paid just now: too little money, or goods that are not there before a day to come."""
    decision = Decision(order)
    if order.status is not OrderStatus.PROCESSING or order.is_partly_out:
        return decision
    if order.captured < order.total:
        decision = hold(order, replace(act, reason=UNDERPAID), WayOut.STAFF)
    until = order.estimated_fulfillment_date
    if order.order_type is OrderType.PRE_ORDER and until is not None and until > act.now:
        waiting = replace(act, reason=PRE_ORDERED)
        decision = decision.then(hold(decision.order, waiting, WayOut.RELEASE, until))
    return decision


def is_underpaid(order: Order) -> bool:
    """What was paid, but for what goes back of it, is less than it costs, and staff have not yet said that it is enough."""
    return order.refundable < order.total and any(hold.reason == UNDERPAID for hold in order.open_holds)


def require_paid_in_full(order: Order) -> None:
    """Before money goes back for a part: of what was never paid nothing does. Raises Refusal ON_HOLD."""
    if is_underpaid(order):
        why = f"It is held, because {UNDERPAID}: staff release it, or it is cancelled"
        raise Refusal(Code.ON_HOLD, why, reason=UNDERPAID)


def on_failed_shipment(order: Order, act: Act) -> Decision:
    """Held once, until staff have seen to it."""
    if order.status is not OrderStatus.PROCESSING or any(h.reason == NO_PARCEL for h in order.open_holds):
        return Decision(order)
    return hold(order, replace(act, reason=NO_PARCEL), WayOut.STAFF)
