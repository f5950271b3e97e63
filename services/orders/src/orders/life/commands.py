"""What people ask of an order. Each command loads under lock, asks the status table, saves and says; refusals are typed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orders import reactions
from orders.access import actor_of, mine
from orders.decisions import decide, derive
from orders.domain import Act, Decision, Order
from orders.handlers import settle
from orders.life import items, parcels, refunds, rights
from orders.metadata import Metadata, merged
from orders.status import TABLE, TARGETS, Command, OrderStatus, Refuse
from orders.store import ORDERS
from shared.auth import Principal, Scope
from shared.commands import uuid_or
from shared.contracts.money import to_major, to_minor
from shared.errors import Code, Refusal
from shared.mapping import differ
from shared.tx import Tx

Limits = Mapping[Scope, int]
Pieces = Sequence[tuple[str, int]]
"""Items' ids, and how many of each."""


async def cancel(order_id: str, principal: Principal, reason: str, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND or NOT_CANCELLABLE. A paid order's refund is on its way when this answers."""
    order = mine(order_id, principal, tx)
    if order.status is OrderStatus.PROCESSING and not order.is_cancellable:
        raise Refusal(Code.NOT_CANCELLABLE, "A part of it has been shipped")
    settle_or_refuse(tx, decide(order, Command.CANCEL, act_of(principal, reason, tx)), Code.NOT_CANCELLABLE)
    return order_id


async def mark_delivered(order_id: str, principal: Principal, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND or INVALID_TRANSITION."""
    order = mine(order_id, principal, tx)
    settle_or_refuse(tx, parcels.delivered(order, act_of(principal, "told to have arrived", tx)))
    return order_id


async def refund(
    order_id: str,
    amount: float | None,
    pieces: Pieces | None,
    reason: str,
    principal: Principal,
    limits: Limits,
    tx: Tx,
) -> str:
    """`amount` in the order's currency as the graph writes it, or `pieces` of items; by default all that is left.

    Raises Refusal ORDER_NOT_FOUND, NOT_REFUNDABLE, REFUND_EXCEEDS_CAPTURED, FORBIDDEN (beyond the limit) or BAD_INPUT.
    """
    if amount is not None and pieces is not None:
        raise Refusal(Code.BAD_INPUT, "A refund is of an amount or of items, not of both")
    order, act = mine(order_id, principal, tx), act_of(principal, reason, tx)
    if amount is not None:
        act = replace(act, amount=_minor(amount, order.currency))
    refuse(decide(order, Command.REFUND, act), Code.NOT_REFUNDABLE)
    if pieces is not None:
        parts = items.money_for(order, items.chosen(order, pieces))
        act = replace(act, amount=sum(part.amount for part in parts), items=parts)
    settle_or_refuse(tx, _refunded(order, act, principal, limits))
    return order_id


def _refunded(order: Order, act: Act, principal: Principal, limits: Limits) -> Decision:
    if order.refundable == 0:
        raise Refusal(Code.NOT_REFUNDABLE, "Everything captured was refunded, or is being refunded")
    if act.amount == 0:
        raise Refusal(Code.BAD_INPUT, "A refund is more than nothing")
    if act.amount is not None and act.amount > order.refundable:
        raise Refusal(
            Code.REFUND_EXCEEDS_CAPTURED,
            "That is more than what is left to refund",
            refundable=to_major(order.refundable, order.currency),
            currency=order.currency,
        )
    asked = _asked_for(order, act.actor) + (act.amount or order.refundable)
    _require_within_limit(order, asked, principal, limits)
    return derive(order, decide(order, Command.REFUND, act), act)


async def refund_again(order_id: str, refund_id: str, principal: Principal, limits: Limits, tx: Tx) -> str:
    """What was asked for once was within somebody's limit; if that one has asked for other money since, both are within the caller's.

    Raises Refusal ORDER_NOT_FOUND, BAD_INPUT, FORBIDDEN (beyond the limit), or as `refunds.again` does.
    """
    order = mine(order_id, principal, tx)
    unknown = Refusal(Code.BAD_INPUT, "The order has no such refund", argument="refundId")
    wanted = uuid_or(refund_id, unknown)
    failed = next((refund for refund in order.refunds if refund.id == wanted), None)
    if failed is None:
        raise unknown
    decision = refunds.again(order, wanted, act_of(principal, "", tx))
    instead, both = (_asked_for(each, failed.asked_by) for each in (order, decision.order))
    if failed.asked_by and both > instead > 0:
        _require_within_limit(order, both, principal, limits)
    settle_or_refuse(tx, decision, Code.NOT_REFUNDABLE)
    return order_id


def _asked_for(order: Order, actor: str) -> int:
    return sum(refund.amount for refund in order.live_refunds if refund.asked_by == actor)


def _require_within_limit(order: Order, asked: int, principal: Principal, limits: Limits) -> None:
    limit = rights.refund_limit(principal, limits)
    shown = None if limit is None else to_major(limit, order.currency)
    rights.within_limit(asked, limit, shown, order.currency)


async def update_status(
    order_id: str, to: OrderStatus, notes: str | None, principal: Principal, limits: Limits, tx: Tx
) -> str:
    """The command that leads to `to`; an order that is there already stays as it is.

    Raises Refusal ORDER_NOT_FOUND, INVALID_TRANSITION, ON_HOLD or FORBIDDEN (another scope's, a refund beyond the limit).
    """
    order = mine(order_id, principal, tx)
    rights.require(principal, rights.right_to_set(to))
    if notes is not None and to not in TARGETS:
        rights.require(principal, rights.NOTES)
    if to is not order.status:
        settle_or_refuse(tx, _towards(order, to, principal, limits, tx))
    if notes is not None:
        tx.save(ORDERS, replace(tx.get(ORDERS, order_id), notes=notes, updated_at=tx.now))
    return order_id


def _towards(order: Order, to: OrderStatus, principal: Principal, limits: Limits, tx: Tx) -> Decision:
    if to is OrderStatus.SHIPPED:
        _require_released(order)
    if to not in order.next_statuses:
        raise _invalid(order, _why_not(order, to))
    act = act_of(principal, "status set by staff", tx)
    match TARGETS[to]:
        case Command.PAY_OFFLINE:
            return reactions.paid_offline(order, act)
        case Command.SHIP:
            return parcels.handed_over(order, act)
        case Command.MARK_DELIVERED:
            return parcels.delivered(order, act)
        case Command.MARK_RETURNED:
            return parcels.returned(order, act)
        case Command.REFUND:
            under_way = order.captured and not order.refundable
            return Decision(order) if under_way else _refunded(order, act, principal, limits)
        case command:
            return decide(order, command, act)


def _why_not(order: Order, to: OrderStatus) -> str:
    if to not in TARGETS:
        return f"nothing becomes {to} again"
    cell = TABLE[order.status][TARGETS[to]]
    if isinstance(cell, Refuse):
        return cell.reason
    return "a part of it has been shipped" if to is OrderStatus.CANCELLED else f"it does not become {to}"


async def update_shipping(
    order_id: str,
    carrier: str,
    service: str,
    tracking: str | None,
    tracking_url: str | None,
    principal: Principal,
    tx: Tx,
) -> str:
    """Written down without a move. Raises Refusal ORDER_NOT_FOUND or INVALID_TRANSITION."""
    given = {"tracking": tracking, "tracking_url": tracking_url}
    details = {name: value for name, value in given.items() if value is not None}
    order, act = mine(order_id, principal, tx), act_of(principal, "shipping written down", tx)
    settle_or_refuse(
        tx, parcels.tracked(order, act, shipping_carrier=carrier, shipping_service=service, **details)
    )
    return order_id


async def add_tracking(order_id: str, tracking: str, principal: Principal, tx: Tx) -> str:
    """A paid order has left with it, any other only remembers it. Raises Refusal ORDER_NOT_FOUND, INVALID_TRANSITION or ON_HOLD."""
    order, act = mine(order_id, principal, tx), act_of(principal, "tracking added", tx)
    decision = parcels.tracked(order, act, tracking=tracking)
    if order.status is OrderStatus.PROCESSING:
        decision = decision.then(_handed_over(decision.order, act))
    settle_or_refuse(tx, decision)
    return order_id


def _handed_over(order: Order, act: Act) -> Decision:
    _require_released(order)
    return parcels.handed_over(order, act)


def _require_released(order: Order) -> None:
    if order.open_holds:
        raise Refusal(Code.ON_HOLD, "It is held: release it first", reason=order.open_holds[0].reason)


async def update_notes(order_id: str, notes: str, principal: Principal, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND."""
    order = mine(order_id, principal, tx)
    if notes != order.notes:
        tx.save(ORDERS, replace(order, notes=notes, updated_at=tx.now))
    return order_id


async def update_metadata(order_id: str, given: Metadata, principal: Principal, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND or BAD_INPUT."""
    order = mine(order_id, principal, tx)
    metadata = merged(order.metadata, given)
    if differ(order.metadata, metadata):
        tx.save(ORDERS, replace(order, metadata=metadata, updated_at=tx.now))
    return order_id


def act_of(principal: Principal, reason: str, tx: Tx) -> Act:
    return Act(tx.now, actor_of(principal), reason)


def settle_or_refuse(tx: Tx, decision: Decision, code: Code = Code.INVALID_TRANSITION) -> None:
    """Write the decision down. Raises Refusal where the table refuses."""
    refuse(decision, code)
    settle(tx, decision)


def _minor(amount: float, currency: str) -> int:
    try:
        minor = to_minor(amount, currency)
    except ValueError as invalid:
        raise Refusal(Code.BAD_INPUT, f"amount {invalid}") from invalid
    if minor <= 0:
        raise Refusal(Code.BAD_INPUT, "A refund is more than nothing")
    return minor


def refuse(decision: Decision, code: Code) -> None:
    if decision.refused is not None:
        raise _invalid(decision.order, decision.refused, code)


def _invalid(order: Order, reason: str, code: Code = Code.INVALID_TRANSITION) -> Refusal:
    allowed = [str(status) for status in order.next_statuses]
    return Refusal(code, f"Not possible: {reason}", status=str(order.status), allowed=allowed)
