"""When the money of a capture is available to us: at once, on its day, or later than Stripe thought; asked for in lots."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from payments.domain import AWAIT_FUNDS, FETCH_FEE, LOOK_AGAIN
from payments.provider import Stripe
from shared.contracts.payments import PaymentSettled
from support.payments import API_KEY

if TYPE_CHECKING:
    from uuid import UUID

    from support.payments import House

ONE, LIST = "stripe.balance_transactions.retrieve", "stripe.balance_transactions.list"
SETTLED = ["payment.ready", "payment.captured", "payment.fee_recorded", "payment.settled"]
TWO_DAYS = timedelta(days=2)


async def looks(house: House) -> list[dict[str, Any]]:
    """The looks for funds that were asked for, the oldest first; `in_` is how far off each was."""
    return await house.rows(
        "SELECT key, state, attempts, payload, due_at - created_at AS in_ FROM jobs WHERE kind = $1 ORDER BY id",
        AWAIT_FUNDS,
    )


async def they_fall_due(house: House) -> None:
    """Whatever Stripe thinks."""
    await house.rows("UPDATE jobs SET due_at = now() WHERE kind = $1 AND state = 'due'", AWAIT_FUNDS)


async def until_looked(house: House, times: int) -> None:
    async def so() -> bool:
        return [look["state"] for look in await looks(house)].count("done") == times

    await house.until(so)


async def booked(house: House, order_id: UUID) -> dict[str, Any]:
    """Stripe's balance transaction of the order's capture."""
    [job] = await house.rows(
        "SELECT payload ->> 'balance_transaction' AS id FROM jobs WHERE kind = $1 AND key = $2",
        FETCH_FEE,
        str(order_id),
    )
    request = house.http.get(f"{house.box.url}/stripe/v1/balance_transactions/{job['id']}")
    answer: dict[str, Any] = await (await request.bearer_auth(API_KEY).build().send()).json()
    return answer


async def the_money_comes(house: House, order_id: UUID) -> None:
    """To Stripe, which tells nobody."""
    booking = await booked(house, order_id)
    house.trouble.db.execute(
        "UPDATE resources SET body = json_set(body, '$.available_on', ?) WHERE id = ?",
        (booking["created"], booking["id"]),
    )


async def test_money_that_is_there_with_its_fee_is_settled_at_once_and_nobody_looks_for_it(
    house: House,
) -> None:
    order_id = await house.paid(2599, "pm_card_bypassPending")
    assert await house.said_types(order_id) == SETTLED
    payment, fact = await house.payment(order_id), (await house.said(order_id))[-1]
    assert isinstance(fact, PaymentSettled)
    assert (fact.amount, fact.currency, fact.charge_id) == (2599, "USD", payment.charge_id)
    assert fact.settled_at == payment.settled_at
    assert await looks(house) == []
    house.box.webhooks.redeliver()
    await house.settled()
    assert await house.said_types(order_id) == SETTLED


async def test_money_that_is_not_there_is_looked_for_on_its_day_and_settled_once(house: House) -> None:
    order_id = await house.paid()
    await the_money_comes(house, order_id)
    await they_fall_due(house)
    await house.until_said(order_id, "payment.settled")
    await house.settled()
    assert await house.said_types(order_id) == SETTLED
    settled_at = (await house.payment(order_id)).settled_at
    assert settled_at is not None
    assert settled_at.timestamp() == (await booked(house, order_id))["available_on"]
    assert [look["state"] for look in await looks(house)] == ["done"]


async def test_until_its_day_nothing_is_asked(house: House) -> None:
    order_id = await house.paid()
    house.box.webhooks.redeliver()
    await house.settled()
    [look] = await looks(house)
    assert (look["state"], look["attempts"]) == ("due", 0)
    assert TWO_DAYS - timedelta(minutes=5) < look["in_"] <= TWO_DAYS
    assert (await house.payment(order_id)).settled_at is None


async def test_money_that_is_late_is_looked_for_again_and_no_look_is_a_failed_one(house: House) -> None:
    order_id = await house.paid()
    await they_fall_due(house)
    await until_looked(house, 1)
    first, second = await looks(house)
    assert (first["attempts"], second["state"]) == (1, "due")
    assert TWO_DAYS - timedelta(minutes=5) < second["in_"] <= TWO_DAYS
    await the_money_comes(house, order_id)
    await they_fall_due(house)
    await until_looked(house, 2)
    assert await house.said_types(order_id) == SETTLED
    assert len(await looks(house)) == 2


async def test_a_look_that_stripe_does_not_answer_is_made_again(house: House) -> None:
    order_id = await house.paid()
    await the_money_comes(house, order_id)
    house.trouble.before[ONE] = 500
    await they_fall_due(house)

    async def tried() -> bool:
        return bool((await looks(house))[0]["attempts"] >= 2)

    await house.until(tried)
    assert (await house.payment(order_id)).settled_at is None
    house.trouble.before.clear()
    await house.until_said(order_id, "payment.settled")
    assert await house.said_types(order_id) == SETTLED
    assert [look["state"] for look in await looks(house)] == ["done"]


async def test_a_days_orders_are_one_call(house: House) -> None:
    orders = [await house.paid() for _ in range(5)]
    house.trouble.calls.clear()
    await they_fall_due(house)
    await until_looked(house, 5)
    assert house.trouble.calls == [LIST]
    again = [look for look in await looks(house) if look["state"] == "due"]
    assert {look["key"] for look in again} == {str(order_id) for order_id in orders}
    assert all(look["in_"] > LOOK_AGAIN for look in again)


async def test_a_lot_is_found_by_when_it_was_booked_and_not_among_the_newest(house: House) -> None:
    for _ in range(3):
        await house.paid()
    asked = [look["payload"] for look in await looks(house)]
    ids, when = [each["balance_transaction"] for each in asked], [each["booked_at"] for each in asked]
    stripe = Stripe(SecretStr(API_KEY), f"{house.box.url}/stripe")
    house.trouble.before[ONE] = 500
    assert [each and each.id for each in await stripe.fetch_bookings(ids, booked=when)] == ids
    assert await stripe.fetch_bookings(ids, booked=[at - 1000 for at in when]) == [None] * 3
    await stripe.close()
