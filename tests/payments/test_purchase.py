"""Payments from end to end against Stripe's stand-in: intents, captures, fees, declines, cancels, in every order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from payments.domain import PaymentState
from shared.contracts.payments import (
    PaymentCaptured,
    PaymentFailed,
    PaymentFeeRecorded,
    PaymentProcessing,
    PaymentReady,
)

if TYPE_CHECKING:
    from support.payments import House


async def test_a_payment_is_made_ready_captured_and_its_fee_recorded_once(house: House) -> None:
    order_id = await house.paid(2599)
    ready, captured, fee = await house.said(order_id)
    assert isinstance(ready, PaymentReady)
    assert isinstance(captured, PaymentCaptured)
    assert isinstance(fee, PaymentFeeRecorded)
    assert (captured.amount, captured.payment_intent_id) == (2599, ready.payment_intent_id)
    assert (fee.amount, fee.charge_id) == (105, captured.charge_id)
    payment = await house.payment(order_id)
    assert (payment.status, payment.captured_amount, payment.fee) == (PaymentState.CAPTURED, 2599, 105)
    [effect] = house.box.record.effects(kind="stripe.charge.succeeded")
    assert (effect.order_id, effect.amount, effect.resource) == (str(order_id), 2599, captured.charge_id)


async def test_the_intent_carries_the_order_and_the_jobs_id_as_its_key(house: House) -> None:
    order_id = await house.placed(2599)
    [job] = await house.rows("SELECT id FROM jobs WHERE kind = 'stripe.create_intent'")
    [effect] = house.box.record.effects(kind="stripe.payment_intent.created")
    assert effect.idempotency_key == str(job["id"])
    assert effect.payload["metadata"] == {"order_id": str(order_id), "order_number": "ORD-20261122-00001"}
    assert effect.payload["automatic_payment_methods"]["enabled"] is True
    assert (effect.amount, effect.currency) == (2599, "USD")


async def test_an_order_heard_twice_gets_one_intent(house: House) -> None:
    fact, event_id = house.order_placed(), uuid4()
    await house.hear(fact, fact, event_ids=[event_id, event_id])
    await house.hear(fact)
    await house.settled()
    assert await house.said_types(fact.order_id) == ["payment.ready"]
    assert len(house.box.record.effects(kind="stripe.payment_intent.created")) == 1


async def test_every_webhook_delivered_three_times_changes_nothing(house: House) -> None:
    house.box.webhooks.copies = 3
    order_id = await house.paid()
    await house.hear(house.refund_requested(order_id, 1000))
    await house.settled()
    house.box.webhooks.redeliver()
    await house.settled()
    assert await house.said_types(order_id) == [
        "payment.ready",
        "payment.captured",
        "payment.fee_recorded",
        "payment.refunded",
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_webhooks_in_any_order_and_number_lead_to_the_same(house: House, seed: int) -> None:
    await house.receive_nothing()
    order_id = await house.placed()
    await house.confirm(order_id, "pm_card_visa_chargeDeclined")
    await house.confirm(order_id)
    await house.settled()
    bodies = house.stored_webhooks() * 2
    random.Random(seed).shuffle(bodies)
    assert [await house.signed_webhook(body) for body in bodies] == [200] * len(bodies)
    await house.settled()
    said = await house.said_types(order_id)
    assert said.count("payment.captured") == 1
    assert said.count("payment.fee_recorded") == 1
    assert said.count("payment.failed") <= 1
    payment = await house.payment(order_id)
    assert (payment.status, payment.fee, payment.failure_code) == (PaymentState.CAPTURED, 105, None)


async def test_a_webhook_that_precedes_its_payment_is_kept_until_the_payment_is_there(house: House) -> None:
    await house.receive_nothing()
    fact = house.order_placed()
    await house.hear(fact)
    await house.settled()
    await house.confirm(fact.order_id)
    await house.settled()
    bodies = house.stored_webhooks()
    await house.rows("DELETE FROM payments")
    for body in bodies:
        assert await house.signed_webhook(body) == 200

    async def tried() -> bool:
        return bool(await house.rows("SELECT 1 FROM jobs WHERE last_error LIKE 'Missing%'"))

    await house.until(tried)
    await house.hear(fact)
    await house.settled()
    assert (await house.payment(fact.order_id)).status is PaymentState.CAPTURED
    assert (await house.said_types(fact.order_id)).count("payment.captured") == 1


async def test_a_declined_payment_can_be_tried_again(house: House) -> None:
    order_id = await house.placed()
    await house.confirm(order_id, "pm_card_visa_chargeDeclinedInsufficientFunds")
    await house.settled()
    declined = await house.payment(order_id)
    assert (declined.status, declined.failure_code) == (PaymentState.READY, "insufficient_funds")
    await house.confirm(order_id)
    await house.settled()
    _, failed, captured, _ = await house.said(order_id)
    assert isinstance(failed, PaymentFailed)
    assert (failed.code, failed.final) == ("insufficient_funds", False)
    assert isinstance(captured, PaymentCaptured)


async def test_a_slow_debit_is_processing_until_the_bank_answers(house: House) -> None:
    order_id = await house.placed()
    await house.confirm(order_id, "pm_usBankAccount")
    await house.settled()
    processing = await house.payment(order_id)
    assert processing.status is PaymentState.PROCESSING
    assert processing.payment_intent_id is not None
    house.box.webhooks.redeliver()
    await house.settled()
    _, said = await house.said(order_id)
    assert isinstance(said, PaymentProcessing)
    assert (said.amount, said.payment_intent_id) == (2599, processing.payment_intent_id)
    assert said.since == processing.attempted_at
    await house.box.stripe.complete(processing.payment_intent_id, "succeed")
    await house.settled()
    assert (await house.payment(order_id)).status is PaymentState.CAPTURED


async def test_an_amount_that_stripe_refuses_fails_for_good_and_cancels_at_once(house: House) -> None:
    order_id = await house.placed(49)
    [failed] = await house.said(order_id)
    assert isinstance(failed, PaymentFailed)
    assert (failed.final, failed.code) == (True, "amount_too_small")
    await house.hear(house.order_cancelled(order_id))
    assert await house.said_types(order_id) == ["payment.failed", "payment.cancelled"]


async def test_a_free_order_is_captured_without_stripe(house: House) -> None:
    order_id = await house.placed(0)
    assert await house.said_types(order_id) == ["payment.captured"]
    assert house.trouble.calls == []


async def test_a_cancelled_order_closes_its_intent(house: House) -> None:
    order_id = await house.placed()
    await house.hear(house.order_cancelled(order_id))
    await house.settled()
    assert await house.said_types(order_id) == ["payment.ready", "payment.cancelled"]
    assert (await house.payment(order_id)).status is PaymentState.CANCELLED
    assert len(house.box.record.effects(kind="stripe.payment_intent.canceled")) == 1


async def test_an_order_cancelled_before_its_intent_is_there_still_closes_it(house: House) -> None:
    fact = house.order_placed()
    await house.hear(fact, house.order_cancelled(fact.order_id))
    await house.settled()
    assert await house.said_types(fact.order_id) == ["payment.cancelled"]
    assert len(house.box.record.effects(kind="stripe.payment_intent.canceled")) == 1


async def test_a_capture_that_outruns_the_cancel_is_recorded_from_the_refused_cancel(house: House) -> None:
    await house.receive_nothing()
    order_id = await house.placed()
    await house.confirm(order_id)
    await house.hear(house.order_cancelled(order_id))
    await house.settled()
    assert await house.said_types(order_id) == ["payment.ready", "payment.captured"]
    assert (await house.payment(order_id)).status is PaymentState.CAPTURED
    for body in house.stored_webhooks():
        await house.signed_webhook(body)
    await house.settled()
    assert (await house.said_types(order_id)).count("payment.captured") == 1


async def test_an_order_cancelled_while_its_debit_runs_ends_as_the_bank_decides(house: House) -> None:
    for outcome, last in (("succeed", "payment.captured"), ("fail", "payment.cancelled")):
        order_id = await house.placed()
        await house.confirm(order_id, "pm_usBankAccount")
        await house.settled()
        # At a real bank a debit that runs cannot be called back: Stripe refuses to cancel it.
        house.trouble.before["stripe.payment_intents.cancel"] = 400
        await house.hear(house.order_cancelled(order_id))
        await house.settled()
        assert (await house.payment(order_id)).status is PaymentState.CANCELLING
        house.trouble.before.clear()
        intent = (await house.payment(order_id)).payment_intent_id
        assert intent is not None
        await house.box.stripe.complete(intent, outcome)
        await house.until_said(order_id, last)
        await house.settled()
        assert await house.said_types(order_id) == [
            "payment.ready",
            "payment.processing",
            last,
            *(["payment.fee_recorded"] if outcome == "succeed" else []),
        ]


async def test_a_cancelled_order_whose_capture_was_known_stays_captured(house: House) -> None:
    order_id = await house.paid()
    await house.hear(house.order_cancelled(order_id))
    await house.settled()
    assert (await house.payment(order_id)).status is PaymentState.CAPTURED
    assert "payment.cancelled" not in await house.said_types(order_id)
    assert "stripe.payment_intents.cancel" not in house.trouble.calls


async def test_an_order_paid_outside_closes_the_intent_that_nobody_should_pay(house: House) -> None:
    order_id = await house.placed()
    await house.hear(house.order_paid(order_id))
    await house.settled()
    payment = await house.payment(order_id)
    assert (payment.status, payment.captured_amount) == (PaymentState.EXTERNAL, 2599)
    assert len(house.box.record.effects(kind="stripe.payment_intent.canceled")) == 1


async def test_an_order_paid_through_us_is_no_news(house: House) -> None:
    order_id = await house.paid()
    before = await house.payment(order_id)
    await house.hear(house.order_paid(order_id))
    assert await house.payment(order_id) == before


async def test_many_orders_at_once_are_each_paid_once(house: House) -> None:
    facts = [house.order_placed(1000 + n) for n in range(30)]
    await house.hear(*facts)
    await house.settled()
    for fact in facts:
        await house.confirm(fact.order_id)
    await house.settled()
    for fact in facts:
        assert await house.said_types(fact.order_id) == [
            "payment.ready",
            "payment.captured",
            "payment.fee_recorded",
        ]
    assert house.box.record.amounts()["stripe.charge.succeeded"] == {"USD": sum(fact.total for fact in facts)}
