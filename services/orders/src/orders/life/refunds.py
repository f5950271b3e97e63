"""A refund that failed, asked for again. Pure; minor units."""

from dataclasses import replace
from uuid import UUID, uuid5

from orders.decisions import decide, request_refund
from orders.domain import Act, Decision, Order, Refund, RefundedLine, RefundStatus
from orders.life.items import money_for
from orders.status import Command
from shared.errors import Code, Refusal


def to_ask_again(order: Order) -> tuple[Refund, ...]:
    """Those that failed, were not asked for again, and would not be refused."""
    failed = (refund for refund in order.refunds if refund.status is RefundStatus.FAILED)
    return tuple(r for r in failed if _last_try(order, r.id) is r and _is_left(order, r))


def _is_left(order: Order, failed: Refund) -> bool:
    try:
        _, amount = _due(order, failed)
    except Refusal:
        return False
    return amount <= order.refundable


def _next_id(order: Order, refund_id: UUID) -> UUID:
    return uuid5(order.id, f"again {refund_id}")


def again(order: Order, refund_id: UUID, act: Act) -> Decision:
    """The same money for the same pieces, by a refund of its own; asked for twice, it is one. If that one failed too, once more.

    Raises Refusal NOT_REFUNDABLE for one that has not failed or whose pieces were refunded since, REFUND_EXCEEDS_CAPTURED
    where less than it is left.
    """
    decision, before = decide(order, Command.REFUND_AGAIN, act), _last_try(order, refund_id)
    is_failed = before.status is RefundStatus.FAILED
    if decision.refused is not None or (before.id != refund_id and not is_failed):
        return decision
    if not is_failed:
        raise Refusal(Code.NOT_REFUNDABLE, "That refund has not failed")
    parts, amount = _due(order, before)
    if amount > order.refundable:
        raise Refusal(Code.REFUND_EXCEEDS_CAPTURED, "That is more than what is left to refund")
    new_id = _next_id(order, before.id)
    wanted = replace(act, amount=amount, items=parts, refund_id=new_id, reason=before.reason)
    return request_refund(order, wanted, asked_by=before.asked_by)


def _last_try(order: Order, refund_id: UUID) -> Refund:
    known = {refund.id: refund for refund in order.refunds}
    tried = known[refund_id]
    while (following := known.get(_next_id(order, tried.id))) is not None:
        tried = following
    return tried


def _due(order: Order, failed: Refund) -> tuple[tuple[RefundedLine, ...], int]:
    """The pieces that it was for, and what they cost now, but no more than it was. Raises Refusal NOT_REFUNDABLE."""
    parts = money_for(order, {part.line: part.quantity for part in failed.lines})
    return parts, min(failed.amount, sum(part.amount for part in parts)) if parts else failed.amount
