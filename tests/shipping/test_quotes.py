"""What carriers ask before there is an order: signed for an address and for items, and the label bought at that very rate."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

import sandbox
from shared.auth import Verifier
from shared.contracts.quotes import destination_hash, items_hash
from shared.settings import Issuer
from shared.signing import JWKS_PATH
from support.reads import reads
from support.shipments import ADDRESS, Shop, a_consignment, a_shipment, address_changed, listed

QUOTES = """query($items: [QuoteItemInput!]!, $address: QuoteAddressInput!, $limit: Int) {
    it: shippingQuotes(items: $items, address: $address, limit: $limit) {
        id carrier service amount currency estimatedDays expiresAt token } }"""
TO_ADA = {
    "street": "1 Main St",
    "city": "Chicago",
    "state": "IL",
    "zipCode": "60601",
    "country": "US",
    "name": "Ada Lovelace",
    "phone": "+13125550100",
}
ITEMS = {"SKU-1": 2, "SKU-2": 1}
"""What the builders' orders are of."""


@pytest.fixture
async def market(shop: Shop) -> Shop:
    """A shop whose catalogue is known."""
    await shop.hear(listed("SKU-1", 9), listed("SKU-1", 300), listed("SKU-2", 300))
    return shop


async def ask(
    shop: Shop,
    items: dict[str, int] | None = None,
    *,
    role: str | None = None,
    limit: Any = None,
    **address: Any,
) -> dict[str, Any]:
    wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in (items or ITEMS).items()]
    return await shop.graph(QUOTES, role=role, items=wanted, address=TO_ADA | address, limit=limit)


def last_request(box: sandbox.Box) -> int:
    seq = 0
    while page := box.record.requests(since=seq):
        seq = page[-1].seq
    return seq


async def quote(shop: Shop, service: str, **address: Any) -> dict[str, Any]:
    """The offer of one service."""
    answer = await ask(shop, **address)
    found: dict[str, Any] = next(one for one in answer["data"]["it"] if one["service"] == service)
    return found


async def ordered(shop: Shop, quoted: dict[str, Any], **changes: Any) -> UUID:
    return await shop.paid_order(shipping_rate_id=quoted["id"], shipping_service=quoted["service"], **changes)


async def rates_of_labels(shop: Shop, order_id: UUID) -> list[str | None]:
    return [shipment.rate_id for shipment in await shop.shipments(order_id) if shipment.transaction_id]


async def test_anybody_is_told_what_carriers_ask_the_cheapest_first(market: Shop) -> None:
    before = datetime.now(UTC)
    found = (await ask(market))["data"]["it"]
    assert [(one["carrier"], one["service"], one["amount"]) for one in found[:2]] == [
        ("USPS", "Ground Advantage", 6.14),
        ("USPS", "Priority Mail", 9.49),
    ]
    assert found == sorted(found, key=lambda one: one["amount"])
    assert (found[0]["currency"], found[0]["estimatedDays"]) == ("USD", 4)
    lasts = datetime.fromisoformat(found[0]["expiresAt"]) - before
    assert 1798 <= lasts.total_seconds() <= 1801
    assert [one["service"] for one in (await ask(market, limit=1))["data"]["it"]] == ["Ground Advantage"]


async def test_the_token_says_what_it_is_for_to_whoever_has_the_published_key(market: Shop) -> None:
    quoted = await quote(market, "Priority Mail")
    verifier = Verifier((Issuer(issuer="shipping", jwks_url=f"{market.url}{JWKS_PATH}"),))
    claims, _ = await verifier.verify(quoted["token"])
    await verifier.close()
    assert {name: claims[name] for name in ("amount", "currency", "rate_id", "service", "carrier")} == {
        "amount": 949,
        "currency": "USD",
        "rate_id": quoted["id"],
        "service": "Priority Mail",
        "carrier": "USPS",
    }
    assert claims["destination"] == destination_hash(ADDRESS.model_dump())
    assert claims["items"] == items_hash(ITEMS.items())
    assert claims["exp"] - claims["iat"] == market.settings.quote_seconds


