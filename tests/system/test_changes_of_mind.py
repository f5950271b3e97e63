"""What staff change about a paid order, through the gateway, as far as the parcel and the money."""

from typing import Any
from uuid import uuid4

import pytest
from pyreqwest.client import ClientBuilder

from ordermesh.books import Book, violations
from ordermesh.evidence import gather
from ordermesh.shop import (
    ADDRESS,
    BUY_LABEL,
    CANCEL,
    SPLIT,
    Reading,
    Refused,
    has_shipment,
    is_refunded,
    is_status,
)
from ordermesh.stories import MUG, SHIRT
from support.world import World

CANCEL_ITEMS = (
    "mutation($id: ID!, $items: [ItemQuantityInput!]!) { cancelOrderItems(id: $id, items: $items) { id } }"
)
SET_STATUS = "mutation($id: ID!, $status: OrderStatus!) { updateOrderStatus(id: $id, input: {status: $status}) { id } }"
HOLD = 'mutation($id: ID!) { it: holdOrder(id: $id, reason: "checking the address") { holds { id } } }'
RELEASE = "mutation($id: ID!, $hold: ID!) { releaseHold(id: $id, holdId: $hold) { id } }"
PREVIEW = (
    "query($id: ID!, $input: OrderEditInput!) { it: previewOrderEdit(id: $id, input: $input)"
    " { version totalAfter refund } }"
)
EDIT = (
    "mutation($id: ID!, $input: OrderEditInput!, $version: String!) {"
    " editOrder(id: $id, input: $input, version: $version) { id } }"
)
PARCELS = "query($id: ID!) { it: order(id: $id) { shipments { id status lines { line quantity } } } }"
RETRY = "mutation($id: ID!, $refund: ID!) { retryRefund(id: $id, refundId: $refund) { id } }"
REFUNDS = """query($id: ID!) { it: order(id: $id) { payment {
    status externalAmount capturedAmount refunds { id status amount } } } }"""
CONFIRM = "mutation($id: ID!) { confirmExternalRefund(refundId: $id) { id status } }"


async def paid(world: World, items: dict[str, int]) -> Reading:
    """An order whose parcel is prepared."""
    order = await world.shop.place(f"mind-{uuid4().hex[:8]}", items)
    await world.shop.pay(order)
    return await world.shop.until(order["id"], has_shipment("PREPARED"))


async def label(world: World, order_id: str) -> Reading:
    """The one parcel that is prepared gets its label."""
    order = await world.shop.until(order_id, has_shipment("PREPARED"))
    [parcel] = [each for each in order["shipments"] if each["status"] == "PREPARED"]
    await world.shop.ask(BUY_LABEL, {"id": parcel["id"]})
    return await world.shop.until(order_id, has_shipment("LABELLED"))


async def parcels(world: World, order_id: str) -> list[tuple[str, dict[int, int]]]:
    data = await world.shop.ask(PARCELS, {"id": order_id})
    return [
        (parcel["status"], {line["line"]: line["quantity"] for line in parcel["lines"]})
        for parcel in data["it"]["shipments"]
    ]


async def settled(world: World, order_id: str) -> list[Any]:
    """What the books have against the order when everything has arrived."""
    await world.network.settle()
    return list(violations(Book(await gather(world.databases, world.shop), [order_id])))


async def test_pieces_that_were_cancelled_are_in_no_parcel(world: World) -> None:
    order = await paid(world, {MUG: 2, SHIRT: 1})
    items = [{"itemId": f"{order['id']}:1", "quantity": 1}]
    await world.shop.ask(CANCEL_ITEMS, {"id": order["id"], "items": items})
    await world.network.settle()
    assert await parcels(world, order["id"]) == [("VOIDED", {1: 2, 2: 1}), ("PREPARED", {1: 1, 2: 1})]
    order = await label(world, order["id"])
    [number] = [each["trackingNumber"] for each in order["shipments"] if each["trackingNumber"]]
    await world.shop.carrier_says(number, "DELIVERED")
    await world.shop.until(order["id"], is_status("DELIVERED"))
    assert await settled(world, order["id"]) == []


async def test_an_order_that_goes_where_tax_is_less_gives_the_difference_back(world: World) -> None:
    order = await paid(world, {SHIRT: 2})
    oregon = {**ADDRESS, "street": "9 Elm", "city": "Portland", "state": "OR", "zipCode": "97201"}
    asked = {"id": order["id"], "input": {"shippingAddress": oregon}}
    preview = (await world.shop.ask(PREVIEW, asked))["it"]
    assert preview["refund"] == round(order["total"] - preview["totalAfter"], 2) > 0
    await world.shop.ask(EDIT, {**asked, "version": preview["version"]})
    await world.network.settle()
    edited = await label(world, order["id"])
    assert edited["total"] == preview["totalAfter"]
    assert edited["payment"]["refundedAmount"] == preview["refund"]
    assert await settled(world, order["id"]) == []


