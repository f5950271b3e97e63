"""Every query of notifications, with the caller's right to see a row in its WHERE; and how rows become objects."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select, true

from notifications.domain import Channel, Contact, Notification, Status
from notifications.tables import contacts, notifications
from shared.auth import Principal
from shared.db import Database
from shared.mapping import Mapping
from shared.visibility import visible_to

CONTACTS: Mapping[Contact] = Mapping(contacts, Contact, key="order_id")
NOTIFICATIONS: Mapping[Notification] = Mapping(
    notifications, Notification, owner="order_id", decode={"channel": Channel, "status": Status}
)


async def notifications_of(
    db: Database, principal: Principal, order_ids: Sequence[UUID]
) -> dict[UUID, list[Notification]]:
    """The notifications of those orders that the caller may see, oldest first; an order that it may not see is left out.

    Staff see everything; a shopper or a partner sees what went to the customer of its own orders.
    """
    mine = and_(notifications.c.order_id == contacts.c.order_id, _channel_visible(principal))
    found = await db.fetch(
        select(contacts.c.order_id.label("known_order_id"), *notifications.c)
        .select_from(contacts.outerjoin(notifications, mine))
        .where(contacts.c.order_id.in_(order_ids), visible_to(principal, contacts))
        .order_by(notifications.c.created_at, notifications.c.id)
    )
    seen: dict[UUID, list[Notification]] = {}
    for row in found:
        values = row._asdict()
        of_order = seen.setdefault(values.pop("known_order_id"), [])
        if row.id is not None:
            of_order.append(NOTIFICATIONS.entity_of(values))
    return seen


def _channel_visible(principal: Principal) -> ColumnElement[bool]:
    return true() if principal.is_staff else notifications.c.channel != Channel.SLACK
