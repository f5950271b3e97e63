"""The catalogue as finance changes it: said on the shop's topic, heard like the shop, the newest word wins."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from orders.handlers import handlers
from shared.auth import Scope
from shared.contracts.catalog import SkuListed
from shared.errors import Refusal
from shared.inbox import Inbox, Record
from support.accounts import record
from support.orders import SHOPPER, STAFF
from support.till import SAVE_SKU, Till, a_sku, refused

MUG = {
    "id": "MUG",
    "productId": "P-MUG",
    "name": "Mug",
    "price": 12.5,
    "shippingPrice": 1.5,
    "currency": "USD",
    "weightGrams": 350,
}


async def saved(till: Till, key: str | None = None, **changes: Any) -> Any:
    return await till.ask(SAVE_SKU, STAFF, key, input={**MUG, **changes})


async def said(till: Till) -> list[Record]:
    """What orders said of the catalogue, oldest first, as the broker would deliver it."""
    query = text("SELECT event_id, body FROM event_log WHERE topic = 'catalog-skus' ORDER BY id")
    rows = await till.db.fetch(query)
    return [record(SkuListed.model_validate_json(row.body), row.event_id) for row in rows]


async def hear(till: Till, *records: Record) -> None:
    await Inbox(till.db, handlers).receive(records or await said(till))


async def price(till: Till, sku: str = "MUG") -> float:
    [item] = (await till.price((sku, 1)))["items"]
    return float(item["price"])


async def test_a_sku_is_sold_as_it_was_saved_once_orders_has_heard_it(till: Till) -> None:
    accepted = await saved(till)
    assert accepted == {**MUG, "available": True, "availableFrom": None}
    assert await price(till) == 10.0
    await hear(till)
    assert (await till.place(("MUG", 2)))["subtotal"] == 25.0


async def test_others_hear_all_of_a_new_sku(till: Till) -> None:
    answer = await saved(till, id=" TEA ", name=" Tea ", availableFrom="2099-01-01T02:00:00+02:00")
    assert (answer["id"], answer["availableFrom"]) == ("TEA", "2099-01-01T00:00:00Z")
    [fact] = [SkuListed.model_validate_json(heard.value or b"") for heard in await said(till)]
    assert fact.model_dump(mode="json") == {
        "sku_id": "TEA",
        "product_id": "P-MUG",
        "name": "Tea",
        "price": 1250,
        "shipping_price": 150,
        "currency": "USD",
        "weight_grams": 350,
        "available": True,
        "available_from": "2099-01-01T00:00:00Z",
    }
    await hear(till)
    ordered = await till.place(("TEA", 1))
    assert (ordered["isPreOrder"], ordered["estimatedFulfillmentDate"]) == (True, "2099-01-01T00:00:00Z")


async def test_what_is_not_available_is_not_sold_until_it_is_again(till: Till) -> None:
    assert (await saved(till, available=False))["available"] is False
    await hear(till)
    assert (await refused(till.place()))[0] == "SKU_UNAVAILABLE"
    await saved(till)
    await hear(till)
    assert await price(till) == 12.5


async def test_the_answer_waits_until_orders_has_heard_it_and_tells_what_is_sold_then(open_till: Any) -> None:
    """Here the shop has said something newer in the same moment."""
    till = await open_till(outcome_wait=30)
    saving = asyncio.create_task(saved(till))
    async with asyncio.timeout(30):
        while not (own := await said(till)):
            await asyncio.sleep(0.01)
    assert not saving.done()
    await hear(till, record(a_sku("MUG", 900)))
    assert not saving.done()
    await hear(till, *own, record(a_sku("MUG", 1100)))
    assert (await saving)["price"] == 11.0


async def test_a_repeat_says_nothing_anew_and_waits_for_the_first(till: Till) -> None:
    for _ in range(2):
        assert (await saved(till, "save-1"))["price"] == 12.5
    assert len(await said(till)) == 1
    await hear(till)
    await hear(till, record(a_sku("MUG", 1100)))
    assert (await saved(till, "save-1"))["price"] == 11.0
    assert len(await said(till)) == 1
    assert (await refused(saved(till, "save-1", price=13)))[0] == "IDEMPOTENCY_CONFLICT"


async def test_a_replay_of_ours_undoes_nothing_that_the_shop_said_since(till: Till) -> None:
    await saved(till)
    await saved(till, price=14)
    await hear(till)
    await hear(till, record(a_sku("MUG", 1100)))
    await hear(till)
    assert await price(till) == 11.0


@pytest.mark.parametrize(
    ("argument", "bad"),
    [
        ("id", ""),
        ("id", " "),
        ("id", "x" * 65),
        ("id", "a\nb"),
        ("productId", ""),
        ("productId", "x" * 65),
        ("name", " "),
        ("name", "x" * 301),
        ("name", "a\u202eb"),
        ("price", -1),
        ("price", 1.005),
        ("price", 1e10),
        ("price", 1e300),
        ("shippingPrice", -0.01),
        ("shippingPrice", 0.001),
        ("currency", "usd"),
        ("currency", "DOLLARS"),
        ("currency", "x" * 501),
        ("currency", "EUR"),
        ("weightGrams", -1),
        ("weightGrams", 1_000_001),
        ("availableFrom", "tomorrow"),
        ("availableFrom", "2026-01-01T00:00:00"),
        ("availableFrom", "9999-12-31T00:00:00Z"),
    ],
)
async def test_a_sku_that_makes_no_sense_is_refused_by_its_argument(
    till: Till, argument: str, bad: Any
) -> None:
    with pytest.raises(Refusal) as refusal:
        await saved(till, **{argument: bad})
    assert (refusal.value.code, refusal.value.details) == ("BAD_INPUT", {"argument": argument})
    assert await said(till) == []


async def test_amounts_have_the_decimals_of_their_currency(open_till: Any) -> None:
    till = await open_till(currency="JPY")
    assert (await saved(till, currency="JPY", price=1250, shippingPrice=150))["price"] == 1250.0
    with pytest.raises(Refusal) as refusal:
        await saved(till, currency="JPY", price=1250, shippingPrice=1.5)
    assert refusal.value.details == {"argument": "shippingPrice"}


async def test_the_catalogue_is_finances_to_change(till: Till) -> None:
    finance = replace(STAFF, scopes=frozenset({Scope.FINANCE}))
    for caller in (SHOPPER, replace(STAFF, scopes=frozenset(Scope) - {Scope.FINANCE})):
        assert (await refused(till.ask(SAVE_SKU, caller, input=MUG)))[0] == "FORBIDDEN"
    assert await said(till) == []
    assert (await till.ask(SAVE_SKU, finance, input=MUG))["id"] == "MUG"
