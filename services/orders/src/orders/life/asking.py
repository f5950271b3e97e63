"""How every mutation of an order's life runs: the caller's right, the command under lock, the answer."""

from collections.abc import Awaitable, Callable
from typing import Any

import strawberry

from orders.answering import order_id_of, run, settled
from orders.domain import Order
from orders.graph import OrderNode
from orders.life.rights import Right, require
from shared.auth import Principal
from shared.graphql import Info
from shared.tx import Tx

Asked = Callable[[str, Principal, Tx], Awaitable[str]]


def refunds_are_done(order: Order) -> bool:
    return order.captured - order.refundable <= order.refunded


async def ask(
    info: Info,
    field: str,
    given: strawberry.ID,
    right: Right,
    arguments: dict[str, Any],
    command: Asked,
    ready: Callable[[Order], bool] = refunds_are_done,
) -> OrderNode:
    """The command on the locked order for a caller who has the right; answers when `ready`, or after the bounded wait."""
    principal = info.context.principal
    require(principal, right)
    order_id = order_id_of(given)
    await run(info, field, order_id, arguments, lambda tx: command(order_id, principal, tx))
    return await settled(info, order_id, ready)