async def test_a_question_is_one_query_and_one_call_however_many_items_and_however_often_it_is_asked(
    market: Shop,
) -> None:
    many = {f"Q-{n}": 1 for n in range(100)}
    await market.hear(*(listed(sku, 5) for sku in many))
    items = ", ".join(f'{{sku: "{sku}", quantity: 1}}' for sku in many)
    to = 'street: "1 Main St", city: "Chicago", state: "IL", zipCode: "60601", country: "US"'
    asked = (f"a{n}: shippingQuotes(items: [{items}], address: {{{to}}}) {{ id }}" for n in range(3))
    since = last_request(market.box)
    with reads(market.service.db) as statements:
        answer = await market.graph(f"{{ {' '.join(asked)} }}", role=None)
    first, second, third = answer["data"].values()
    assert first == second == third != []
    called = [request.path for request in market.box.record.requests(since=since)]
    assert [path.rpartition("/")[2] for path in called] == ["shipments"]
    assert len(statements) == 1


async def test_a_request_cannot_ask_for_many_parcels(market: Shop) -> None:
    to = 'street: "1 Main St", city: "Chicago", state: "IL", zipCode: "60601", country: "US"'
    asked = [
        f'a{n}: shippingQuotes(items: [{{sku: "SKU-1", quantity: {n}}}], address: {{{to}}}) {{ id }}'
        for n in (1, 2)
    ]
    since = last_request(market.box)
    answer = await market.graph(f"{{ {' '.join(asked)} }}", role=None)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_INPUT"}
    assert market.box.record.requests(since=since) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"items": {"SKU-1": 0}}, "BAD_INPUT"),
        ({"items": {"SKU-1": 10_001}}, "BAD_INPUT"),
        ({"items": {f"S{n}": 1 for n in range(101)}}, "BAD_INPUT"),
        ({"items": {"unheard-of": 1}}, "SKU_NOT_FOUND"),
        ({"limit": 0}, "BAD_INPUT"),
        ({"limit": 51}, "BAD_INPUT"),
        ({"city": " "}, "BAD_INPUT"),
        ({"street": "a\nb"}, "BAD_INPUT"),
        ({"street": "x" * 201}, "BAD_INPUT"),
        ({"country": "USA"}, "BAD_INPUT"),
        ({"items": {"SKU-1": 10_000}}, "BAD_INPUT"),  # heavier than what carriers take
    ],
)
async def test_what_cannot_be_quoted_is_refused(market: Shop, wrong: dict[str, Any], code: str) -> None:
    [error] = (await ask(market, **wrong))["errors"]
    assert error["extensions"]["code"] == code


async def test_a_state_may_be_blank_where_no_carrier_needs_one(market: Shop) -> None:
    assert (await ask(market, state="", country="DE"))["data"]["it"]
    [error] = (await ask(market, state=""))["errors"]
    assert error["message"] == "The address needs its state"


async def test_where_no_carrier_goes_there_is_no_quote(market: Shop) -> None:
    assert (await ask(market, zipCode="00000"))["data"]["it"] == []


async def test_a_shippo_that_is_away_is_unavailable(market: Shop) -> None:
    market.faults.refused["shippo.shipments.create"] = 1
    [error] = (await ask(market))["errors"]
    assert error["extensions"]["code"] == "SERVICE_UNAVAILABLE"


async def test_the_label_of_an_order_is_bought_at_the_rate_that_was_quoted(market: Shop) -> None:
    quoted = await quote(market, "Priority Mail")
    order_id = await ordered(market, quoted)
    bought = (await market.buy((await market.shipment(order_id)).id))["data"]["it"]
    assert (bought["status"], bought["service"], bought["cost"]) == ("LABELLED", "Priority Mail", 9.49)
    assert await rates_of_labels(market, order_id) == [quoted["id"]]
    assert market.effects("shippo.shipment.created", order_id) == []


