"""What every resolver of orders shares: the arguments' checks, the command's run, and the answer as the caller may see it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import strawberry

from orders.access import not_found
from orders.domain import Order
from orders.graph import OrderNode
from orders.store import ORDERS
from shared.auth import Principal
from shared.commands import Command, execute, uuid_or
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.texts import checked
from shared.visibility import may_see

MAX_TEXT = 500
_YEARS = range(2000, 2200)


def node(info: Info, order: Order) -> OrderNode:
    return OrderNode.of(order, for_staff=info.context.principal.is_staff)


async def run(info: Info, field: str, order_id: str, arguments: dict[str, Any], command: Command) -> None:
    """Run the command on the locked order, once for an Idempotency-Key. Raises Refusal."""
    await execute(
        info.context.service.db,
        "orders",
        command,
        (ORDERS, [order_id]),
        correlation_id=info.context.correlation_id,
        once=info.context.once(field, {"id": order_id, **arguments}),
    )


def order_id_of(given: strawberry.ID) -> str:
    """The one way to write an order's id: locks, waits and idempotency keys go by it."""
    return str(uuid_or(str(given), not_found()))


async def answer_when(
    info: Info,
    order_id: str,
    ready: Callable[[Order], bool],
    known: Order | None = None,
    caller: Principal | None = None,
) -> OrderNode:
    """Re-read until the other services' outcome is in, or the bounded wait is over: then the order as it stands.

    `caller` is who may see it, if that is not the request's own: a guest, who got its token by this very request.
    """
    service, principal = info.context.service, caller or info.context.principal
    key = uuid_or(order_id, not_found())

    async def read() -> Order:
        order: Order | None = await service.readings.load(key)
        if order is None or not may_see(principal, order):
            raise not_found()
        return order

    wait = service.settings.outcome_wait
    return node(info, await service.waits.until(order_id, read, ready, wait, known=known))


def text(name: str, value: str) -> str:
    """One line of at most MAX_TEXT characters. Raises Refusal BAD_INPUT."""
    return checked(name, value, MAX_TEXT)


def time_of(name: str, value: str | None) -> datetime | None:
    """ISO 8601 with an offset, as UTC; None for what was left out. Raises Refusal BAD_INPUT, which tells the argument's name."""
    if not value:
        return None
    try:
        at = datetime.fromisoformat(text(name, value))
    except ValueError:
        at = None
    if at is not None and at.year not in _YEARS:
        raise Refusal(
            Code.BAD_INPUT, f"{name} is between the years {_YEARS[0]} and {_YEARS[-1]}", argument=name
        )
    if at is None or at.tzinfo is None:
        message = f"{name} is a time in ISO 8601 with its offset, such as 2026-12-24T00:00:00Z"
        raise Refusal(Code.BAD_INPUT, message, argument=name)
    return at.astimezone(UTC)
