"""Items, edits, holds, metadata and the explanation of an order, in the storefront graph."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import strawberry

from orders import store
from orders.access import actor_of, not_found
from orders.answering import time_of
from orders.checkout.inputs import AddressInput, address_of
from orders.domain import Act, Order, WayOut
from orders.graph import OrderNode, TimelineEntry, load_order
from orders.life import commands, edits, items
from orders.life.answers import OrderEdit, OrderExplanation
from orders.life.asking import ask, at_once
from orders.life.commands import refuse
from orders.life.explanation import explain
from orders.life.inputs import ItemQuantityInput, kept, pieces, reason_of, required
from orders.life.rights import NOTES, RIGHTS, require
from orders.metadata import Metadata
from orders.status import Command
from shared.auth import Principal
from shared.errors import Code
from shared.graphql import Info
from shared.tx import Tx


@strawberry.input(
    description="The new address, and how many pieces of items are still wanted: fewer than now. What is left out stays."
)
class OrderEditInput:
    shipping_address: AddressInput | None = strawberry.UNSET
    items: list[ItemQuantityInput] | None = strawberry.UNSET

    def address(self) -> dict[str, Any] | None:
        return address_of(self.shipping_address) if self.shipping_address else None

    def kept(self) -> list[tuple[str, int]]:
        return kept(self.items or [])


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Takes pieces out of a paid order that are in no parcel yet; their price, less their discount, plus their"
        " tax, goes back. Without any piece left the order is cancelled, and everything goes back."
    )
    async def cancel_order_items(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - as in seed A
        items: list[ItemQuantityInput],
        reason: str | None = strawberry.UNSET,
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.CANCEL_ITEMS])
        wanted, said = pieces(items), reason_of(reason or None, "not wanted")

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return edits.cancel_items(order_id, wanted, said, principal, tx)

        return await ask(info, "cancelOrderItems", id, {"items": wanted, "reason": said}, command)

    @strawberry.mutation(
        description="Does what previewOrderEdit told, in one step; ORDER_CHANGED when the order, or the edit, is not the previewed one."
    )
    async def edit_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - as in seed A
        input: OrderEditInput,  # noqa: A002 - as in seed A
        version: str,
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.EDIT_ADDRESS])
        address, wanted = input.address(), input.kept()
        taxes = info.context.service.checkout.terms.taxes

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return edits.edit(order_id, address, wanted, version, taxes, principal, tx)

        arguments = {"input": input, "version": version}
        return await ask(info, "editOrder", id, arguments, command)

    @strawberry.mutation(
        description="Keeps a paid order from going out. At `deadline` (ISO 8601) the way out is taken, if it is still held."
    )
    async def hold_order(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - as in seed A
        reason: str,
        deadline: str | None = strawberry.UNSET,
        way_out: WayOut = WayOut.STAFF,
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.HOLD])
        why, until = required("reason", reason), time_of("deadline", deadline)

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return edits.hold(order_id, why, until, way_out, principal, tx)

        arguments = {"reason": why, "deadline": until, "wayOut": way_out}
        return await ask(info, "holdOrder", id, arguments, command, at_once)

    @strawberry.mutation(description="Ends one hold; the order may go out when none is left.")
    async def release_hold(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - as in seed A
        hold_id: strawberry.ID,
    ) -> OrderNode:
        require(info.context.principal, RIGHTS[Command.RELEASE])

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return edits.release_hold(order_id, str(hold_id), principal, tx)

        return await ask(info, "releaseHold", id, {"holdId": str(hold_id)}, command, at_once)

    @strawberry.mutation(
        description="Sets the names that are given, drops those that are null; all others stay."
    )
    async def update_order_metadata(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - as in seed A
        metadata: Metadata,
    ) -> OrderNode:
        require(info.context.principal, NOTES)

        def command(order_id: str, principal: Principal, tx: Tx) -> Awaitable[str]:
            return commands.update_metadata(order_id, metadata, principal, tx)

        return await ask(info, "updateOrderMetadata", id, {"metadata": metadata}, command, at_once)


@strawberry.type
class Query:
    @strawberry.field(description="What an edit would come to; nothing is changed.")
    async def preview_order_edit(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - as in seed A
        input: OrderEditInput,  # noqa: A002 - as in seed A
    ) -> OrderEdit:
        principal = info.context.principal
        require(principal, RIGHTS[Command.EDIT_ADDRESS])
        order = await _order(info, id)
        act = Act(datetime.now(UTC), actor_of(principal), "edited")
        address, kept = input.address(), input.kept()
        taxes = info.context.service.checkout.terms.taxes
        decision = items.edit(order, address, items.fewer(order, kept), taxes, act)
        refuse(decision, Code.INVALID_TRANSITION)
        return OrderEdit.of(order, decision.order)

    @strawberry.field(
        description="The order's state, its money, what it waits for, and who may do what next."
    )
    async def explain_order(self, info: Info, id: strawberry.ID) -> OrderExplanation:  # noqa: A002 - as in seed A
        info.context.principal.require_signed_in()
        order, for_staff = await _order(info, id), info.context.principal.is_staff
        service = info.context.service
        expiry = timedelta(seconds=service.settings.unpaid_expiry)
        explained = explain(order, datetime.now(UTC), expiry, for_staff=for_staff)
        row = await store.latest_entry(service.db, order.id)
        decided = None if row is None else TimelineEntry.of(row, for_staff=for_staff)
        return OrderExplanation.of(order, explained, decided, for_staff=for_staff)


async def _order(info: Info, given: strawberry.ID) -> Order:
    order = await load_order(info, str(given))
    if order is None:
        raise not_found()
    return order
