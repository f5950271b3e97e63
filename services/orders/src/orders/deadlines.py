"""Deadlines of orders: they fire, lock the order, and let the status table decide. Nobody ever cancels one."""

from orders.domain import Act, decide
from orders.handlers import settle
from orders.status import Happened
from orders.store import ORDERS
from shared.jobs import Job, Jobs
from shared.tx import Tx

UNPAID = "orders.unpaid"

deadlines = Jobs()


@deadlines.on(UNPAID, ORDERS)
async def on_unpaid(job: Job, tx: Tx) -> None:
    order = tx.get(ORDERS, job.key)
    settle(tx, decide(order, Happened.EXPIRED, Act(tx.now, "system", "nobody paid in time")))
