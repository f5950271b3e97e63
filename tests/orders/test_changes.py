"""Items and holds of an order, as people ask for them of the storefront graph, on a real database."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from orders.deadlines import deadlines
from orders.domain import ItemStatus, OrderType
from orders.life.explanation import MUTATIONS
from orders.life.rights import RIGHTS
from orders.schema import schema
from orders.status import Command, OrderStatus
from shared.contracts.shipping import ShipmentFailed
from shared.errors import Code
from shared.worker import Worker
from support.counter import (
    CANCEL_ITEMS,
    EXPLAIN,
    ITEMS,
    RELEASE,
    Counter,
    a_guest,
    captured,
    dispatched,
    labelled,
    some,
    taxed,
)
from support.orders import NOW, OTHER, SHOPPER, STAFF

SEEN = f"query($id: ID!) {{ order(id: $id) {{ status {ITEMS} holds {{ reason heldBy deadline wayOut releasedAt }} timeline {{ what why actor }} }} }}"
HOLD = (
    "mutation($id: ID!, $reason: String!, $deadline: String, $wayOut: HoldWayOut! = STAFF)"
    " { holdOrder(id: $id, reason: $reason, deadline: $deadline, wayOut: $wayOut) { status holds { id releasedAt } } }"
)


async def test_cancelled_pieces_cost_their_price_less_discount_plus_tax_and_the_last_takes_the_rest(
    counter: Counter,
) -> None:
    order = await counter.place(*taxed())
    answer = await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=1))
    assert (answer["status"], answer["items"][0]["cancelledQuantity"]) == ("PROCESSING", 1)
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=2))
    after = await counter.read(order)
    assert [refund.amount for refund in after.refunds] == [1000 - 34 + 17, 2000 - 66 + 33]
    assert sum(refund.amount for refund in after.refunds) == order.lines[0].worth(3) == 3000 - 100 + 50
    assert after.item_status(after.lines[0]) is ItemStatus.CANCELLED
    assert await counter.said(order) == ["order.items_cancelled", "order.refund_requested"] * 2


async def test_without_any_piece_left_the_order_is_cancelled_and_everything_goes_back_at_once(
    counter: Counter,
) -> None:
    order = await counter.place(*taxed())
    items = some(order, _1=3, _2=1)
    answer = await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=items)
    assert answer["status"] == "CANCELLED"
    after = await counter.read(order)
    assert [refund.amount for refund in after.refunds] == [order.total]
    assert await counter.said(order) == ["order.cancelled", "order.refund_requested"]


async def test_what_is_in_a_parcel_cannot_be_cancelled(counter: Counter) -> None:
    order = await counter.place(*taxed())
    await counter.hear(labelled(order, uuid4(), {1: 2}))
    refusal = await counter.refusal(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=2))
    assert (refusal.code, refusal.details["cancellable"]) == (Code.NOT_CANCELLABLE, 1)
    assert await counter.said(order) == []


async def test_cancelling_the_rest_of_a_half_shipped_order_ships_it(counter: Counter) -> None:
    order = await counter.place(*taxed())
    await counter.hear(dispatched(order, uuid4(), {1: 3}))
    assert (await counter.read(order)).status is OrderStatus.PROCESSING
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _2=1))
    assert (await counter.read(order)).status is OrderStatus.SHIPPED


@pytest.mark.parametrize(
    "items",
    [[], [{"itemId": "nothing", "quantity": 1}], [{"itemId": "1", "quantity": 0}], "twice", "too many"],
)
async def test_items_are_pieces_of_the_order_each_once(counter: Counter, items: Any) -> None:
    order = await counter.place(*taxed())
    items = {"twice": some(order, _1=1) * 2, "too many": some(order, _1=4)}.get(str(items), items)
    refusal = await counter.refusal(CANCEL_ITEMS, id=str(order.id), items=items)
    assert refusal.code is Code.BAD_INPUT


@pytest.mark.parametrize("item_id", ["\x00", "x" * 501])
async def test_an_items_id_that_cannot_be_one_is_refused_under_a_key_too(
    counter: Counter, item_id: str
) -> None:
    """A refusal is kept under its key, and PostgreSQL keeps no NUL."""
    order = await counter.place(*taxed())
    items = [{"itemId": item_id, "quantity": 1}]
    refusal = await counter.refusal(CANCEL_ITEMS, key="k", id=str(order.id), items=items)
    assert (refusal.code, refusal.details["argument"]) == (Code.BAD_INPUT, "itemId")


async def test_two_partial_shipments_keep_the_order_processing_until_the_second_is_out(
    counter: Counter,
) -> None:
    order = await counter.place(*taxed())
    first, second = uuid4(), uuid4()
    await counter.hear(labelled(order, first, {1: 2}), labelled(order, second, {1: 1, 2: 1}))
    seen = await counter.ask(SEEN, id=str(order.id))
    assert [item["status"] for item in seen["items"]] == ["IN_FULFILMENT", "IN_FULFILMENT"]
    await counter.hear(dispatched(order, first, {1: 2}))
    seen = await counter.ask(SEEN, id=str(order.id))
    assert (seen["status"], seen["items"][0]["shippedQuantity"]) == ("PROCESSING", 2)
    await counter.hear(dispatched(order, second, {1: 1, 2: 1}))
    seen = await counter.ask(SEEN, id=str(order.id))
    assert (seen["status"], [item["status"] for item in seen["items"]]) == ("SHIPPED", ["SHIPPED"] * 2)


async def test_a_hold_keeps_the_order_from_going_out_until_it_is_released(counter: Counter) -> None:
    order = await counter.place(*taxed())
    held = await counter.ask(HOLD, id=str(order.id), reason="fraud?")
    await counter.ask(HOLD, id=str(order.id), reason="fraud?")
    [hold] = held["holds"]
    assert not (await counter.read(order)).is_shippable
    ship = 'mutation($id: ID!) { addOrderTracking(id: $id, tracking: "1") { status } }'
    refusal = await counter.refusal(ship, id=str(order.id))
    assert (refusal.code, refusal.details["reason"]) == (Code.ON_HOLD, "fraud?")
    for _ in range(2):
        released = await counter.ask(RELEASE, id=str(order.id), hold=hold["id"])
    assert released["holds"][0]["releasedAt"]
    assert await counter.said(order) == ["order.held", "order.released"]
    assert (await counter.read(order)).is_shippable
    assert (await counter.ask(ship, id=str(order.id)))["status"] == "SHIPPED"


async def test_a_shopper_sees_that_it_is_held_and_until_when_and_staff_why(counter: Counter) -> None:
    order = await counter.place(*taxed())
    until = "2126-12-01T09:00:00Z"
    await counter.ask(HOLD, id=str(order.id), reason="fraud?", deadline=until, wayOut="CANCEL")
    for caller in (SHOPPER, a_guest(order)):
        seen = await counter.ask(SEEN, caller, id=str(order.id))
        assert seen["holds"] == [
            {"reason": None, "heldBy": None, "deadline": until, "wayOut": None, "releasedAt": None}
        ]
        assert seen["timeline"] == [{"what": "hold", "why": "", "actor": "staff"}]
        assert "fraud" not in str(await counter.ask(EXPLAIN, caller, id=str(order.id)))
    seen = await counter.ask(SEEN, id=str(order.id))
    assert (seen["holds"][0]["reason"], seen["holds"][0]["heldBy"]) == ("fraud?", "staff:eve")


@pytest.mark.parametrize(
    "deadline",
    [
        "2020-01-01T00:00:00Z",
        "tomorrow",
        "2126-01-01T00:00:00",
        "2126-13-01T00:00:00Z",
        "9999-12-31T23:00:00-10:00",
    ],
)
async def test_a_deadline_is_a_time_to_come(counter: Counter, deadline: str) -> None:
    order = await counter.place(*taxed())
    refusal = await counter.refusal(HOLD, id=str(order.id), reason="x", deadline=deadline)
    assert refusal.code is Code.BAD_INPUT


async def test_a_way_out_needs_a_deadline(counter: Counter) -> None:
    order = await counter.place(*taxed())
    refusal = await counter.refusal(HOLD, id=str(order.id), reason="x", wayOut="RELEASE")
    assert refusal.code is Code.BAD_INPUT


async def test_at_its_deadline_a_hold_takes_its_way_out(counter: Counter) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    orders = {way: await counter.place(*taxed()) for way in ("RELEASE", "CANCEL", "STAFF")}
    for way, order in orders.items():
        await counter.ask(HOLD, id=str(order.id), reason="why", deadline=soon, wayOut=way)
    work = asyncio.create_task(Worker(counter.db, "orders", deadlines).run())
    async with asyncio.timeout(30):
        while len(await counter.told(orders["STAFF"])) < 2 or len(await counter.said(orders["CANCEL"])) < 4:
            await asyncio.sleep(0.02)
        while len(await counter.said(orders["RELEASE"])) < 2:
            await asyncio.sleep(0.02)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    assert await counter.said(orders["RELEASE"]) == ["order.held", "order.released"]
    assert await counter.said(orders["CANCEL"]) == [
        "order.held",
        "order.cancelled",
        "order.released",
        "order.refund_requested",
    ]
    assert (await counter.told(orders["STAFF"]))[-1] == (
        "hold",
        "its deadline has passed: a person has to look",
    )
    assert (await counter.read(orders["STAFF"])).open_holds


async def test_a_pre_order_is_held_on_payment_until_it_can_be_sent(counter: Counter) -> None:
    until = datetime(2126, 12, 1, tzinfo=UTC)
    about = {"order_type": OrderType.PRE_ORDER, "estimated_fulfillment_date": until}
    order = await counter.place(*taxed(), come_to="placed", **about)
    await counter.hear(captured(order))
    [hold] = (await counter.read(order)).open_holds
    assert (hold.deadline, hold.way_out) == (until, "RELEASE")
    assert await counter.said(order) == ["order.held", "order.paid"]


async def test_less_money_than_it_costs_holds_the_order(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="placed")
    await counter.hear(captured(order, amount=order.total - 1))
    after = await counter.read(order)
    assert [hold.reason for hold in after.open_holds] == ["less was paid than it costs"]
    assert (await counter.ask(EXPLAIN, id=str(order.id)))["money"]["due"] == 0.01


async def test_a_parcel_that_fails_holds_the_order_once_while_nothing_is_out(counter: Counter) -> None:
    nothing_out, partly_out = await counter.place(*taxed()), await counter.place(*taxed())
    await counter.hear(dispatched(partly_out, uuid4(), {1: 1}))
    for order in (nothing_out, partly_out):
        parts = ({"line": 1, "quantity": 1},)
        for shipment in (uuid4(), uuid4()):
            await counter.hear(
                ShipmentFailed.model_validate(
                    {
                        "order_id": order.id,
                        "shipment_id": shipment,
                        "lines": parts,
                        "reason": "no rate",
                        "failed_at": NOW,
                    }
                )
            )
    assert await counter.said(nothing_out) == ["order.held"]
    assert await counter.said(partly_out) == []


async def test_a_parcel_that_left_although_it_was_held_is_a_case(counter: Counter) -> None:
    order = await counter.place(*taxed())
    await counter.ask(HOLD, id=str(order.id), reason="fraud?")
    await counter.hear(dispatched(order, uuid4(), {1: 3, 2: 1}))
    assert ("shipped", "it has left although it was held: a person has to look") in await counter.told(order)
    assert await counter.said(order) == ["order.held", "order.shipped", "order.released"]


async def test_pieces_that_left_although_they_were_cancelled_are_a_case(counter: Counter) -> None:
    order, parcel = await counter.place(*taxed()), uuid4()
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=1))
    await counter.hear(dispatched(order, parcel, {1: 3, 2: 1}))
    case = ("shipped", "more has left than is wanted: a person has to look")
    assert (await counter.told(order)).count(case) == 1
    after = await counter.read(order)
    assert (after.status, [line.shipped for line in after.lines]) == (OrderStatus.SHIPPED, [2, 1])


async def test_an_order_is_explained_to_its_shopper_and_to_staff(counter: Counter) -> None:
    order = await counter.place(*taxed())
    told = await counter.ask(EXPLAIN, SHOPPER, id=str(order.id))
    assert told["sentence"].endswith("0 of 4 pieces are out.")
    assert told["money"] == {
        "ordered": order.total / 100,
        "captured": order.total / 100,
        "refunded": 0.0,
        "refundable": order.total / 100,
        "due": 0.0,
        "fees": None,
    }
    assert [wait["what"] for wait in told["waits"]] == ["its shipment to be prepared"]
    steps = {step["command"]: (step["to"], step["who"]) for step in told["next"]}
    assert steps["cancel"] == ("CANCELLED", ["owner", "staff:support"])
    assert steps["hand over by hand"] == ("SHIPPED", ["staff:fulfilment"])
    assert not {"take an offline payment", "mark delivered", "refund", "release"} & steps.keys()
    await counter.ask(HOLD, id=str(order.id), reason="fraud?")
    told = await counter.ask(EXPLAIN, STAFF, id=str(order.id))
    assert told["decided"] == {"what": "hold", "why": "fraud?", "actor": "staff:eve"}
    assert (told["money"]["fees"], told["waits"][0]["what"]) == (0.0, "its release: fraud?")
    assert "hand over by hand" not in {step["command"] for step in told["next"]}


async def test_an_order_is_explained_to_nobody_else(counter: Counter) -> None:
    order = await counter.place(*taxed())
    assert (await counter.refusal(EXPLAIN, OTHER, id=str(order.id))).code is Code.ORDER_NOT_FOUND


async def test_an_unpaid_order_waits_for_its_shopper_until_it_expires(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="placed", payment_intent_id="pi_1")
    [wait] = (await counter.ask(EXPLAIN, SHOPPER, id=str(order.id)))["waits"]
    assert (wait["what"], wait["until"]) == ("the shopper to pay", "2026-11-23T09:30:00Z")


def test_each_step_that_is_explained_names_a_mutation_that_there_is() -> None:
    mutations = schema._schema.mutation_type
    assert mutations is not None
    assert set(MUTATIONS) == set(RIGHTS) == set(Command)
    assert set(MUTATIONS.values()) <= set(mutations.fields)
