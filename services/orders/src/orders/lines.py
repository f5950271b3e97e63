"""What shipments and refunds say about an order's lines: quantities and refunded amounts are folded from them, never counted up.

Pure. Pieces that are not wanted any more are nowhere: a parcel that holds more than that is a case for staff.
"""

from collections.abc import Iterable
from dataclasses import replace

from orders.domain import OUT, Line, Order, RefundStatus, Stage


def with_quantities(order: Order) -> Order:
    """What came back counts as returned and not as delivered; what is out is not in fulfilment any more."""
    return replace(order, lines=tuple(_counted(order, line) for line in order.lines))


def _counted(order: Order, line: Line) -> Line:
    shipped = min(line.live, pieces(order, line.line, OUT))
    returned = min(shipped, pieces(order, line.line, {Stage.RETURNED}))
    delivered = min(shipped - returned, pieces(order, line.line, {Stage.DELIVERED}))
    in_fulfilment = min(line.live - shipped, pieces(order, line.line, {Stage.LABELLED}))
    return replace(line, in_fulfilment=in_fulfilment, shipped=shipped, delivered=delivered, returned=returned)


def pieces(order: Order, line: int, stages: Iterable[Stage]) -> int:
    """How many of the line's pieces are in parcels of these stages."""
    return sum(s.lines.get(line, 0) for s in order.shipments if s.stage in stages)


def with_refunds(order: Order) -> Order:
    """What went back for pieces of a line is its own; when everything went back, each line's whole worth did."""
    in_full = 0 < order.captured <= order.refunded
    return replace(
        order,
        lines=tuple(
            replace(line, refunded=line.worth(line.quantity) if in_full else _refunded(order, line.line))
            for line in order.lines
        ),
    )


def _refunded(order: Order, line: int) -> int:
    done = (refund for refund in order.refunds if refund.status is RefundStatus.DONE)
    return sum(part.amount for refund in done for part in refund.lines if part.line == line)
