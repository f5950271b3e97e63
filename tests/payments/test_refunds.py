"""What becomes of a refund: the pure table, and refunds through Stripe's stand-in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import refunds
from payments.domain import Payment, PaymentState
from payments.refunds import STEPS, ProviderRefund, Refund, RefundNews, RefundState
from shared.contracts.orders import OrderRefundRequested
from shared.contracts.payments import PaymentCaptured, PaymentFact, PaymentRefunded, PaymentRefundFailed
from shared.errors import Code, Refusal

if TYPE_CHECKING:
    from support.payments import House

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
RANK = {
    RefundState.REQUESTED: 0,
    RefundState.PENDING: 1,
    RefundState.SUCCEEDED: 2,
    RefundState.FAILED: 3,
    RefundState.EXTERNAL_DUE: 3,
}
CELLS = [(state, news) for state in RefundState for news in RefundNews]


def captured(**changes: Any) -> Payment:
    payment = Payment(
        order_id=UUID(int=1),
        version=1,
        order_number="ORD-20261122-00001",
        customer_id=UUID(int=2),
        partner_id=None,
        method="stripe",
        status=PaymentState.CAPTURED,
        amount=2599,
        currency="USD",
        created_at=NOW,
        captured_amount=2599,
        payment_intent_id="pi_1",
    )
    return replace(payment, **changes)


def a_refund(status: RefundState = RefundState.REQUESTED, amount: int = 1000) -> Refund:
    return Refund(uuid4(), 1, UUID(int=1), amount, "too small", status, NOW)


class TestTheTable:
    def test_is_total(self) -> None:
        assert [(state, news) for state in STEPS for news in STEPS[state]] == CELLS

    @pytest.mark.parametrize(("state", "news"), CELLS)
    def test_never_goes_back_and_hears_a_repeat_as_nothing_new(
        self, state: RefundState, news: RefundNews
    ) -> None:
        after = STEPS[state][news]
        assert after is state or RANK[after] > RANK[state]
        assert STEPS[after][news] is after

    @pytest.mark.parametrize(("state", "news"), CELLS)
    def test_is_what_learn_follows(self, state: RefundState, news: RefundNews) -> None:
        given_back = 1000 if state is RefundState.SUCCEEDED else 0
        decision = refunds.learn(
            captured(refunded_amount=given_back), a_refund(state), ProviderRefund("re_1", news), NOW
        )
        assert decision.refund.status is STEPS[state][news]
        assert len(decision.facts) == (
            decision.refund.status is not state and decision.refund.status is not RefundState.PENDING
        )

    @given(st.lists(st.sampled_from(RefundNews), max_size=8))
    def test_news_in_any_order_and_number_keeps_the_sum(self, heard: list[RefundNews]) -> None:
        payment, refund = captured(), a_refund()
        facts: list[PaymentFact] = []
        for news in heard:
            decision = refunds.learn(payment, refund, ProviderRefund("re_1", news), NOW)
            payment, refund, facts = decision.payment, decision.refund, [*facts, *decision.facts]
        said = [fact.type for fact in facts]
        assert payment.refunded_amount == (1000 if refund.status is RefundState.SUCCEEDED else 0)
        assert said.count("payment.refunded") <= 1
        assert said.count("payment.refund_failed") == (RefundNews.FAILED in heard)


class TestWhichMoneyGoesBack:
    BOTH = captured(captured_amount=5200, external_amount=2600)

    def asked(self, payment: Payment, amount: int, *others: Refund) -> Refund:
        fact = OrderRefundRequested(
            order_id=payment.order_id,
            order_number="ORD-20261122-00001",
            customer_id=payment.customer_id,
            currency="USD",
            refund_id=uuid4(),
            requested_at=NOW,
            amount=amount,
            reason="too small",
        )
        decision = refunds.request(payment, others, fact, NOW)
        assert bool(decision.calls) == (decision.refund.status is RefundState.REQUESTED)
        return decision.refund

    def test_the_cards_first_and_then_the_other(self) -> None:
        by_card = self.asked(self.BOTH, 2600)
        outside = self.asked(self.BOTH, 2600, replace(by_card, status=RefundState.SUCCEEDED))
        assert (by_card.status, outside.status) == (RefundState.REQUESTED, RefundState.EXTERNAL_DUE)
        assert self.asked(self.BOTH, 1, by_card, outside).status is RefundState.FAILED

    def test_a_card_refund_that_failed_leaves_the_cards_money_there(self) -> None:
        failed = a_refund(RefundState.FAILED, 2600)
        assert self.asked(self.BOTH, 2600, failed).status is RefundState.REQUESTED

    def test_what_the_card_cannot_give_alone_is_due_from_outside(self) -> None:
        assert self.asked(self.BOTH, 2601).status is RefundState.EXTERNAL_DUE

    def test_what_was_handed_back_outside_is_none_of_the_cards(self) -> None:
        done = replace(a_refund(RefundState.SUCCEEDED, 2600), handed_back_at=NOW)
        assert self.asked(self.BOTH, 2600, done).status is RefundState.REQUESTED

    @given(st.lists(st.integers(1, 3000), max_size=8))
    def test_never_more_by_card_than_the_card_gave_nor_more_than_came_in(self, amounts: list[int]) -> None:
        made: list[Refund] = []
        for amount in amounts:
            made.append(self.asked(self.BOTH, amount, *made))
        live = [refund for refund in made if refund.status is not RefundState.FAILED]
        assert sum(refund.amount for refund in live if not refund.is_external) <= self.BOTH.card_amount
        assert sum(refund.amount for refund in live) <= self.BOTH.captured_amount

    def test_staffs_word_that_it_was_handed_back_counts_once(self) -> None:
        due = a_refund(RefundState.EXTERNAL_DUE)
        done = refunds.confirm(self.BOTH, due, NOW)
        assert (done.refund.status, done.payment.refunded_amount) == (RefundState.SUCCEEDED, 1000)
        [said] = done.facts
        assert isinstance(said, PaymentRefunded)
        assert (said.refund_id, said.amount, said.refunded_at) == (due.id, 1000, NOW)
        again = refunds.confirm(done.payment, done.refund, NOW)
        assert (again.payment, again.refund, again.facts) == (done.payment, done.refund, ())

    @pytest.mark.parametrize("state", sorted(set(RefundState) - {RefundState.EXTERNAL_DUE}))
    def test_staff_cannot_confirm_what_the_provider_tells(self, state: RefundState) -> None:
        with pytest.raises(Refusal) as refused:
            refunds.confirm(self.BOTH, a_refund(state), NOW)
        assert refused.value.code is Code.INVALID_TRANSITION


def test_why_a_refund_failed_is_not_forgotten() -> None:
    failed = refunds.learn(
        captured(), a_refund(), ProviderRefund("re_1", RefundNews.FAILED, "lost_card"), NOW
    )
    late = refunds.learn(failed.payment, failed.refund, ProviderRefund("re_1", RefundNews.SUCCEEDED), NOW)
    [said] = failed.facts
    assert isinstance(said, PaymentRefundFailed)
    assert (said.reason, said.failed_at) == ("lost_card", NOW)
    assert (late.refund.status, late.refund.failure_code, late.facts) == (RefundState.FAILED, "lost_card", ())


async def test_a_refund_is_made_once_and_said_once(house: House) -> None:
    order_id = await house.paid(2599)
    fact = house.refund_requested(order_id, 1000)
    await house.hear(fact)
    await house.settled()
    [refund] = await house.refunds(order_id)
    assert (refund.id, refund.status, refund.amount) == (fact.refund_id, RefundState.SUCCEEDED, 1000)
    assert (await house.payment(order_id)).refunded_amount == 1000
    [said] = [fact for fact in await house.said(order_id) if isinstance(fact, PaymentRefunded)]
    assert (said.refund_id, said.amount) == (fact.refund_id, 1000)
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    assert (effect.amount, effect.order_id) == (1000, str(order_id))
    assert effect.payload["metadata"] == {"order_id": str(order_id), "refund_id": str(fact.refund_id)}


async def test_a_refund_requested_twice_is_made_once(house: House) -> None:
    order_id = await house.paid()
    fact = house.refund_requested(order_id, 1000)
    await house.hear(fact, fact)
    await house.hear(fact)
    await house.settled()
    assert len(await house.refunds(order_id)) == 1
    assert len(house.box.record.effects(kind="stripe.refund.succeeded")) == 1
    assert (await house.said_types(order_id)).count("payment.refunded") == 1


async def test_refunds_beyond_what_was_captured_are_refused_without_asking_stripe(house: House) -> None:
    order_id = await house.paid(2599)
    first, second, third = (house.refund_requested(order_id, amount) for amount in (2000, 600, 599))
    await house.hear(first, second, third)
    await house.settled()
    states = {refund.id: refund.status for refund in await house.refunds(order_id)}
    assert states == {
        first.refund_id: RefundState.SUCCEEDED,
        second.refund_id: RefundState.FAILED,
        third.refund_id: RefundState.SUCCEEDED,
    }
    [failed] = [fact for fact in await house.said(order_id) if isinstance(fact, PaymentRefundFailed)]
    assert (failed.refund_id, failed.reason) == (second.refund_id, "exceeds_captured")
    assert failed.failed_at is not None
    assert house.trouble.calls.count("stripe.refunds.create") == 2
    assert (await house.payment(order_id)).refunded_amount == 2599


async def test_nothing_is_refunded_before_it_is_captured(house: House) -> None:
    order_id = await house.placed()
    await house.hear(house.refund_requested(order_id, 1))
    await house.settled()
    assert (await house.said_types(order_id))[-1] == "payment.refund_failed"
    assert "stripe.refunds.create" not in house.trouble.calls


async def test_what_stripe_refuses_for_good_fails_the_refund(house: House) -> None:
    order_id = await house.paid(2599)
    payment = await house.payment(order_id)
    # Somebody refunded it in the dashboard: no order asked for that one, and it is none of ours.
    await house.stripe("/v1/refunds", payment_intent=payment.payment_intent_id)
    await house.settled()
    assert await house.refunds(order_id) == []
    await house.hear(house.refund_requested(order_id, 2599))
    await house.settled()
    [failed] = [fact for fact in await house.said(order_id) if isinstance(fact, PaymentRefundFailed)]
    assert failed.reason == "charge_already_refunded"


async def test_a_pending_refund_is_said_when_the_bank_has_answered(house: House) -> None:
    order_id = await house.paid(2599, "pm_card_pendingRefund")
    await house.hear(house.refund_requested(order_id, 2599))
    await house.settled()
    [refund] = await house.refunds(order_id)
    assert refund.status is RefundState.SUCCEEDED
    assert [effect.kind for effect in house.box.record.effects(order_id=str(order_id))][-2:] == [
        "stripe.refund.pending",
        "stripe.refund.succeeded",
    ]
    assert (await house.said_types(order_id)).count("payment.refunded") == 1


async def test_a_refund_that_the_bank_sends_back_has_failed_after_all(house: House) -> None:
    order_id = await house.paid(2599, "pm_card_refundFail")
    await house.hear(house.refund_requested(order_id, 2599))
    await house.settled()
    assert (await house.said_types(order_id))[-1] == "payment.refund_failed"
    assert (await house.payment(order_id)).refunded_amount == 0
    [refund] = await house.refunds(order_id)
    assert (refund.status, refund.failure_code) == (RefundState.FAILED, "expired_or_canceled_card")
    await house.hear(house.refund_requested(order_id, 2599))
    await house.settled()
    assert len(await house.refunds(order_id)) == 2


async def test_what_a_partner_collected_is_due_from_the_partner(house: House) -> None:
    order_id = await house.placed(2599, payment_method="partner", partner_id="acme")
    await house.hear(house.order_paid(order_id, 2599), house.refund_requested(order_id, 2599))
    await house.hear(house.refund_requested(order_id, 1))
    await house.settled()
    assert [refund.status for refund in await house.refunds(order_id)] == [
        RefundState.EXTERNAL_DUE,
        RefundState.FAILED,
    ]
    assert await house.said_types(order_id) == ["payment.refund_failed"]
    assert house.trouble.calls == []


async def test_an_order_that_was_paid_twice_gives_the_card_its_money_back_and_owes_the_rest(
    house: House,
) -> None:
    """Staff took the money while the shopper was paying: the intent was captured before it could be closed."""
    order_id = await house.placed(2599)
    await house.confirm(order_id)
    await house.hear(house.order_paid(order_id, 2599, "offline"))
    await house.settled()
    payment = await house.payment(order_id)
    assert (payment.captured_amount, payment.card_amount, payment.external_amount) == (5198, 2599, 2599)
    twice, later = house.refund_requested(order_id, 2599), house.refund_requested(order_id, 1000)
    await house.hear(twice, later)
    await house.settled()
    states = {refund.id: refund.status for refund in await house.refunds(order_id)}
    assert states == {
        twice.refund_id: RefundState.SUCCEEDED,
        later.refund_id: RefundState.EXTERNAL_DUE,
    }
    [effect] = house.box.record.effects(kind="stripe.refund.succeeded")
    assert effect.amount == 2599
    captures = [fact for fact in await house.said(order_id) if isinstance(fact, PaymentCaptured)]
    assert [fact.amount for fact in captures] == [2599]
