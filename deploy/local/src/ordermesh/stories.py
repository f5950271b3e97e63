"""What happens to orders: each story is one shopper's order from placing to its end, told through a Shop.

The demo runs them for people to watch; the system tests run the same ones, delivered once and everything twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import uuid4

from ordermesh.shop import (
    ADDRESS,
    BUY_LABEL,
    CANCEL,
    CANCEL_ITEMS,
    DISPATCH,
    EDIT,
    HOLD,
    PLACE_AS_GUEST,
    PREVIEW_EDIT,
    QUOTES,
    READ,
    REFUND,
    RELEASE,
    SAVE_CODE,
    SAVE_SKU,
    SPLIT,
    TRACK,
    UPDATE_STATUS,
    NotYet,
    Reading,
    Refused,
    Shop,
    has_shipment,
    is_refunded,
    is_status,
)

Story = Callable[[Shop, str], Awaitable[Reading]]
"""Takes the shop and the shopper's name; answers the order as it ended."""

MUG, SHIRT, POSTER, LAMP = "MUG-BLUE", "SHIRT-M", "POSTER-A2", "LAMP-NEW"
"""The lamp is not out yet: whoever orders it orders ahead."""


async def delivered(shop: Shop, shopper: str) -> Reading:
    return await _delivered(shop, await _shipped(shop, await _paid(shop, shopper, {MUG: 2, POSTER: 1})))


async def declined_then_paid(shop: Shop, shopper: str) -> Reading:
    order = await shop.place(shopper, {SHIRT: 1}, phone="+14155550123")
    await shop.pay(order, "pm_card_visa_chargeDeclined")
    await shop.until(order["id"], lambda seen: bool(seen["paymentStatus"] == "FAILED"))
    await shop.pay(order)
    return await _delivered(
        shop, await _shipped(shop, await shop.until(order["id"], is_status("PROCESSING")))
    )


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
    return await _delivered(shop, order)


async def paid_while_cancelled(shop: Shop, shopper: str) -> Reading:
    """The shopper pays in one tab and cancels in the other: either way nobody keeps the money of a cancelled order."""
    order = await shop.place(shopper, {MUG: 1})
    cancelling = shop.ask(CANCEL, {"id": order["id"]}, role="shopper", subject=shopper)
    await asyncio.gather(shop.pay(order), cancelling)
    return await shop.until(order["id"], _nothing_kept)


async def partly_cancelled(shop: Shop, shopper: str) -> Reading:
    """A piece is sold out: its price goes back, the rest is delivered."""
    order = await _paid(shop, shopper, {MUG: 2, POSTER: 1})
    sold_out = [{"itemId": order["items"][0]["id"], "quantity": 1}]
    await shop.ask(CANCEL_ITEMS, {"id": order["id"], "items": sold_out})
    await shop.until(order["id"], lambda seen: seen["payment"]["refundedAmount"] > 0)
    return await _delivered(shop, await _shipped(shop, await shop.until(order["id"], _has_one_parcel)))


async def edited_before_packing(shop: Shop, shopper: str) -> Reading:
    """The shopper moves to where there is no tax and wants one piece less, at the money that the preview told."""
    order = await _paid(shop, shopper, {SHIRT: 2})
    less = [{"itemId": order["items"][0]["id"], "quantity": 1}]
    oregon = {"street": "2 Oak Street", "city": "Portland", "state": "OR", "zipCode": "97201"}
    wanted = {"shippingAddress": {**ADDRESS, **oregon}, "items": less}
    asked = {"id": order["id"], "input": wanted}
    preview = (await shop.ask(PREVIEW_EDIT, asked, role="shopper", subject=shopper))["previewOrderEdit"]
    await shop.ask(EDIT, {**asked, "version": preview["version"]}, role="shopper", subject=shopper)
    await shop.until(order["id"], lambda seen: bool(seen["payment"]["refundedAmount"] == preview["refund"]))
    return await _delivered(shop, await _shipped(shop, await shop.until(order["id"], _has_one_parcel)))


async def held_and_released(shop: Shop, shopper: str) -> Reading:
    """Staff look twice before it goes out; shipping hears of both a moment later."""
    order = await _paid(shop, shopper, {MUG: 1})
    held = await shop.ask(HOLD, {"id": order["id"], "reason": "the address looks odd"})
    hold = held["holdOrder"]["holds"][0]["id"]
    await shop.until(
        order["id"], lambda seen: any(n["template"] == "order.held" for n in seen["notifications"] or ())
    )
    await shop.ask(RELEASE, {"id": order["id"], "hold": hold})
    return await _delivered(shop, await _shipped(shop, order))


