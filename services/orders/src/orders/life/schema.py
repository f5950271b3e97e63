"""What people do with an order that is placed: seed A's mutations, and those of `life.edit_schema`."""

from collections.abc import Awaitable

import strawberry
from strawberry.tools import merge_types

from orders.domain import NO_REASON
from orders.graph import OrderNode
from orders.life import bulk_schema, commands, edit_schema
from orders.life.asking import ask, at_once, refunds_are_done
from orders.life.inputs import (
    ItemQuantityInput,
    UpdateOrderShippingInput,
    UpdateOrderStatusInput,
    link,
    notes_of,
    optional,
    pieces,
    reason_of,
    required,
)
from orders.life.rights import NOTES, RIGHTS, require, right_to_set
from orders.status import Command, OrderStatus
from shared.auth import Principal
from shared.graphql import Info
from shared.tx import Tx

REFUNDING = frozenset({OrderStatus.CANCELLED, OrderStatus.REFUNDED})
"""To become one of these gives money back."""


@strawberry.type
class _Seed:
    @strawberry.mutation(
        description="Takes the command that leads to the status; INVALID_TRANSITION names the `allowed` ones."
        " PROCESSING is a payment taken offline, SHIPPED all of it handed over by hand, REFUNDED a full refund."
    )
    async def update_order_status(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - seed A's name
        input: UpdateOrderStatusInput,  # noqa: A002 - seed A's name
    ) -> OrderNode:
        to = input.status
        require(info.context.principal, right_to_set(to))
        notes = notes_of(input.notes) if input.notes else None
        limits = info.context.service.settings.refund_limits
        ready = refunds_are_done if to in REFUNDING else at_once

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.update_status(order_id, to, notes, principal, limits, tx)

        return await ask(info, "updateOrderStatus", id, {"status": to, "notes": notes}, command, ready)

    @strawberry.mutation(
        description="Writes carrier, service and tracking down without moving the order."
        " A tracking number that changes has no trackingUrl until one is given."
    )
    async def update_order_shipping(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - seed A's name
        input: UpdateOrderShippingInput,  # noqa: A002 - seed A's name
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.TRACK])
        given = {
            "carrier": required("carrier", input.carrier),
            "service": required("service", input.service),
            "tracking": optional("trackingNumber", input.tracking_number or None),
            "tracking_url": link("trackingUrl", input.tracking_url or None),
        }

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.update_shipping(order_id, **given, principal=principal, tx=tx)  # type: ignore[arg-type] # carrier and service are there

        return await ask(info, "updateOrderShipping", id, given, command, at_once)

    @strawberry.mutation(
        description="A paid order has left with it and becomes SHIPPED; any other only remembers it."
    )
    async def add_order_tracking(self, info: Info, id: strawberry.ID, tracking: str) -> OrderNode:  # noqa: A002 - seed A's name
        require(info.context.principal, RIGHTS[Command.TRACK])
        number = required("tracking", tracking)

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.add_tracking(order_id, number, principal, tx)

        return await ask(info, "addOrderTracking", id, {"tracking": number}, command, at_once)

    @strawberry.mutation(
        description="A paid order's refund is requested in the same moment. The reason is told to the shopper."
    )
    async def cancel_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - seed A's name
        reason: str | None = strawberry.UNSET,
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.CANCEL])
        said = reason_of(reason or None, NO_REASON)

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.cancel(order_id, principal, said, tx)

        arguments = {"reason": reason} if reason else {}
        return await ask(info, "cancelOrder", id, arguments, command)

    @strawberry.mutation(
        description="Staff's refund: of all that is left, of an amount, or of pieces of items. An amount is for no item in"
        " particular; the last piece of an item takes what rounding left of its discount and tax. The reason is told to the shopper."
    )
    async def refund_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - seed A's name
        amount: float | None = strawberry.UNSET,
        reason: str | None = strawberry.UNSET,
        items: list[ItemQuantityInput] | None = strawberry.UNSET,
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.REFUND])
        amount = None if amount is strawberry.UNSET else amount
        items = None if items is strawberry.UNSET else items
        said, of = reason_of(reason or None), None if items is None else pieces(items)
        limits = info.context.service.settings.refund_limits

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.refund(order_id, amount, of, said, principal, limits, tx)

        arguments = {"amount": amount, "reason": reason or None} | ({"items": of} if of else {})
        return await ask(info, "refundOrder", id, arguments, command)

    @strawberry.mutation(
        description="Asks once more for a refund that failed (`payment.refunds` has its id): the same money, whatever it was for."
    )
    async def retry_refund(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - as in seed A
        refund_id: strawberry.ID,
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.REFUND_AGAIN])
        limits = info.context.service.settings.refund_limits

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.refund_again(order_id, str(refund_id), principal, limits, tx)

        return await ask(info, "retryRefund", id, {"refundId": str(refund_id)}, command)

    @strawberry.mutation
    async def mark_order_delivered(self, info: Info, id: strawberry.ID) -> OrderNode:  # noqa: A002 - seed A's name
        require(info.context.principal, RIGHTS[Command.MARK_DELIVERED])
        return await ask(info, "markOrderDelivered", id, {}, commands.mark_delivered, at_once)

    @strawberry.mutation(description="For staff's eyes only.")
    async def update_order_notes(self, info: Info, id: strawberry.ID, notes: str) -> OrderNode:  # noqa: A002 - seed A's name
        require(info.context.principal, NOTES)
        said = notes_of(notes)

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.update_notes(order_id, said, principal, tx)

        return await ask(info, "updateOrderNotes", id, {"notes": said}, command, at_once)


Mutation = merge_types("Mutation", (_Seed, edit_schema.Mutation, bulk_schema.Mutation))
Query = edit_schema.Query
