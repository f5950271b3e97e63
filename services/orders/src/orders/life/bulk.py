"""One status for many orders: each decides for itself, all of them in one transaction."""

import json
from collections.abc import Sequence

from orders.life.commands import Limits, update_status
from orders.status import OrderStatus
from shared.auth import Principal
from shared.errors import Code, Refusal
from shared.tx import Tx

MAX_ORDERS = 100
Refused = dict[str, tuple[Code, str]]
"""By order id: why it stayed as it was."""


async def update_many(
    order_ids: Sequence[str],
    to: OrderStatus,
    notes: str | None,
    principal: Principal,
    limits: Limits,
    tx: Tx,
) -> str:
    """Answers `Refused` as text: an Idempotency-Key stands for it. What a refused order had begun is undone."""
    refused: Refused = {}
    for order_id in order_ids:
        tx.begin_message(tx.cause)
        try:
            await update_status(order_id, to, notes, principal, limits, tx)
        except Refusal as refusal:
            tx.undo_message()
            refused[order_id] = (refusal.code, refusal.message)
    return json.dumps(refused)


def refused_of(answer: str) -> Refused:
    return {order_id: (Code(code), message) for order_id, (code, message) in json.loads(answer).items()}