async def handed_over_by_hand(shop: Shop, shopper: str) -> Reading:
    """Staff send it outside of shipping: what was prepared is void, and nobody but staff can tell that it arrived."""
    order = await _paid(shop, shopper, {POSTER: 2})
    await shop.ask(TRACK, {"id": order["id"], "number": f"BY-HAND-{order['orderNumber']}"})
    await shop.until(order["id"], lambda seen: is_status("SHIPPED")(seen) and has_shipment("VOIDED")(seen))
    await shop.ask(UPDATE_STATUS, {"id": order["id"], "status": "DELIVERED"})
    return await shop.until(order["id"], is_status("DELIVERED"))


async def paid_offline(shop: Shop, shopper: str) -> Reading:
    """Staff take the money themselves: the card's intent is closed, and nobody can pay a second time."""
    order = await shop.place(shopper, {SHIRT: 1}, phone="+14155550123")
    await shop.ask(UPDATE_STATUS, {"id": order["id"], "status": "PROCESSING"})
    order = await shop.until(order["id"], lambda seen: bool(seen["payment"]["status"] == "EXTERNAL"))
    return await _delivered(shop, await _shipped(shop, order))


async def in_two_parcels(shop: Shop, shopper: str) -> Reading:
    """The order is on its way when its last parcel is."""
    order = await shop.until(
        (await _paid(shop, shopper, {MUG: 1, POSTER: 1}))["id"], has_shipment("PREPARED")
    )
    parcels = {"id": order["shipments"][0]["id"], "lines": [{"line": 1, "quantity": 1}]}
    await shop.ask(SPLIT, parcels)
    for left in (2, 1):
        order = await shop.until(order["id"], partial(_is_left, left))
        parcel = _of(order, "PREPARED")[0]["id"]
        await shop.ask(BUY_LABEL, {"id": parcel})
        await shop.until(order["id"], has_shipment("LABELLED"))
        await shop.ask(DISPATCH, {"id": parcel})
    order = await shop.until(order["id"], is_status("SHIPPED"))
    for parcel in _of(order, "DISPATCHED"):
        await shop.carrier_says(parcel["trackingNumber"], "DELIVERED")
    return await shop.until(order["id"], is_status("DELIVERED"))


async def guest_with_a_discount(shop: Shop, shopper: str) -> Reading:
    """Without an account, by the token that came with the order: read, paid, and cancelled in the end."""
    code = (await shop.ask(SAVE_CODE, {"code": "WELCOME"}))["saveDiscountCode"]["code"]
    wanted = {
        "items": [{"sku": MUG, "quantity": 2}],
        "shippingAddress": ADDRESS,
        "contact": {"name": "Gus Guest", "email": f"{shopper}@example.com"},
        "discountCode": code,
    }
    placed = (await shop.ask(PLACE_AS_GUEST, {"input": wanted}, token=""))["createOrder"]
    await shop.until(placed["id"], lambda seen: bool(seen["payment"] and seen["payment"]["clientSecret"]))
    its, token = {"id": placed["id"]}, placed["guestToken"]
    await shop.pay((await shop.ask(READ, its, token=token))["order"])
    await shop.until(placed["id"], is_status("PROCESSING"))
    await shop.ask(CANCEL, its, token=token)
    return await shop.until(placed["id"], lambda seen: seen["status"] == "CANCELLED" and is_refunded(seen))


async def ordered_ahead(shop: Shop, shopper: str) -> Reading:
    """Paid at once and held until it is out; it is out sooner than was thought."""
    order = await _paid(shop, shopper, {LAMP: 1})
    await shop.ask(RELEASE, {"id": order["id"], "hold": order["holds"][0]["id"]})
    return await _delivered(shop, await _shipped(shop, order))


async def by_a_live_quote(shop: Shop, shopper: str) -> Reading:
    """The shopper takes the carrier's dearest offer, and the label is bought at that very rate."""
    asked = {"items": [{"sku": SHIRT, "quantity": 2}], "address": ADDRESS}
    quote = (await shop.ask(QUOTES, asked, token=""))["shippingQuotes"][-1]
    order = await shop.place(shopper, {SHIRT: 2}, phone="+14155550123", shippingQuote=quote["token"])
    await shop.pay(order)
    order = await _shipped(shop, await shop.until(order["id"], is_status("PROCESSING")))
    return await _delivered(shop, order)


async def last_use_of_a_code(shop: Shop, shopper: str) -> Reading:
    """For one order alone: who has it cancels unpaid, and the next one may have it."""
    once = {"code": f"ONCE-{uuid4().hex[:12]}", "maxUses": 1}
    code = (await shop.ask(SAVE_CODE, once))["saveDiscountCode"]["code"]
    first = await shop.place(shopper, {MUG: 2}, discountCode=code)
    await shop.ask(CANCEL, {"id": first["id"]}, role="shopper", subject=shopper)
    order = await _once_given_back(shop, f"{shopper}-next", code)
    await shop.pay(order)
    order = await shop.until(order["id"], is_status("PROCESSING"))
    return await _delivered(shop, await _shipped(shop, order))


