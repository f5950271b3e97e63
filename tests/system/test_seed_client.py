"""A client that was written against seed A, unchanged, at work on real services: each of its queries and mutations."""

from typing import Any

import pytest

from ordermesh.shop import Reading, Refused, is_status
from ordermesh.stories import MUG, POSTER
from support.seed_a import DOCUMENTS
from support.world import World

pytestmark = pytest.mark.parametrize("world", ["once"], indirect=True)


async def send(
    world: World, operation: str, *, who: tuple[str, str] = ("staff", "sam"), **variables: Any
) -> Any:
    data = await world.shop.ask(DOCUMENTS[operation], variables, role=who[0], subject=who[1])
    return data[operation]


async def paid(world: World, shopper: str) -> Reading:
    order = await world.shop.place(shopper, {MUG: 2, POSTER: 1})
    await world.shop.pay(order)
    return await world.shop.until(order["id"], is_status("PROCESSING"))


async def test_an_order_is_found_on_every_path(world: World) -> None:
    placed = await world.shop.place("sid", {MUG: 2, POSTER: 1})
    order = await send(world, "order", id=placed["id"])
    assert order["customer"]["email"] == "sid@example.com"
    assert order["siteOwnerAmount"] == pytest.approx(
        order["subtotal"] + order["shipping"] + order["tax"] - order["discount"]
    )
    assert await send(world, "orderByNumber", orderNumber=order["orderNumber"]) == order
    mine = await send(world, "myOrders", who=("shopper", "sid"), page=1, limit=10)
    assert [node["id"] for node in mine["nodes"]] == [order["id"]]
    assert mine["pageInfo"] == {
        "page": 1, "limit": 10, "total": 1, "pages": 1, "hasNext": False, "hasPrev": False,
    }  # fmt: skip
    day = order["createdAt"][:10]
    wanted = {
        "status": "PENDING",
        "paymentStatus": "PENDING",
        "orderType": "REGULAR",
        "search": "sid@example.com",
        "dateRange": {"start": day, "end": day},
        "customerId": order["customerId"],
    }
    newest = {"field": "createdAt", "direction": "DESC"}
    found = await send(world, "orders", filter=wanted, sort=newest, page=1, limit=10)
    assert [node["id"] for node in found["nodes"]] == [order["id"]]
    assert order["id"] in {node["id"] for node in await send(world, "pendingOrders")}
    by_status = await send(world, "ordersByStatus", status="PENDING", page=1, limit=100)
    assert order["id"] in {node["id"] for node in by_status["nodes"]}
    assert (await send(world, "cancelOrder", id=order["id"]))["status"] == "CANCELLED"


async def test_an_order_is_worked_on_to_its_end(world: World) -> None:
    before = await send(world, "orderStats")
    order = await paid(world, "sally")
    assert order["id"] in {node["id"] for node in await send(world, "processingOrders")}
    noted = await send(world, "updateOrderNotes", id=order["id"], notes="gift wrap")
    assert (noted["notes"], noted["isShippable"], noted["isCancellable"]) == ("gift wrap", True, True)
    details = {"carrier": "ups", "service": "Ground", "trackingUrl": "https://example.com/1Z999"}
    told = await send(world, "updateOrderShipping", id=order["id"], input=details)
    assert (told["shippingCarrier"], told["shippingService"], told["status"]) == (
        "ups",
        "Ground",
        "PROCESSING",
    )
    shipped = await send(world, "addOrderTracking", id=order["id"], tracking="1Z999AA10123456784")
    assert (shipped["status"], shipped["tracking"]) == ("SHIPPED", "1Z999AA10123456784")
    assert shipped["shippedAt"]
    out = await send(world, "shippedOrders", filter={"tracking": "1Z999AA10123456784"}, page=1, limit=10)
    assert [node["id"] for node in out["nodes"]] == [order["id"]]
    delivered = await send(world, "markOrderDelivered", id=order["id"])
    assert (delivered["status"], delivered["isRefundable"]) == ("DELIVERED", True)
    partly = await send(world, "refundOrder", id=order["id"], amount=5.0, reason="a scratch")
    assert partly["status"] == "DELIVERED"
    whole = await send(world, "refundOrder", id=order["id"])
    assert (whole["status"], whole["paymentStatus"]) == ("REFUNDED", "REFUNDED")
    after = await send(world, "orderStats")
    assert after["totalOrders"] == before["totalOrders"] + 1
    assert after["totalRevenue"] == before["totalRevenue"]


async def test_a_status_moves_as_the_table_says_and_says_what_else_it_could_become(world: World) -> None:
    order = await world.shop.place("sven", {MUG: 1})
    with pytest.raises(Refused) as refused:
        await send(world, "updateOrderStatus", id=order["id"], input={"status": "DELIVERED"})
    assert refused.value.errors[0]["extensions"]["allowed"] == ["PROCESSING", "CANCELLED"]
    for status in ("PROCESSING", "SHIPPED", "DELIVERED"):
        moved = await send(
            world, "updateOrderStatus", id=order["id"], input={"status": status, "notes": f"now {status}"}
        )
        assert (moved["status"], moved["notes"]) == (status, f"now {status}")
    assert (moved["paymentStatus"], moved["paymentMethod"]) == ("PAID", "offline")
