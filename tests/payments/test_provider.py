"""Stripe away, slow, forgetful or refusing: what is unknown is looked up and asked again, and nothing is done twice."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientTimeout
from pydantic import SecretStr
from stripe import APIConnectionError, InvalidRequestError

from payments import provider
from payments.attempts import Attempt
from payments.domain import CANCEL_INTENT, CREATE_INTENT, FETCH_FEE, PaymentState
from payments.provider import Stripe, charge_of, intent_of, refund_of
from payments.refunds import REFUND, RefundState

if TYPE_CHECKING:
    from support.payments import House

CREATE = "stripe.payment_intents.create"
LIST = "stripe.payment_intents.list"
CREATE_REFUND, LIST_REFUNDS = "stripe.refunds.create", "stripe.refunds.list"
KEY = SecretStr("sk_test_1")
FIRST = Attempt(("k",), is_repeat=False, since=datetime(2026, 11, 22, tzinfo=UTC))


async def attempted(house: House, kind: str, times: int) -> None:
    """Until the one job of this kind has been tried so often, and is not being tried."""

    async def so() -> bool:
        found = await house.rows(
            "SELECT 1 FROM jobs WHERE kind = $1 AND attempts >= $2 AND lease_until IS NULL", kind, times
        )
        return bool(found)

    await house.until(so)


async def age(house: House, kind: str, hours: int) -> None:
    await house.rows(
        "UPDATE jobs SET created_at = now() - $2::int * interval '1 hour' WHERE kind = $1", kind, hours
    )


@pytest.mark.parametrize("status", [401, 403, 409, 429, 500, 503])
async def test_an_intent_is_made_once_when_stripe_answers_again(house: House, status: int) -> None:
    house.trouble.before[CREATE] = status
    fact = house.order_placed()
    await house.hear(fact)
    await attempted(house, CREATE_INTENT, 3)
    assert (await house.payment(fact.order_id)).status is PaymentState.REQUESTED
    assert await house.said(fact.order_id) == []
    house.trouble.before.clear()
    await house.settled()
    assert await house.said_types(fact.order_id) == ["payment.ready"]
    assert len(house.box.record.effects(kind="stripe.payment_intent.created")) == 1


@pytest.mark.parametrize("hours", [0, 23])
async def test_an_intent_whose_answer_was_lost_is_found_and_not_asked_for_again(
    house: House, hours: int
) -> None:
    house.trouble.after.add(CREATE)
    house.trouble.before[LIST] = 503
    fact = house.order_placed()
    await house.hear(fact)
    await attempted(house, CREATE_INTENT, 3)
    await age(house, CREATE_INTENT, hours)
    house.trouble.before.clear()
    await house.settled()
    assert house.trouble.calls.count(CREATE) == 1
    assert await house.said_types(fact.order_id) == ["payment.ready"]
    assert (await house.payment(fact.order_id)).client_secret is not None


@pytest.mark.parametrize(("status", "looks"), [(500, 3), (503, 3), (429, 1)])
async def test_a_look_survives_failures_of_a_page_but_not_being_told_to_slow_down(
    house: House, status: int, looks: int
) -> None:
    house.trouble.after.add(CREATE)
    house.trouble.before[LIST], house.trouble.left[LIST] = status, 2
    fact = house.order_placed()
    await house.hear(fact)
    await attempted(house, CREATE_INTENT, 2)
    assert house.trouble.calls.count(LIST) == looks
    house.trouble.left[LIST] = 0
    await house.settled()
    assert house.trouble.calls.count(CREATE) == 1
    assert await house.said_types(fact.order_id) == ["payment.ready"]


@pytest.mark.parametrize("rounds", [1, 3])
async def test_a_saved_500_that_made_nothing_does_not_block_an_intent(house: House, rounds: int) -> None:
    house.trouble.saved[CREATE] = False
    fact = house.order_placed()
    await house.hear(fact)
    await attempted(house, CREATE_INTENT, rounds)
    house.trouble.saved.clear()
    await house.settled()
    [job] = await house.rows("SELECT id FROM jobs WHERE kind = $1", CREATE_INTENT)
    [effect] = house.box.record.effects(kind="stripe.payment_intent.created")
    assert (effect.idempotency_key or "").startswith(f"{job['id']}:")
    assert await house.said_types(fact.order_id) == ["payment.ready"]


async def test_a_refund_that_comes_to_light_late_is_the_only_one(house: House) -> None:
    """What Stripe reconciles after an incident appears when nobody expects it any more."""
    order_id = await house.paid(2599)
    house.box.faults.add(CREATE_REFUND, ["error"], times=1)
    fact = house.refund_requested(order_id, 1000)
    await house.hear(fact)
    await attempted(house, REFUND, 5)
    metadata = {"metadata[order_id]": str(order_id), "metadata[refund_id]": str(fact.refund_id)}
    intent = (await house.payment(order_id)).payment_intent_id
    await house.receive_nothing()
    late = await house.stripe("/v1/refunds", payment_intent=intent, amount=1000, **metadata)
    await house.settled()
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    [refund] = await house.refunds(order_id)
    assert refund.provider_refund_id == effect.resource == late["id"]
    assert (await house.said_types(order_id)).count("payment.refunded") == 1


async def test_a_saved_500_that_made_nothing_blocks_a_refund_for_a_day_at_most(house: House) -> None:
    order_id = await house.paid(2599)
    house.box.faults.add(CREATE_REFUND, ["error"], times=1)
    # The first answer under the new key is lost: the refund has to be found, under whatever key it was made.
    house.box.faults.add(CREATE_REFUND, ["lost_answer"], times=1)
    await house.hear(house.refund_requested(order_id, 1000))
    await attempted(house, REFUND, 4)
    assert house.box.record.effects(kind="stripe.refund.succeeded") == []
    await age(house, REFUND, 24)
    await house.settled()
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    [job] = await house.rows("SELECT id FROM jobs WHERE kind = $1", REFUND)
    assert effect.idempotency_key == f"{job['id']}:day1"
    assert (await house.said_types(order_id)).count("payment.refunded") == 1


async def test_a_saved_500_with_its_refund_behind_lists_that_fail_is_one_refund(house: House) -> None:
    order_id = await house.paid(2599)
    await house.receive_nothing()
    house.box.faults.add(CREATE_REFUND, ["error_after_effect"], times=1)
    house.box.faults.add(LIST_REFUNDS, ["unavailable", "reset"], times=4)
    await house.hear(house.refund_requested(order_id, 1000))
    await house.settled()
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    assert [refund.provider_refund_id for refund in await house.refunds(order_id)] == [effect.resource]
    [kinds] = [rule["injected"] for rule in house.box.faults.rules() if rule["target"] == LIST_REFUNDS]
    assert sum(kinds[LIST_REFUNDS].values()) == 4


async def test_a_saved_500_that_made_its_refund_all_the_same_is_found_and_not_repeated(house: House) -> None:
    order_id = await house.paid(2599)
    await house.receive_nothing()
    house.trouble.saved[CREATE_REFUND] = True
    await house.hear(house.refund_requested(order_id, 1000))
    await house.settled()
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    assert [refund.provider_refund_id for refund in await house.refunds(order_id)] == [effect.resource]
    assert house.trouble.calls.count(CREATE_REFUND) == 1


async def test_a_500_that_is_not_replayed_is_asked_again_under_the_same_key_only(house: House) -> None:
    order_id = await house.paid(2599)
    house.trouble.before[CREATE_REFUND] = 500
    await house.hear(house.refund_requested(order_id, 1000))
    await attempted(house, REFUND, 3)
    house.trouble.before.clear()
    await house.settled()
    [job] = await house.rows("SELECT id FROM jobs WHERE kind = $1", REFUND)
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    assert effect.idempotency_key == str(job["id"])


async def test_nothing_is_asked_for_while_stripe_cannot_be_looked_at(house: House) -> None:
    order_id = await house.paid(2599)
    await house.receive_nothing()
    house.trouble.saved[CREATE_REFUND] = False
    house.trouble.before[LIST_REFUNDS] = 503
    await house.hear(house.refund_requested(order_id, 1000))
    await attempted(house, REFUND, 3)
    assert house.trouble.calls.count(CREATE_REFUND) == 1


async def test_in_the_last_hour_of_its_keys_a_refund_is_only_looked_for(house: House) -> None:
    order_id = await house.paid(2599)
    house.trouble.before[CREATE_REFUND] = house.trouble.before[LIST_REFUNDS] = 503
    await house.hear(house.refund_requested(order_id, 1000))
    await attempted(house, REFUND, 1)
    await age(house, REFUND, 23)
    asked = house.trouble.calls.count(CREATE_REFUND)
    house.trouble.before.clear()
    [job] = await house.rows("SELECT id, attempts FROM jobs WHERE kind = $1", REFUND)
    await attempted(house, REFUND, job["attempts"] + 2)
    assert house.trouble.calls.count(CREATE_REFUND) == asked
    await age(house, REFUND, 24)
    await house.settled()
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    assert effect.idempotency_key == f"{job['id']}:day1"


async def test_an_intent_among_very_many_is_found_by_the_index(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "PAGE", 1)
    house.trouble.after.add(CREATE)
    house.trouble.before[LIST] = 503
    facts = [house.order_placed() for _ in range(5)]
    await house.hear(*facts)

    async def all_tried() -> bool:
        return house.trouble.calls.count(CREATE) == len(facts)

    await house.until(all_tried)
    house.trouble.before.clear()
    await house.settled()
    assert "stripe.payment_intents.search" in house.trouble.calls
    assert house.trouble.calls.count(CREATE) == len(facts)
    for fact in facts:
        assert await house.said_types(fact.order_id) == ["payment.ready"]


async def test_an_intent_whose_key_stripe_forgot_is_found_again(house: House) -> None:
    house.trouble.after.add(CREATE)
    fact = house.order_placed()
    await house.hear(fact)
    await attempted(house, CREATE_INTENT, 1)
    house.forget_keys()
    await age(house, CREATE_INTENT, 24)
    house.trouble.after.clear()
    await house.settled()
    [effect] = house.box.record.effects(kind="stripe.payment_intent.created")
    payment = await house.payment(fact.order_id)
    assert (payment.payment_intent_id, payment.status) == (effect.resource, PaymentState.READY)
    assert payment.client_secret == effect.payload["client_secret"]
    assert LIST in house.trouble.calls


async def test_an_old_job_that_never_reached_stripe_makes_its_intent(house: House) -> None:
    house.trouble.before[CREATE] = 503
    fact = house.order_placed()
    await house.hear(fact)
    await attempted(house, CREATE_INTENT, 1)
    await age(house, CREATE_INTENT, 24)
    house.trouble.before.clear()
    await house.settled()
    assert LIST in house.trouble.calls
    assert await house.said_types(fact.order_id) == ["payment.ready"]


@pytest.mark.parametrize("hours", [0, 24])
async def test_a_refund_whose_answer_was_lost_is_made_once(house: House, hours: int) -> None:
    order_id = await house.paid(2599)
    await house.receive_nothing()
    house.trouble.after.add("stripe.refunds.create")
    await house.hear(house.refund_requested(order_id, 1000), house.refund_requested(order_id, 500))
    await attempted(house, REFUND, 1)

    async def both() -> bool:
        return len(await house.rows("SELECT 1 FROM jobs WHERE kind = $1 AND attempts >= 1", REFUND)) == 2

    await house.until(both)
    if hours:
        house.forget_keys()
        await age(house, REFUND, hours)
    house.trouble.after.clear()
    await house.settled()
    made = {
        effect.resource: effect.amount for effect in house.box.record.effects(kind="stripe.refund.succeeded")
    }
    assert sorted(amount or 0 for amount in made.values()) == [500, 1000]
    assert {refund.provider_refund_id: refund.amount for refund in await house.refunds(order_id)} == made
    assert {refund.status for refund in await house.refunds(order_id)} == {RefundState.SUCCEEDED}
    assert (await house.said_types(order_id)).count("payment.refunded") == 2


async def test_a_refund_told_by_webhook_before_its_answer_is_said_once(house: House) -> None:
    order_id = await house.paid(2599)
    house.trouble.after.add("stripe.refunds.create")
    await house.hear(house.refund_requested(order_id, 1000))
    await house.until_said(order_id, "payment.refunded")
    house.trouble.after.clear()
    await house.settled()
    assert (await house.said_types(order_id)).count("payment.refunded") == 1


async def test_a_cancel_whose_answer_was_lost_is_done_once(house: House) -> None:
    order_id = await house.placed()
    await house.receive_nothing()
    house.trouble.after.add("stripe.payment_intents.cancel")
    await house.hear(house.order_cancelled(order_id))
    await attempted(house, CANCEL_INTENT, 1)
    house.forget_keys()
    house.trouble.after.clear()
    await house.settled()
    assert await house.said_types(order_id) == ["payment.ready", "payment.cancelled"]


@pytest.mark.parametrize("kind", ["error", "error_after_effect"])
async def test_a_saved_500_does_not_keep_an_intent_open(house: House, kind: str) -> None:
    """Closing twice does no harm, so no key is needed, and none can replay the failure for a day."""
    order_id = await house.placed()
    house.box.faults.add("stripe.payment_intents.cancel", [kind], times=1)
    await house.hear(house.order_cancelled(order_id))
    await house.settled()
    assert await house.said_types(order_id) == ["payment.ready", "payment.cancelled"]


async def test_a_cancel_that_is_refused_while_the_intent_is_open_is_tried_again(house: House) -> None:
    order_id = await house.placed()
    house.trouble.before["stripe.payment_intents.cancel"] = 400
    await house.hear(house.order_cancelled(order_id))
    await attempted(house, CANCEL_INTENT, 2)
    assert (await house.payment(order_id)).status is PaymentState.CANCELLING
    house.trouble.before.clear()
    await house.settled()
    assert (await house.said_types(order_id))[-1] == "payment.cancelled"
    assert len(await house.rows("SELECT 1 FROM jobs WHERE kind = $1", CANCEL_INTENT)) == 1


async def test_a_fee_that_cannot_be_fetched_is_fetched_later(house: House) -> None:
    house.trouble.before["stripe.balance_transactions.retrieve"] = 500
    order_id = await house.placed()
    await house.confirm(order_id)
    await attempted(house, "stripe.fetch_fee", 2)
    assert (await house.payment(order_id)).fee is None
    house.trouble.before.clear()
    await house.settled()
    assert (await house.payment(order_id)).fee == 105


async def test_the_fees_of_a_lot_come_from_one_list_and_what_it_does_not_show_is_asked_for_alone(
    house: House,
) -> None:
    orders = [await house.paid() for _ in range(4)]
    rows = await house.rows(
        "SELECT payload ->> 'balance_transaction' AS id FROM jobs WHERE kind = $1", FETCH_FEE
    )
    ids = [row["id"] for row in rows]
    assert len(ids) == len(orders)
    stripe = Stripe(KEY, f"{house.box.url}/stripe")
    house.trouble.before["stripe.balance_transactions.retrieve"] = 500
    booked = await stripe.fetch_bookings([*ids, "txn_unknown"])
    assert [each and (each.id, each.fee, each.currency) for each in booked] == [
        *((known, 105, "USD") for known in ids),
        None,
    ]
    house.trouble.before.clear()
    assert await stripe.fetch_bookings(ids[:1]) == booked[:1]
    await stripe.close()


async def test_nobody_listening_is_an_unknown_outcome() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    stripe = Stripe(KEY, f"http://127.0.0.1:{port}")
    with pytest.raises(APIConnectionError):
        await stripe.create_intent("o", "n", 100, "USD", attempt=FIRST)
    await stripe.close()


async def test_a_look_that_got_no_answer_in_time_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    monkeypatch.setattr(provider, "TIMEOUT_SECONDS", 0.2)
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        stripe = Stripe(KEY, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        repeat = replace(FIRST, is_repeat=True)
        with pytest.raises(APIConnectionError):
            await stripe.create_intent("o", "n", 100, "USD", attempt=repeat)
        await stripe.close()
    assert connections == 1


async def test_no_answer_in_time_is_an_unknown_outcome() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stripe = Stripe(KEY, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        stripe._http._timeout = ClientTimeout(total=0.05)
        with pytest.raises(APIConnectionError):
            await stripe.refund("o", "r", "pi_1", 100, attempt=FIRST)
        await stripe.close()


async def test_an_intent_that_does_not_exist_cannot_be_cancelled(house: House) -> None:
    stripe = Stripe(KEY, f"{house.box.url}/stripe")
    with pytest.raises(InvalidRequestError):
        await stripe.cancel_intent("pi_unknown")
    await stripe.close()


async def test_a_provider_that_was_never_used_closes() -> None:
    await Stripe(KEY, "http://127.0.0.1:1").close()


async def test_no_secret_leaves_in_a_log_a_job_or_a_fact(
    house: House, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    house.trouble.after.add(CREATE)
    fact = house.order_placed()
    await house.hear(fact)
    await attempted(house, CREATE_INTENT, 1)
    house.trouble.after.clear()
    await house.settled()
    await house.confirm(fact.order_id, "pm_card_visa_chargeDeclined")
    await house.confirm(fact.order_id)
    await house.settled()
    await house.hear(house.order_cancelled(fact.order_id), house.refund_requested(fact.order_id, 9999))
    await house.settled()
    payment = await house.payment(fact.order_id)
    assert payment.client_secret is not None
    kept = await house.rows("SELECT payload::text, last_error FROM jobs")
    said = await house.rows("SELECT headers::text, convert_from(body, 'utf8') FROM event_log")
    printed = capsys.readouterr()
    everything = f"{caplog.text}{printed}{kept}{said}{payment}{house.service.settings!r}"
    assert "job postponed" in everything
    for secret in (payment.client_secret, "sk_test_canary", "whsec_canary", "ann@example.com"):
        assert secret not in everything


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"status": "requires_payment_method"}, "OPEN"),
        ({"status": "requires_action"}, "OPEN"),
        ({"status": "requires_action", "last_payment_error": {"code": "old"}}, "OPEN"),
        ({"status": "requires_payment_method", "last_payment_error": {"code": "declined"}}, "DECLINED"),
        ({"status": "processing"}, "PROCESSING"),
        ({"status": "canceled"}, "CANCELLED"),
        ({"status": "succeeded", "amount_received": 5, "latest_charge": "ch_1"}, "SUCCEEDED"),
        ({"status": "something_new"}, "OPEN"),
    ],
)
def test_an_intents_status_is_read(shown: dict[str, Any], expected: str) -> None:
    assert intent_of({"id": "pi_1", **shown}).news == expected


def test_the_banks_code_of_a_decline_is_preferred_to_stripes() -> None:
    error = {"code": "card_declined", "decline_code": "insufficient_funds"}
    shown = {"id": "pi_1", "status": "requires_payment_method", "last_payment_error": error}
    assert intent_of(shown).code == "insufficient_funds"


def test_a_charge_that_took_no_money_is_no_news() -> None:
    charge = {"id": "ch_1", "payment_intent": "pi_1", "paid": True, "captured": True, "amount_captured": 5}
    assert charge_of(charge) is not None
    for change in ({"paid": False}, {"captured": False}, {"payment_intent": None}):
        assert charge_of(charge | change) is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", "PENDING"),
        ("requires_action", "PENDING"),
        ("succeeded", "SUCCEEDED"),
        ("failed", "FAILED"),
        ("canceled", "FAILED"),
    ],
)
def test_a_refunds_status_is_read(status: str, expected: str) -> None:
    assert refund_of({"id": "re_1", "status": status}).news == expected
