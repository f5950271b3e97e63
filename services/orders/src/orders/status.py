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
    PAY_OFFLINE = "take an offline payment"
    SHIP = "hand over by hand"
    MARK_DELIVERED = "mark delivered"
    MARK_RETURNED = "mark returned"
    REFUND = "refund"
    REFUND_AGAIN = "refund again"
    CANCEL_ITEMS = "cancel items"
    EDIT_ADDRESS = "change the address"
    TRACK = "write down its tracking"
    HOLD = "hold"
    RELEASE = "release"


class Happened(StrEnum):
    PAYMENT_CAPTURED = "payment captured"
    PAID_TWICE = "paid a second time"
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
    REFUND = "refund"  # give back `Act.amount`, by default all that was captured and not yet refunded
    STAFF = "staff"  # a person has to look


@dataclass(frozen=True, slots=True)
class Move:
    to: OrderStatus
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    why: str


@dataclass(frozen=True, slots=True)
class Allow:
    """A command that changes the order within its status."""


@dataclass(frozen=True, slots=True)
class Compensate:
    remedy: Remedy


@dataclass(frozen=True, slots=True)
class Refuse:
    reason: str


Cell = Move | Ignore | Allow | Compensate | Refuse

_REPEAT = Ignore("it is so already")
_LATE = Ignore("a later step has been reached")
_UNPAID = Ignore("noted on the items; an unpaid order does not move on")
_ENDED = Ignore("the order has ended")
_RETRY = Ignore("the shopper may try again")
_PAID = Ignore("it was paid by another attempt")
_ALLOWED = Allow()
_OUT = Refuse("it has been shipped")
_CAME_BACK = Refuse("it came back")
_IS_CANCELLED = Refuse("it is cancelled")
_IS_REFUNDED = Refuse("it has been refunded")
_REFUND = Compensate(Remedy.REFUND)
_STAFF = Compensate(Remedy.STAFF)

