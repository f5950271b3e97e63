"""Single items of an order: fewer of them, and the money that goes back for pieces; edits. Pure; minor units."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from orders.checkout.taxes import Taxes
from orders.decisions import about_order, decide, derive, noted, request_refund
from orders.domain import Act, Decision, Line, Order, RefundedLine
from orders.life.addresses import change_address
from orders.life.holds import require_paid_in_full
from orders.status import Command, OrderStatus
from shared.contracts import orders as facts
from shared.contracts.money import allocate
from shared.errors import Code, Refusal


@dataclass(frozen=True, slots=True)
class Money:
    """What the live items, shipping and fees come to before and after a change, and what goes back for it."""

    before: int
    after: int
    refund: int


def chosen(order: Order, wanted: Iterable[tuple[str, int]]) -> dict[int, int]:
    """Pieces by line number, from items' ids. Raises Refusal BAD_INPUT."""
    lines = {f"{order.id}:{line.line}": line for line in order.lines}
    found: dict[int, int] = {}
    for item_id, quantity in wanted:
        line = lines.get(item_id)
        if line is None:
            raise Refusal(Code.BAD_INPUT, "The order has no such item", itemId=item_id)
        if line.line in found:
            raise Refusal(Code.BAD_INPUT, "An item is listed twice: add its quantities up", itemId=item_id)
        if not 0 <= quantity <= line.quantity:
            raise Refusal(Code.BAD_INPUT, f"A quantity of this item is 0 to {line.quantity}", itemId=item_id)
        found[line.line] = quantity
    return found


def fewer(order: Order, wanted: Iterable[tuple[str, int]]) -> dict[int, int]:
    """How many pieces less that is, from what is still wanted of items. Raises Refusal BAD_INPUT."""
    live = {line.line: line.live for line in order.lines}
    kept = chosen(order, wanted)
    if any(count > live[line] for line, count in kept.items()):
        raise Refusal(Code.BAD_INPUT, "An edit takes items away: for more of them, place another order")
    return {line: live[line] - count for line, count in kept.items()}


def money_for(order: Order, pieces: dict[int, int]) -> tuple[RefundedLine, ...]:
    """What these pieces cost, beside those whose money went back before. Raises Refusal NOT_REFUNDABLE.

    Reckoned from the amounts of those, for a refund that failed may have been of the pieces that took the rounding.
    """
    parts = []
    for line in order.lines:
        count, before = pieces.get(line.line, 0), order.refunded_pieces(line.line)
        if before + count > line.quantity:
            raise Refusal(
                Code.NOT_REFUNDABLE,
                f"{before} of {line.quantity} were refunded before",
                itemId=f"{order.id}:{line.line}",
            )
        if count:
            amount = max(0, line.worth(before + count) - order.refunded_for(line.line))
            parts.append(RefundedLine(line.line, count, amount))
    return tuple(parts)


def cancel_items(order: Order, pieces: dict[int, int], act: Act) -> Decision:
    """Fewer pieces, and their money goes back; without any left, the order is cancelled and all of its money goes back.

    Raises Refusal NOT_CANCELLABLE for pieces that are in a parcel already, ON_HOLD while less was paid than it costs.
    """
    decision = decide(order, Command.CANCEL_ITEMS, act)
    pieces = {line: count for line, count in pieces.items() if count}
    if decision.refused is not None or not pieces:
        return decision
    require_paid_in_full(order)
    after = replace(
        order, lines=tuple(_fewer(order, n, pieces.get(n.line, 0)) for n in order.lines), updated_at=act.now
    )
    entry = noted(order, Command.CANCEL_ITEMS, act)
    if not any(line.live for line in after.lines):
        return derive(order, Decision(after, (), (entry,)), act)
    said = facts.OrderItemsCancelled(
        **about_order(order),
        cancelled_at=act.now,
        lines=tuple(facts.LineQuantity(line=line, quantity=count) for line, count in pieces.items()),
        reason=act.reason,
    )
    parts = _given_back(order, after, money_for(order, pieces))
    back = sum(part.amount for part in parts)
    asked = request_refund(_sooner(after, act), replace(act, amount=back, items=parts))
    return derive(order, Decision(after, (said,), (entry,)).then(asked), act)


def _given_back(order: Order, after: Order, parts: tuple[RefundedLine, ...]) -> tuple[RefundedLine, ...]:
    """No more than there is; where staff let less than the whole be paid, what goes on is paid first."""
    most = order.refundable if order.captured >= order.total else max(0, order.refundable - worth(after))
    amounts = [part.amount for part in parts]
    if sum(amounts) <= most:
        return parts
    return tuple(replace(p, amount=a) for p, a in zip(parts, allocate(most, amounts), strict=True))


def _sooner(order: Order, act: Act) -> Order:
    """What waited for pieces that are not wanted any more can be sent now: the promise of its delivery begins today."""
    until, deadline = order.estimated_fulfillment_date, order.delivery_deadline
    if until is None or any(line.pre_order and line.live for line in order.lines):
        return order
    in_time = deadline and act.now + (deadline - until)
    return replace(order, estimated_fulfillment_date=None, delivery_deadline=in_time)


def _fewer(order: Order, line: Line, count: int) -> Line:
    if count > line.cancellable:
        raise Refusal(
            Code.NOT_CANCELLABLE,
            f"{line.cancellable} pieces can still be cancelled",
            itemId=f"{order.id}:{line.line}",
            cancellable=line.cancellable,
        )
    return replace(line, cancelled=line.cancelled + count)


def edit(
    order: Order, address: dict[str, Any] | None, pieces: dict[int, int], taxes: Taxes, act: Act
) -> Decision:
    """The address, then the items: the parcel that goes on with fewer of them goes to the new one. Raises as both do."""
    decision = Decision(order) if address is None else change_address(order, address, taxes, act)
    if decision.refused is not None or not any(pieces.values()):
        return decision
    return decision.then(cancel_items(decision.order, pieces, act))


def edition(order: Order) -> str:
    """Of all of the order that an edit is reckoned from, and that it changes, whatever else was heard."""
    pieces = [(n.line, n.cancelled, n.cancellable, order.refunded_pieces(n.line)) for n in order.lines]
    address = sorted(order.shipping_address.items())
    basis = (order.id, order.status, pieces, address, order.total, order.refundable)
    return hashlib.sha256(repr(basis).encode()).hexdigest()[:16]


def version_of(before: Order, after: Order) -> str:
    """Of an edit: the same for what was previewed alone, since it tells from what it was reckoned and what it comes to."""
    return f"{edition(before)}-{edition(after)}"


def money_of(before: Order, after: Order) -> Money:
    """Of an edit: shipping and the platform's fee stay, unless nothing is left of the order."""
    return Money(worth(before), worth(after), before.refundable - after.refundable)


def worth(order: Order) -> int:
    """What is left of it costs, with shipping and fees; nothing when no piece is."""
    if order.status is OrderStatus.CANCELLED or not any(line.live for line in order.lines):
        return 0
    return order.total - sum(line.worth(line.cancelled) for line in order.lines)
