"""What becomes of a payment. Pure: no I/O, no clock, no ids made here.

What the provider says is applied through one literal, total table, so that it may come twice, late or out of order. What
has happened is never refused: money that was captured counts, whatever the payment's status was. Amounts are integers in
minor units of `currency`, times UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from shared.contracts.orders import OFFLINE, PARTNER, OrderPlaced
from shared.contracts.payments import (
    PaymentCancelled,
    PaymentCaptured,
    PaymentFact,
    PaymentFailed,
    PaymentFeeRecorded,
    PaymentProcessing,
    PaymentReady,
    PaymentSettled,
)

CREATE_INTENT = "stripe.create_intent"
CANCEL_INTENT = "stripe.cancel_intent"
FETCH_FEE = "stripe.fetch_fee"
AWAIT_FUNDS = "stripe.await_funds"
LOOK_AGAIN = timedelta(hours=6)
"""How long to leave funds alone that were not there when they should have been."""


class PaymentState(StrEnum):
    REQUESTED = "REQUESTED"  # an intent is being made at the provider
    READY = "READY"  # the shopper can pay
    PROCESSING = "PROCESSING"  # the bank is at work; for debits that takes days
    EXTERNAL = "EXTERNAL"  # paid, or to be paid, outside: nothing is left for our provider
    CANCELLING = "CANCELLING"  # the order has ended, the intent is being closed
    FAILED = "FAILED"  # the provider refused for good to make an intent
    CANCELLED = "CANCELLED"  # nobody can pay any more
    CAPTURED = "CAPTURED"  # the money is ours


class News(StrEnum):
    """What the provider can tell of an intent."""

    OPEN = "OPEN"  # it is there, waiting for the shopper
    REFUSED = "REFUSED"  # it will not be made
    PROCESSING = "PROCESSING"  # an attempt is under way
    DECLINED = "DECLINED"  # an attempt failed; another may follow
    CANCELLED = "CANCELLED"  # it was closed
    SUCCEEDED = "SUCCEEDED"  # the money was captured


def _row(*following: PaymentState) -> Mapping[News, PaymentState]:
    return dict(zip(News, following, strict=True))


_P = PaymentState
# fmt: off
STEPS: Mapping[PaymentState, Mapping[News, PaymentState]] = {
    #                    OPEN           REFUSED        PROCESSING     DECLINED       CANCELLED     SUCCEEDED
    _P.REQUESTED:  _row(_P.READY,      _P.FAILED,     _P.PROCESSING, _P.READY,      _P.CANCELLED, _P.CAPTURED),
    _P.READY:      _row(_P.READY,      _P.READY,      _P.PROCESSING, _P.READY,      _P.CANCELLED, _P.CAPTURED),
    _P.PROCESSING: _row(_P.PROCESSING, _P.PROCESSING, _P.PROCESSING, _P.READY,      _P.CANCELLED, _P.CAPTURED),
    _P.EXTERNAL:   _row(_P.EXTERNAL,   _P.EXTERNAL,   _P.EXTERNAL,   _P.EXTERNAL,   _P.EXTERNAL,  _P.CAPTURED),
    _P.CANCELLING: _row(_P.CANCELLING, _P.CANCELLED,  _P.CANCELLING, _P.CANCELLING, _P.CANCELLED, _P.CAPTURED),
    _P.FAILED:     _row(_P.FAILED,     _P.FAILED,     _P.FAILED,     _P.FAILED,     _P.FAILED,    _P.CAPTURED),
    _P.CANCELLED:  _row(_P.CANCELLED,  _P.CANCELLED,  _P.CANCELLED,  _P.CANCELLED,  _P.CANCELLED, _P.CAPTURED),
    _P.CAPTURED:   _row(_P.CAPTURED,   _P.CAPTURED,   _P.CAPTURED,   _P.CAPTURED,   _P.CAPTURED,  _P.CAPTURED),
}
# fmt: on
_PAYABLE = frozenset({_P.READY, _P.PROCESSING})
_ATTEMPTS = frozenset({News.PROCESSING, News.DECLINED})
_TO_BE_CLOSED = frozenset({_P.CANCELLING, _P.EXTERNAL})


@dataclass(frozen=True, slots=True)
class Intent:
    """The provider's intent, as an answer or a webhook showed it. `id` is None where none was made."""

    id: str | None
    news: News
    captured_amount: int = 0
    charge_id: str | None = None
    balance_transaction: str | None = None
    code: str | None = None
    client_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Booking:
    """How the provider booked a capture: `fee` is what it kept, in minor units of `currency` (the one we are paid out in),
    `available_on` when the rest is ours to use, as far as is known; `is_available` says whether it is.
    """

    id: str
    fee: int
    currency: str
    is_available: bool
    available_on: datetime
    booked_at: datetime


