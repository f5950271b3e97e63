"""What becomes of a refund. Pure, like the payment's domain; amounts are minor units of the payment's currency, times UTC.

A refund is held against what was captured before the provider is asked, and what the provider says of it is applied through
one literal, total table: a refund is said to be done once, and to have failed once, whoever tells and how often.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from payments.domain import Decision, Payment, ProviderCall, about_amount
from shared.contracts.orders import OrderRefundRequested
from shared.contracts.payments import PaymentFact, PaymentRefunded, PaymentRefundFailed
from shared.errors import Code, Refusal

REFUND = "stripe.refund"


class RefundState(StrEnum):
    REQUESTED = "REQUESTED"  # the provider has been or will be asked
    PENDING = "PENDING"  # the provider accepted; the bank has not answered
    SUCCEEDED = "SUCCEEDED"  # the money is on its way back
    FAILED = "FAILED"  # refused for good, or sent back by the bank
    EXTERNAL_DUE = "EXTERNAL_DUE"  # whoever collected the money owes it to the shopper


class RefundNews(StrEnum):
    """What the provider can tell of a refund."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


def _row(*following: RefundState) -> Mapping[RefundNews, RefundState]:
    return dict(zip(RefundNews, following, strict=True))


_R = RefundState
# fmt: off
STEPS: Mapping[RefundState, Mapping[RefundNews, RefundState]] = {
    #                      PENDING          SUCCEEDED        FAILED
    _R.REQUESTED:    _row(_R.PENDING,      _R.SUCCEEDED,    _R.FAILED),
    _R.PENDING:      _row(_R.PENDING,      _R.SUCCEEDED,    _R.FAILED),
    # A bank may send a refund back weeks after it succeeded.
    _R.SUCCEEDED:    _row(_R.SUCCEEDED,    _R.SUCCEEDED,    _R.FAILED),
    _R.FAILED:       _row(_R.FAILED,       _R.FAILED,       _R.FAILED),
    _R.EXTERNAL_DUE: _row(_R.EXTERNAL_DUE, _R.EXTERNAL_DUE, _R.EXTERNAL_DUE),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class ProviderRefund:
    """The provider's refund, as an answer or a webhook showed it. `id` is None where none was made; `code` says why it failed."""

    id: str | None
    news: RefundNews
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """`id` is the refund's name for good, given by orders; `provider_refund_id` is the provider's.

    `handed_back_at` is when staff confirmed that the shopper has the money of a refund that was EXTERNAL_DUE.
    """

    id: UUID
    version: int
    order_id: UUID
    amount: int
    reason: str
    status: RefundState
    created_at: datetime
    provider_refund_id: str | None = None
    failure_code: str | None = None
    handed_back_at: datetime | None = None

    @property
    def is_external(self) -> bool:
        return self.status is RefundState.EXTERNAL_DUE or self.handed_back_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundDecision(Decision):
    refund: Refund


def request(
    payment: Payment, refunds: Iterable[Refund], fact: OrderRefundRequested, now: datetime
) -> RefundDecision:
    """A new refund. Orders has reserved the amount already; here it is held against the money once more."""
    refund = Refund(
        id=fact.refund_id,
        version=1,
        order_id=payment.order_id,
        amount=fact.amount,
        reason=fact.reason,
        status=RefundState.REQUESTED,
        created_at=now,
    )
    others = [other for other in refunds if other.status is not RefundState.FAILED]
    spoken_for = sum(other.amount for other in others)
    if spoken_for + fact.amount > payment.captured_amount:
        return learn(payment, refund, ProviderRefund(None, RefundNews.FAILED, "exceeds_captured"), now)
    if not goes_by_card(payment, others, fact.amount):
        return RefundDecision(payment, refund=replace(refund, status=RefundState.EXTERNAL_DUE))
    asked = {
        "refund_id": str(refund.id),
        "payment_intent_id": payment.payment_intent_id,
        "amount": refund.amount,
    }
    call = ProviderCall(REFUND, asked, f"refund:{refund.id}")
    return RefundDecision(payment, calls=(call,), refund=refund)


def goes_by_card(payment: Payment, others: Iterable[Refund], amount: int) -> bool:
    """Card money goes back first, while it is enough; what is more is due from whoever took the money outside.

    `others` are the refunds that were not in vain. One that is larger than what is left of either part is not torn in two.
    """
    return amount <= payment.card_amount - sum(other.amount for other in others if not other.is_external)


def confirm(payment: Payment, refund: Refund, now: datetime) -> RefundDecision:
    """Staff's word that the shopper has the money of a refund that was due from outside. Raises Refusal INVALID_TRANSITION."""
    if refund.handed_back_at is not None:
        return RefundDecision(payment, refund=refund)
    if refund.status is not RefundState.EXTERNAL_DUE:
        raise Refusal(
            Code.INVALID_TRANSITION,
            f"A refund that is {refund.status} is not due from outside",
            status=refund.status,
            allowed=[],
        )
    done = replace(refund, status=RefundState.SUCCEEDED, handed_back_at=now)
    paid_back = replace(payment, refunded_amount=payment.refunded_amount + refund.amount)
    return RefundDecision(paid_back, facts=_told(payment, done, now), refund=done)


def learn(payment: Payment, refund: Refund, seen: ProviderRefund, at: datetime) -> RefundDecision:
    """What the provider says of a refund; `at` is when it was so. Safe to repeat and to reorder."""
    status = STEPS[refund.status][seen.news]
    failed = status is RefundState.FAILED
    after = replace(
        refund,
        status=status,
        provider_refund_id=refund.provider_refund_id or seen.id,
        failure_code=(refund.failure_code or seen.code or "unknown") if failed else None,
    )
    back = _counted(after) - _counted(refund)
    return RefundDecision(
        replace(payment, refunded_amount=payment.refunded_amount + back),
        facts=_told(payment, after, at) if status is not refund.status else (),
        refund=after,
    )


def _counted(refund: Refund) -> int:
    """How much of the refund counts as given back."""
    return refund.amount if refund.status is RefundState.SUCCEEDED else 0


def _told(payment: Payment, refund: Refund, at: datetime) -> tuple[PaymentFact, ...]:
    about = about_amount(payment, refund.amount) | {"refund_id": refund.id}
    if refund.status is RefundState.SUCCEEDED:
        return (PaymentRefunded(**about, refunded_at=at),)
    if refund.status is RefundState.FAILED:
        return (PaymentRefundFailed(**about, reason=refund.failure_code or "unknown", failed_at=at),)
    return ()