async def test_a_rate_buys_one_label_and_the_next_is_of_the_same_service(market: Shop) -> None:
    quoted = await quote(market, "Priority Mail")
    order_id = await ordered(market, quoted)
    first = await market.shipment(order_id)
    await market.buy(first.id)
    await market.void(first.id)
    _, second = await market.shipments(order_id)
    assert (await market.buy(second.id))["data"]["it"]["service"] == "Priority Mail"
    used, anew = await rates_of_labels(market, order_id)
    assert (used, anew == used) == (quoted["id"], False)
    assert len(market.live_labels(order_id)) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Somebody Else"},
        {"name": None},
        {"phone": "+13125550199"},
        {"street": "2 Side St"},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_a_rate_that_was_quoted_for_another_parcel_is_not_bought(
    market: Shop, changed: dict[str, Any]
) -> None:
    """Its label would name whoever it was quoted for."""
    quoted = await quote(market, "Priority Mail", **changed)
    order_id = await ordered(market, quoted)
    bought = (await market.buy((await market.shipment(order_id)).id))["data"]["it"]
    assert (bought["status"], bought["service"]) == ("LABELLED", "Priority Mail")
    assert await rates_of_labels(market, order_id) != [quoted["id"]]


async def test_a_rate_is_not_bought_for_another_weight_nor_where_shippo_knows_none(market: Shop) -> None:
    heavier = await quote(market, "Priority Mail")
    await market.hear(listed("SKU-1", 301))
    lighter = await quote(market, "Priority Mail")
    await market.hear(listed("SKU-1", 300))
    for quoted in (lighter, heavier | {"id": "0" * 32}):
        order_id = await ordered(market, quoted)
        await market.buy((await market.shipment(order_id)).id)
        assert await rates_of_labels(market, order_id) not in ([quoted["id"]], [])


async def test_staff_may_take_another_service_than_the_shopper_chose(market: Shop) -> None:
    order_id = await ordered(market, await quote(market, "Priority Mail"))
    bought = await market.buy((await market.shipment(order_id)).id, service="ups_ground")
    assert bought["data"]["it"]["service"] == "Ground"


async def test_an_address_that_was_changed_is_rated_anew(market: Shop) -> None:
    quoted = await quote(market, "Priority Mail")
    order_id = await ordered(market, quoted)
    await market.hear(address_changed(order_id, street="2 Side St"))
    await market.buy((await market.shipment(order_id)).id)
    assert await rates_of_labels(market, order_id) != [quoted["id"]]
    [created] = market.box.record.effects(kind="shippo.shipment.created", order_id=str(order_id))
    assert created.payload["address_to"]["street1"] == "2 Side St"


async def test_a_rate_that_is_too_old_is_not_bought(market: Shop) -> None:
    """Shippo would sell it for half a day yet, and then no more."""
    quoted = await quote(market, "Priority Mail")
    order_id = await ordered(market, quoted)
    db = market.box.record._db
    db.execute(
        "UPDATE resources SET body = json_set(body, '$.object_created', '2026-01-01T00:00:00.000Z') WHERE id = ?",
        (quoted["id"],),
    )
    await market.buy((await market.shipment(order_id)).id)
    assert await rates_of_labels(market, order_id) not in ([quoted["id"]], [])


def test_the_offer_is_for_the_whole_order_alone() -> None:
    chosen = a_consignment(shipping_rate_id="r1", shipping_service="Ground")
    assert chosen.offer_for(a_shipment()) == "r1"
    assert chosen.offer_for(a_shipment(asked_service="Ground")) == "r1"
    assert chosen.offer_for(a_shipment(asked_service="Air")) is None
    assert chosen.offer_for(a_shipment(lines=a_shipment().lines[:1])) is None
