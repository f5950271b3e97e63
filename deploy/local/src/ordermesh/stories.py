"""What happens to orders: each story is one shopper's order from placing to its end, told through a Shop.

The demo runs them for people to watch; the system tests run the same ones, delivered once and everything twice.
"""

import asyncio
from collections.abc import Awaitable, Callable

from ordermesh.shop import (
    BUY_LABEL,
    CANCEL,
    DISPATCH,
    REFUND,
    SPLIT,
    Reading,
    Shop,
    has_shipment,
    is_refunded,
    is_status,
)

Story = Callable[[Shop, str], Awaitable[Reading]]
"""Takes the shop and the shopper's name; answers the order as it ended."""

MUG, SHIRT, POSTER = "MUG-BLUE", "SHIRT-M", "POSTER-A2"


async def delivered(shop: Shop, shopper: str) -> Reading:
    order = await _shipped(shop, await _paid(shop, shopper, {MUG: 2, POSTER: 1}))
    await shop.carrier_says(_tracking(order), "DELIVERED")
    return await shop.until(order["id"], is_status("DELIVERED"))


async def declined_then_paid(shop: Shop, shopper: str) -> Reading:
    order = await shop.place(shopper, {SHIRT: 1}, phone="+14155550123")
    await shop.pay(order, "pm_card_visa_chargeDeclined")
    await shop.until(order["id"], lambda seen: bool(seen["paymentStatus"] == "FAILED"))
    await shop.pay(order)
    order = await _shipped(shop, await shop.until(order["id"], is_status("PROCESSING")))
    await shop.carrier_says(_tracking(order), "DELIVERED")
    return await shop.until(order["id"], is_status("DELIVERED"))


async def cancelled_unpaid(shop: Shop, shopper: str) -> Reading:
    order = await shop.place(shopper, {POSTER: 3})
    await shop.ask(CANCEL, {"id": order["id"]}, role="shopper", subject=shopper)
    return await shop.until(order["id"], lambda seen: bool(seen["payment"]["status"] == "CANCELLED"))


async def cancelled_and_refunded(shop: Shop, shopper: str) -> Reading:
    order = await _paid(shop, shopper, {MUG: 1, SHIRT: 1})
    await shop.ask(CANCEL, {"id": order["id"]}, role="shopper", subject=shopper)
    return await shop.until(order["id"], lambda seen: seen["status"] == "CANCELLED" and is_refunded(seen))


async def cancelled_with_a_label(shop: Shop, shopper: str) -> Reading:
    order = await _labelled(shop, await _paid(shop, shopper, {MUG: 4}))
    await shop.ask(CANCEL, {"id": order["id"]}, role="shopper", subject=shopper)
    return await shop.until(order["id"], lambda seen: has_shipment("VOIDED")(seen) and is_refunded(seen))


async def returned_and_refunded(shop: Shop, shopper: str) -> Reading:
    order = await _shipped(shop, await _paid(shop, shopper, {SHIRT: 2}))
    await shop.carrier_says(_tracking(order), "RETURNED")
    await shop.until(order["id"], is_status("RETURNED"))
    await shop.ask(REFUND, {"id": order["id"], "reason": "returned to sender"})
    return await shop.until(order["id"], is_refunded)


async def delivered_and_refunded(shop: Shop, shopper: str) -> Reading:
    order = await delivered(shop, shopper)
    await shop.ask(REFUND, {"id": order["id"], "amount": 5.0, "reason": "a scratch"})
    await shop.ask(REFUND, {"id": order["id"], "reason": "goodwill"})
    return await shop.until(order["id"], is_status("REFUNDED"))


