"""What payments says on `payment-events`. Amounts in minor units of `currency`, times in UTC. No fact carries a secret."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.contracts.envelope import Fact
from shared.contracts.money import Currency, Minor


class PaymentFact(Fact):
    order_id: UUID
    currency: Currency
    amount: Minor


class PaymentReady(PaymentFact):
    """The shopper can pay now: the provider holds an intent over `amount`."""

    type: ClassVar[str] = "payment.ready"

    payment_intent_id: str


class PaymentProcessing(PaymentFact):
    """The shopper has paid by a means that takes its time (a bank debit): neither captured nor declined yet."""

    type: ClassVar[str] = "payment.processing"

    payment_intent_id: str
    since: datetime


class PaymentFailed(PaymentFact):
    """An attempt was declined, or (`final`) the payment can no longer succeed. `code` is the provider's."""

    type: ClassVar[str] = "payment.failed"

    code: str
    failed_at: datetime
    final: bool = False


class PaymentCaptured(PaymentFact):
    type: ClassVar[str] = "payment.captured"

    payment_intent_id: str
    charge_id: str
    captured_at: datetime


class PaymentFeeRecorded(PaymentFact):
    """The provider's fee for the capture, `amount`; known up to an hour after the capture."""

    type: ClassVar[str] = "payment.fee_recorded"

    charge_id: str


class PaymentSettled(PaymentFact):
    """What our provider captured, `amount`, is available to us; days after the capture."""

    type: ClassVar[str] = "payment.settled"

    charge_id: str
    settled_at: datetime


class PaymentRefunded(PaymentFact):
    type: ClassVar[str] = "payment.refunded"

    refund_id: UUID
    refunded_at: datetime


class PaymentRefundFailed(PaymentFact):
    """The provider refused the refund for good: a person has to look."""

    type: ClassVar[str] = "payment.refund_failed"

    refund_id: UUID
    reason: str
    failed_at: datetime | None = None


class PaymentCancelled(PaymentFact):
    """The intent is closed at the provider: nobody can pay it any more."""

    type: ClassVar[str] = "payment.cancelled"
