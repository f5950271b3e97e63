"""Deadlines of orders: they fire, lock the order, and let the status table decide. Nobody ever cancels one. And what is done later."""

from datetime import timedelta
from uuid import UUID

from orders.checkout.store import DISCOUNTS
from orders.decisions import decide
from orders.domain import Act
from orders.handlers import DISCOUNT_RELEASE, HOLD, settle
from orders.life import holds
from orders.status import Happened, OrderStatus
from orders.store import ORDERS
from shared.jobs import Job, Jobs
from shared.tx import Tx

UNPAID = "orders.unpaid"
LOOK_AGAIN = timedelta(hours=1)
"""An order whose payment is being processed does not expire; a bank debit takes days."""

deadlines = Jobs()


@deadlines.on(UNPAID, ORDERS)
async def on_unpaid(job: Job, tx: Tx) -> None:
    order = tx.get(ORDERS, job.key)
    if order.payment_processing and order.status is OrderStatus.PENDING:
        tx.request(UNPAID, order.id, due_at=tx.now + LOOK_AGAIN)
        return
    settle(tx, decide(order, Happened.EXPIRED, Act(tx.now, "system", "nobody paid in time")))


@deadlines.on(HOLD, ORDERS)
async def on_hold(job: Job, tx: Tx) -> None:
    order, act = tx.get(ORDERS, job.key), Act(tx.now, "system", "the hold's deadline has passed")
    settle(tx, holds.deadline_passed(order, UUID(job.payload["hold_id"]), act))


@deadlines.on(DISCOUNT_RELEASE, DISCOUNTS)
async def on_discount_release(job: Job, tx: Tx) -> None:
    code = tx.find(DISCOUNTS, job.key)
    if code is not None:
        tx.save(DISCOUNTS, code.given_back(tx.now))
