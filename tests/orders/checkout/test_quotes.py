"""Signed shipping quotes: charged as they were signed, for what they were made for, and for nothing else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette

from shared.contracts.orders import OrderPlaced
from shared.contracts.quotes import destination_hash, items_hash
from shared.errors import Code, Refusal
from shared.settings import Issuer
from shared.signing import JWKS_PATH, Signer
from shared.testing import free_socket, serving
from support.till import ADDRESS, Till, refused

STORED = {
    "street": "1 Market Street",
    "city": "San Francisco",
    "state": "CA",
    "zip_code": "94105",
    "country": "US",
}
ITEMS = [("MUG", 2), ("BOWL", 1)]
SHIPPING = Signer("shipping")


@pytest.fixture
async def quoting(open_till: Any) -> AsyncIterator[Till]:
    async with serving(Starlette(routes=[SHIPPING.route]), free_socket()) as url:
        yield await open_till(
            quote_issuer=Issuer(issuer="shipping", jwks_url=f"{url}{JWKS_PATH}"),
            tax_rates={"US": "0.1"},
            tax_shipping=True,
        )


def a_quote(signer: Signer = SHIPPING, *, seconds: int = 600, **changes: Any) -> str:
    claims = {
        "destination": destination_hash(STORED),
        "items": items_hash(ITEMS),
        "amount": 845,
        "currency": "USD",
        "rate_id": "rate_1",
        "service": "Priority Mail",
        "carrier": "USPS",
        **changes,
    }
    return signer.sign("quote", "ordermesh", seconds, **claims)


async def test_the_quoted_amount_is_charged_and_shipping_is_told_the_rate(quoting: Till) -> None:
    quote = a_quote()
    price = await quoting.price(*ITEMS, shippingQuote=quote, deliverySpeed="express")
    order = await quoting.place(*ITEMS, shippingQuote=quote, deliverySpeed="express")
    assert (price["shipping"], order["shipping"]) == (8.45, 8.45)
    assert price["total"] == order["total"] == round(23.33 + 8.45 + 3.18, 2)
    assert (order["usedFlatRate"], order["flatRateCharged"]) == (False, None)
    assert (order["shippingService"], order["shippingCarrier"]) == ("Priority Mail", "USPS")
    assert order["deliverySpeedSelected"] == "express"
    assert (await quoting.order(order["id"])).shippo_rate_id == "rate_1"
    [placed] = await quoting.said(order["id"])
    assert isinstance(placed, OrderPlaced)
    assert (placed.shipping_rate_id, placed.shipping_service) == ("rate_1", "Priority Mail")
    flat = await quoting.place(*ITEMS)
    assert (flat["usedFlatRate"], flat["flatRateCharged"], flat["shippingService"]) == (True, 5.99, None)


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        (a_quote(currency="EUR"), "currency"),
        (a_quote(items=items_hash([("MUG", 3), ("BOWL", 1)])), "items"),
        (a_quote(destination=destination_hash({**STORED, "street": "2 Market Street"})), "destination"),
        (a_quote(seconds=-60), "expired"),
        (a_quote(Signer("shipping")), "signature"),
        (a_quote(Signer("somebody")), "signature"),
        (a_quote(amount=-1), "signature"),
        (a_quote(amount="1"), "signature"),
        (SHIPPING.sign("quote", "elsewhere", 600), "signature"),
        ("no token", "signature"),
    ],
)
async def test_a_quote_that_does_not_fit_is_refused_by_its_reason(
    quoting: Till, quote: str, reason: str
) -> None:
    for asking in (quoting.price, quoting.place):
        assert await refused(asking(*ITEMS, shippingQuote=quote)) == ("INVALID_QUOTE", reason)


async def test_a_quote_may_be_good_while_shipping_cannot_be_asked_for_its_key(open_till: Any) -> None:
    nowhere = Issuer(issuer="shipping", jwks_url="http://127.0.0.1:1/jwks.json")
    till = await open_till(quote_issuer=nowhere)
    with pytest.raises(Refusal) as refusal:
        await till.price(*ITEMS, shippingQuote=a_quote())
    assert refusal.value.code is Code.SERVICE_UNAVAILABLE


async def test_a_quote_is_for_the_items_in_any_order_and_the_address_in_any_case(quoting: Till) -> None:
    shouted = {**ADDRESS, "street": "1 MARKET STREET", "name": "Bob"}
    order = await quoting.place(*reversed(ITEMS), shippingQuote=a_quote(), shippingAddress=shouted)
    assert order["shipping"] == 8.45


async def test_a_repeat_is_the_same_order_also_when_the_quote_has_expired_meanwhile(quoting: Till) -> None:
    quote = a_quote(seconds=-28)  # good for two more seconds: clocks may differ by thirty
    first = await quoting.place(*ITEMS, key="quoted-1", shippingQuote=quote)
    async with asyncio.timeout(30):
        while not await is_refused(quoting, quote):
            await asyncio.sleep(0.05)
    assert (await quoting.place(*ITEMS, key="quoted-1", shippingQuote=quote))["id"] == first["id"]


async def is_refused(till: Till, quote: str) -> bool:
    try:
        await till.price(*ITEMS, shippingQuote=quote)
    except Refusal as refusal:
        return refusal.details["reason"] == "expired"
    return False


async def test_a_shop_without_an_issuer_takes_no_quotes(till: Till) -> None:
    assert await refused(till.place(*ITEMS, shippingQuote=a_quote())) == ("INVALID_QUOTE", "refused")


async def test_an_order_that_shippings_absence_kept_from_being_placed_is_placed_under_the_same_key(
    quoting: Till, open_till: Any
) -> None:
    away = await open_till(quote_issuer=Issuer(issuer="shipping", jwks_url="http://127.0.0.1:1/jwks.json"))
    quote = a_quote()
    for _ in range(2):
        with pytest.raises(Refusal) as refusal:
            await away.place(*ITEMS, key="quoted-2", shippingQuote=quote)
        assert refusal.value.code is Code.SERVICE_UNAVAILABLE
    placed = await quoting.place(*ITEMS, key="quoted-2", shippingQuote=quote)
    again = await away.place(*ITEMS, key="quoted-2", shippingQuote=quote)
    assert again["id"] == placed["id"]
