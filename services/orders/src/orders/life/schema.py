"""What people do with an order that is placed: cancel, refund, deliver."""

import strawberry

from orders.answering import MAX_TEXT, order_id_of, run, settled
from orders.graph import OrderNode
from orders.life import commands
from shared.graphql import Info
from shared.texts import checked


@strawberry.type
class Mutation:
    @strawberry.mutation(description="A paid order's refund is requested in the same moment.")
    async def cancel_order(self, info: Info, id: strawberry.ID) -> OrderNode:  # noqa: A002 - seed A's name
        principal = info.context.principal
        principal.require_signed_in()
        order_id = order_id_of(id)
        await run(
            info,
            "cancelOrder",
            order_id,
            {},
            lambda tx: commands.cancel(order_id, principal, "cancelled", tx),
        )
        return await settled(info, order_id, lambda order: order.refunded >= order.captured)

    @strawberry.mutation(description="Staff's refund, in full or in part.")
    async def refund_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - seed A's name
        amount: float | None = None,
        reason: str | None = None,
    ) -> OrderNode:
        principal = info.context.principal
        principal.require_staff()
        order_id = order_id_of(id)
        said = checked("reason", reason or "", MAX_TEXT, lines=True)
        await run(
            info,
            "refundOrder",
            order_id,
            {"amount": amount, "reason": reason},
            lambda tx: commands.refund(order_id, amount, said, principal, tx),
        )
        return await settled(
            info, order_id, lambda order: order.captured - order.refundable <= order.refunded
        )

    @strawberry.mutation
    async def mark_order_delivered(self, info: Info, id: strawberry.ID) -> OrderNode:  # noqa: A002 - seed A's name
        principal = info.context.principal
        principal.require_staff()
        order_id = order_id_of(id)
        await run(
            info,
            "markOrderDelivered",
            order_id,
            {},
            lambda tx: commands.mark_delivered(order_id, principal, tx),
        )
        return await settled(info, order_id, lambda _: True)
