"""What staff and shoppers do with a paid order, through the gateway, with all the services: what the others make of it."""

from typing import Any

import pytest

from ordermesh.shop import ADDRESS, BUY_LABEL, Reading, Refused, has_shipment, is_status
from ordermesh.stories import MUG, POSTER
from support.world import World

STATUS = "mutation($id: ID!, $input: UpdateOrderStatusInput!) { updateOrderStatus(id: $id, input: $input) { id status } }"
TRACK = 'mutation($id: ID!) { addOrderTracking(id: $id, tracking: "1Z-BY-HAND") { id status } }'
DELIVERED = "mutation($id: ID!) { markOrderDelivered(id: $id) { id status } }"
HOLD = 'mutation($id: ID!) { holdOrder(id: $id, reason: "fraud?") { holds { id } } }'
RELEASE = "mutation($id: ID!, $hold: ID!) { releaseHold(id: $id, holdId: $hold) { id } }"
CANCEL_ITEMS = (
    "mutation($id: ID!, $items: [ItemQuantityInput!]!) { cancelOrderItems(id: $id, items: $items) { id } }"
)
PREVIEW = (
    "query($id: ID!, $input: OrderEditInput!) { previewOrderEdit(id: $id, input: $input) { version refund } }"
)
EDIT = (
    "mutation($id: ID!, $input: OrderEditInput!, $version: String!)"
    " { editOrder(id: $id, input: $input, version: $version) { id shippingAddress { street } } }"
)


async def paid(world: World, shopper: str, items: dict[str, int]) -> Reading:
    order = await world.shop.place(shopper, items)
    await world.shop.pay(order)
    return await world.shop.until(order["id"], has_shipment("PREPARED"))


async def test_what_goes_by_hand_voids_what_shipping_had_prepared(world: World) -> None:
    order = await paid(world, "hanna", {MUG: 2})
    await world.shop.ask(TRACK, {"id": order["id"]})
    order = await world.shop.until(order["id"], has_shipment("VOIDED"))
    assert order["status"] == "SHIPPED"
    await world.shop.ask(DELIVERED, {"id": order["id"]})
    assert (await world.shop.until(order["id"], is_status("DELIVERED")))["status"] == "DELIVERED"


async def test_no_label_is_bought_while_the_order_is_held(world: World) -> None:
    order = await paid(world, "helmut", {MUG: 1})
    held = await world.shop.ask(HOLD, {"id": order["id"]})
    await world.network.settle()
    shipment = order["shipments"][0]["id"]
    with pytest.raises(Refused) as refused:
        await world.shop.ask(BUY_LABEL, {"id": shipment})
    assert refused.value.codes == ["ON_HOLD"]
    hold = held["holdOrder"]["holds"][0]["id"]
    await world.shop.ask(RELEASE, {"id": order["id"], "hold": hold})
    await world.network.settle()
    await world.shop.ask(BUY_LABEL, {"id": shipment})
    assert await world.shop.until(order["id"], has_shipment("LABELLED"))


async def test_cancelled_items_leave_the_parcel_and_their_money_goes_back(world: World) -> None:
    order = await paid(world, "ida", {MUG: 2, POSTER: 1})
    items = [{"itemId": f"{order['id']}:1", "quantity": 2}]
    await world.shop.ask(CANCEL_ITEMS, {"id": order["id"], "items": items}, role="shopper", subject="ida")

    def has_come_back(seen: Reading) -> bool:
        return bool(seen["payment"]["refundedAmount"] == 25.00 + 1.81 and has_shipment("VOIDED")(seen))

    order = await world.shop.until(order["id"], has_come_back)
    assert order["status"] == "PROCESSING"
    lines = await world.shop.ask(
        "query($id: ID!) { order(id: $id) { shipments { status lines { line quantity } } } }",
        {"id": order["id"]},
    )
    prepared = [s["lines"] for s in lines["order"]["shipments"] if s["status"] == "PREPARED"]
    assert prepared == [[{"line": 2, "quantity": 1}]]


async def test_an_edit_is_previewed_and_done(world: World) -> None:
    order = await paid(world, "edna", {MUG: 2})
    wanted: dict[str, Any] = {
        "shippingAddress": {**ADDRESS, "street": "9 Elm"},
        "items": [{"itemId": f"{order['id']}:1", "quantity": 1}],
    }
    mine = {"role": "shopper", "subject": "edna"}
    await world.network.settle()
    preview = await world.shop.ask(PREVIEW, {"id": order["id"], "input": wanted}, **mine)
    assert preview["previewOrderEdit"]["refund"] == 12.50 + 0.91  # its tax
    version = preview["previewOrderEdit"]["version"]
    edited = await world.shop.ask(EDIT, {"id": order["id"], "input": wanted, "version": version}, **mine)
    assert edited["editOrder"]["shippingAddress"]["street"] == "9 Elm"
    assert await world.shop.until(order["id"], lambda seen: seen["payment"]["refundedAmount"] == 13.41)


async def test_an_offline_payment_is_a_payment_like_any_other(
    world: World,
) -> None:
    order = await world.shop.place("otto", {POSTER: 1})
    await world.shop.ask(STATUS, {"id": order["id"], "input": {"status": "PROCESSING"}})
    order = await world.shop.until(order["id"], has_shipment("PREPARED"))
    assert order["status"] == "PROCESSING"
    await world.network.settle()
    seen = await world.shop.ask(
        "query($id: ID!) { explainOrder(id: $id) { money { captured refundable due } next { command } } }",
        {"id": order["id"]},
    )
    money = seen["explainOrder"]["money"]
    assert money == {"captured": order["total"], "refundable": order["total"], "due": 0.0}
