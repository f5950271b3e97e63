"""Refunds at Stripe: partial, full, too much, and those that fail later."""

import asyncio

import pytest
import stripe

import sandbox


async def pay(shop: stripe.StripeClient, order_id: str, card: str = "pm_card_visa") -> stripe.PaymentIntent:
    return await shop.v1.payment_intents.create_async(
        {
            "amount": 5_000,
            "currency": "usd",
            "metadata": {"order_id": order_id},
            "payment_method": card,
            "confirm": True,
        }
    )


async def test_partial_refunds_add_up_and_the_rest_goes_back_without_an_amount(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await pay(shop, order_id)
    part = await shop.v1.refunds.create_async(
        {
            "payment_intent": intent.id,
            "amount": 1_500,
            "reason": "requested_by_customer",
            "metadata": {"line": "1"},
        }
    )
    assert (part.status, part.amount, part.reason, part.charge) == (
        "succeeded", 1_500, "requested_by_customer", intent.latest_charge,
    )  # fmt: skip
    charge = await shop.v1.charges.retrieve_async(str(intent.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (1_500, False)

    rest = await shop.v1.refunds.create_async({"charge": charge.id})
    assert rest.amount == 3_500
    charge = await shop.v1.charges.retrieve_async(charge.id)
    assert (charge.amount_refunded, charge.refunded) == (5_000, True)
    assert await shop.v1.refunds.retrieve_async(rest.id) == rest
    for filters in ({"payment_intent": intent.id}, {"charge": charge.id}):
        listed = await shop.v1.refunds.list_async(filters)  # type: ignore[arg-type]  # a loop over filters
        assert [refund.id for refund in listed.data] == [rest.id, part.id]
    refunded = [e for e in box.record.effects(order_id=order_id) if e.kind == "stripe.refund.succeeded"]
    assert [(effect.amount, effect.currency, effect.order_id) for effect in refunded] == [
        (1_500, "USD", order_id), (3_500, "USD", order_id),
    ]  # fmt: skip


async def test_more_than_the_rest_is_never_refunded_even_at_once(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await pay(shop, order_id)
    attempts = [
        shop.v1.refunds.create_async({"payment_intent": intent.id, "amount": 2_000}) for _ in range(6)
    ]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(answer, stripe.Refund) for answer in answers) == 2
    refusals = [answer for answer in answers if isinstance(answer, stripe.InvalidRequestError)]
    assert [refusal.code for refusal in refusals] == ["amount_too_large"] * 4
    assert "is greater than unrefunded amount on charge" in str(refusals[0])

    await shop.v1.refunds.create_async({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.refunds.create_async({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"
    effects = box.record.effects(order_id=order_id, kind="stripe.refund.succeeded")
    assert sum(effect.amount or 0 for effect in effects) == 5_000


async def test_what_was_not_paid_is_not_refunded(shop: stripe.StripeClient, order_id: str) -> None:
    unpaid = await shop.v1.payment_intents.create_async({
        "amount": 5_000, "currency": "usd", "metadata": {"order_id": order_id},
    })  # fmt: skip
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        await shop.v1.refunds.create_async({"payment_intent": unpaid.id})
    with pytest.raises(stripe.CardError):
        await shop.v1.payment_intents.confirm_async(
            unpaid.id, {"payment_method": "pm_card_visa_chargeDeclined"}
        )
    (failed,) = (await shop.v1.charges.list_async({"payment_intent": unpaid.id})).data
    with pytest.raises(stripe.InvalidRequestError, match="cannot be refunded"):
        await shop.v1.refunds.create_async({"charge": failed.id})
    for params in (
        {},
        {"charge": "ch_none"},
        {"payment_intent": "pi_none"},
        {"charge": failed.id, "amount": 0},
    ):
        with pytest.raises(stripe.InvalidRequestError):
            await shop.v1.refunds.create_async(params)  # type: ignore[arg-type]  # these are wrong on purpose


async def test_a_refund_that_fails_later_gives_its_amount_back_to_the_charge(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await pay(shop, order_id, "pm_card_refundFail")
    refund = await shop.v1.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == "succeeded"
    await box.settled()
    refund = await shop.v1.refunds.retrieve_async(refund.id)
    assert (refund.status, refund.failure_reason) == ("failed", "expired_or_canceled_card")
    charge = await shop.v1.charges.retrieve_async(str(intent.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    kinds = [effect.kind for effect in box.record.effects(order_id=order_id)]
    assert kinds.count("stripe.refund.failed") == 1


async def test_a_refund_may_be_pending_first(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await pay(shop, order_id, "pm_card_pendingRefund")
    refund = await shop.v1.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == "pending"
    await box.settled()
    assert (await shop.v1.refunds.retrieve_async(refund.id)).status == "succeeded"
    kinds = [e.kind for e in box.record.effects(order_id=order_id) if e.kind.startswith("stripe.refund")]
    assert kinds == ["stripe.refund.pending", "stripe.refund.succeeded"]
