"""An order explained: its state in a sentence, what it waits for, who may do what next. Pure; times in UTC."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders.domain import NO_REASON, OUT, Hold, Order, PaymentStatus, Refund, RefundStatus, Stage
from orders.life import refunds
from orders.life.holds import is_underpaid
from orders.life.rights import RIGHTS
from orders.status import TABLE, TARGETS, Allow, Command, Compensate, OrderStatus
from shared.contracts.money import exponent, to_major
from shared.contracts.orders import OFFLINE


@dataclass(frozen=True, slots=True)
class Wait:
    what: str
    since: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """`who` as `Right.who` tells it; `to` is where the command leads, None where the order stays; `mutation` asks for it."""

    command: Command
    mutation: str
    to: OrderStatus | None
    who: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    sentence: str
    waits: tuple[Wait, ...]
    steps: tuple[Step, ...]


MUTATIONS: dict[Command, str] = {
    Command.CANCEL: "cancelOrder",
    Command.PAY_OFFLINE: "updateOrderStatus",
    Command.SHIP: "updateOrderStatus",
    Command.MARK_DELIVERED: "markOrderDelivered",
    Command.MARK_RETURNED: "updateOrderStatus",
    Command.REFUND: "refundOrder",
    Command.REFUND_AGAIN: "retryRefund",
    Command.CANCEL_ITEMS: "cancelOrderItems",
    Command.EDIT_ADDRESS: "editOrder",
    Command.TRACK: "updateOrderShipping",
    Command.HOLD: "holdOrder",
    Command.RELEASE: "releaseHold",
}


def explain(order: Order, now: datetime, unpaid_expiry: timedelta, *, for_staff: bool) -> Explanation:
    """For anybody who may see the order; why it is held is for staff."""
    return Explanation(
        _sentence(order, now), tuple(_waits(order, unpaid_expiry, for_staff=for_staff)), _steps(order)
    )


def _sentence(order: Order, now: datetime) -> str:
    match order.status:
        case OrderStatus.PENDING:
            paying = "its payment is being processed" if order.payment_processing else "it is not paid yet"
            return f"Placed {_ago(order.created_at, now)}; {paying}."
        case OrderStatus.PROCESSING:
            pieces = sum(line.live for line in order.lines)
            out = sum(line.shipped for line in order.lines)
            held = " It is held." if order.open_holds else ""
            return f"Paid {_ago(order.paid_at, now)}; {out} of {pieces} pieces are out.{held}"
        case OrderStatus.SHIPPED:
            said, at = "All of it left", order.shipped_at
        case OrderStatus.DELIVERED:
            said, at = "It arrived", order.delivered_at
        case OrderStatus.CANCELLED:
            why = f" ({order.cancel_reason})" if order.cancel_reason != NO_REASON else ""
            said, at = f"Cancelled{why}", order.cancelled_at
        case OrderStatus.RETURNED:
            said, at = "It came back", order.returned_at
        case OrderStatus.REFUNDED if order.refunded < order.captured:
            back, paid = _money(order.refunded, order), _money(order.captured, order)
            return f"It was refunded after it had been shipped, but that failed: {back} of {paid} went back."
        case OrderStatus.REFUNDED:
            return "All of its money went back after it had been shipped."
    return f"{said} {_ago(at, now)}."


def _ago(at: datetime | None, now: datetime) -> str:
    """In the largest unit that fills one."""
    seconds = max(0, int((now - at).total_seconds())) if at else 0
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if count := seconds // size:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _waits(order: Order, unpaid_expiry: timedelta, *, for_staff: bool) -> list[Wait]:
    waits = [_hold(hold, for_staff=for_staff) for hold in order.open_holds]
    waits += [_refund(order, refund) for refund in order.refunds if refund.status is RefundStatus.REQUESTED]
    waits += [
        Wait(
            f"staff to ask again for a refund of {_money(refund.amount, order)}, which failed",
            refund.requested_at,
        )
        for refund in refunds.to_ask_again(order)
    ]
    match order.status:
        case OrderStatus.PENDING if order.payment_processing:
            waits.append(Wait("its payment, which is being processed", order.created_at))
        case OrderStatus.PENDING if (
            order.payment_status is PaymentStatus.FAILED and not order.payment_intent_id
        ):
            expiry = order.created_at + unpaid_expiry
            waits.append(Wait("a payment offline: none by card could be prepared", order.created_at, expiry))
        case OrderStatus.PENDING if order.payment_intent_id is None:
            waits.append(Wait("its payment to be prepared", order.created_at))
        case OrderStatus.PENDING:
            waits.append(Wait("the shopper to pay", order.created_at, order.created_at + unpaid_expiry))
        case OrderStatus.PROCESSING if not order.open_holds:
            waits.append(Wait(_parcels(order), order.paid_at or order.updated_at, order.delivery_deadline))
        case OrderStatus.SHIPPED:
            since = order.shipped_at or order.updated_at
            waits.append(Wait("the courier to deliver", since, order.delivery_deadline))
    return waits


def _refund(order: Order, refund: Refund) -> Wait:
    amount, by_hand = _money(refund.amount, order), order.payment_method == OFFLINE
    what = f"staff to hand {amount} back: confirmExternalRefund" if by_hand else f"a refund of {amount}"
    return Wait(what, refund.requested_at)


def _money(minor: int, order: Order) -> str:
    return f"{to_major(minor, order.currency):.{exponent(order.currency)}f} {order.currency}"


def _hold(hold: Hold, *, for_staff: bool) -> Wait:
    return Wait(f"its release: {hold.reason}" if for_staff else "its release", hold.held_at, hold.deadline)


def _parcels(order: Order) -> str:
    stages = {shipment.stage for shipment in order.shipments}
    if not order.shipments:
        return "its shipment to be prepared"
    if Stage.LABELLED in stages:
        return "the courier to take it"
    return "staff to send the rest" if stages & OUT else "staff to pack it"


def _steps(order: Order) -> tuple[Step, ...]:
    return tuple(
        Step(command, MUTATIONS[command], _leads_to(order, command), tuple(right.who()))
        for command, right in RIGHTS.items()
        if _is_possible(order, command)
    )


_TAKES: dict[Command, Callable[[Order], bool]] = {
    Command.REFUND: lambda order: order.refundable > 0,
    Command.REFUND_AGAIN: lambda order: bool(refunds.to_ask_again(order)),
    Command.RELEASE: lambda order: bool(order.open_holds),
    Command.CANCEL_ITEMS: lambda order: any(n.cancellable for n in order.lines) and not is_underpaid(order),
    Command.EDIT_ADDRESS: lambda order: not order.is_address_fixed,
}
"""What an order has to have beside a status that allows the command."""


def _is_possible(order: Order, command: Command) -> bool:
    """Where the table allows it and the order has what it takes."""
    if to := next(
        (to for to, by in TARGETS.items() if by is command and command is not Command.REFUND), None
    ):
        return to in order.next_statuses
    is_allowed = isinstance(TABLE[order.status][command], Allow | Compensate)
    return is_allowed and (command not in _TAKES or _TAKES[command](order))


def _leads_to(order: Order, command: Command) -> OrderStatus | None:
    found = (to for to in order.next_statuses if TARGETS[to] is command)
    return next(found, None)
