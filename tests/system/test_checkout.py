"""Placing an order: prices are the shop's, refusals are typed, and a repeat is the same order."""

import asyncio
from typing import Any

import pytest
from pyreqwest.client import ClientBuilder

from ordermesh.shop import ADDRESS, PLACE, Reading, Refused
from ordermesh.stories import MUG, POSTER
from support.world import World


def wanted(**changes: Any) -> Reading:
    return {"input": {"items": [{"sku": MUG, "quantity": 1}], "shippingAddress": ADDRESS, **changes}}


async def place(world: World, **changes: Any) -> Reading:
    data = await world.shop.ask(PLACE, wanted(**changes), role="shopper", subject="carol")
    order: Reading = data["createOrder"]
    return order


async def test_the_total_is_the_catalogues_prices_and_the_rate_of_the_delivery_speed(world: World) -> None:
    items = [{"sku": MUG, "quantity": 3}, {"sku": POSTER, "quantity": 1}]
    order = await place(world, items=items, deliverySpeed="express")
    assert order["total"] == 3 * 12.50 + 9.90 + 14.99


async def test_the_answer_has_what_the_browser_needs_to_pay(world: World) -> None:
    order = await place(world)
    assert order["payment"]["clientSecret"].startswith(order["payment"]["paymentIntentId"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"items": [{"sku": "NO-SUCH", "quantity": 1}]}, "SKU_NOT_FOUND"),
        ({"items": []}, "BAD_INPUT"),
        ({"items": [{"sku": MUG, "quantity": 0}]}, "BAD_INPUT"),
        ({"items": [{"sku": MUG, "quantity": -1}]}, "BAD_INPUT"),
        ({"items": [{"sku": MUG, "quantity": 10**9}]}, "BAD_INPUT"),
        ({"items": [{"sku": MUG, "quantity": 1}, {"sku": MUG, "quantity": 1}]}, "BAD_INPUT"),
        ({"deliverySpeed": "by owl"}, "BAD_INPUT"),
        ({"shippingAddress": {**ADDRESS, "country": "Atlantis"}}, "BAD_INPUT"),
        ({"shippingAddress": {**ADDRESS, "street": " "}}, "BAD_INPUT"),
        ({"shippingAddress": {**ADDRESS, "street": "x" * 5000}}, "BAD_INPUT"),
        ({"shippingAddress": {**ADDRESS, "street": "a\u0000b"}}, "BAD_INPUT"),
        ({"contact": {"name": "x" * 5000}}, "BAD_INPUT"),
    ],
)
async def test_bad_input_gets_a_typed_error(world: World, changes: Reading, code: str) -> None:
    with pytest.raises(Refused) as refused:
        await place(world, **changes)
    assert refused.value.codes == [code]


async def test_nobody_orders_without_a_token(world: World) -> None:
    async with ClientBuilder().build() as client:
        body = {"query": PLACE, "variables": wanted()}
        response = await client.post(f"{world.places.gateway}/graphql").body_json(body).build().send()
        answer = await response.json()
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_ten_twins_under_one_key_are_one_order_and_other_arguments_a_conflict(world: World) -> None:
    token = await world.shop.token("shopper", "twin")

    async def send(variables: Reading) -> Reading:
        headers = {"authorization": f"Bearer {token}", "idempotency-key": "twin-1"}
        return await world.shop._post(
            f"{world.places.gateway}/graphql", {"query": PLACE, "variables": variables}, headers
        )

    answers = await asyncio.gather(*(send(wanted()) for _ in range(10)))
    assert len({answer["data"]["createOrder"]["id"] for answer in answers}) == 1
    conflict = await send(wanted(items=[{"sku": MUG, "quantity": 2}]))
    assert conflict["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"
    mine = await world.shop.ask("{ myOrders { pageInfo { total } } }", role="shopper", subject="twin")
    assert mine["myOrders"]["pageInfo"]["total"] == 1
