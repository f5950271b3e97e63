"""The subgraph: what was sent about an order. Staff see all of it; a customer what went to the customer, addresses masked."""

from collections.abc import Sequence
from uuid import UUID

import strawberry

from notifications import domain, store
from shared.auth import Principal
from shared.db import Database
from shared.graphql import Info, iso, maybe_iso

strawberry.enum(domain.Channel, name="NotificationChannel")
strawberry.enum(domain.Status, name="NotificationStatus")


@strawberry.type
class Notification:
    """Times are ISO 8601 in UTC. `recipient` is whole for staff only, and null where there was none."""

    id: strawberry.ID
    channel: domain.Channel
    template: str
    status: domain.Status
    created_at: str
    sent_at: str | None
    failure_reason: str | None
    recipient: str | None

    @classmethod
    def of(cls, notification: domain.Notification, principal: Principal) -> "Notification":
        recipient = notification.recipient
        return cls(
            id=strawberry.ID(str(notification.id)),
            channel=notification.channel,
            template=notification.template,
            status=notification.status,
            created_at=iso(notification.created_at),
            sent_at=maybe_iso(notification.sent_at),
            failure_reason=notification.failure_reason,
            recipient=recipient if principal.is_staff or not recipient else domain.masked(recipient),
        )


@strawberry.federation.type(keys=["id"])
class Order:
    """An order, as far as messages about it go. Null where the caller may not see it, or we have not heard of it yet."""

    id: strawberry.ID
    notifications: list[Notification] | None

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> "Order | None":  # noqa: A002 - the key's name
        context = info.context

        async def load(ids: list[str]) -> list[Order | None]:
            return await _orders(context.service.db, context.principal, ids)

        found: Order | None = await context.loader("orders", load).load(id)
        return found


async def _orders(db: Database, principal: Principal, ids: Sequence[str]) -> list[Order | None]:
    known = {given: order_id for given in ids if (order_id := _uuid(given)) is not None}
    seen = await store.notifications_of(db, principal, list(known.values()))
    return [_order(given, seen.get(known[given]), principal) if given in known else None for given in ids]


def _order(given: str, of_order: list[domain.Notification] | None, principal: Principal) -> Order | None:
    if of_order is None:
        return None
    return Order(id=strawberry.ID(given), notifications=[Notification.of(one, principal) for one in of_order])


def _uuid(given: str) -> UUID | None:
    try:
        return UUID(given)
    except ValueError:
        return None


schema = strawberry.federation.Schema(types=[Order])
