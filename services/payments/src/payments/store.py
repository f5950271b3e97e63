"""How payments and refunds live in their tables, and every read of them: nobody sees a row that is not theirs to see."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, select

from payments.domain import Payment, PaymentState
from payments.refunds import Refund, RefundState
from payments.tables import payments, refunds
from shared.auth import Principal
from shared.db import Database
from shared.mapping import Mapping
from shared.statements import Statement, one_of
from shared.visibility import Reading, visible

PAYMENTS = Mapping(payments, Payment, key="order_id", decode={"status": PaymentState})
REFUNDS = Mapping(refunds, Refund, owner="order_id", decode={"status": RefundState})


_PAYMENTS = Reading(lambda role: select(payments).where(one_of(payments.c.order_id), visible(role, payments)))
_REFUNDS = Reading(
    lambda role: (
        select(refunds)
        .join(payments, payments.c.order_id == refunds.c.order_id)
        .where(one_of(refunds.c.order_id), visible(role, payments))
        .order_by(refunds.c.created_at, refunds.c.id)
    )
)
_OF_INTENT = Statement(
    select(payments.c.order_id).where(payments.c.payment_intent_id == bindparam("intent", type_=Text))
)
_OF_REFUND = Statement(select(refunds.c.order_id).where(refunds.c.id == bindparam("refund", type_=Uuid)))


async def find_payments(
    db: Database, principal: Principal, order_ids: Sequence[UUID]
) -> list[Payment | None]:
    """The orders' payments, in the order of the ids; None where there is none that the principal may see."""
    rows = await _PAYMENTS.fetch(db, principal, ids=list(order_ids))
    found = {row.order_id: PAYMENTS.entity_of_values(row) for row in rows}
    return [found.get(order_id) for order_id in order_ids]


async def find_refunds(db: Database, principal: Principal, order_ids: Sequence[UUID]) -> list[list[Refund]]:
    """The orders' refunds, oldest first, in the order of the ids; none of what the principal may not see."""
    found: dict[UUID, list[Refund]] = {order_id: [] for order_id in order_ids}
    for row in await _REFUNDS.fetch(db, principal, ids=list(order_ids)):
        found[row.order_id].append(REFUNDS.entity_of_values(row))
    return [found[order_id] for order_id in order_ids]


async def order_of_refund(db: Database, refund_id: UUID) -> UUID | None:
    """For staff: which order a refund is of; None for one that is unknown."""
    rows = await db.fetch(_OF_REFUND, {"refund": refund_id})
    return rows[0].order_id if rows else None


async def order_of_intent(db: Database, payment_intent_id: str) -> UUID | None:
    """Which order an intent of ours is for; None for an intent that is not ours."""
    rows = await db.fetch(_OF_INTENT, {"intent": payment_intent_id})
    return rows[0].order_id if rows else None