async def dispatched_by_hand(shop: Shop, shopper: str) -> Reading:
    """Staff say that the courier took it; the carrier's first scan comes later and changes nothing."""
    order = await _labelled(shop, await _paid(shop, shopper, {POSTER: 1}))
    await shop.ask(DISPATCH, {"id": order["shipments"][0]["id"]})
    await shop.until(order["id"], is_status("SHIPPED"))
    await shop.carrier_says(_tracking(order), "TRANSIT")
    await shop.carrier_says(_tracking(order), "DELIVERED")
    return await shop.until(order["id"], is_status("DELIVERED"))


async def in_two_parcels(shop: Shop, shopper: str) -> Reading:
    """One mug leaves before the rest; the order is shipped when all of it is out."""
    order = await _paid(shop, shopper, {MUG: 2, SHIRT: 1})
    order = await shop.until(order["id"], lambda seen: bool(seen["shipments"]))
    lines = [{"line": 1, "quantity": 1}]
    await shop.ask(SPLIT, {"id": order["shipments"][0]["id"], "lines": lines})
    order = await shop.until(order["id"], lambda seen: len(_parcels(seen, "PREPARED")) > 1)
    for parcel in _parcels(order, "PREPARED"):
        await shop.ask(BUY_LABEL, {"id": parcel["id"]})
    order = await shop.until(order["id"], lambda seen: len(_parcels(seen, "LABELLED")) > 1)
    first, second = (str(parcel["trackingNumber"]) for parcel in _parcels(order, "LABELLED"))
    await shop.carrier_says(first, "TRANSIT")
    await shop.until(order["id"], has_shipment("DISPATCHED"))
    await shop.carrier_says(second, "TRANSIT")
    await shop.until(order["id"], is_status("SHIPPED"))
    for number in (first, second):
        await shop.carrier_says(number, "DELIVERED")
    return await shop.until(order["id"], is_status("DELIVERED"))


async def paid_while_cancelled(shop: Shop, shopper: str) -> Reading:
    """The shopper pays in one tab and cancels in the other: either way nobody keeps the money of a cancelled order."""
    order = await shop.place(shopper, {MUG: 1})
    cancelling = shop.ask(CANCEL, {"id": order["id"]}, role="shopper", subject=shopper)
    await asyncio.gather(shop.pay(order), cancelling)
    return await shop.until(order["id"], _nothing_kept)


STORIES: dict[str, Story] = {
    "delivered": delivered,
    "declined, then paid": declined_then_paid,
    "cancelled unpaid": cancelled_unpaid,
    "cancelled and refunded": cancelled_and_refunded,
    "cancelled with a label": cancelled_with_a_label,
    "returned and refunded": returned_and_refunded,
    "delivered and refunded": delivered_and_refunded,
    "dispatched by hand": dispatched_by_hand,
    "in two parcels": in_two_parcels,
    "paid while cancelled": paid_while_cancelled,
}


def _nothing_kept(order: Reading) -> bool:
    closed = order["payment"]["status"] == "CANCELLED" and not order["payment"]["capturedAmount"]
    return bool(order["status"] == "CANCELLED" and (closed or is_refunded(order)))


async def _paid(shop: Shop, shopper: str, items: dict[str, int]) -> Reading:
    order = await shop.place(shopper, items, phone="+14155550123")
    await shop.pay(order)
    return await shop.until(order["id"], is_status("PROCESSING"))


async def _labelled(shop: Shop, order: Reading) -> Reading:
    order = await shop.until(order["id"], lambda seen: bool(seen["shipments"]))
    await shop.ask(BUY_LABEL, {"id": order["shipments"][0]["id"]})
    return await shop.until(order["id"], has_shipment("LABELLED"))


async def _shipped(shop: Shop, order: Reading) -> Reading:
    order = await _labelled(shop, order)
    await shop.carrier_says(_tracking(order), "TRANSIT")
    return await shop.until(order["id"], is_status("SHIPPED"))


def _parcels(order: Reading, status: str) -> list[Reading]:
    return [shipment for shipment in order["shipments"] or () if shipment["status"] == status]


def _tracking(order: Reading) -> str:
    return str(order["shipments"][0]["trackingNumber"])