@dataclass(frozen=True, slots=True)
class Payment:
    """`captured_amount` is all that came in, `external_amount` what of it came from outside and not by our provider.

    `attempted_at` is when, by the provider's clock, the newest attempt that we know of changed, `settled_at` when what it
    captured became available to us.
    """

    order_id: UUID
    version: int
    order_number: str
    customer_id: UUID
    partner_id: str | None
    method: str
    status: PaymentState
    amount: int
    currency: str
    created_at: datetime
    captured_amount: int = 0
    refunded_amount: int = 0
    fee: int | None = None
    fee_currency: str | None = None
    payment_intent_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    charge_id: str | None = None
    failure_code: str | None = None
    attempted_at: datetime | None = None
    captured_at: datetime | None = None
    external_amount: int = 0
    settled_at: datetime | None = None

    @property
    def is_payable(self) -> bool:
        return self.status in _PAYABLE

    @property
    def card_amount(self) -> int:
        """What our provider captured. A row of before `external_amount` says by its status that it was nothing."""
        return 0 if self.status is PaymentState.EXTERNAL else self.captured_amount - self.external_amount


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """Work to be asked of the provider, at `due_at` (default: now); a `dedupe` seen before makes it a no-op."""

    kind: str
    payload: dict[str, Any]
    dedupe: str | None = None
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is so now, what to say, and what to ask the provider for."""

    payment: Payment
    facts: tuple[PaymentFact, ...] = ()
    calls: tuple[ProviderCall, ...] = ()


def open_payment(fact: OrderPlaced, now: datetime) -> Decision:
    """A new payment. What a partner collects needs no intent, and nothing to pay is paid at once."""
    payment = Payment(
        order_id=fact.order_id,
        version=1,
        order_number=fact.order_number,
        customer_id=fact.customer_id,
        partner_id=fact.partner_id,
        method=fact.payment_method,
        status=PaymentState.REQUESTED,
        amount=fact.total,
        currency=fact.currency,
        created_at=now,
    )
    if fact.payment_method == PARTNER:
        return Decision(replace(payment, status=PaymentState.EXTERNAL))
    if fact.total == 0:
        free = replace(payment, status=PaymentState.CAPTURED, captured_at=now)
        return Decision(free, facts=(_captured(free, now),))
    asked = {"amount": fact.total, "currency": fact.currency, "order_number": fact.order_number}
    return Decision(payment, calls=(ProviderCall(CREATE_INTENT, asked, f"intent:{fact.order_id}"),))


def settle_outside(payment: Payment, amount: int, method: str, paid_at: datetime) -> Decision:
    """The order counts as paid. If the money did not come through us it came from outside, and our intent must close.

    What staff took came from outside for sure, also where a card was captured at the same moment.
    """
    if payment.external_amount or (payment.captured_at is not None and method != OFFLINE):
        return Decision(payment)
    by_card = payment.status is PaymentState.CAPTURED
    outside = replace(
        payment,
        status=payment.status if by_card else PaymentState.EXTERNAL,
        captured_amount=payment.captured_amount + amount,
        external_amount=amount,
        captured_at=payment.captured_at or paid_at,
        failure_code=None,
    )
    return Decision(outside, calls=_close(outside) if payment.is_payable else ())


def cancel(payment: Payment) -> Decision:
    """The order was cancelled. What was captured stays so: giving it back is for orders to ask."""
    match payment.status:
        case PaymentState.REQUESTED:
            return Decision(replace(payment, status=PaymentState.CANCELLING))
        case PaymentState.READY | PaymentState.PROCESSING:
            closing = replace(payment, status=PaymentState.CANCELLING)
            return Decision(closing, calls=_close(closing))
        case PaymentState.FAILED:
            return _cancelled(payment)
        case PaymentState.EXTERNAL if payment.captured_at is None:
            return _cancelled(payment)
        case _:
            return Decision(payment)


def learn(payment: Payment, intent: Intent, at: datetime) -> Decision:
    """What the provider says of the payment's intent; `at` is when it was so. Safe to repeat and to reorder."""
    if intent.id is not None and payment.payment_intent_id not in {None, intent.id}:
        return Decision(payment)
    status, attempted_at = STEPS[payment.status][intent.news], payment.attempted_at
    if intent.news in _ATTEMPTS:
        if attempted_at is not None and at < attempted_at:
            status = payment.status
        else:
            attempted_at = at
    after = replace(
        payment,
        status=status,
        attempted_at=attempted_at,
        payment_intent_id=payment.payment_intent_id or intent.id,
        client_secret=payment.client_secret or intent.client_secret,
        failure_code=None if status is PaymentState.CAPTURED else intent.code or payment.failure_code,
    )
    if status is PaymentState.CAPTURED and payment.status is not PaymentState.CAPTURED:
        after = replace(
            after,
            captured_amount=payment.captured_amount + intent.captured_amount,
            external_amount=payment.captured_amount,
            charge_id=intent.charge_id,
            captured_at=payment.captured_at or at,
        )
    return Decision(after, facts=_told(payment, after, intent, at), calls=_due(after, intent))


