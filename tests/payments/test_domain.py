"""What becomes of a payment: every cell of the table, and every order in which the provider's news may come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import domain
from payments.domain import (
    AWAIT_FUNDS,
    CANCEL_INTENT,
    CREATE_INTENT,
    FETCH_FEE,
    LOOK_AGAIN,
    STEPS,
    Booking,
    Decision,
    Intent,
    News,
    Payment,
    PaymentState,
)
from shared.contracts.orders import Address, Contact, OrderPlaced
from shared.contracts.payments import (
    PaymentCaptured,
    PaymentFact,
    PaymentFailed,
    PaymentProcessing,
    PaymentSettled,
)

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ORDER = UUID(int=1)
SECRET = "pi_1_secret_canary"
PENDING = Booking(
    "txn_1", 105, "EUR", is_available=False, available_on=NOW + timedelta(days=2), booked_at=NOW
)
AVAILABLE = replace(PENDING, is_available=True, available_on=NOW - timedelta(minutes=1))
RANK = {
    PaymentState.REQUESTED: 0,
    PaymentState.READY: 1,
    PaymentState.PROCESSING: 2,
    PaymentState.EXTERNAL: 3,
    PaymentState.CANCELLING: 3,
    PaymentState.FAILED: 4,
    PaymentState.CANCELLED: 4,
    PaymentState.CAPTURED: 5,
}
CELLS = [(state, news) for state in PaymentState for news in News]


def a_payment(status: PaymentState = PaymentState.READY, **changes: Any) -> Payment:
    payment = Payment(
        order_id=ORDER,
        version=1,
        order_number="ORD-20261122-00001",
        customer_id=UUID(int=2),
        partner_id=None,
        method="stripe",
        status=status,
        amount=2599,
        currency="USD",
        created_at=NOW,
    )
    known = {} if status is PaymentState.REQUESTED else {"payment_intent_id": "pi_1", "client_secret": SECRET}
    return replace(payment, **known | changes)


def placed(**changes: Any) -> OrderPlaced:
    about: dict[str, Any] = {
        "order_id": ORDER,
        "order_number": "ORD-20261122-00001",
        "customer_id": UUID(int=2),
        "currency": "USD",
        "placed_at": NOW,
        "lines": (),
        "total": 2599,
        "payment_method": "stripe",
        "contact": Contact(name="Ann"),
        "shipping_address": Address(street="1", city="A", state="TX", zip_code="1", country="US"),
    }
    return OrderPlaced.model_validate(about | changes)


def an_intent(news: News, **changes: Any) -> Intent:
    intent = Intent("pi_1", news)
    if news is News.OPEN:
        intent = replace(intent, client_secret=SECRET)
    if news is News.SUCCEEDED:
        intent = replace(intent, captured_amount=2599, charge_id="ch_1")
    if news in {News.DECLINED, News.REFUSED}:
        intent = replace(intent, code="card_declined", id=None if news is News.REFUSED else "pi_1")
    return replace(intent, **changes)


def types(decision: Decision) -> list[str]:
    return [fact.type for fact in decision.facts]


def kinds(decision: Decision) -> list[str]:
    return [call.kind for call in decision.calls]


class TestTheTable:
    def test_is_total(self) -> None:
        assert [(state, news) for state in STEPS for news in STEPS[state]] == CELLS

    @pytest.mark.parametrize(("state", "news"), CELLS)
    def test_never_goes_back_but_for_a_decline(self, state: PaymentState, news: News) -> None:
        after = STEPS[state][news]
        if (state, news) == (PaymentState.PROCESSING, News.DECLINED):
            assert after is PaymentState.READY
        else:
            assert after is state or RANK[after] > RANK[state]

    @pytest.mark.parametrize(("state", "news"), CELLS)
    def test_hears_a_repeat_as_nothing_new(self, state: PaymentState, news: News) -> None:
        once = STEPS[state][news]
        assert STEPS[once][news] is once

    @pytest.mark.parametrize("state", PaymentState)
    def test_takes_money_that_came_in_whatever_was_before(self, state: PaymentState) -> None:
        assert STEPS[state][News.SUCCEEDED] is PaymentState.CAPTURED
        assert set(STEPS[PaymentState.CAPTURED].values()) == {PaymentState.CAPTURED}

    @pytest.mark.parametrize(("state", "news"), CELLS)
    def test_is_what_learn_follows(self, state: PaymentState, news: News) -> None:
        assert domain.learn(a_payment(state), an_intent(news), NOW).payment.status is STEPS[state][news]


class TestLearn:
    def test_an_open_intent_makes_the_payment_ready_and_keeps_its_secret(self) -> None:
        decision = domain.learn(a_payment(PaymentState.REQUESTED), an_intent(News.OPEN), NOW)
        assert types(decision) == ["payment.ready"]
        assert (decision.payment.payment_intent_id, decision.payment.client_secret) == ("pi_1", SECRET)

    def test_a_repeated_answer_changes_and_says_nothing(self) -> None:
        payment = a_payment()
        assert domain.learn(payment, an_intent(News.OPEN), NOW) == Decision(payment)

    def test_a_refusal_to_make_an_intent_fails_the_payment_for_good(self) -> None:
        decision = domain.learn(a_payment(PaymentState.REQUESTED), an_intent(News.REFUSED), NOW)
        [failed] = decision.facts
        assert isinstance(failed, PaymentFailed)
        assert (failed.final, failed.code) == (True, "card_declined")

    def test_every_decline_is_said_and_the_payment_stays_payable(self) -> None:
        first = domain.learn(a_payment(), an_intent(News.DECLINED), NOW)
        second = domain.learn(first.payment, an_intent(News.DECLINED, code="expired_card"), NOW)
        codes = [fact.code for fact in (*first.facts, *second.facts) if isinstance(fact, PaymentFailed)]
        assert codes == ["card_declined", "expired_card"]
        assert second.payment.is_payable
        assert second.payment.failure_code == "expired_card"

    @pytest.mark.parametrize("state", PaymentState)
    def test_an_attempt_that_takes_its_time_is_said_once(self, state: PaymentState) -> None:
        first = domain.learn(a_payment(state), an_intent(News.PROCESSING), NOW)
        second = domain.learn(first.payment, an_intent(News.PROCESSING), NOW + timedelta(seconds=5))
        said = [fact.since for fact in (*first.facts, *second.facts) if isinstance(fact, PaymentProcessing)]
        assert said == ([NOW] if state in {PaymentState.REQUESTED, PaymentState.READY} else [])

    def test_a_late_decline_does_not_hide_the_attempt_that_runs(self) -> None:
        running = domain.learn(a_payment(), an_intent(News.PROCESSING), NOW).payment
        late = domain.learn(running, an_intent(News.DECLINED), NOW - timedelta(seconds=5))
        assert late.payment.status is PaymentState.PROCESSING
        assert types(late) == ["payment.failed"]

    def test_a_late_decline_says_nothing_of_a_captured_payment(self) -> None:
        captured = domain.learn(a_payment(), an_intent(News.SUCCEEDED), NOW).payment
        late = domain.learn(captured, an_intent(News.DECLINED), NOW)
        assert late.facts == ()
        assert late.payment.failure_code is None

    def test_what_another_intent_does_is_not_this_payments_affair(self) -> None:
        payment = a_payment()
        assert domain.learn(payment, an_intent(News.SUCCEEDED, id="pi_2"), NOW) == Decision(payment)

    def test_a_capture_carries_what_was_captured(self) -> None:
        [fact] = domain.learn(a_payment(), an_intent(News.SUCCEEDED, captured_amount=2000), NOW).facts
        assert isinstance(fact, PaymentCaptured)
        assert (fact.amount, fact.charge_id, fact.captured_at) == (2000, "ch_1", NOW)

    @pytest.mark.parametrize("state", PaymentState)
    def test_a_capture_is_said_once_from_every_state(self, state: PaymentState) -> None:
        first = domain.learn(a_payment(state), an_intent(News.SUCCEEDED), NOW)
        second = domain.learn(first.payment, an_intent(News.SUCCEEDED), NOW)
        captures = [fact for fact in (*first.facts, *second.facts) if isinstance(fact, PaymentCaptured)]
        assert len(captures) == (0 if state is PaymentState.CAPTURED else 1)

    @pytest.mark.parametrize("state", [PaymentState.CANCELLING, PaymentState.EXTERNAL])
    @pytest.mark.parametrize("news", [News.OPEN, News.DECLINED])
    def test_an_intent_that_should_not_be_open_is_closed(self, state: PaymentState, news: News) -> None:
        decision = domain.learn(a_payment(state), an_intent(news), NOW)
        assert kinds(decision) == [CANCEL_INTENT]
        assert decision.facts == ()

    def test_an_order_cancelled_before_its_intent_was_refused_is_just_cancelled(self) -> None:
        decision = domain.learn(a_payment(PaymentState.CANCELLING), an_intent(News.REFUSED), NOW)
        assert types(decision) == ["payment.cancelled"]

    def test_a_booked_fee_is_fetched_and_the_charge_counts_as_the_capture(self) -> None:
        charge = an_intent(News.SUCCEEDED, balance_transaction="txn_1")
        decision = domain.learn(a_payment(), charge, NOW)
        assert types(decision) == ["payment.captured"]
        assert [(call.kind, call.dedupe) for call in decision.calls] == [(FETCH_FEE, "fee:txn_1")]
        known = replace(decision.payment, fee=105)
        assert domain.learn(known, charge, NOW).calls == ()

    def test_a_fee_is_said_once(self) -> None:
        first = domain.learn_booking(a_payment(PaymentState.CAPTURED), PENDING, NOW)
        assert types(first) == ["payment.fee_recorded"]
        assert (first.payment.fee, first.payment.fee_currency, first.facts[0].currency) == (105, "EUR", "EUR")
        again = domain.learn_booking(first.payment, replace(PENDING, fee=999), NOW)
        assert again == Decision(first.payment, calls=first.calls)

    def test_money_that_is_available_already_is_said_at_once_and_once(self) -> None:
        captured = a_payment(PaymentState.CAPTURED, captured_amount=2599, charge_id="ch_1")
        first = domain.learn_booking(captured, AVAILABLE, NOW)
        assert types(first) == ["payment.fee_recorded", "payment.settled"]
        assert first.payment.settled_at == AVAILABLE.available_on
        assert first.facts[1] == PaymentSettled(
            order_id=ORDER,
            currency="USD",
            amount=2599,
            charge_id="ch_1",
            settled_at=AVAILABLE.available_on,
        )
        for later in (AVAILABLE, PENDING):
            assert domain.learn_booking(first.payment, later, NOW, looks=1) == Decision(first.payment)

    def test_what_came_from_outside_is_not_the_providers_to_make_available(self) -> None:
        both = a_payment(PaymentState.CAPTURED, captured_amount=5198, external_amount=2599)
        assert domain.learn_booking(both, AVAILABLE, NOW).facts[1].amount == 2599

    def test_pending_money_is_looked_for_when_it_should_be_there_and_no_look_is_asked_for_twice(self) -> None:
        payment = a_payment(PaymentState.CAPTURED, fee=105)
        [first] = domain.learn_booking(payment, PENDING, NOW).calls
        assert (first.kind, first.due_at, first.dedupe) == (
            AWAIT_FUNDS,
            PENDING.available_on,
            "funds:txn_1:1",
        )
        assert first.payload == {
            "balance_transaction": "txn_1",
            "booked_at": int(PENDING.booked_at.timestamp()),
            "looks": 1,
        }
        assert domain.learn_booking(payment, PENDING, NOW + timedelta(1)).calls[0].dedupe == first.dedupe

    @pytest.mark.parametrize("delayed", [timedelta(0), timedelta(minutes=5), timedelta(days=3)])
    def test_whoever_looked_in_vain_rests_and_looks_again_however_often(self, delayed: timedelta) -> None:
        payment = a_payment(PaymentState.CAPTURED, fee=105)
        when = PENDING.available_on
        for looks in range(1, 100):
            booking = replace(PENDING, available_on=when + delayed)
            [following] = domain.learn_booking(payment, booking, when, looks=looks).calls
            assert following.due_at == when + max(delayed, LOOK_AGAIN)
            assert following.dedupe == f"funds:txn_1:{looks + 1}"
            when = following.due_at

    @given(st.lists(st.tuples(st.sampled_from(News), st.integers(0, 5)), max_size=12))
    def test_news_in_any_order_and_number_captures_at_most_once(self, heard: list[tuple[News, int]]) -> None:
        payment = a_payment(PaymentState.REQUESTED)
        facts: list[PaymentFact] = []
        for news, seconds in heard:
            decision = domain.learn(payment, an_intent(news), NOW + timedelta(seconds=seconds))
            payment, facts = decision.payment, [*facts, *decision.facts]
        came_in = any(news is News.SUCCEEDED for news, _ in heard)
        said = [fact.type for fact in facts]
        assert (payment.status is PaymentState.CAPTURED) == came_in
        assert said.count("payment.captured") == came_in
        assert payment.captured_amount == (2599 if came_in else 0)
        assert said.count("payment.ready") <= 1
        assert said.count("payment.cancelled") <= 1


class TestOpenPayment:
    def test_asks_the_provider_for_an_intent(self) -> None:
        decision = domain.open_payment(placed(), NOW)
        assert decision.payment.status is PaymentState.REQUESTED
        assert [(call.kind, call.dedupe) for call in decision.calls] == [(CREATE_INTENT, f"intent:{ORDER}")]
        assert decision.facts == ()

    def test_leaves_to_a_partner_what_the_partner_collects(self) -> None:
        decision = domain.open_payment(placed(payment_method="partner", partner_id="acme"), NOW)
        assert decision == Decision(decision.payment)
        assert (decision.payment.status, decision.payment.partner_id) == (PaymentState.EXTERNAL, "acme")

    def test_takes_nothing_to_pay_as_paid(self) -> None:
        decision = domain.open_payment(placed(total=0), NOW)
        assert decision.payment.status is PaymentState.CAPTURED
        assert (types(decision), decision.calls) == (["payment.captured"], ())


class TestCancel:
    def test_waits_for_an_intent_that_is_being_made(self) -> None:
        requested = a_payment(PaymentState.REQUESTED)
        assert domain.cancel(requested) == Decision(replace(requested, status=PaymentState.CANCELLING))

    @pytest.mark.parametrize("state", [PaymentState.READY, PaymentState.PROCESSING])
    def test_closes_an_open_intent_and_says_so_only_when_it_is_closed(self, state: PaymentState) -> None:
        decision = domain.cancel(a_payment(state))
        assert decision.payment.status is PaymentState.CANCELLING
        assert (kinds(decision), decision.facts) == ([CANCEL_INTENT], ())
        closed = domain.learn(decision.payment, an_intent(News.CANCELLED), NOW)
        assert types(closed) == ["payment.cancelled"]

    @pytest.mark.parametrize("state", [PaymentState.FAILED, PaymentState.EXTERNAL])
    def test_is_done_at_once_where_there_is_nothing_to_close(self, state: PaymentState) -> None:
        assert types(domain.cancel(a_payment(state))) == ["payment.cancelled"]

    @pytest.mark.parametrize(
        "payment",
        [
            a_payment(PaymentState.CAPTURED, captured_at=NOW),
            a_payment(PaymentState.EXTERNAL, captured_at=NOW),
            a_payment(PaymentState.CANCELLING),
            a_payment(PaymentState.CANCELLED),
        ],
        ids=lambda payment: payment.status,
    )
    def test_leaves_what_is_paid_or_ended_alone(self, payment: Payment) -> None:
        assert domain.cancel(payment) == Decision(payment)

    def test_loses_to_a_capture_which_is_said(self) -> None:
        closing = domain.cancel(a_payment()).payment
        assert types(domain.learn(closing, an_intent(News.SUCCEEDED), NOW)) == ["payment.captured"]


class TestSettleOutside:
    def test_is_nothing_new_for_what_we_captured(self) -> None:
        captured = a_payment(PaymentState.CAPTURED, captured_at=NOW, captured_amount=2599)
        assert domain.settle_outside(captured, 2599, "stripe", NOW) == Decision(captured)

    def test_books_a_partners_money(self) -> None:
        paid = domain.settle_outside(a_payment(PaymentState.EXTERNAL), 2599, "partner", NOW).payment
        assert (paid.status, paid.captured_amount, paid.captured_at) == (PaymentState.EXTERNAL, 2599, NOW)

    @pytest.mark.parametrize("state", [PaymentState.READY, PaymentState.PROCESSING])
    def test_closes_an_intent_that_nobody_should_pay_any_more(self, state: PaymentState) -> None:
        decision = domain.settle_outside(a_payment(state), 2599, "offline", NOW)
        assert decision.payment.status is PaymentState.EXTERNAL
        assert kinds(decision) == [CANCEL_INTENT]

    @pytest.mark.parametrize("card_first", [True, False])
    def test_keeps_staffs_money_apart_from_a_card_that_was_captured_all_the_same(
        self, *, card_first: bool
    ) -> None:
        payment = a_payment(amount=2600)
        steps = [
            lambda payment: domain.learn(payment, an_intent(News.SUCCEEDED), NOW),
            lambda payment: domain.settle_outside(payment, 2600, "offline", NOW),
        ]
        facts: list[PaymentFact] = []
        for step in steps if card_first else reversed(steps):
            decision = step(payment)
            payment, facts = decision.payment, [*facts, *decision.facts]
            again = step(payment)
            assert again.payment == payment
        assert (payment.captured_amount, payment.external_amount, payment.card_amount) == (5199, 2600, 2599)
        assert payment.status is PaymentState.CAPTURED
        [told] = facts
        assert (told.type, told.amount) == ("payment.captured", 2599)

    def test_tells_by_its_status_what_was_booked_before_the_two_were_kept_apart(self) -> None:
        before = a_payment(PaymentState.EXTERNAL, captured_amount=2600, captured_at=NOW)
        assert before.card_amount == 0
        after = domain.learn(before, an_intent(News.SUCCEEDED), NOW).payment
        assert (after.external_amount, after.card_amount) == (2600, 2599)


def test_a_client_secret_is_in_no_repr() -> None:
    payment = a_payment()
    intent = an_intent(News.OPEN)
    shown = repr((payment, intent, domain.learn(a_payment(PaymentState.REQUESTED), intent, NOW)))
    assert payment.client_secret == intent.client_secret == SECRET
    assert "pi_1" in shown
    assert SECRET not in shown