async def test_a_refund_that_the_bank_sent_back_is_asked_for_again_before_the_order_has_shipped(
    world: World,
) -> None:
    """By a card whose bank sends every refund back."""
    order = await world.shop.place(f"mind-{uuid4().hex[:8]}", {MUG: 2})
    await world.shop.pay(order, "pm_card_refundFail")
    await world.shop.until(order["id"], has_shipment("PREPARED"))
    items = [{"itemId": f"{order['id']}:1", "quantity": 1}]
    await world.shop.ask(CANCEL_ITEMS, {"id": order["id"], "items": items})
    await world.network.settle()
    [failed] = (await world.shop.ask(REFUNDS, {"id": order["id"]}))["it"]["payment"]["refunds"]
    for _ in range(2):
        await world.shop.ask(RETRY, {"id": order["id"], "refund": failed["id"]})
    await world.network.settle()
    payment = (await world.shop.ask(REFUNDS, {"id": order["id"]}))["it"]["payment"]
    tried = [(refund["status"], refund["amount"]) for refund in payment["refunds"]]
    assert tried == [("FAILED", failed["amount"])] * 2
    assert (await world.shop.read(order["id"]))["status"] == "PROCESSING"
    assert await settled(world, order["id"]) == []


async def test_an_order_in_two_parcels_is_shipped_when_both_are_out(world: World) -> None:
    order = await paid(world, {MUG: 2, SHIRT: 1})
    [whole] = order["shipments"]
    await world.shop.ask(SPLIT, {"id": whole["id"], "lines": [{"line": 1, "quantity": 1}]})
    await world.network.settle()
    statuses = []
    for parcel in (await world.shop.read(order["id"]))["shipments"]:
        if parcel["status"] == "PREPARED":
            bought = await world.shop.ask(BUY_LABEL, {"id": parcel["id"]})
            await world.shop.carrier_says(bought["buyShippingLabel"]["trackingNumber"], "TRANSIT")
            await world.network.settle()
            statuses.append((await world.shop.read(order["id"]))["status"])
    assert statuses == ["PROCESSING", "SHIPPED"]
    assert await settled(world, order["id"]) == []


async def test_a_guest_is_told_what_carriers_ask(world: World) -> None:
    """Without any token."""
    document = """query($items: [QuoteItemInput!]!, $address: QuoteAddressInput!) {
        shippingQuotes(items: $items, address: $address, limit: 2) { service amount token } }"""
    variables = {"items": [{"sku": MUG, "quantity": 1}], "address": ADDRESS}
    async with ClientBuilder().build() as http:
        request = http.post(f"{world.places.gateway}/graphql")
        answer = await request.body_json({"query": document, "variables": variables}).build().send()
        first, second = (await answer.json())["data"]["shippingQuotes"]
    assert 0 < first["amount"] <= second["amount"]
    assert first["token"] != second["token"]


async def test_a_held_order_gets_its_label_when_it_is_released(world: World) -> None:
    order = await paid(world, {MUG: 1})
    held = await world.shop.ask(HOLD, {"id": order["id"]})
    await world.network.settle()
    with pytest.raises(Refused) as refused:
        await world.shop.ask(BUY_LABEL, {"id": order["shipments"][0]["id"]})
    assert refused.value.codes == ["ON_HOLD"]
    [hold] = held["it"]["holds"]
    await world.shop.ask(RELEASE, {"id": order["id"], "hold": hold["id"]})
    await world.network.settle()
    await label(world, order["id"])
    assert await settled(world, order["id"]) == []


async def test_an_order_that_left_by_hand_gives_its_label_back(world: World) -> None:
    order = await paid(world, {MUG: 2})
    await label(world, order["id"])
    await world.network.settle()
    await world.shop.ask(SET_STATUS, {"id": order["id"], "status": "SHIPPED"})
    await world.network.settle()
    assert await parcels(world, order["id"]) == [("VOIDED", {1: 2})]
    order = await world.shop.read(order["id"])
    assert order["status"] == "SHIPPED"
    await world.shop.ask(SET_STATUS, {"id": order["id"], "status": "DELIVERED"})
    assert await settled(world, order["id"]) == []


async def test_a_label_is_for_the_address_that_was_changed(world: World) -> None:
    order = await paid(world, {MUG: 1})
    change = {"id": order["id"], "input": {"shippingAddress": {**ADDRESS, "street": "2 Side Street"}}}
    preview = await world.shop.ask(PREVIEW, change)
    await world.shop.ask(EDIT, {**change, "version": preview["it"]["version"]})
    await world.network.settle()
    await label(world, order["id"])
    evidence = await gather(world.databases, world.shop)
    [created] = [
        effect
        for effect in evidence.effects
        if effect["kind"] == "shippo.shipment.created" and effect["order_id"] == order["id"]
    ]
    assert created["payload"]["address_to"]["street1"] == "2 Side Street"
    assert await settled(world, order["id"]) == []


async def test_money_that_staff_took_is_handed_back_outside(world: World) -> None:
    order = await world.shop.place(f"mind-{uuid4().hex[:8]}", {MUG: 1})
    await world.shop.ask(SET_STATUS, {"id": order["id"], "status": "PROCESSING"})
    await world.network.settle()
    await world.shop.ask(CANCEL, {"id": order["id"]})
    await world.network.settle()
    payment = (await world.shop.ask(REFUNDS, {"id": order["id"]}))["it"]["payment"]
    assert (payment["status"], payment["externalAmount"]) == ("EXTERNAL", order["total"])
    [due] = payment["refunds"]
    assert (due["status"], due["amount"]) == ("EXTERNAL_DUE", order["total"])
    await world.shop.ask(CONFIRM, {"id": due["id"]})
    await world.shop.until(order["id"], is_refunded)
    assert await settled(world, order["id"]) == []
