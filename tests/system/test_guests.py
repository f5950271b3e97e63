"""A shopper without an account, through the gateway and all the services: a live quote, an order, its token, and back."""

from typing import Any
from uuid import uuid4

from ordermesh.shop import ADDRESS, Reading, has_shipment, is_refunded
from ordermesh.stories import MUG
from support.world import World

QUOTES = """query($address: QuoteAddressInput!, $items: [QuoteItemInput!]!) {
    shippingQuotes(address: $address, items: $items, limit: 1) { token amount service carrier }
}"""
PRICE = "query($input: CreateOrderInput!) { priceOrder(input: $input) { shipping total } }"
PLACE = """mutation($input: CreateOrderInput!) { createOrder(input: $input) {
    id total shipping shippingService channel guestToken customer { email }
} }"""
READ = """query($id: ID!) { order(id: $id) {
    id status guestToken payment { paymentIntentId clientSecret } shipments { id status }
} }"""
CANCEL = "mutation($id: ID!) { cancelOrder(id: $id) { id status } }"
ITEMS = [{"sku": MUG, "quantity": 2}]


async def asked(
    world: World, query: str, variables: Reading, *, token: str | None = None, key: str | None = None
) -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    headers |= {"idempotency-key": key} if key else {}
    body = {"query": query, "variables": variables}
    answer = await world.shop._post(f"{world.places.gateway}/graphql", body, headers)
    assert "errors" not in answer, answer
    [value] = answer["data"].values()
    return value


async def test_a_guest_orders_at_a_quoted_rate_pays_follows_and_cancels_its_one_order(world: World) -> None:
    shop, address = world.shop, {**ADDRESS, "name": "Gus Guest"}
    quoted = {name: ADDRESS[name] for name in ("street", "city", "state", "zipCode", "country")}
    [quote] = await asked(world, QUOTES, {"address": quoted, "items": ITEMS})
    wanted = {
        "input": {
            "items": ITEMS,
            "shippingAddress": address,
            "contact": {"email": "gus@example.com"},
            "shippingQuote": quote["token"],
        }
    }
    price = await asked(world, PRICE, wanted)
    key = str(uuid4())
    order = await asked(world, PLACE, wanted, key=key)
    assert price == {"shipping": order["shipping"], "total": order["total"]}
    assert (order["shipping"], order["shippingService"]) == (quote["amount"], quote["service"])
    assert (order["channel"], order["customer"]) == ("GUEST", {"email": "gus@example.com"})
    assert (await asked(world, PLACE, wanted, key=key))["id"] == order["id"]

    token, it = order["guestToken"], {"id": order["id"]}
    await shop.until(order["id"], lambda seen: bool(seen["payment"] and seen["payment"]["paymentIntentId"]))
    seen = await asked(world, READ, it, token=token)
    assert seen["payment"]["clientSecret"].startswith(seen["payment"]["paymentIntentId"])
    assert seen["guestToken"] is None
    await shop.pay(seen)
    await shop.until(order["id"], has_shipment("PREPARED"))
    assert (await asked(world, READ, it, token=token))["shipments"][0]["status"] == "PREPARED"
    other = await shop.place("walter", {MUG: 1})
    assert await asked(world, READ, {"id": other["id"]}, token=token) is None
    assert (await asked(world, CANCEL, it, token=token))["status"] == "CANCELLED"
    await shop.until(order["id"], is_refunded)
