"""The graph of shipping: who sees what, how many queries it takes, and what staff may do."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.auth import Principal, Role, Scope
from shared.graphql import Context
from shared.ids import customer_id_of
from shipping.domain import LabelStage, ShipmentStatus
from shipping.schema import schema
from support.reads import reads
from support.shipments import Shop, placed

ENTITIES = """query($of: [_Any!]!) { _entities(representations: $of) {
    ... on Order { id shipments { id status labelUrl cost currency staffCase trackingNumber lines { line quantity } } }
    ... on Shipment { id status labelUrl } } }"""


async def entities(shop: Shop, *ids: object, type_: str = "Order", **caller: Any) -> list[Any]:
    answer = await shop.graph(ENTITIES, of=[{"__typename": type_, "id": str(one)} for one in ids], **caller)
    assert "errors" not in answer
    found: list[Any] = answer["data"]["_entities"]
    return found


def code(answer: dict[str, Any]) -> str:
    [error] = answer["errors"]
    return str(error["extensions"]["code"])


def customer(shop: Shop, sub: str) -> UUID:
    return customer_id_of(shop.box.issuer.url, sub)


def test_the_graph_extends_order_by_its_key() -> None:
    sdl = schema.as_str()
    assert 'type Order @key(fields: "id")' in sdl
    assert 'type Shipment @key(fields: "id")' in sdl
    assert "shipments: [Shipment!]\n" in sdl
    assert "buyShippingLabel(shipmentId: ID!, service: String = null): Shipment!" in sdl
    assert "enum ShipmentStatus" in sdl


async def test_only_staff_the_orders_shopper_and_its_partner_see_its_shipments(shop: Shop) -> None:
    order_id = await shop.paid_order(customer_id=customer(shop, "ann"), partner_id="acme")
    shipment_id = (await shop.shipment(order_id)).id
    entitled: tuple[dict[str, Any], ...] = (
        {"role": "staff"},
        {"role": "shopper", "sub": "ann"},
        {"role": "partner", "sub": "acme"},
    )
    for caller in entitled:
        [order] = await entities(shop, order_id, **caller)
        assert [shipment["id"] for shipment in order["shipments"]] == [str(shipment_id)]
        [shipment] = await entities(shop, shipment_id, type_="Shipment", **caller)
        assert shipment["status"] == "PREPARED"
    strangers: tuple[dict[str, Any], ...] = (
        {"role": "shopper", "sub": "bob"},
        {"role": "partner", "sub": "ann"},
        {"role": None},
    )
    for caller in strangers:
        assert await entities(shop, order_id, **caller) == [None]
        assert await entities(shop, shipment_id, type_="Shipment", **caller) == [None]


async def test_an_order_without_shipments_has_none_and_an_unknown_one_is_null(shop: Shop) -> None:
    order_id = uuid4()
    await shop.hear(placed(order_id))
    found = await entities(shop, order_id, uuid4(), "no uuid", "")
    assert found == [{"id": str(order_id), "shipments": []}, None, None, None]
    assert await entities(shop, uuid4(), "no uuid", type_="Shipment") == [None, None]


async def test_label_cost_and_case_are_for_staff_only(shop: Shop) -> None:
    order_id = await shop.labelled_order(customer_id=customer(shop, "ann"))
    [for_staff] = await entities(shop, order_id)
    [for_ann] = await entities(shop, order_id, role="shopper", sub="ann")
    [seen], [hidden] = for_staff["shipments"], for_ann["shipments"]
    assert (seen["cost"], seen["currency"]) == (6.14, "USD")
    assert seen["labelUrl"].startswith(shop.box.url)
    assert (hidden["labelUrl"], hidden["cost"], hidden["staffCase"]) == (None, None, None)
    assert hidden["trackingNumber"] == seen["trackingNumber"]
    assert hidden["lines"] == [{"line": 1, "quantity": 2}, {"line": 2, "quantity": 1}]


async def test_fifty_orders_are_one_query(shop: Shop) -> None:
    order_ids = [await shop.paid_order(customer_id=customer(shop, "ann")) for _ in range(50)]
    with reads(shop.service.db) as statements:
        found = await entities(shop, *order_ids, role="shopper", sub="ann")
    assert [len(order["shipments"]) for order in found] == [1] * 50
    assert [order["id"] for order in found] == [str(order_id) for order_id in order_ids]
    assert len(statements) == 1


MUTATIONS = [
    "buyShippingLabel(shipmentId: $id) { id }",
    "dispatchShipment(shipmentId: $id) { id }",
    "voidShippingLabel(shipmentId: $id) { id }",
    "splitShipment(shipmentId: $id, lines: [{line: 1, quantity: 1}]) { id }",
]


@pytest.mark.parametrize("field", MUTATIONS)
async def test_mutations_are_for_staff_of_the_fulfilment_scope(shop: Shop, field: str) -> None:
    order_id = await shop.paid_order(customer_id=customer(shop, "ann"), partner_id="acme")
    shipment = await shop.shipment(order_id)
    query = f"mutation($id: ID!) {{ {field} }}"
    for role, sub in (("shopper", "ann"), ("partner", "acme")):
        assert code(await shop.graph(query, role=role, sub=sub, id=str(shipment.id))) == "FORBIDDEN"
    assert code(await shop.graph(query, scope="support finance", id=str(shipment.id))) == "FORBIDDEN"
    assert code(await shop.graph(query, role=None, id=str(shipment.id))) == "UNAUTHENTICATED"
    assert await shop.shipment(order_id) == shipment


@pytest.mark.parametrize("field", MUTATIONS)
async def test_an_unknown_shipment_is_not_found(shop: Shop, field: str) -> None:
    for shipment_id in (str(uuid4()), "no uuid"):
        assert (
            code(await shop.graph(f"mutation($id: ID!) {{ {field} }}", id=shipment_id))
            == "SHIPMENT_NOT_FOUND"
        )


async def test_the_bought_label_is_the_answer(shop: Shop) -> None:
    order_id = await shop.paid_order()
    answer = await shop.buy((await shop.shipment(order_id)).id, service="usps_priority")
    bought = answer["data"]["it"]
    assert (bought["status"], bought["carrier"], bought["service"]) == ("LABELLED", "USPS", "Priority Mail")
    assert bought["trackingUrl"].endswith(bought["trackingNumber"])
    label = await shop.http.get(bought["labelUrl"]).build().send()
    assert (await label.text()).startswith("%PDF")
    fact = (await shop.said(order_id))[-1].model_dump(mode="json")
    assert (fact["cost"], fact["label_url"]) == (949, bought["labelUrl"])


async def test_asking_many_times_at_once_buys_one_label(shop: Shop) -> None:
    order_id = await shop.paid_order()
    shipment_id = (await shop.shipment(order_id)).id
    keys = [None, None, "same", "same", "other"]
    answers = await asyncio.gather(*(shop.buy(shipment_id, key=key and f"{key} {order_id}") for key in keys))
    numbers = {answer["data"]["it"]["trackingNumber"] for answer in answers}
    assert len(numbers) == 1
    assert len(shop.effects("shippo.label.purchased", order_id)) == 1
    assert await shop.types(order_id) == ["prepared", "labelled"]


async def test_a_key_used_with_other_arguments_is_a_conflict(shop: Shop) -> None:
    order_id = await shop.paid_order()
    shipment_id, key = (await shop.shipment(order_id)).id, str(uuid4())
    await shop.buy(shipment_id, key=key)
    assert code(await shop.buy(shipment_id, key=key, service="ups_ground")) == "IDEMPOTENCY_CONFLICT"


async def test_a_label_of_another_service_is_refused_with_what_is_allowed(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    answer = await shop.buy((await shop.shipment(order_id)).id, service="ups_ground")
    assert code(answer) == "INVALID_TRANSITION"
    assert answer["errors"][0]["extensions"]["allowed"] == ["DISPATCHED", "VOIDED"]
    assert len(shop.live_labels(order_id)) == 1


@pytest.mark.parametrize("service", ["", " ", "x" * 101, "a\nb"])
async def test_a_malformed_argument_is_bad_input(shop: Shop, service: str) -> None:
    order_id = await shop.paid_order()
    shipment_id = (await shop.shipment(order_id)).id
    assert code(await shop.buy(shipment_id, service=service)) == "BAD_INPUT"
    assert code(await shop.dispatch(shipment_id, carrier="UPS", number=service)) == "BAD_INPUT"


@pytest.mark.parametrize("number", ["\N{CJK UNIFIED IDEOGRAPH-65E5}", "1Z\xe9", "1" * 65])
async def test_a_tracking_number_that_no_carrier_has_is_bad_input(shop: Shop, number: str) -> None:
    order_id = await shop.paid_order()
    answer = await shop.dispatch((await shop.shipment(order_id)).id, carrier="UPS", number=number)
    assert code(answer) == "BAD_INPUT"
    assert await shop.types(order_id) == ["prepared"]


async def test_a_failed_purchase_answers_why(shop: Shop) -> None:
    nowhere = placed(uuid4()).shipping_address.model_copy(update={"zip_code": "00000"})
    order_id = await shop.paid_order(shipping_address=nowhere)
    answer = await shop.buy((await shop.shipment(order_id)).id)
    assert answer["data"]["it"]["status"] == "FAILED"
    assert "No carrier" in answer["data"]["it"]["failureReason"]
    assert await shop.types(order_id) == ["prepared", "failed"]


async def test_a_service_that_nobody_offers_is_bad_input_and_another_is_bought(shop: Shop) -> None:
    order_id = await shop.paid_order()
    answer = await shop.buy((await shop.shipment(order_id)).id, service="zeppelin")
    assert code(answer) == "BAD_INPUT"
    [error] = answer["errors"]
    assert "zeppelin" in error["message"]
    assert "ups_ground" in error["message"]
    assert (await shop.shipment(order_id)).status is ShipmentStatus.PREPARED
    again = await shop.buy((await shop.shipment(order_id)).id, service="ups_ground")
    assert again["data"]["it"]["status"] == "LABELLED"
    assert await shop.types(order_id) == ["prepared", "labelled"]


async def test_staff_hands_a_labelled_parcel_over_once(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    shipment_id = (await shop.shipment(order_id)).id
    for _ in range(2):
        answer = await shop.dispatch(shipment_id)
        assert answer["data"]["it"]["status"] == "DISPATCHED"
    assert await shop.types(order_id) == ["prepared", "labelled", "dispatched"]
    assert code(await shop.void(shipment_id)) == "INVALID_TRANSITION"


async def test_a_voided_label_goes_back_and_its_goods_are_prepared_anew(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    first = await shop.shipment(order_id)
    for _ in range(2):
        answer = await shop.void(first.id)
        assert answer["data"]["it"]["status"] == "VOIDED"
    _, second = await shop.shipments(order_id)
    assert (second.status, second.lines) == ("PREPARED", first.lines)
    assert shop.live_labels(order_id) == []
    assert await shop.types(order_id) == ["prepared", "labelled", "voided", "prepared"]
    assert (await shop.buy(second.id))["data"]["it"]["status"] == "LABELLED"
    assert len(shop.live_labels(order_id)) == 1


async def test_a_split_shipment_goes_out_in_two_parcels(shop: Shop) -> None:
    order_id, key = await shop.paid_order(), str(uuid4())
    whole = (await shop.shipment(order_id)).id
    answers = [await shop.split(whole, {1: 1}, key=key, scope="fulfilment") for _ in range(2)]
    assert answers[0] == answers[1]
    void, first, second = answers[0]["data"]["it"]
    assert (void["id"], void["status"]) == (str(whole), "VOIDED")
    assert first["lines"] == [{"line": 1, "quantity": 1}]
    assert second["lines"] == [{"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}]
    assert (await shop.buy(UUID(first["id"])))["data"]["it"]["status"] == "LABELLED"
    assert await shop.types(order_id) == ["prepared", "voided", "prepared", "prepared", "labelled"]
    assert code(await shop.split(whole, {1: 1})) == "INVALID_TRANSITION"


@pytest.mark.parametrize("lines", [{}, {1: 0, 2: 1}, {1: 2, 2: 1}, dict.fromkeys(range(101), 1)])
async def test_a_split_of_everything_or_of_nothing_is_bad_input(shop: Shop, lines: dict[int, int]) -> None:
    order_id = await shop.paid_order()
    assert code(await shop.split((await shop.shipment(order_id)).id, lines)) == "BAD_INPUT"
    assert await shop.types(order_id) == ["prepared"]


async def test_a_provider_that_takes_its_time_leaves_the_wish_accepted(dock: Shop) -> None:
    """Nobody works at the dock: the wait ends, and the answer is the shipment as it stands."""
    order_id = await dock.paid_order()
    shipment_id = (await dock.shipment(order_id)).id
    impatient = SimpleNamespace(
        db=dock.service.db,
        name="shipping",
        waits=dock.service.waits,
        settings=dock.settings.model_copy(update={"outcome_wait": 0.0}),
    )
    context = Context(Principal(Role.STAFF, "test|eve", scopes=frozenset(Scope)), "test", None, impatient)
    query = f'mutation {{ buyShippingLabel(shipmentId: "{shipment_id}") {{ status trackingNumber }} }}'
    answer = await schema.execute(query, context_value=context)
    assert answer.errors is None
    assert answer.data == {"buyShippingLabel": {"status": "PREPARED", "trackingNumber": None}}
    assert (await dock.shipment(order_id)).label is LabelStage.REQUESTED
