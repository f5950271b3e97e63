"""Every query of notifications, with the caller's right to see a row in its WHERE; and how rows become objects."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, select, true

from notifications.domain import Channel, Contact, Notification, Status
from notifications.tables import contacts, notifications
from shared.auth import Principal, Role
from shared.db import Database
from shared.mapping import Mapping
from shared.statements import one_of
from shared.visibility import Reading, visible

CONTACTS: Mapping[Contact] = Mapping(contacts, Contact, key="order_id")
NOTIFICATIONS: Mapping[Notification] = Mapping(
    notifications, Notification, owner="order_id", decode={"channel": Channel, "status": Status}
)


def _of_orders(role: Role) -> Select[Any]:
    theirs = true() if role is Role.STAFF else notifications.c.channel != Channel.SLACK
    mine = and_(notifications.c.order_id == contacts.c.order_id, theirs)
    return (
        select(contacts.c.order_id.label("known_order_id"), *notifications.c)
        .select_from(contacts.outerjoin(notifications, mine))
        .where(one_of(contacts.c.order_id), visible(role, contacts))
        .order_by(notifications.c.created_at, notifications.c.id)
    )


_OF_ORDERS = Reading(_of_orders)


async def notifications_of(
    db: Database, principal: Principal, order_ids: Sequence[UUID]
) -> dict[UUID, list[Notification]]:
    """The notifications of those orders that the caller may see, oldest first; an order that it may not see is left out.

    Staff see everything; a shopper or a partner sees what went to the customer of its own orders.
    """
    found = await _OF_ORDERS.fetch(db, principal, ids=list(order_ids))
    seen: dict[UUID, list[Notification]] = {}
    for row in found:
        values = row._asdict()
        of_order = seen.setdefault(values.pop("known_order_id"), [])
        if row.id is not None:
            of_order.append(NOTIFICATIONS.entity_of(values))
    return seen
