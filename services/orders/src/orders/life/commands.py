"""What people ask of an order. Each command loads under lock, asks the status table, saves and says; refusals are typed."""

from orders.access import actor_of, mine
from orders.decisions import decide, derive
from orders.domain import Act, Decision
from orders.handlers import settle
from orders.reactions import all_delivered
from orders.status import Command, OrderStatus, next_statuses
from shared.auth import Principal
from shared.contracts.money import to_major, to_minor
from shared.errors import Code, Refusal
from shared.tx import Tx


async def cancel(order_id: str, principal: Principal, reason: str, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND or NOT_CANCELLABLE. A paid order's refund is on its way when this answers."""
    order = mine(order_id, principal, tx)
    if order.status is OrderStatus.PROCESSING and not order.is_cancellable:
        raise Refusal(Code.NOT_CANCELLABLE, "A part of it has been shipped")
    decision = decide(order, Command.CANCEL, Act(tx.now, actor_of(principal), reason))
    _refuse(decision, Code.NOT_CANCELLABLE)
    settle(tx, decision)
    return order_id


async def mark_delivered(order_id: str, principal: Principal, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND or INVALID_TRANSITION."""
    order, act = mine(order_id, principal, tx), Act(tx.now, actor_of(principal), "told to have arrived")
    decision = decide(order, Command.MARK_DELIVERED, act)
    _refuse(decision, Code.INVALID_TRANSITION)
    settle(tx, decision.then(all_delivered(decision.order, act)) if decision.entries else decision)
    return order_id


async def refund(order_id: str, amount: float | None, reason: str, principal: Principal, tx: Tx) -> str:
    """`amount` in the order's currency as the graph writes it, default all that is left.

    Raises Refusal ORDER_NOT_FOUND, NOT_REFUNDABLE, REFUND_EXCEEDS_CAPTURED or BAD_INPUT.
    """
    order = mine(order_id, principal, tx)
    minor = None if amount is None else _minor(amount, order.currency)
    act = Act(tx.now, actor_of(principal), reason, minor)
    decision = decide(order, Command.REFUND, act)
    _refuse(decision, Code.NOT_REFUNDABLE)
    if order.refundable == 0:
        raise Refusal(Code.NOT_REFUNDABLE, "Everything captured was refunded, or is being refunded")
    if minor is not None and minor > order.refundable:
        raise Refusal(
            Code.REFUND_EXCEEDS_CAPTURED,
            "That is more than what is left to refund",
            refundable=to_major(order.refundable, order.currency),
            currency=order.currency,
        )
    settle(tx, derive(order, decision, act))
    return order_id


def _minor(amount: float, currency: str) -> int:
    try:
        minor = to_minor(amount, currency)
    except ValueError as invalid:
        raise Refusal(Code.BAD_INPUT, f"amount: {invalid}") from invalid
    if minor <= 0:
        raise Refusal(Code.BAD_INPUT, "A refund is more than nothing")
    return minor


def _refuse(decision: Decision, code: Code) -> None:
    if decision.refused is not None:
        allowed = [str(status) for status in next_statuses(decision.order.status)]
        raise Refusal(
            code,
            f"Not possible: {decision.refused}",
            status=str(decision.order.status),
            allowed=allowed,
        )