def learn_booking(payment: Payment, booking: Booking, now: datetime, *, looks: int = 0) -> Decision:
    """The provider's fee for the capture, of which the first word stands, and whether the money is available.

    While it is not, another look follows: no event tells. `looks`: how often it was looked for already.
    """
    facts: list[PaymentFact] = []
    calls: tuple[ProviderCall, ...] = ()
    charge_id = payment.charge_id or ""
    if payment.fee is None:
        payment = replace(payment, fee=booking.fee, fee_currency=booking.currency)
        about = about_amount(payment, booking.fee) | {"currency": booking.currency}
        facts.append(PaymentFeeRecorded(**about, charge_id=charge_id))
    if payment.settled_at is None and booking.is_available:
        settled_at = min(booking.available_on, now)
        payment = replace(payment, settled_at=settled_at)
        about = about_amount(payment, payment.card_amount)
        facts.append(PaymentSettled(**about, charge_id=charge_id, settled_at=settled_at))
    elif payment.settled_at is None:
        calls = (_look(booking, now, looks),)
    return Decision(payment, tuple(facts), calls)


def _look(booking: Booking, now: datetime, looks: int) -> ProviderCall:
    """On the day that the provider names; after a look in vain not before a rest."""
    asked = {
        "balance_transaction": booking.id,
        "booked_at": int(booking.booked_at.timestamp()),
        "looks": looks + 1,
    }
    due_at = max(booking.available_on, now + LOOK_AGAIN) if looks else booking.available_on
    return ProviderCall(AWAIT_FUNDS, asked, f"funds:{booking.id}:{looks + 1}", due_at)


def _told(before: Payment, after: Payment, intent: Intent, at: datetime) -> tuple[PaymentFact, ...]:
    facts: list[PaymentFact] = []
    about = about_amount(after, after.amount)
    if after.is_payable and after.payment_intent_id and after.client_secret and not before.client_secret:
        facts.append(PaymentReady(**about, payment_intent_id=after.payment_intent_id))
    if intent.news is News.DECLINED and after.is_payable:
        facts.append(PaymentFailed(**about, code=intent.code or "unknown", failed_at=at))
    if after.status is not before.status:
        if after.status is PaymentState.PROCESSING:
            facts.append(
                PaymentProcessing(**about, payment_intent_id=after.payment_intent_id or "", since=at)
            )
        if after.status is PaymentState.CAPTURED:
            facts.append(_captured(after, at))
        if after.status is PaymentState.CANCELLED:
            facts.append(PaymentCancelled(**about))
        if after.status is PaymentState.FAILED:
            facts.append(PaymentFailed(**about, code=intent.code or "unknown", failed_at=at, final=True))
    return tuple(facts)


def _due(after: Payment, intent: Intent) -> tuple[ProviderCall, ...]:
    """Close an intent that is open although it should not be; fetch the fee once the provider has booked it."""
    if after.status in _TO_BE_CLOSED and intent.news in {News.OPEN, News.DECLINED}:
        return _close(after)
    if after.fee is None and intent.balance_transaction is not None:
        asked = {"balance_transaction": intent.balance_transaction}
        return (ProviderCall(FETCH_FEE, asked, f"fee:{intent.balance_transaction}"),)
    return ()


def _close(payment: Payment) -> tuple[ProviderCall, ...]:
    return (ProviderCall(CANCEL_INTENT, {"payment_intent_id": payment.payment_intent_id}),)


def _cancelled(payment: Payment) -> Decision:
    told = PaymentCancelled(**about_amount(payment, payment.amount))
    return Decision(replace(payment, status=PaymentState.CANCELLED), facts=(told,))


def _captured(payment: Payment, at: datetime) -> PaymentCaptured:
    return PaymentCaptured(
        **about_amount(payment, payment.card_amount),
        payment_intent_id=payment.payment_intent_id or "",
        charge_id=payment.charge_id or "",
        captured_at=at,
    )


def about_amount(payment: Payment, amount: int) -> dict[str, Any]:
    """What every fact about a payment carries."""
    return {"order_id": payment.order_id, "currency": payment.currency, "amount": amount}
