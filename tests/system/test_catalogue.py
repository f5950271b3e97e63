"""The catalogue changed by finance through the gateway: orders sells it so, and shipping knows what it weighs."""

from uuid import uuid4

import pytest

from ordermesh.shop import ADDRESS, PRICE, QUOTES, SAVE_SKU, Reading, Refused
from support.world import World


def socks(sku: str, **changes: object) -> Reading:
    usual = {"id": sku, "productId": "SOCKS", "name": "Socks", "weightGrams": 60, "currency": "USD"}
    return {"sku": {**usual, "price": 8.0, "shippingPrice": 1.0, **changes}}


async def asked(world: World, query: str, variables: Reading) -> Reading | list[str]:
    """The data, or the codes of what is refused."""
    try:
        return await world.shop.ask(query, variables)
    except Refused as refused:
        return refused.codes


async def test_a_saved_sku_is_sold_and_quoted_until_it_is_taken_off(world: World) -> None:
    sku = f"SOCKS-{uuid4().hex[:8]}"
    items = [{"sku": sku, "quantity": 3}]
    priced = {"input": {"items": items, "shippingAddress": ADDRESS}}
    quoted = {"items": items, "address": ADDRESS}
    assert await asked(world, PRICE, priced) == await asked(world, QUOTES, quoted) == ["SKU_NOT_FOUND"]

    answer = (await world.shop.ask(SAVE_SKU, socks(sku)))["saveSku"]
    assert answer == {"id": sku, "price": 8.0, "available": True}
    await world.network.settle()
    goods = "query($input: CreateOrderInput!) { priceOrder(input: $input) { subtotal } }"
    assert await asked(world, goods, priced) == {"priceOrder": {"subtotal": 24.0}}
    offers = await world.shop.ask(QUOTES, quoted)
    assert offers["shippingQuotes"]

    await world.shop.ask(SAVE_SKU, socks(sku, available=False))
    await world.network.settle()
    assert await asked(world, PRICE, priced) == ["SKU_UNAVAILABLE"]


async def test_a_sku_that_is_none_is_refused_by_name(world: World) -> None:
    for changes in ({"weightGrams": -1}, {"price": -1.0}, {"availableFrom": "soon"}):
        with pytest.raises(Refused) as refused:
            await world.shop.ask(SAVE_SKU, socks("SOCKS", **changes))
        [error] = refused.value.errors
        said = error["extensions"]
        assert (said["code"], said["argument"]) == ("BAD_INPUT", next(iter(changes)))
