"""Payments from end to end against Stripe's stand-in: intents, captures, fees, declines, cancels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from payments.domain import PaymentState
from shared.contracts.payments import PaymentCaptured, PaymentFeeRecorded, PaymentReady

if TYPE_CHECKING:
    from tests.payments.conftest import House


async def test_a_payment_is_made_ready_captured_and_its_fee_recorded_once(house: House) -> None:
    order_id = await house.paid(2599)
    assert await house.said_types(order_id) == ["payment.ready", "payment.captured", "payment.fee_recorded"]
    ready, captured, fee = await house.said(order_id)
    payment = await house.payment(order_id)
    assert payment.status is PaymentState.CAPTURED
    assert isinstance(ready, PaymentReady)
    assert isinstance(captured, PaymentCaptured)
    assert isinstance(fee, PaymentFeeRecorded)
    assert (captured.amount, captured.payment_intent_id) == (2599, ready.payment_intent_id)
    assert (fee.amount, fee.charge_id) == (105, captured.charge_id)
    [effect] = house.box.record.effects(kind="stripe.charge.succeeded")
    assert (effect.order_id, effect.amount, effect.resource) == (str(order_id), 2599, captured.charge_id)
