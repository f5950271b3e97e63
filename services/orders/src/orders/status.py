"""The status table: what every trigger does to an order in every status. One literal, total, and the only place that says so.

A *command* may be refused; a *fact* never can, it happened: it moves the order, is ignored with a reason, or is compensated.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache


class OrderStatus(StrEnum):
    PENDING = "PENDING"  # placed, unpaid; a declined payment may be tried again
    PROCESSING = "PROCESSING"  # paid; not all live items are out
    SHIPPED = "SHIPPED"  # all live items were handed to couriers
    DELIVERED = "DELIVERED"  # all live items were received
    CANCELLED = "CANCELLED"  # with a reason; `expired` for one that nobody paid
    RETURNED = "RETURNED"  # came back; stays so when it is refunded
    REFUNDED = "REFUNDED"  # fully refunded after shipping


class Command(StrEnum):
    CANCEL = "cancel"
    MARK_DELIVERED = "mark delivered"
    REFUND = "refund"


class Happened(StrEnum):
    PAYMENT_CAPTURED = "payment captured"
    PAYMENT_FAILED = "payment failed"
    EXPIRED = "nobody paid in time"
    ALL_SHIPPED = "all items shipped"
    ALL_DELIVERED = "all items delivered"
    ALL_CANCELLED = "all items cancelled"
    ALL_RETURNED = "all items returned"
    FULLY_REFUNDED = "everything captured was refunded"


Trigger = Command | Happened
TRIGGERS: tuple[Trigger, ...] = (*Command, *Happened)


class Remedy(StrEnum):
    REFUND = "refund"  # give back what was captured and not yet refunded
    STAFF = "staff"  # a person has to look


@dataclass(frozen=True, slots=True)
class Move:
    to: OrderStatus
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    why: str


@dataclass(frozen=True, slots=True)
class Compensate:
    remedy: Remedy


@dataclass(frozen=True, slots=True)
class Refuse:
    reason: str


Cell = Move | Ignore | Compensate | Refuse

_REPEAT = Ignore("it is so already")
_LATE = Ignore("a later step has been reached")
_UNPAID = Ignore("noted on the items; an unpaid order does not move on")
_ENDED = Ignore("the order has ended")
_RETRY = Ignore("the shopper may try again")
_PAID = Ignore("it was paid by another attempt")
_REFUND = Compensate(Remedy.REFUND)
_STAFF = Compensate(Remedy.STAFF)

TABLE: dict[OrderStatus, dict[Trigger, Cell]] = {
    OrderStatus.PENDING: {
        Command.CANCEL: Move(OrderStatus.CANCELLED),
        Command.MARK_DELIVERED: Refuse("it is not paid"),
        Command.REFUND: Refuse("nothing was paid"),
        Happened.PAYMENT_CAPTURED: Move(OrderStatus.PROCESSING),
        Happened.PAYMENT_FAILED: _RETRY,
        Happened.EXPIRED: Move(OrderStatus.CANCELLED),
        Happened.ALL_SHIPPED: _UNPAID,
        Happened.ALL_DELIVERED: _UNPAID,
        Happened.ALL_CANCELLED: Move(OrderStatus.CANCELLED),
        Happened.ALL_RETURNED: _UNPAID,
        Happened.FULLY_REFUNDED: _UNPAID,
    },
    OrderStatus.PROCESSING: {
        Command.CANCEL: Move(OrderStatus.CANCELLED, Remedy.REFUND),
        Command.MARK_DELIVERED: Refuse("not everything has been shipped"),
        Command.REFUND: Refuse("it has not been shipped: cancel it instead"),
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAYMENT_FAILED: _PAID,
        Happened.EXPIRED: _PAID,
        Happened.ALL_SHIPPED: Move(OrderStatus.SHIPPED),
        Happened.ALL_DELIVERED: Move(OrderStatus.DELIVERED),
        Happened.ALL_CANCELLED: Move(OrderStatus.CANCELLED, Remedy.REFUND),
        Happened.ALL_RETURNED: Move(OrderStatus.RETURNED),
        Happened.FULLY_REFUNDED: _STAFF,
    },
    OrderStatus.SHIPPED: {
        Command.CANCEL: Refuse("it has been shipped"),
        Command.MARK_DELIVERED: Move(OrderStatus.DELIVERED),
        Command.REFUND: _REFUND,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAYMENT_FAILED: _PAID,
        Happened.EXPIRED: _PAID,
        Happened.ALL_SHIPPED: _REPEAT,
        Happened.ALL_DELIVERED: Move(OrderStatus.DELIVERED),
        Happened.ALL_CANCELLED: _LATE,
        Happened.ALL_RETURNED: Move(OrderStatus.RETURNED),
        Happened.FULLY_REFUNDED: Move(OrderStatus.REFUNDED),
    },
    OrderStatus.DELIVERED: {
        Command.CANCEL: Refuse("it has been delivered"),
        Command.MARK_DELIVERED: _REPEAT,
        Command.REFUND: _REFUND,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAYMENT_FAILED: _PAID,
        Happened.EXPIRED: _PAID,
        Happened.ALL_SHIPPED: _LATE,
        Happened.ALL_DELIVERED: _REPEAT,
        Happened.ALL_CANCELLED: _LATE,
        Happened.ALL_RETURNED: Move(OrderStatus.RETURNED),
        Happened.FULLY_REFUNDED: Move(OrderStatus.REFUNDED),
    },
    OrderStatus.CANCELLED: {
        Command.CANCEL: _REPEAT,
        Command.MARK_DELIVERED: Refuse("it is cancelled"),
        Command.REFUND: _REFUND,
        Happened.PAYMENT_CAPTURED: _REFUND,
        Happened.PAYMENT_FAILED: _ENDED,
        Happened.EXPIRED: _ENDED,
        Happened.ALL_SHIPPED: _STAFF,
        Happened.ALL_DELIVERED: _STAFF,
        Happened.ALL_CANCELLED: _REPEAT,
        Happened.ALL_RETURNED: _ENDED,
        Happened.FULLY_REFUNDED: _ENDED,
    },
    OrderStatus.RETURNED: {
        Command.CANCEL: Refuse("it has been shipped"),
        Command.MARK_DELIVERED: Refuse("it came back"),
        Command.REFUND: _REFUND,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAYMENT_FAILED: _PAID,
        Happened.EXPIRED: _PAID,
        Happened.ALL_SHIPPED: _LATE,
        Happened.ALL_DELIVERED: _LATE,
        Happened.ALL_CANCELLED: _LATE,
        Happened.ALL_RETURNED: _REPEAT,
        Happened.FULLY_REFUNDED: Ignore("it stays returned"),
    },
    OrderStatus.REFUNDED: {
        Command.CANCEL: Refuse("it has been refunded"),
        Command.MARK_DELIVERED: Refuse("it has been refunded"),
        Command.REFUND: _REFUND,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAYMENT_FAILED: _ENDED,
        Happened.EXPIRED: _ENDED,
        Happened.ALL_SHIPPED: _ENDED,
        Happened.ALL_DELIVERED: _ENDED,
        Happened.ALL_CANCELLED: _ENDED,
        Happened.ALL_RETURNED: _ENDED,
        Happened.FULLY_REFUNDED: _REPEAT,
    },
}


@cache
def next_statuses(status: OrderStatus) -> tuple[OrderStatus, ...]:
    """Where a command can still take an order in this status, in the order of the enum."""
    cells = (TABLE[status][command] for command in Command)
    reachable = {cell.to for cell in cells if isinstance(cell, Move)}
    return tuple(candidate for candidate in OrderStatus if candidate in reachable)


def diagram() -> str:
    """The table's moves as a Mermaid state diagram: ARCHITECTURE.md carries it, a test holds it current."""
    moves = [
        f"    {status} --> {cell.to}: {trigger}"
        for status, row in TABLE.items()
        for trigger, cell in row.items()
        if isinstance(cell, Move)
    ]
    return "\n".join(["stateDiagram-v2", "    [*] --> PENDING", *moves])
