"""Many orders at once in the storefront graph."""

import strawberry

from orders import store
from orders.answering import node, order_id_of
from orders.graph import OrderNode
from orders.life import bulk
from orders.life.answers import OrderStatusError
from orders.life.inputs import notes_of
from orders.life.rights import require, right_to_set
from orders.status import OrderStatus
from orders.store import ORDERS
from shared.commands import execute, uuid_or
from shared.errors import Code, Refusal
from shared.graphql import Info


@strawberry.type(
    description="One order of many: `error` says why it stayed as it was; no order is one that is not found."
)
class OrderStatusResult:
    id: strawberry.ID
    order: OrderNode | None
    error: OrderStatusError | None


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="updateOrderStatus for up to 100 orders in one transaction; each is decided on its own."
    )
    async def update_orders_status(
        self,
        info: Info,
        ids: list[strawberry.ID],
        status: OrderStatus,
        notes: str | None = strawberry.UNSET,
    ) -> list[OrderStatusResult]:
        principal, service = info.context.principal, info.context.service
        require(principal, right_to_set(status))
        if not 1 <= len(ids) <= bulk.MAX_ORDERS:
            raise Refusal(Code.BAD_INPUT, f"ids are 1 to {bulk.MAX_ORDERS}")
        said, wanted = notes_of(notes) if notes else None, {given: _known(given) for given in ids}
        order_ids = sorted({order_id for order_id in wanted.values() if order_id is not None})
        limits = service.settings.refund_limits
        answer = await execute(
            service.db,
            "orders",
            lambda tx: bulk.update_many(order_ids, status, said, principal, limits, tx),
            (ORDERS, order_ids),
            correlation_id=info.context.correlation_id,
            once=info.context.once("updateOrdersStatus", {"ids": order_ids, "to": status, "notes": said}),
        )
        return await _results(info, wanted, bulk.refused_of(answer))


def _known(given: strawberry.ID) -> str | None:
    """What is no UUID is no order of ours."""
    try:
        return order_id_of(given)
    except Refusal:
        return None


async def _results(
    info: Info, wanted: dict[strawberry.ID, str | None], refused: bulk.Refused
) -> list[OrderStatusResult]:
    """In the order of the ids, each once."""
    keys = [order_id for order_id in wanted.values() if order_id is not None]
    unknown = Refusal(Code.ORDER_NOT_FOUND, "Order not found")
    found = await store.orders_by_id(
        info.context.service.db, info.context.principal, [uuid_or(key, unknown) for key in keys]
    )
    orders = {str(order.id): order for order in found.values()}
    results = []
    for given, order_id in wanted.items():
        order = orders.get(order_id or "")
        why = refused.get(order_id or "")
        if order is None and why is None:
            why = (unknown.code, unknown.message)
        results.append(
            OrderStatusResult(
                id=given,
                order=node(info, order) if order else None,
                error=OrderStatusError(code=why[0], message=why[1]) if why else None,
            )
        )
    return results
