"""Commands that change what an order is made of before it goes out: items, address, holds. Refusals are typed."""

from datetime import datetime
from typing import Any

from orders.access import mine
from orders.checkout.taxes import Taxes
from orders.domain import Hold, WayOut
from orders.life import holds, items
from orders.life.commands import Pieces, act_of, settle_or_refuse
from shared.auth import Principal
from shared.commands import uuid_or
from shared.errors import Code, Refusal
from shared.tx import Tx

MAX_HOLDS = 50
"""Of one order, over its whole life."""


async def cancel_items(order_id: str, pieces: Pieces, reason: str, principal: Principal, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND, NOT_CANCELLABLE, ON_HOLD or BAD_INPUT."""
    order = mine(order_id, principal, tx)
    decision = items.cancel_items(order, items.chosen(order, pieces), act_of(principal, reason, tx))
    settle_or_refuse(tx, decision, Code.NOT_CANCELLABLE)
    return order_id


async def edit(
    order_id: str,
    address: dict[str, Any] | None,
    kept: Pieces,
    version: str,
    taxes: Taxes,
    principal: Principal,
    tx: Tx,
) -> str:
    """`version` is the one of the preview. Raises Refusal ORDER_NOT_FOUND, ORDER_CHANGED, or as the preview does."""
    order = mine(order_id, principal, tx)
    if version.partition("-")[0] != items.edition(order):
        raise Refusal(Code.ORDER_CHANGED, "The order has changed since: preview the edit again")
    act = act_of(principal, "edited", tx)
    decision = items.edit(order, address, items.fewer(order, kept), taxes, act)
    if decision.refused is None and version != items.version_of(order, decision.order):
        raise Refusal(
            Code.ORDER_CHANGED, "That edit comes to something else than the previewed one: preview it"
        )
    settle_or_refuse(tx, decision)
    return order_id


async def hold(
    order_id: str, reason: str, deadline: datetime | None, way_out: WayOut, principal: Principal, tx: Tx
) -> str:
    """Raises Refusal ORDER_NOT_FOUND, INVALID_TRANSITION or BAD_INPUT. The same hold again is that hold."""
    order = mine(order_id, principal, tx)
    if deadline is None and way_out is not WayOut.STAFF:
        raise Refusal(Code.BAD_INPUT, "A way out is taken at a deadline: name one")
    if deadline is not None and deadline <= tx.now:
        raise Refusal(Code.BAD_INPUT, "The deadline has passed already")
    if any(_is_same(known, reason, deadline, way_out) for known in order.open_holds):
        return order_id
    if len(order.holds) >= MAX_HOLDS:
        raise Refusal(Code.BAD_INPUT, f"An order is held {MAX_HOLDS} times at most")
    settle_or_refuse(tx, holds.hold(order, act_of(principal, reason, tx), way_out, deadline))
    return order_id


def _is_same(known: Hold, reason: str, deadline: datetime | None, way_out: WayOut) -> bool:
    return (known.reason, known.deadline, known.way_out) == (reason, deadline, way_out)


async def release_hold(order_id: str, hold_id: str, principal: Principal, tx: Tx) -> str:
    """Raises Refusal ORDER_NOT_FOUND or BAD_INPUT for a hold that the order never had."""
    order = mine(order_id, principal, tx)
    unknown = Refusal(Code.BAD_INPUT, "The order has no such hold")
    wanted = uuid_or(hold_id, unknown)
    if not any(known.id == wanted for known in order.holds):
        raise unknown
    settle_or_refuse(tx, holds.release(order, wanted, act_of(principal, "released by staff", tx)))
    return order_id
