"""Placing an order: prices are the shop's, refusals are typed, and a repeat is the same order."""

import asyncio
from typing import Any, cast
from uuid import uuid4

import pytest
from pyreqwest.client import ClientBuilder

from ordermesh.shop import ADDRESS, PLACE, Reading, Refused
from ordermesh.stories import MUG, POSTER
from shared.bus import tell
from shared.contracts.catalog import SkuListed
from support.world import World


def wanted(**changes: Any) -> Reading:
    return {"input": {"items": [{"sku": MUG, "quantity": 1}], "shippingAddress": ADDRESS, **changes}}


async def place(world: World, **changes: Any) -> Reading:
    data = await world.shop.ask(PLACE, wanted(**changes), role="shopper", subject="carol")
    order: Reading = data["createOrder"]
    return order


async def test_the_total_is_the_catalogues_prices_the_rate_of_the_delivery_speed_and_tax(
    world: World,
) -> None:
    items = [{"sku": MUG, "quantity": 3}, {"sku": POSTER, "quantity": 1}]
    order = await place(world, items=items, deliverySpeed="express")
    tax = 3.44  # 7.25 % of the goods
    assert order["total"] == round(3 * 12.50 + 9.90 + 14.99 + tax, 2)


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
        ({"contact": {"email": "nope"}}, "BAD_INPUT"),
        ({"contact": {"phone": "abc"}}, "BAD_INPUT"),
        ({"metadata": ["a"]}, "BAD_INPUT"),
        ({"metadata": {"a": 2**60}}, "BAD_INPUT"),
        ({"metadata": {"a": [[{"b": "c\u0000"}]]}}, "BAD_INPUT"),
        ({"metadata": {"a": "x" * 5000}}, "BAD_INPUT"),
    ],
)
async def test_bad_input_gets_a_typed_error(world: World, changes: Reading, code: str) -> None:
    with pytest.raises(Refused) as refused:
        await place(world, **changes)
    assert refused.value.codes == [code]


async def test_metadata_comes_back_as_it_was_given_and_staff_s_systems_add_theirs(world: World) -> None:
    given = {"cart": "c-1", "gift": {"for": "Ann", "wrap": True}, "rates": [0.5, 12, None]}
    order = await place(world, metadata=given)
    read = "query($id: ID!) { order(id: $id) { metadata } }"
    own = await world.shop.ask(read, {"id": order["id"]}, role="shopper", subject="carol")
    assert own == {"order": {"metadata": given}}
    literal = (
        "mutation($id: ID!, $no: Int, $none: String) {"
        " updateOrderMetadata(id: $id, metadata: {erp: {no: $no, none: $none}, cart: null}) { metadata } }"
    )
    answer = await world.shop.ask(literal, {"id": order["id"], "no": 7})
    del given["cart"]
    assert answer == {"updateOrderMetadata": {"metadata": given | {"erp": {"no": 7}}}}


@pytest.mark.parametrize("depth", [17, 250, 300, 900])
@pytest.mark.parametrize("bracket", ["{a: %s}", "[%s]"])
async def test_metadata_nested_too_deeply_is_bad_input_however_it_is_written(
    world: World, depth: int, bracket: str
) -> None:
    written, given = "1", cast("Any", 1)
    for _ in range(depth - 1):
        written, given = bracket % written, {"a": given} if "a" in bracket else [given]
    mutation = "updateOrderMetadata(id: $id, metadata: {a: %s}) { id }"
    by_variable = (
        "mutation($id: ID!, $given: Metadata!) { updateOrderMetadata(id: $id, metadata: $given) { id } }"
    )
    asked: list[tuple[str, Reading]] = [
        (f"mutation($id: ID!) {{ {mutation % written} }}", {}),
        (by_variable, {"given": {"a": given}}),
    ]
    for document, variables in asked:
        with pytest.raises(Refused) as refused:
            await world.shop.ask(document, {"id": str(uuid4()), **variables})
        assert set(refused.value.codes) <= {"BAD_INPUT", "GRAPHQL_PARSE_FAILED", "QUERY_TOO_COMPLEX"}


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


async def test_a_repeat_is_the_same_order_also_when_the_catalogue_changed_meanwhile(world: World) -> None:
    sku = f"LAMP-{uuid4().hex[:8]}"
    lamp = SkuListed(
        sku_id=sku,
        product_id="LAMP",
        name="Lamp",
        price=4000,
        shipping_price=0,
        currency="USD",
        weight_grams=900,
    )
    await tell(world.kafka_url, "shop", [lamp])
    await world.shop.until_listed({sku})
    headers = {
        "authorization": f"Bearer {await world.shop.token('shopper', 'carol')}",
        "idempotency-key": sku,
    }
    body = {"query": PLACE, "variables": wanted(items=[{"sku": sku, "quantity": 1}])}
    first = await world.shop._post(f"{world.places.gateway}/graphql", body, headers)
    await tell(world.kafka_url, "shop", [lamp.model_copy(update={"available": False, "price": 9000})])
    await world.network.settle()
    async with asyncio.timeout(30):
        while "SKU_UNAVAILABLE" not in await codes(world, sku):
            await asyncio.sleep(0.05)
    again = await world.shop._post(f"{world.places.gateway}/graphql", body, headers)
    assert again["data"]["createOrder"]["id"] == first["data"]["createOrder"]["id"]
    assert again["data"]["createOrder"]["total"] == first["data"]["createOrder"]["total"]


async def codes(world: World, sku: str) -> list[str]:
    try:
        await place(world, items=[{"sku": sku, "quantity": 1}])
    except Refused as refused:
        return refused.codes
    return []


async def test_a_partner_does_not_order_through_the_storefront(world: World) -> None:
    with pytest.raises(Refused) as refused:
        await world.shop.ask(PLACE, wanted(), role="partner", subject="acme")
    assert refused.value.codes == ["FORBIDDEN"]


async def test_a_parcel_needs_a_name(world: World) -> None:
    nameless = await world.shop.sandbox("POST", "/issuer/token", {"role": "shopper", "sub": "nobody"})
    headers = {"authorization": f"Bearer {nameless['token']}"}
    url = f"{world.places.gateway}/graphql"
    refused = await world.shop._post(url, {"query": PLACE, "variables": wanted()}, headers)
    assert refused["errors"][0]["extensions"]["code"] == "BAD_INPUT"
    named = wanted(shippingAddress={**ADDRESS, "name": "Nora Body"})
    placed = await world.shop._post(url, {"query": PLACE, "variables": named}, headers)
    assert placed["data"]["createOrder"]["id"]
