"""Everybody sees their own: another shopper's order is not found, on every path."""

from typing import Any
from uuid import uuid4

import pytest
from pyreqwest.client import ClientBuilder
from pyreqwest.response import Response

from ordermesh.programs import EXPORT
from ordermesh.shop import CANCEL, REFUND, Reading, Refused
from ordermesh.stories import MUG
from support.world import SERVICES, World

ENTITY = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Order { id } } }"
OWN_FIELD = {"orders": "total", "payments": "payment { id }", "shipping": "shipments { id }", "notifications": "notifications { channel }"}  # fmt: skip


@pytest.fixture(scope="session")
async def order(world: World) -> Reading:
    return await world.shop.place("alice", {MUG: 1})


async def entity(world: World, service: str, order_id: str, header: str | None, *, field: str = "") -> Any:
    """What the service itself answers to a gateway's question, asked past the gateway."""
    query = ENTITY.replace("{ id }", f"{{ id {field} }}")
    client = ClientBuilder().build()
    async with client:
        request = client.post(f"{world.urls[service]}/graphql").body_json(
            {"query": query, "variables": {"r": [{"__typename": "Order", "id": order_id}]}}
        )
        response = await (request.header("authorization", header) if header else request).build().send()
        return await response.json()


async def test_the_owner_and_staff_see_the_order(world: World, order: Reading) -> None:
    for role, subject in (("shopper", "alice"), ("staff", "sam")):
        assert (await world.shop.read(order["id"], role=role, subject=subject))["id"] == order["id"]


@pytest.mark.parametrize(("role", "subject"), [("shopper", "mallory"), ("partner", "acme")])
async def test_for_others_the_order_is_not_there(
    world: World, order: Reading, role: str, subject: str
) -> None:
    shop = world.shop
    assert await shop.read(order["id"], role=role, subject=subject) is None
    by_number = "query($n: String!) { orderByNumber(orderNumber: $n) { id } }"
    data = await shop.ask(by_number, {"n": order["orderNumber"]}, role=role, subject=subject)
    assert data["orderByNumber"] is None
    mine = await shop.ask("{ myOrders { nodes { id } pageInfo { total } } }", role=role, subject=subject)
    assert mine["myOrders"] == {"nodes": [], "pageInfo": {"total": 0}}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_asked_past_the_gateway_tells_others_nothing(
    world: World, order: Reading, service: str
) -> None:
    own = f"Bearer {await world.shop.token('shopper', 'alice')}"
    others = [
        None,
        *[f"Bearer {await world.shop.token(*who)}" for who in (("shopper", "mallory"), ("partner", "acme"))],
    ]
    await world.network.settle()
    seen = await entity(world, service, order["id"], own, field=OWN_FIELD[service])
    assert seen["data"]["_entities"][0]["id"] == order["id"]
    for header in others:
        answer = await entity(world, service, order["id"], header)
        assert answer["data"]["_entities"] == [None]
    unknown = await entity(world, service, str(uuid4()), own)
    assert unknown["data"]["_entities"] == [None]
    assert (await entity(world, service, "no uuid", own))["data"]["_entities"] == [None]


async def test_a_forged_token_is_refused_by_every_service_and_the_gateway(
    world: World, order: Reading
) -> None:
    good = await world.shop.token("staff", "sam")
    forged = f"Bearer {good[:-6]}AAAAAA"
    answers = [await entity(world, service, order["id"], forged) for service in SERVICES]
    headers = {"authorization": forged}
    answers.append(
        await world.shop._post(f"{world.places.gateway}/graphql", {"query": "{ skus { id } }"}, headers)
    )
    assert {answer["errors"][0]["extensions"]["code"] for answer in answers} == {"UNAUTHENTICATED"}


@pytest.mark.parametrize(
    ("role", "status", "code"),
    [(None, 401, "UNAUTHENTICATED"), ("shopper", 403, "FORBIDDEN"), ("partner", 403, "FORBIDDEN")],
)
async def test_the_export_is_closed_to_all_but_staff(
    world: World, role: str | None, status: int, code: str
) -> None:
    answer = await exported(world, role and await world.shop.token(role, "mallory"))
    assert answer.status == status
    assert (await answer.json())["errors"][0]["extensions"]["code"] == code


async def test_staff_export_what_they_filter_through_the_gateway(world: World, order: Reading) -> None:
    answer = await exported(world, await world.shop.token("staff", "sam"), search=order["orderNumber"])
    assert (answer.status, answer.get_header("content-type")) == (200, "text/csv; charset=utf-8")
    assert answer.get_header("content-disposition") == 'attachment; filename="orders.csv"'
    head, row = (await answer.text()).splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=False))["id"] == order["id"]


async def exported(world: World, token: str | None, **query: str) -> Response:
    async with ClientBuilder().build() as client:
        request = client.get(f"{world.places.gateway}{EXPORT}").query(query)
        return await (request.bearer_auth(token) if token else request).build().send()


async def test_a_stranger_cannot_act_on_the_order(world: World, order: Reading) -> None:
    with pytest.raises(Refused) as refused:
        await world.shop.ask(CANCEL, {"id": order["id"]}, role="shopper", subject="mallory")
    assert refused.value.codes == ["ORDER_NOT_FOUND"]
    with pytest.raises(Refused) as unknown:
        await world.shop.ask(CANCEL, {"id": str(uuid4())}, role="shopper", subject="mallory")
    assert unknown.value.codes == ["ORDER_NOT_FOUND"]


@pytest.mark.parametrize(
    "operation",
    [
        REFUND,
        "mutation M($id: ID!) { markOrderDelivered(id: $id) { id } }",
        "mutation M($id: ID!) { buyShippingLabel(shipmentId: $id) { id } }",
        "mutation M($id: ID!) { dispatchShipment(shipmentId: $id) { id } }",
        "mutation M($id: ID!) { voidShippingLabel(shipmentId: $id) { id } }",
        "query Q { orders { nodes { id } } }",
        "query Q { ordersByStatus(status: PENDING) { nodes { id } } }",
    ],
)
async def test_what_is_for_staff_is_forbidden_to_the_owner(
    world: World, order: Reading, operation: str
) -> None:
    with pytest.raises(Refused) as refused:
        await world.shop.ask(operation, {"id": order["id"]}, role="shopper", subject="alice")
    assert refused.value.codes == ["FORBIDDEN"]


async def test_the_gateway_does_not_let_clients_ask_for_entities(world: World, order: Reading) -> None:
    own = f"Bearer {await world.shop.token('shopper', 'alice')}"
    answer = await entity(world, "gateway", order["id"], own)
    assert not answer.get("data")
    assert answer["errors"]


async def test_what_only_staff_may_know_is_empty_for_the_owner(world: World, order: Reading) -> None:
    query = "query Q($id: ID!) { order(id: $id) { stripeFee shippingMargin notes timeline { actor } } }"
    own = await world.shop.ask(query, {"id": order["id"]}, role="shopper", subject="alice")
    assert own["order"]["timeline"][0]["actor"] == "shopper"
    assert own["order"]["shippingMargin"] is None
    staff = await world.shop.ask(query, {"id": order["id"]})
    assert staff["order"]["timeline"][0]["actor"] == "shopper:alice"
