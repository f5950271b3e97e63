"""A refund that failed, asked for again. Pure; minor units."""

from dataclasses import replace
from uuid import UUID, uuid5

from orders.decisions import decide, request_refund
from orders.domain import Act, Decision, Order, Refund, RefundStatus
from orders.life.items import money_for
from orders.status import Command
from shared.errors import Code, Refusal


def failed(order: Order) -> tuple[Refund, ...]:
    """Those that failed and were not asked for again."""
    known = {refund.id for refund in order.refunds}
    return tuple(
        refund
        for refund in order.refunds
        if refund.status is RefundStatus.FAILED and _next_id(order, refund.id) not in known
    )


def _next_id(order: Order, refund_id: UUID) -> UUID:
    return uuid5(order.id, f"again {refund_id}")


def again(order: Order, refund_id: UUID, act: Act) -> Decision:
    """The same money for the same pieces, by a refund of its own; asked for twice, it is one.

    Raises Refusal NOT_REFUNDABLE for one that has not failed or whose pieces were refunded since, REFUND_EXCEEDS_CAPTURED
    where less than it is left.
    """
    decision, new_id = decide(order, Command.REFUND_AGAIN, act), _next_id(order, refund_id)
    if decision.refused is not None or any(refund.id == new_id for refund in order.refunds):
        return decision
    before = next(refund for refund in order.refunds if refund.id == refund_id)
    if before.status is not RefundStatus.FAILED:
        raise Refusal(Code.NOT_REFUNDABLE, "That refund has not failed")
    parts = money_for(order, {part.line: part.quantity for part in before.lines})
    amount = min(before.amount, sum(part.amount for part in parts)) if parts else before.amount
    if amount > order.refundable:
        raise Refusal(Code.REFUND_EXCEEDS_CAPTURED, "That is more than what is left to refund")
    wanted = replace(act, amount=amount, items=parts, refund_id=new_id, reason=before.reason)
    return request_refund(order, wanted, asked_by=before.asked_by)
