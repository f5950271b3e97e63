"""Two who ask the same of an order at once, on a real database: whoever is first, the books are right."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from orders.deadlines import deadlines
from orders.domain import Order, WayOut
from orders.handlers import HOLD
from orders.life import edits
from orders.status import OrderStatus
from orders.store import ORDERS
from shared.commands import execute
from shared.errors import Code, Refusal
from shared.ids import uuid7
from shared.jobs import Job
from shared.tx import Tx
from support.counter import Counter, captured, labelled
from support.orders import SHOPPER, STAFF, a_line

ROUNDS = 12
CANCEL = "mutation($id: ID!) { cancelOrder(id: $id) { status } }"
REFUND = "mutation($id: ID!, $amount: Float) { refundOrder(id: $id, amount: $amount) { status } }"
SHIP = "mutation($id: ID!) { updateOrderStatus(id: $id, input: {status: SHIPPED}) { status } }"
CANCEL_ITEMS = (
    "mutation($id: ID!, $items: [ItemQuantityInput!]!) { cancelOrderItems(id: $id, items: $items) { id } }"
)
MANY = "mutation($ids: [ID!]!) { updateOrdersStatus(ids: $ids, status: CANCELLED) { error { code } } }"


async def at_once(*work: Coroutine[Any, Any, Any]) -> list[Code | None]:
    """The refusals, in the order of the work; whatever else goes wrong is raised."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Refusal):
            raise result
    return [result.code if isinstance(result, Refusal) else None for result in results]


async def test_cancel_and_capture_at_once_never_keep_the_money(counter: Counter) -> None:
    for _ in range(ROUNDS):
        order = await counter.place(come_to="placed")
        cancel = counter.ask(CANCEL, SHOPPER, id=str(order.id))
        assert await at_once(cancel, counter.hear(captured(order))) == [None, None]
        after = await counter.read(order)
        assert after.status is OrderStatus.CANCELLED
        assert [refund.amount for refund in after.refunds] == [order.total]


async def test_of_two_refunds_of_60_on_100_one_is_refused(counter: Counter) -> None:
    for _ in range(ROUNDS):
        order = await counter.place(a_line(1, 1, 9401), come_to="delivered")
        assert order.total == 10_000
        refunds = [counter.ask(REFUND, id=str(order.id), amount=60.0) for _ in range(2)]
        assert sorted(map(str, await at_once(*refunds))) == ["None", "REFUND_EXCEEDS_CAPTURED"]
        after = await counter.read(order)
        assert [refund.amount for refund in after.refunds] == [6_000]


async def test_of_ship_and_cancel_one_is_refused(counter: Counter) -> None:
    for _ in range(ROUNDS):
        order = await counter.place()
        shipped, cancelled = await at_once(
            counter.ask(SHIP, id=str(order.id)), counter.ask(CANCEL, SHOPPER, id=str(order.id))
        )
        after = await counter.read(order)
        if after.status is OrderStatus.SHIPPED:
            assert (shipped, cancelled, after.refunds) == (None, Code.NOT_CANCELLABLE, ())
        else:
            assert (shipped, cancelled) == (Code.INVALID_TRANSITION, None)
            assert after.status is OrderStatus.CANCELLED
            assert after.refundable == 0


async def test_items_are_cancelled_before_their_label_or_not_at_all(counter: Counter) -> None:
    for _ in range(ROUNDS):
        order = await counter.place(a_line(1, 3), a_line(2))
        items = [{"itemId": f"{order.id}:1", "quantity": 2}]
        refusal, _ = await at_once(
            counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=items),
            counter.hear(labelled(order, uuid4(), {1: 3})),
        )
        line = (await counter.read(order)).lines[0]
        refunds = [refund.amount for refund in (await counter.read(order)).refunds]
        if refusal is None:
            assert (line.cancelled, line.in_fulfilment, refunds) == (2, 1, [line.worth(2)])
        else:
            assert refusal is Code.NOT_CANCELLABLE
            assert (line.cancelled, line.in_fulfilment, refunds) == (0, 3, [])


@pytest.mark.parametrize("way_out", [WayOut.RELEASE, WayOut.CANCEL])
async def test_a_hold_ends_once_by_its_deadline_or_by_its_release(counter: Counter, way_out: WayOut) -> None:
    for _ in range(ROUNDS):
        order = await counter.place()
        hold_id = await held(counter, order, way_out)
        await at_once(passes(counter, order, hold_id), released(counter, order, hold_id))
        after = await counter.read(order)
        assert after.open_holds == ()
        assert (await counter.said(order)).count("order.released") == 1
        assert after.refundable == (order.total if after.status is OrderStatus.PROCESSING else 0)


async def passes(counter: Counter, order: Order, hold_id: str) -> None:
    """The hold's deadline."""
    job = Job(uuid7(), HOLD, str(order.id), {"hold_id": hold_id}, 1, "t", datetime.now(UTC))
    await locked(counter, order, lambda tx: deadlines.local[HOLD].handle(job, tx))


async def released(counter: Counter, order: Order, hold_id: str) -> None:
    await locked(counter, order, lambda tx: edits.release_hold(str(order.id), hold_id, STAFF, tx))


async def held(counter: Counter, order: Order, way_out: WayOut) -> str:
    until = datetime.now(UTC) + timedelta(days=1)
    await locked(counter, order, lambda tx: edits.hold(str(order.id), "why", until, way_out, STAFF, tx))
    return str((await counter.read(order)).open_holds[0].id)


async def locked(counter: Counter, order: Order, work: Callable[[Tx], Awaitable[Any]]) -> None:
    async def command(tx: Tx) -> str:
        await work(tx)
        return str(order.id)

    await execute(counter.db, "orders", command, (ORDERS, [str(order.id)]), correlation_id="t")


async def test_two_who_cancel_the_same_orders_in_another_sequence_do_not_deadlock(counter: Counter) -> None:
    for _ in range(ROUNDS // 3):
        ids = [str((await counter.place()).id) for _ in range(10)]
        codes = await at_once(counter.ask(MANY, ids=ids), counter.ask(MANY, ids=ids[::-1]))
        assert codes == [None, None]


async def test_a_mutation_sent_twice_under_one_key_is_done_once(counter: Counter) -> None:
    for number in range(ROUNDS):
        order = await counter.place(come_to="delivered")
        asked = [counter.ask(REFUND, key=f"k{number}", id=str(order.id), amount=1.0) for _ in range(3)]
        assert await at_once(*asked) == [None, None, None]
        assert len((await counter.read(order)).refunds) == 1
