"""What an order costs, asked before and charged after: the same, by one way, at the endpoint."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orders.domain import PaymentStatus
from orders.settings import Settings
from orders.status import OrderStatus
from shared.auth import ANONYMOUS, Principal, Role
from shared.contracts.orders import OrderPlaced
from shared.contracts.payments import PaymentCaptured
from support.orders import STAFF
from support.till import ADDRESS, GUEST, MONEY, SAVE, a_sku, now, refused, wanted

TAXED = {"tax_rates": {"US-CA": "0.0725", "DE": "0.19"}, "tax_shipping": True}
FEE = {"platform_fee_bps": 250, "platform_fee_fixed": 30}
PARTNER = Principal(Role.PARTNER, "test|acme", "test", "acme", partner_id="acme")
BERLIN = {**ADDRESS, "city": "Berlin", "state": "BE", "zipCode": "10115", "country": "de"}
CODE = {"code": "tenth", "kind": "PERCENT", "value": 10}


def same(price: Any, order: Any) -> None:
    told = (*MONEY.split(),)
    assert {name: price[name] for name in told} == {name: order[name] for name in told}


async def test_a_preview_is_what_is_charged(open_till: Any) -> None:
    till = await open_till(**TAXED, **FEE)
    await till.ask(SAVE, STAFF, input=CODE)
    asked = [("BOWL", 1), ("MUG", 3)]
    price = await till.price(*asked, discountCode=" TENTH ", deliverySpeed="express")
    order = await till.place(*asked, discountCode="tenth", deliverySpeed="express")
    same(price, order)
    assert price["subtotal"] == 33.33
    assert price["discount"] == 3.33
    assert price["shipping"] == 14.99
    assert price["tax"] == 3.26  # 7.25% of 44.99
    assert order["siteOwnerAmount"] == 48.25
    assert price["platformFee"] == 1.51  # 2.5% of 48.25, and 0.30
    assert order["total"] == 49.76
    for part, whole in (("discount", 3.33), ("subtotal", 33.33)):
        assert round(sum(item[part] for item in price["items"]), 2) == whole
    stored = await till.order(order["id"])
    assert [line.discount for line in stored.lines] == [33, 300]
    assert stored.tax == sum(line.tax for line in stored.lines) + 108  # the shipping's
    [placed] = await till.said(order["id"])
    assert isinstance(placed, OrderPlaced)
    assert placed.total == stored.total == 4976


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(["MUG", "BOWL", "SOON"]), st.integers(1, 9), min_size=1),
    st.sampled_from(["standard", "express"]),
    st.sampled_from([ADDRESS, BERLIN]),
    st.sampled_from([None, "TENTH", "FIVE"]),
)
async def test_whatever_is_ordered_the_preview_is_what_is_charged(
    priced_till: Any, items: dict[str, int], speed: str, address: dict[str, str], code: str | None
) -> None:
    more = {"deliverySpeed": speed, "shippingAddress": address, "discountCode": code}
    same(await priced_till.price(*items.items(), **more), await priced_till.place(*items.items(), **more))


@pytest.fixture
async def priced_till(open_till: Any) -> Any:
    till = await open_till(**TAXED, **FEE)
    await till.ask(SAVE, STAFF, input=CODE)
    await till.ask(SAVE, STAFF, input={"code": "FIVE", "kind": "AMOUNT", "value": 5, "maxUses": 1000})
    await till.offer(a_sku("SOON", 777, available_from=now() + timedelta(days=9)))
    return till


async def test_everybody_may_ask_what_it_costs(till: Any) -> None:
    prices = [await till.price(caller=caller) for caller in (ANONYMOUS, STAFF, PARTNER)]
    assert {price["total"] for price in prices} == {15.99}


async def test_a_preview_refuses_what_an_order_would(till: Any) -> None:
    every: tuple[dict[str, Any], ...] = (
        {"deliverySpeed": "by owl"},
        {"discountCode": "NOPE"},
        {"shippingQuote": "x"},
        {"items": []},
        {"items": [{"sku": "NO", "quantity": 1}]},
        {"shippingAddress": {**ADDRESS, "country": "Atlantis"}},
        {"discountCode": "x" * 501},
        {"shippingQuote": "x" * 5000},
        {"contact": {"email": "nope"}},
        {"contact": {"phone": "123"}},
        {"contact": {"name": "x" * 501}},
        {"billingAddress": {**ADDRESS, "city": ""}},
        {"customerId": str(uuid4())},
    )
    for bad in every:
        assert await refused(till.price(**bad)) == await refused(till.place(**bad))


@pytest.mark.parametrize("zip_code", [" ", "9" * 501])
async def test_a_refusal_names_an_argument_as_the_graph_does(till: Any, zip_code: str) -> None:
    code, message = await refused(till.place(shippingAddress={**ADDRESS, "zipCode": zip_code}))
    assert code == "BAD_INPUT"
    assert "zipCode" in message


async def test_a_state_may_be_blank_where_no_carrier_needs_one(till: Any) -> None:
    placed = await till.place(shippingAddress={**BERLIN, "state": " "})
    assert (await till.order(placed["id"])).shipping_address["state"] == ""
    for country in ("US", "ca", "AU"):
        abroad = {**ADDRESS, "state": "", "country": country}
        assert await refused(till.place(shippingAddress=abroad)) == (
            "BAD_INPUT",
            "The address needs its state",
        )


async def test_what_can_be_sent_later_only_is_a_pre_order(till: Any) -> None:
    soon, later = now() + timedelta(days=10), now() + timedelta(days=30)
    await till.offer(a_sku("SOON", available_from=soon), a_sku("LATER", available_from=later))
    await till.offer(a_sku("SINCE", available_from=now() - timedelta(days=1)))
    ahead = await till.place(("SOON", 1), ("LATER", 2))
    assert (ahead["orderType"], ahead["isPreOrder"]) == ("PRE_ORDER", True)
    assert [item["productSku"] for item in ahead["preOrderItems"]] == ["SOON", "LATER"]
    assert datetime.fromisoformat(ahead["estimatedFulfillmentDate"]) == later
    assert datetime.fromisoformat(ahead["deliveryDeadline"]) == later + timedelta(days=7)
    mixed = await till.place(("MUG", 1), ("SOON", 1), deliverySpeed="express")
    assert mixed["orderType"] == "MIXED"
    assert mixed["preOrderItems"] == [{"productSku": "SOON", "quantity": 1}]
    assert datetime.fromisoformat(mixed["deliveryDeadline"]) == soon + timedelta(days=2)
    assert [line.pre_order for line in (await till.order(mixed["id"])).lines] == [False, True]
    regular = await till.place(("SINCE", 1))
    assert (regular["orderType"], regular["preOrderItems"]) == ("REGULAR", None)
    assert regular["estimatedFulfillmentDate"] is None
    in_a_week = datetime.fromisoformat(regular["deliveryDeadline"]) - now()
    assert timedelta(days=6, hours=23) < in_a_week <= timedelta(days=7)


async def test_the_catalogue_tells_when_a_sku_can_be_sent(till: Any) -> None:
    soon = (now() + timedelta(days=10)).replace(microsecond=0)
    await till.offer(a_sku("SOON", available_from=soon))
    skus = await till.ask("{ skus { id availableFrom } }", ANONYMOUS)
    told = {sku["id"]: sku["availableFrom"] for sku in skus}
    assert told["MUG"] is None
    assert datetime.fromisoformat(told["SOON"]) == soon


async def test_lines_stay_in_the_order_that_they_were_asked_in(till: Any) -> None:
    order = await till.place(("MUG", 1), ("BOWL", 1))
    assert [item["productSku"] for item in order["items"]] == ["MUG", "BOWL"]
    order = await till.place(("BOWL", 1), ("MUG", 1))
    assert [item["productSku"] for item in order["items"]] == ["BOWL", "MUG"]


async def test_a_speed_without_days_promises_none(open_till: Any) -> None:
    till = await open_till(shipping_rates={"pickup": 0}, delivery_days={})
    assert (await till.place(deliverySpeed="pickup"))["deliveryDeadline"] is None


async def test_an_order_is_one_read_and_one_statement_and_a_plain_code_is_one_read_more(till: Any) -> None:
    await till.ask(SAVE, STAFF, input=CODE)
    await till.ask(SAVE, STAFF, input={**CODE, "code": "LAST", "maxUses": 9})
    bare = "mutation($input: CreateOrderInput!) { createOrder(input: $input) { id } }"

    async def counted(**more: Any) -> list[str]:
        with till.statements() as seen:
            await till.ask(bare, input=wanted(**more))
        return sorted(seen)

    await till.place()  # draws order numbers
    assert await counted() == ["read", "write"]
    assert await counted(discountCode="TENTH") == ["read", "read", "write"]
    assert await counted(discountCode="LAST") == ["read", "read", "transaction", "write"]


async def test_an_order_for_nothing_is_told_to_payments_and_paid_when_they_say_so(open_till: Any) -> None:
    till = await open_till(shipping_rates={"standard": 0}, **FEE)
    await till.ask(SAVE, STAFF, input={**CODE, "value": 100})
    order = await till.place(discountCode="TENTH")
    assert order["total"] == 0
    [placed] = await till.said(order["id"])
    assert isinstance(placed, OrderPlaced)
    assert placed.total == 0
    paid = PaymentCaptured(
        order_id=UUID(order["id"]),
        currency="USD",
        captured_at=now(),
        amount=0,
        payment_intent_id="",
        charge_id="",
    )
    await till.hear(paid)
    stored = await till.order(order["id"])
    assert (stored.status, stored.payment_status) == (OrderStatus.PROCESSING, PaymentStatus.PAID)


async def test_an_order_costs_what_one_payment_can_be_and_no_more(open_till: Any) -> None:
    without = round((await (await open_till()).price())["total"] * 100)
    most = await open_till(platform_fee_fixed=99_999_999 - without)
    assert (await most.place())["total"] == 999_999.99
    more = await open_till(platform_fee_fixed=99_999_999 - without + 1)
    code, message = await refused(more.place())
    assert (code, message) == ("BAD_INPUT", "One order costs 999999.99 USD at most: place several")


@pytest.mark.parametrize(
    ("currency", "price", "told"), [("JPY", 1000, 1000.0), ("KWD", 1000, 1.0), ("USD", 1000, 10.0)]
)
async def test_currencies_have_the_decimals_that_they_have(
    open_till: Any, currency: str, price: int, told: float
) -> None:
    till = await open_till(currency=currency, shipping_rates={"standard": 0}, tax_rates={"US": "0.0725"})
    await till.offer(a_sku("LOCAL", price, currency=currency))
    asked = await till.price(("LOCAL", 3))
    assert (asked["subtotal"], asked["currency"]) == (3 * told, currency)
    assert asked["tax"] == {"JPY": 218.0, "KWD": 0.218, "USD": 2.18}[currency]
    same(asked, await till.place(("LOCAL", 3)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tax_rates", {"usa": "0.1"}),
        ("tax_rates", {"US": "1.1"}),
        ("tax_rates", {"US": "-0.1"}),
        ("tax_rates", {"US": "much"}),
        ("platform_fee_bps", 10_001),
        ("platform_fee_fixed", -1),
        ("delivery_days", {"standard": -1}),
        ("guest_key", "no key"),
        ("guest_orders_per_minute", -1),
        ("quote_issuer", {"issuer": "shipping"}),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as invalid:
        Settings(database_url="x", kafka_url="y", **{name: value})
    assert {problem["loc"][0] for problem in invalid.value.errors()} == {name}


async def test_staff_order_for_a_customer_by_its_own_contact_data(till: Any) -> None:
    own = await till.place()
    order = await till.place(caller=STAFF, customerId=own["customerId"])
    assert (order["customerId"], order["channel"]) == (own["customerId"], "STAFF")
    assert order["customer"] == {"firstName": "Ann", "email": "ann@example.com"}
    [placed] = await till.said(order["id"])
    assert isinstance(placed, OrderPlaced)
    assert (placed.contact.name, placed.contact.email) == ("Ann Lee", "ann@example.com")
    assert order["timeline"] == [{"actor": "staff:eve"}]
    assert (await till.place())["channel"] == "STOREFRONT"


async def test_nobody_else_orders_for_a_customer(till: Any) -> None:
    own = (await till.place())["customerId"]
    assert (await refused(till.place(customerId=own)))[0] == "FORBIDDEN"
    assert (await refused(till.place(caller=ANONYMOUS, customerId=own, contact=GUEST)))[
        0
    ] == "UNAUTHENTICATED"
    for unknown in ("0191d9b0-0000-7000-8000-000000000000", "none"):
        assert (await refused(till.place(caller=STAFF, customerId=unknown)))[0] == "BAD_INPUT"
    both = till.place(caller=STAFF, customerId=own, contact={"name": "Bob"})
    assert (await refused(both))[0] == "BAD_INPUT"


async def test_staff_order_for_somebody_new(till: Any) -> None:
    order = await till.place(caller=STAFF, contact=GUEST)
    assert (order["channel"], order["guestToken"]) == ("STAFF", None)
    assert order["customer"] == {"firstName": "Gus", "email": "gus@example.com"}


async def test_a_key_of_the_release_before_still_stands_for_its_order(till: Any) -> None:
    """The arguments of a request that names nothing new are the ones that were remembered before."""
    first = await till.place(key="before-1")
    assert (await till.place(key="before-1", discountCode=None))["id"] == first["id"]
    other = till.place(key="before-1", discountCode="X")
    assert (await refused(other))[0] == "IDEMPOTENCY_CONFLICT"
