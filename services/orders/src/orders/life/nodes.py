"""The graph's types of an order's items and holds."""

from typing import Self

import strawberry

from orders.domain import Hold, ItemStatus, WayOut
from shared.graphql import iso, maybe_iso

strawberry.enum(
    ItemStatus,
    description="How far the pieces of an item have come that are still wanted. IN_FULFILMENT as soon as one of them has a label or"
    " is out; SHIPPED, DELIVERED and RETURNED when all are.",
)
strawberry.enum(
    WayOut,
    name="HoldWayOut",
    description="How a hold ends at its deadline: by itself, with the order cancelled, or not before staff say so.",
)


@strawberry.type(description="Paid, but it must not go out. Why and by whom is for staff.")
class OrderHold:
    id: strawberry.ID
    reason: str | None
    held_by: str | None
    held_at: str
    deadline: str | None
    way_out: WayOut | None
    released_at: str | None

    @classmethod
    def of(cls, hold: Hold, *, for_staff: bool) -> Self:
        return cls(
            id=strawberry.ID(str(hold.id)),
            reason=hold.reason if for_staff else None,
            held_by=hold.held_by if for_staff else None,
            held_at=iso(hold.held_at),
            deadline=maybe_iso(hold.deadline),
            way_out=hold.way_out if for_staff else None,
            released_at=maybe_iso(hold.released_at),
        )
