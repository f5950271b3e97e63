"""Discount codes: staff's to make, refused with a reason, and the last use is one order's alone."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orders.status import OrderStatus
from shared.auth import Scope
from shared.contracts.payments import PaymentCaptured
from shared.errors import Refusal
from support.orders import SHOPPER, STAFF
from support.till import SAVE, Till, now, refused

CODES = (
    "query($after: String, $limit: Int) { discountCodes(after: $after, limit: $limit) { code uses maxUses } }"
)
CANCEL = "mutation($id: ID!) { cancelOrder(id: $id) { status } }"
HALF = {"code": "HALF", "kind": "PERCENT", "value": 50}


async def saved(till: Till, **changes: Any) -> Any:
    return await till.ask(SAVE, STAFF, input={**HALF, **changes})


async def uses(till: Till) -> int:
    [code] = await till.ask(CODES, STAFF)
    return int(code["uses"])


async def test_a_code_is_kept_as_it_was_said(till: Till) -> None:
    code = await saved(
        till, code=" sun-20 ", value=12.5, minimumSubtotal=20, startsAt="2026-01-01T00:00:00+02:00", maxUses=3
    )
    assert code == {
        "code": "SUN-20",
        "kind": "PERCENT",
        "value": 12.5,
        "currency": "USD",
        "minimumSubtotal": 20.0,
        "startsAt": "2025-12-31T22:00:00Z",
        "endsAt": None,
        "maxUses": 3,
        "uses": 0,
        "active": True,
    }
    amount = await saved(till, kind="AMOUNT", value=7.5, active=False)
    assert (amount["value"], amount["active"]) == (7.5, False)
    assert [found["code"] for found in await till.ask(CODES, STAFF)] == ["HALF", "SUN-20"]
    assert [found["code"] for found in await till.ask(CODES, STAFF, after="HALF", limit=1)] == ["SUN-20"]


@pytest.mark.parametrize(
    "bad",
    [
        {"code": ""},
        {"code": "two words"},
        {"code": "x" * 41},
        {"value": 0},
        {"value": 100.01},
        {"value": 0.001},
        {"value": 1e308},
        {"value": -5},
        {"kind": "AMOUNT", "value": 0},
        {"kind": "AMOUNT", "value": 1.005},
        {"kind": "AMOUNT", "value": 1e300},
        {"minimumSubtotal": -1},
        {"maxUses": 0},
        {"startsAt": "tomorrow"},
        {"startsAt": "2026-01-01T00:00:00"},
        {"startsAt": "0001-01-01T00:00:00Z"},
        {"startsAt": "2026-02-01T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"},
    ],
)
async def test_a_code_that_makes_no_sense_is_refused(till: Till, bad: dict[str, Any]) -> None:
    assert (await refused(saved(till, **bad)))[0] == "BAD_INPUT"
    assert await till.ask(CODES, STAFF) == []


async def test_codes_are_made_by_finance_and_read_by_staff(till: Till) -> None:
    support = replace(STAFF, scopes=frozenset({Scope.SUPPORT}))
    finance = replace(STAFF, scopes=frozenset({Scope.FINANCE}))
    assert (await refused(till.ask(SAVE, support, input=HALF)))[0] == "FORBIDDEN"
    assert (await refused(till.ask(SAVE, SHOPPER, input=HALF)))[0] == "FORBIDDEN"
    assert (await refused(till.ask(CODES, SHOPPER)))[0] == "FORBIDDEN"
    assert (await till.ask(SAVE, finance, input=HALF))["code"] == "HALF"
    assert len(await till.ask(CODES, support)) == 1
    assert (await refused(till.ask(CODES, STAFF, limit=101)))[0] == "BAD_INPUT"


async def test_a_refusal_says_why(till: Till) -> None:
    past, future = ((now() + timedelta(days=days)).isoformat() for days in (-1, 1))
    for changes, reason in (
        ({"active": False}, "inactive"),
        ({"startsAt": future}, "not_started"),
        ({"endsAt": past}, "ended"),
        ({"minimumSubtotal": 10.01}, "minimum"),
    ):
        await saved(till, **changes)
        assert await refused(till.place(discountCode="half")) == ("INVALID_DISCOUNT", reason)
    assert await refused(till.place(discountCode="nope")) == ("INVALID_DISCOUNT", "unknown")
    await saved(till, minimumSubtotal=10, startsAt=past, endsAt=future)
    assert (await till.place(discountCode="half"))["discount"] == 5.0


async def test_a_code_in_another_currency_than_the_shops_is_refused(open_till: Any) -> None:
    dollars = await open_till()
    await saved(dollars)
    yen = await open_till(currency="JPY")
    assert (await refused(yen.price(discountCode="HALF")))[0] == "BAD_INPUT"  # the mug is sold in dollars


async def test_the_last_use_is_one_orders_alone_however_many_ask_at_once(till: Till) -> None:
    await saved(till, maxUses=1)
    answers = await asyncio.gather(
        *(till.place(discountCode="HALF", key=f"race-{n}") for n in range(20)), return_exceptions=True
    )
    lost = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(lost) == 19
    assert {(refusal.code, refusal.details["reason"]) for refusal in lost} == {
        ("INVALID_DISCOUNT", "used_up")
    }
    assert await uses(till) == 1
    again = await asyncio.gather(
        *(till.place(discountCode="HALF", key=f"race-{n}") for n in range(20)), return_exceptions=True
    )
    assert [isinstance(answer, Refusal) for answer in again] == [
        isinstance(answer, Refusal) for answer in answers
    ]
    assert await uses(till) == 1


async def test_more_uses_than_orders_are_all_given_and_counted(till: Till) -> None:
    await saved(till, maxUses=12)
    orders = await asyncio.gather(*(till.place(discountCode="HALF") for _ in range(12)))
    assert {order["discount"] for order in orders} == {5.0}
    assert await uses(till) == 12
    assert await refused(till.place(discountCode="HALF")) == ("INVALID_DISCOUNT", "used_up")


async def test_a_use_comes_back_when_the_order_is_cancelled_unpaid(till: Till) -> None:
    await saved(till, maxUses=1)
    order = await till.place(discountCode="HALF")
    assert (await till.ask(CANCEL, id=order["id"]))["status"] == "CANCELLED"
    await till.work()
    assert await uses(till) == 0
    assert (await till.place(discountCode="HALF"))["discount"] == 5.0
    await till.work()
    assert await uses(till) == 1


async def test_a_use_comes_back_when_nobody_pays_in_time(open_till: Any) -> None:
    till = await open_till(unpaid_expiry=60)
    await saved(till, maxUses=1)
    order = await till.place(discountCode="HALF")
    async with till.db.connection() as conn:
        await conn.execute("UPDATE jobs SET due_at = now() WHERE kind = 'orders.unpaid'")
    await till.work()
    assert (await till.order(order["id"])).cancel_reason == "expired"
    assert await uses(till) == 0


async def test_a_paid_order_keeps_its_use_when_it_is_cancelled(till: Till) -> None:
    await saved(till, maxUses=1)
    order = await till.place(discountCode="HALF")
    placed = await till.order(order["id"])
    captured = PaymentCaptured(
        order_id=placed.id,
        currency="USD",
        captured_at=now(),
        amount=placed.total,
        payment_intent_id="pi",
        charge_id="ch",
    )
    await till.hear(captured)
    assert (await till.order(order["id"])).status is OrderStatus.PROCESSING
    await till.ask(CANCEL, id=order["id"])
    await till.work()
    assert await uses(till) == 1


async def test_an_order_by_a_code_without_a_limit_gives_nothing_back(till: Till) -> None:
    """Not even when the code has got a limit meanwhile: it never took a use of it."""
    await saved(till)
    order = await till.place(discountCode="HALF")
    assert (order["discountCode"], await uses(till)) == ("HALF", 0)
    await saved(till, maxUses=2)
    await till.place(discountCode="HALF")
    await till.ask(CANCEL, id=order["id"])
    await till.work()
    assert await uses(till) == 1


async def test_new_terms_leave_the_count_alone_also_while_orders_are_placed(till: Till) -> None:
    await saved(till, maxUses=50)
    placing = [till.place(discountCode="HALF") for _ in range(15)]
    await asyncio.gather(*placing, *(saved(till, maxUses=50 + n) for n in range(5)))
    assert await uses(till) == 15


async def test_saving_is_repeatable(till: Till) -> None:
    for _ in range(2):
        answer = await till.ask(SAVE, STAFF, "save-1", input=HALF)
        assert answer["code"] == "HALF"
    changed = till.ask(SAVE, STAFF, "save-1", input={**HALF, "value": 40})
    assert (await refused(changed))[0] == "IDEMPOTENCY_CONFLICT"
