"""Stripe's idempotency keys, seen from the official SDK."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import stripe

import sandbox
from sandbox.endpoint import Answer, Refusal

T = TypeVar("T")
ShopAt = Callable[[sandbox.Box], stripe.StripeClient]


def params(order_id: str, **more: Any) -> Any:
    return {"amount": 2_000, "currency": "usd", "metadata": {"order_id": order_id}, **more}


async def test_a_repeat_answers_the_same_and_has_no_effect(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    first = await shop.v1.payment_intents.create_async(params(order_id), {"idempotency_key": order_id})
    await shop.v1.payment_intents.cancel_async(first.id, None, {"idempotency_key": f"{order_id}-cancel"})
    again = await shop.v1.payment_intents.create_async(params(order_id), {"idempotency_key": order_id})
    # The answer is the saved one, not the intent as it is now.
    assert (again.id, again.status) == (first.id, "requires_payment_method")
    assert first.last_response is not None
    assert again.last_response is not None
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Original-Request"] == first.last_response.request_id
    effects = box.record.effects(order_id=order_id)
    assert [(effect.kind, effect.idempotency_key) for effect in effects] == [
        ("stripe.payment_intent.created", order_id),
        ("stripe.payment_intent.canceled", f"{order_id}-cancel"),
    ]


async def test_a_decline_is_remembered(box: sandbox.Box, shop: stripe.StripeClient, order_id: str) -> None:
    intent = await shop.v1.payment_intents.create_async(params(order_id))
    card: Any = {"payment_method": "pm_card_visa_chargeDeclined"}
    for _ in range(3):
        with pytest.raises(stripe.CardError) as declined:
            await shop.v1.payment_intents.confirm_async(
                intent.id, card, {"idempotency_key": f"{order_id}-confirm"}
            )
        assert declined.value.code == "card_declined"
    assert [e.kind for e in box.record.effects(order_id=order_id)].count("stripe.charge.failed") == 1


async def test_a_refusal_by_state_is_remembered_after_the_state_changed(
    shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await shop.v1.payment_intents.create_async(params(order_id))

    async def refund(key: str) -> stripe.Refund:
        return await shop.v1.refunds.create_async({"payment_intent": intent.id}, {"idempotency_key": key})

    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        await refund(order_id)
    await shop.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        await refund(order_id)
    assert (await refund(f"{order_id}-again")).status == "succeeded"


async def test_a_validation_error_is_not_remembered(shop: stripe.StripeClient, order_id: str) -> None:
    options: Any = {"idempotency_key": order_id}
    with pytest.raises(stripe.InvalidRequestError):
        await shop.v1.payment_intents.create_async({"amount": 1, "currency": "usd"}, options)
    assert (await shop.v1.payment_intents.create_async(params(order_id), options)).amount == 2_000


async def test_a_key_serves_one_request_only(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    options: Any = {"idempotency_key": order_id}
    intent = await shop.v1.payment_intents.create_async(params(order_id), options)
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        await shop.v1.payment_intents.create_async(params(order_id, description="another"), options)
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        await shop.v1.payment_intents.cancel_async(intent.id, None, options)
    assert len(box.record.effects(order_id=order_id)) == 1


async def test_equal_requests_at_once_have_one_effect(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    attempts = [
        shop.v1.payment_intents.create_async(params(order_id), {"idempotency_key": order_id})
        for _ in range(8)
    ]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    intents = {answer.id for answer in answers if isinstance(answer, stripe.PaymentIntent)}
    assert len(intents) == 1
    assert len(box.record.effects(order_id=order_id)) == 1


class Slow(sandbox.Faults):
    """Holds the first call before its effect until released."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    async def around(self, endpoint: str, effect: Callable[[], T]) -> T:
        self.entered.set()
        await self.release.wait()
        return await super().around(endpoint, effect)


async def test_a_repeat_while_the_first_still_runs_is_a_conflict(
    settings: sandbox.Settings, shop_at: ShopAt
) -> None:
    slow = Slow()
    async with sandbox.running(settings, faults=slow) as box:
        shop = shop_at(box)
        first = asyncio.create_task(
            shop.v1.payment_intents.create_async(params("o"), {"idempotency_key": "k"})
        )
        await slow.entered.wait()
        with pytest.raises(stripe.StripeError) as conflict:
            await shop.v1.payment_intents.create_async(params("o"), {"idempotency_key": "k"})
        assert (conflict.value.http_status, conflict.value.code) == (409, None)
        assert conflict.value.error is not None
        assert conflict.value.error.code == "idempotency_key_in_use"
        slow.release.set()
        intent = await first
        again = await shop.v1.payment_intents.create_async(params("o"), {"idempotency_key": "k"})
        assert again.id == intent.id
        assert len(box.record.effects()) == 1


class LosesAnswers(sandbox.Faults):
    """Runs the effect and answers 500 instead of its answer, once."""

    lost = False

    async def around(self, endpoint: str, effect: Callable[[], T]) -> T:
        answer = await super().around(endpoint, effect)
        if not self.lost:
            self.lost = True
            raise Refusal(Answer.json({"error": {"type": "api_error", "message": "lost"}}, 500))
        return answer


async def test_a_lost_answer_is_found_again_by_its_key(settings: sandbox.Settings, shop_at: ShopAt) -> None:
    async with sandbox.running(settings, faults=LosesAnswers()) as box:
        shop = shop_at(box)
        with pytest.raises(stripe.APIError):
            await shop.v1.payment_intents.create_async(params("o"), {"idempotency_key": "k"})
        again = await shop.v1.payment_intents.create_async(params("o"), {"idempotency_key": "k"})
        assert again.last_response is not None
        assert again.last_response.headers["Idempotent-Replayed"] == "true"
        assert [effect.resource for effect in box.record.effects()] == [again.id]
