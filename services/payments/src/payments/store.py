"""How payments and refunds live in their tables, and every read of them: nobody sees a row that is not theirs to see."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from payments.domain import Payment, PaymentState
from payments.refunds import Refund, RefundState
from payments.tables import payments, refunds
from shared.auth import Principal
from shared.db import Database
from shared.mapping import Mapping
from shared.visibility import visible_to

PAYMENTS = Mapping(payments, Payment, key="order_id", decode={"status": PaymentState})
REFUNDS = Mapping(refunds, Refund, owner="order_id", decode={"status": RefundState})


async def find_payments(
    db: Database, principal: Principal, order_ids: Sequence[UUID]
) -> list[Payment | None]:
    """The orders' payments, in the order of the ids; None where there is none that the principal may see."""
    wanted = select(payments).where(payments.c.order_id.in_(order_ids), visible_to(principal, payments))
    found = {row.order_id: PAYMENTS.entity_of(row._asdict()) for row in await db.fetch(wanted)}
    return [found.get(order_id) for order_id in order_ids]


async def find_refunds(db: Database, principal: Principal, order_ids: Sequence[UUID]) -> list[list[Refund]]:
    """The orders' refunds, oldest first, in the order of the ids; none of what the principal may not see."""
    wanted = (
        select(refunds)
        .join(payments, payments.c.order_id == refunds.c.order_id)
        .where(refunds.c.order_id.in_(order_ids), visible_to(principal, payments))
        .order_by(refunds.c.created_at, refunds.c.id)
    )
    found: dict[UUID, list[Refund]] = {order_id: [] for order_id in order_ids}
    for row in await db.fetch(wanted):
        found[row.order_id].append(REFUNDS.entity_of(row._asdict()))
    return [found[order_id] for order_id in order_ids]


async def order_of_intent(db: Database, payment_intent_id: str) -> UUID | None:
    """Which order an intent of ours is for; None for an intent that is not ours."""
    wanted = select(payments.c.order_id).where(payments.c.payment_intent_id == payment_intent_id)
    rows = await db.fetch(wanted)
    return rows[0].order_id if rows else None
