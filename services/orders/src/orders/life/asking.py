"""How every mutation of an order's life runs: the command under lock, then the answer. The caller's right comes before its arguments."""

from collections.abc import Awaitable, Callable
from typing import Any

import strawberry

from orders.answering import answer_when, order_id_of, run
from orders.domain import Order
from orders.graph import OrderNode
from shared.auth import Principal
from shared.contracts.orders import OFFLINE
from shared.graphql import Info
from shared.tx import Tx

Asked = Callable[[str, Principal, Tx], Awaitable[str]]


def refunds_are_done(order: Order) -> bool:
    """Money that staff took goes back by hand, in its own time: that is not waited for."""
    return order.payment_method == OFFLINE or order.captured - order.refundable <= order.refunded


def at_once(_: Order) -> bool:
    """For what asks nothing of another service: a refund that is under way by itself is not waited for."""
    return True


async def ask(
    info: Info,
    field: str,
    given: strawberry.ID,
    arguments: dict[str, Any],
    command: Asked,
    ready: Callable[[Order], bool] = refunds_are_done,
) -> OrderNode:
    """The command on the locked order; answers when `ready`, or after the bounded wait."""
    principal, order_id = info.context.principal, order_id_of(given)
    await run(info, field, order_id, arguments, lambda tx: command(order_id, principal, tx))
    return await answer_when(info, order_id, ready)
