"""Edits of an order before it goes out: what the preview tells, and what then happens."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from orders.domain import Order
from orders.life.holds import UNDERPAID
from orders.life.items import edition
from shared.errors import Code
from support.counter import CANCEL_ITEMS, EXPLAIN, RELEASE, Counter, captured, labelled, some, taxed
from support.orders import ADDRESS, SHOPPER, a_line

PREVIEW = (
    "query($id: ID!, $input: OrderEditInput!) { previewOrderEdit(id: $id, input: $input)"
    " { version totalBefore totalAfter refund currency } }"
)
HOLD = "mutation($id: ID!, $reason: String!) { holdOrder(id: $id, reason: $reason) { id } }"
EDIT = (
    "mutation($id: ID!, $input: OrderEditInput!, $version: String!) { editOrder(id: $id, input: $input, version: $version)"
    " { status total shippingAddress { street name } items { quantity cancelledQuantity } } }"
)
ELSEWHERE = {"street": "9 Elm", "city": "Oakland", "state": "CA", "zipCode": "94601", "country": "US"}


async def edited(counter: Counter, order: Order, wanted: dict[str, Any]) -> Any:
    """As its preview told."""
    asked: dict[str, Any] = {"id": str(order.id), "input": wanted}
    preview = await counter.ask(PREVIEW, SHOPPER, **asked)
    return await counter.ask(EDIT, SHOPPER, **asked, version=preview["version"])


async def test_an_edit_does_what_its_preview_told(counter: Counter) -> None:
    order = await counter.place(*taxed())
    wanted = {"shippingAddress": ELSEWHERE, "items": some(order, _1=1)}
    preview = await counter.ask(PREVIEW, SHOPPER, id=str(order.id), input=wanted)
    assert preview["totalBefore"] == (order.total / 100)
    assert preview["refund"] == 19.67
    assert round(preview["totalBefore"] - preview["totalAfter"], 2) == preview["refund"]
    assert await counter.said(order) == []
    version = preview["version"]
    answer = await counter.ask(EDIT, SHOPPER, id=str(order.id), input=wanted, version=version)
    assert answer["shippingAddress"] == {"street": "9 Elm", "name": "Ann Lee"}
    assert answer["items"][0] == {"quantity": 3, "cancelledQuantity": 2}
    assert await counter.said(order) == [
        "order.address_changed",
        "order.items_cancelled",
        "order.refund_requested",
    ]
    assert (await counter.read(order)).refunds[0].amount == 1967
    refusal = await counter.refusal(EDIT, SHOPPER, id=str(order.id), input=wanted, version=version)
    assert refusal.code is Code.ORDER_CHANGED


async def test_an_edit_is_refused_when_the_order_has_moved_since(counter: Counter) -> None:
    order = await counter.place(*taxed())
    wanted = {"items": some(order, _1=1)}
    preview = await counter.ask(PREVIEW, SHOPPER, id=str(order.id), input=wanted)
    await counter.hear(labelled(order, uuid4(), {1: 1}))
    refusal = await counter.refusal(EDIT, SHOPPER, id=str(order.id), input=wanted, version=preview["version"])
    assert refusal.code is Code.ORDER_CHANGED
    assert await counter.said(order) == []


async def test_an_edit_by_the_version_of_another_one_is_refused(
    counter: Counter, californian: dict[str, Any]
) -> None:
    order = await counter.place(**californian)
    previewed: dict[str, Any] = {"id": str(order.id), "input": {"items": some(order, _1=2)}}
    version = (await counter.ask(PREVIEW, SHOPPER, **previewed))["version"]
    for other in ({"items": some(order, _1=1)}, in_state("OR"), {"shippingAddress": ELSEWHERE}, {}):
        refusal = await counter.refusal(EDIT, SHOPPER, id=str(order.id), input=other, version=version)
        assert refusal.code is Code.ORDER_CHANGED
    assert (await counter.read(order)) == order
    await counter.ask(EDIT, SHOPPER, **previewed, version=version)


async def test_an_edit_that_cannot_be_done_whole_is_not_done_at_all(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="placed")
    wanted = {"shippingAddress": ELSEWHERE, "items": some(order, _1=1)}
    refusal = await counter.refusal(EDIT, SHOPPER, id=str(order.id), input=wanted, version=edition(order))
    assert refusal.code is Code.INVALID_TRANSITION
    assert (await counter.read(order)).shipping_address == order.shipping_address
    assert await counter.said(order) == []


async def test_an_address_on_a_label_cannot_be_changed(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="label")
    refusal = await counter.refusal(PREVIEW, id=str(order.id), input={"shippingAddress": ELSEWHERE})
    assert refusal.code is Code.INVALID_TRANSITION


def in_state(state: str) -> dict[str, Any]:
    return {"shippingAddress": {**ELSEWHERE, "state": state}}


@pytest.fixture
def californian() -> dict[str, Any]:
    """Goods of 35.00 less 1.00, and a tenth of that is tax."""
    first, second = taxed()
    lines = (replace(first, tax=290), replace(second, tax=50))
    return {"lines": lines, "subtotal": 3500, "discount": 100, "tax": 340, "total": 3500 - 100 + 340 + 599}


async def test_where_tax_is_less_the_difference_goes_back(
    counter: Counter, californian: dict[str, Any]
) -> None:
    order = await counter.place(**californian)
    wanted = in_state("OR")
    preview = await counter.ask(PREVIEW, SHOPPER, id=str(order.id), input=wanted)
    version = preview.pop("version")
    assert preview == {
        "totalBefore": 43.39,
        "totalAfter": 41.35,
        "refund": 2.04,
        "currency": "USD",
    }
    answer = await counter.ask(EDIT, SHOPPER, id=str(order.id), input=wanted, version=version)
    assert answer["total"] == 41.35
    assert await counter.said(order) == ["order.address_changed", "order.refund_requested"]
    after = await counter.read(order)
    assert (after.tax, [line.tax for line in after.lines]) == (136, [116, 20])
    assert [(refund.amount, refund.lines) for refund in after.refunds] == [(204, ())]
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=3))
    assert (await counter.read(order)).refunds[-1].amount == 3000 - 100 + 116
    back = await counter.refusal(PREVIEW, SHOPPER, id=str(order.id), input=in_state("NV"))
    assert "a part of it was paid back" in back.message


async def test_a_place_with_the_same_tax_costs_the_same_before_it_is_paid_too(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="placed", tax=0, lines=(a_line(1, 3, 1000),))
    answer = await edited(counter, order, in_state("NV"))
    assert answer["total"] == order.total / 100
    assert await counter.said(order) == ["order.address_changed"]


@pytest.mark.parametrize(
    ("state", "come_to", "changes", "why"),
    [
        ("NY", "paid", {}, "its tax is higher"),
        ("OR", "placed", {}, "its payment was prepared"),
        ("OR", "paid", {"used_flat_rate": False}, "its shipping was quoted"),
    ],
)
async def test_a_place_with_a_price_that_an_edit_cannot_give_is_refused(
    counter: Counter, californian: dict[str, Any], state: str, come_to: str, changes: dict[str, Any], why: str
) -> None:
    order = await counter.place(come_to=come_to, **californian, **changes)
    asked = {"id": str(order.id), "input": in_state(state)}
    for refusal in (
        await counter.refusal(PREVIEW, SHOPPER, **asked),
        await counter.refusal(EDIT, SHOPPER, **asked, version=edition(order)),
    ):
        assert (refusal.code, refusal.details["argument"]) == (Code.BAD_INPUT, "shippingAddress")
        assert why in refusal.message
    assert await counter.said(order) == []


async def test_nothing_goes_back_for_a_part_while_less_was_paid_than_it_costs(
    counter: Counter, californian: dict[str, Any]
) -> None:
    order = await counter.place(come_to="placed", **californian)
    await counter.hear(captured(order, amount=order.total - 1))
    held = await counter.read(order)
    for document, asked in (
        (CANCEL_ITEMS, {"items": some(order, _1=1)}),
        (PREVIEW, {"input": {"items": some(order, _1=1)}}),
        (EDIT, {"input": in_state("OR"), "version": edition(held)}),
    ):
        refusal = await counter.refusal(document, id=str(order.id), **asked)
        assert (refusal.code, refusal.details) == (Code.ON_HOLD, {"reason": UNDERPAID})
    explained = await counter.ask(EXPLAIN, SHOPPER, id=str(order.id))
    assert explained["money"]["due"] == 0.01
    assert "cancel items" not in {step["command"] for step in explained["next"]}
    await counter.ask(RELEASE, id=str(order.id), hold=str(held.open_holds[0].id))
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=1))
    assert (await counter.ask(EXPLAIN, SHOPPER, id=str(order.id)))["money"]["due"] == 0


async def test_a_second_payment_that_goes_back_pays_nothing_of_what_is_due(
    counter: Counter, californian: dict[str, Any]
) -> None:
    order = await counter.place(come_to="placed", **californian)
    await counter.hear(captured(order, amount=order.total - 1))
    await counter.hear(captured(order, intent="pi_2"))
    assert (await counter.ask(EXPLAIN, SHOPPER, id=str(order.id)))["money"]["due"] == 0.01
    refusal = await counter.refusal(CANCEL_ITEMS, id=str(order.id), items=some(order, _1=1))
    assert refusal.code is Code.ON_HOLD


async def test_only_what_was_paid_too_little_is_underpaid_whatever_staff_say(
    counter: Counter, californian: dict[str, Any]
) -> None:
    order = await counter.place(**californian)
    await edited(counter, order, in_state("OR"))
    await counter.ask(HOLD, id=str(order.id), reason=UNDERPAID)
    assert (await counter.ask(EXPLAIN, SHOPPER, id=str(order.id)))["money"]["due"] == 0
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=1))


async def test_name_and_phone_stay_where_an_edit_has_none(counter: Counter) -> None:
    known = {**ADDRESS, "phone": "+14155550123"}
    order = await counter.place(shipping_address=known)
    await edited(counter, order, {"shippingAddress": ELSEWHERE})
    after = (await counter.read(order)).shipping_address
    assert (after["street"], after["name"], after["phone"]) == ("9 Elm", "Ann Lee", "+14155550123")
    await edited(counter, order, {"shippingAddress": ELSEWHERE})
    assert await counter.said(order) == ["order.address_changed"]


async def test_an_edit_never_adds(counter: Counter) -> None:
    order = await counter.place(*taxed())
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=1))
    refusal = await counter.refusal(PREVIEW, SHOPPER, id=str(order.id), input={"items": some(order, _1=3)})
    assert refusal.code is Code.BAD_INPUT


async def test_an_edit_under_its_key_is_done_once(counter: Counter) -> None:
    order = await counter.place(*taxed())
    asked: dict[str, Any] = {"id": str(order.id), "input": {"items": some(order, _1=1)}}
    version = (await counter.ask(PREVIEW, SHOPPER, **asked))["version"]
    answers = [await counter.ask(EDIT, SHOPPER, key="k", **asked, version=version) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len((await counter.read(order)).refunds) == 1