TABLE: dict[OrderStatus, dict[Trigger, Cell]] = {
    OrderStatus.PENDING: {
        Command.CANCEL: Move(OrderStatus.CANCELLED),
        Command.PAY_OFFLINE: Move(OrderStatus.PROCESSING),
        Command.SHIP: Refuse("it is not paid"),
        Command.MARK_DELIVERED: Refuse("it is not paid"),
        Command.MARK_RETURNED: Refuse("it is not paid"),
        Command.REFUND: Refuse("nothing was paid"),
        Command.REFUND_AGAIN: Refuse("nothing was paid"),
        Command.CANCEL_ITEMS: Refuse("it is not paid: cancel it and order anew"),
        Command.EDIT_ADDRESS: _ALLOWED,
        Command.TRACK: _ALLOWED,
        Command.HOLD: Refuse("it is not paid: it does not go out anyway"),
        Command.RELEASE: _ALLOWED,
        Happened.PAYMENT_CAPTURED: Move(OrderStatus.PROCESSING),
        Happened.PAID_TWICE: _REFUND,
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
        Command.PAY_OFFLINE: _REPEAT,
        Command.SHIP: Move(OrderStatus.SHIPPED),
        Command.MARK_DELIVERED: Refuse("not everything has been shipped"),
        Command.MARK_RETURNED: Refuse("not everything has been shipped"),
        Command.REFUND: Refuse("it has not been shipped: cancel it instead"),
        Command.REFUND_AGAIN: _ALLOWED,
        Command.CANCEL_ITEMS: _ALLOWED,
        Command.EDIT_ADDRESS: _ALLOWED,
        Command.TRACK: _ALLOWED,
        Command.HOLD: _ALLOWED,
        Command.RELEASE: _ALLOWED,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAID_TWICE: _REFUND,
        Happened.PAYMENT_FAILED: _PAID,
        Happened.EXPIRED: _PAID,
        Happened.ALL_SHIPPED: Move(OrderStatus.SHIPPED),
        Happened.ALL_DELIVERED: Move(OrderStatus.DELIVERED),
        Happened.ALL_CANCELLED: Move(OrderStatus.CANCELLED, Remedy.REFUND),
        Happened.ALL_RETURNED: Move(OrderStatus.RETURNED),
        Happened.FULLY_REFUNDED: _STAFF,
    },
    OrderStatus.SHIPPED: {
        Command.CANCEL: _OUT,
        Command.PAY_OFFLINE: Refuse("it is paid"),
        Command.SHIP: _REPEAT,
        Command.MARK_DELIVERED: Move(OrderStatus.DELIVERED),
        Command.MARK_RETURNED: Move(OrderStatus.RETURNED),
        Command.REFUND: _REFUND,
        Command.REFUND_AGAIN: _ALLOWED,
        Command.CANCEL_ITEMS: _OUT,
        Command.EDIT_ADDRESS: _OUT,
        Command.TRACK: _ALLOWED,
        Command.HOLD: _OUT,
        Command.RELEASE: _ALLOWED,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAID_TWICE: _REFUND,
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
        Command.PAY_OFFLINE: Refuse("it is paid"),
        Command.SHIP: _OUT,
        Command.MARK_DELIVERED: _REPEAT,
        Command.MARK_RETURNED: Move(OrderStatus.RETURNED),
        Command.REFUND: _REFUND,
        Command.REFUND_AGAIN: _ALLOWED,
        Command.CANCEL_ITEMS: _OUT,
        Command.EDIT_ADDRESS: _OUT,
        Command.TRACK: _ALLOWED,
        Command.HOLD: _OUT,
        Command.RELEASE: _ALLOWED,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAID_TWICE: _REFUND,
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
        Command.PAY_OFFLINE: _IS_CANCELLED,
        Command.SHIP: _IS_CANCELLED,
        Command.MARK_DELIVERED: _IS_CANCELLED,
        Command.MARK_RETURNED: _IS_CANCELLED,
        Command.REFUND: _REFUND,
        Command.REFUND_AGAIN: _ALLOWED,
        Command.CANCEL_ITEMS: _IS_CANCELLED,
        Command.EDIT_ADDRESS: _IS_CANCELLED,
        Command.TRACK: _IS_CANCELLED,
        Command.HOLD: _IS_CANCELLED,
        Command.RELEASE: _ALLOWED,
        Happened.PAYMENT_CAPTURED: _REFUND,
        Happened.PAID_TWICE: _REFUND,
        Happened.PAYMENT_FAILED: _ENDED,
        Happened.EXPIRED: _ENDED,
        Happened.ALL_SHIPPED: _STAFF,
        Happened.ALL_DELIVERED: _STAFF,
        Happened.ALL_CANCELLED: _REPEAT,
        Happened.ALL_RETURNED: _ENDED,
        Happened.FULLY_REFUNDED: _ENDED,
    },
    OrderStatus.RETURNED: {
        Command.CANCEL: _OUT,
        Command.PAY_OFFLINE: Refuse("it is paid"),
        Command.SHIP: _CAME_BACK,
        Command.MARK_DELIVERED: _CAME_BACK,
        Command.MARK_RETURNED: _REPEAT,
        Command.REFUND: _REFUND,
        Command.REFUND_AGAIN: _ALLOWED,
        Command.CANCEL_ITEMS: _CAME_BACK,
        Command.EDIT_ADDRESS: _CAME_BACK,
        Command.TRACK: _ALLOWED,
        Command.HOLD: _CAME_BACK,
        Command.RELEASE: _ALLOWED,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAID_TWICE: _REFUND,
        Happened.PAYMENT_FAILED: _PAID,
        Happened.EXPIRED: _PAID,
        Happened.ALL_SHIPPED: _LATE,
        Happened.ALL_DELIVERED: _LATE,
        Happened.ALL_CANCELLED: _LATE,
        Happened.ALL_RETURNED: _REPEAT,
        Happened.FULLY_REFUNDED: Ignore("it stays returned"),
    },
    OrderStatus.REFUNDED: {
        Command.CANCEL: _IS_REFUNDED,
        Command.PAY_OFFLINE: _IS_REFUNDED,
        Command.SHIP: _IS_REFUNDED,
        Command.MARK_DELIVERED: _IS_REFUNDED,
        Command.MARK_RETURNED: _IS_REFUNDED,
        Command.REFUND: _REFUND,
        Command.REFUND_AGAIN: _ALLOWED,
        Command.CANCEL_ITEMS: _IS_REFUNDED,
        Command.EDIT_ADDRESS: _IS_REFUNDED,
        Command.TRACK: _ALLOWED,
        Command.HOLD: _IS_REFUNDED,
        Command.RELEASE: _ALLOWED,
        Happened.PAYMENT_CAPTURED: _REPEAT,
        Happened.PAID_TWICE: _REFUND,
        Happened.PAYMENT_FAILED: _ENDED,
        Happened.EXPIRED: _ENDED,
        Happened.ALL_SHIPPED: _ENDED,
        Happened.ALL_DELIVERED: _ENDED,
        Happened.ALL_CANCELLED: _ENDED,
        Happened.ALL_RETURNED: _ENDED,
        Happened.FULLY_REFUNDED: _REPEAT,
    },
}


TARGETS: dict[OrderStatus, Command] = {
    OrderStatus.PROCESSING: Command.PAY_OFFLINE,
    OrderStatus.SHIPPED: Command.SHIP,
    OrderStatus.DELIVERED: Command.MARK_DELIVERED,
    OrderStatus.CANCELLED: Command.CANCEL,
    OrderStatus.RETURNED: Command.MARK_RETURNED,
    OrderStatus.REFUNDED: Command.REFUND,
}
"""What `updateOrderStatus` means by each status. Nothing becomes PENDING again."""


@cache
def next_statuses(status: OrderStatus) -> tuple[OrderStatus, ...]:
    """Where a command can still take an order in this status, in the order of the enum."""
    return tuple(to for to in OrderStatus if to in TARGETS and _leads(status, to))


def _leads(status: OrderStatus, to: OrderStatus) -> bool:
    """A refund of all that was captured leads where FULLY_REFUNDED moves to, every other command where it moves itself."""
    command = TARGETS[to]
    if isinstance(TABLE[status][command], Compensate):
        return isinstance(cell := TABLE[status][Happened.FULLY_REFUNDED], Move) and cell.to is to
    return isinstance(TABLE[status][command], Move)


def diagram() -> str:
    """The table's moves as a Mermaid state diagram: ARCHITECTURE.md carries it, a test holds it current."""
    moves = [
        f"    {status} --> {cell.to}: {trigger}"
        for status, row in TABLE.items()
        for trigger, cell in row.items()
        if isinstance(cell, Move)
    ]
    return "\n".join(["stateDiagram-v2", "    [*] --> PENDING", *moves])