async def settled_at_once(shop: Shop, shopper: str) -> Reading:
    """By the test card whose money is available at once: other cards' comes days later, and the order stays PAID until then."""
    order = await shop.place(shopper, {POSTER: 1}, phone="+14155550123")
    await shop.pay(order, "pm_card_bypassPending")
    await shop.until(order["id"], lambda seen: bool(seen["paymentStatus"] == "COMPLETED"))
    return await _delivered(shop, await _shipped(shop, order))


async def _once_given_back(shop: Shop, shopper: str, code: str) -> Reading:
    async for _ in shop.looks():
        try:
            return await shop.place(shopper, {MUG: 2}, phone="+14155550123", discountCode=code)
        except Refused as refused:
            if refused.codes != ["INVALID_DISCOUNT"]:
                raise
    raise NotYet(f"{code} is not given back")


async def newly_listed(shop: Shop, shopper: str) -> Reading:
    """Finance puts something on sale: from then on it is quoted, ordered and sent."""
    named = {"id": f"TEA-{uuid4().hex[:12]}", "productId": "TEA", "name": "Tea, 100 g", "weightGrams": 100}
    tea = {**named, "price": 7.0, "shippingPrice": 2.0, "currency": "USD"}
    sku = (await shop.ask(SAVE_SKU, {"sku": tea}))["saveSku"]["id"]
    await shop.until_listed({sku})
    return await _delivered(shop, await _shipped(shop, await _paid(shop, shopper, {sku: 2})))


STORIES: dict[str, Story] = {
    "delivered": delivered,
    "declined, then paid": declined_then_paid,
    "cancelled unpaid": cancelled_unpaid,
    "cancelled and refunded": cancelled_and_refunded,
    "cancelled with a label": cancelled_with_a_label,
    "returned and refunded": returned_and_refunded,
    "delivered and refunded": delivered_and_refunded,
    "dispatched by hand": dispatched_by_hand,
    "paid while cancelled": paid_while_cancelled,
    "partly cancelled": partly_cancelled,
    "edited before packing": edited_before_packing,
    "held and released": held_and_released,
    "handed over by hand": handed_over_by_hand,
    "paid offline": paid_offline,
    "in two parcels": in_two_parcels,
    "guest with a discount": guest_with_a_discount,
    "ordered ahead": ordered_ahead,
    "by a live quote": by_a_live_quote,
    "last use of a code": last_use_of_a_code,
    "newly listed": newly_listed,
    "settled at once": settled_at_once,
}


def _of(order: Reading, status: str) -> list[Reading]:
    return [shipment for shipment in order["shipments"] or () if shipment["status"] == status]


def _is_left(parcels: int, order: Reading) -> bool:
    return len(_of(order, "PREPARED")) == parcels


def _has_one_parcel(order: Reading) -> bool:
    """The pieces that went are out of the parcel that is being prepared: it was void, and is another one."""
    return len(_of(order, "PREPARED")) == 1 and len(order["shipments"]) > 1


def _nothing_kept(order: Reading) -> bool:
    closed = order["payment"]["status"] == "CANCELLED" and not order["payment"]["capturedAmount"]
    return bool(order["status"] == "CANCELLED" and (closed or is_refunded(order)))


async def _paid(shop: Shop, shopper: str, items: dict[str, int]) -> Reading:
    order = await shop.place(shopper, items, phone="+14155550123")
    await shop.pay(order)
    return await shop.until(order["id"], is_status("PROCESSING"))


async def _labelled(shop: Shop, order: Reading) -> Reading:
    """As staff do it: again, while shipping has not heard yet that the order is released, or was held in the middle of it."""
    async for _ in shop.looks():
        order = await shop.read(order["id"])
        if has_shipment("LABELLED")(order):
            return order
        for parcel in _of(order, "PREPARED")[:1]:
            await _buy_label(shop, parcel["id"])
    raise NotYet(f"no label for order {order['id']}: {order}")


async def _buy_label(shop: Shop, shipment_id: str) -> None:
    try:
        await shop.ask(BUY_LABEL, {"id": shipment_id})
    except Refused as refused:
        if refused.codes != ["ON_HOLD"]:
            raise


async def _shipped(shop: Shop, order: Reading) -> Reading:
    order = await _labelled(shop, order)
    await shop.carrier_says(_tracking(order), "TRANSIT")
    return await shop.until(order["id"], is_status("SHIPPED"))


async def _delivered(shop: Shop, order: Reading) -> Reading:
    await shop.carrier_says(_tracking(order), "DELIVERED")
    return await shop.until(order["id"], is_status("DELIVERED"))


def _tracking(order: Reading) -> str:
    return next(str(s["trackingNumber"]) for s in order["shipments"] if s["trackingNumber"])
