"""Stripe's test payment methods: what happens when a payment is confirmed with each."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What confirming does. AUTHENTICATES and PROCESSES wait for a control call to finish them."""

    SUCCEEDS = "succeeds"
    DECLINES = "declines"
    AUTHENTICATES = "authenticates"
    PROCESSES = "processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """`refund` is the status of a new refund; `refund_becomes` the one it reaches later, if it changes."""

    id: str
    brand: str = "visa"
    last4: str = "4242"
    outcome: Outcome = Outcome.SUCCEEDS
    decline_code: str = "generic_decline"
    message: str = "Your card was declined."
    refund: str = "succeeded"
    refund_becomes: str | None = None
    available_at_once: bool = False

    @property
    def type(self) -> str:
        return "us_bank_account" if self.outcome is Outcome.PROCESSES else "card"

    @property
    def details(self) -> dict[str, Any]:
        """The part of a charge that says what was charged."""
        if self.type == "card":
            shown = {
                "brand": self.brand,
                "last4": self.last4,
                "country": "US",
                "exp_month": 12,
                "exp_year": 2034,
            }
        else:
            shown = {"bank_name": "STRIPE TEST BANK", "last4": self.last4}
        return {"type": self.type, self.type: shown}

    @property
    def resource(self) -> dict[str, Any]:
        return {"id": self.id, "object": "payment_method", "livemode": False, "metadata": {}} | self.details


PAYMENT_METHODS = {
    method.id: method
    for method in (
        PaymentMethod(id="pm_card_visa"),
        PaymentMethod(id="pm_card_mastercard", brand="mastercard", last4="4444"),
        PaymentMethod(id="pm_card_visa_chargeDeclined", last4="0002", outcome=Outcome.DECLINES),
        PaymentMethod(
            id="pm_card_visa_chargeDeclinedInsufficientFunds",
            last4="9995",
            outcome=Outcome.DECLINES,
            decline_code="insufficient_funds",
            message="Your card has insufficient funds.",
        ),
        PaymentMethod(id="pm_card_authenticationRequired", last4="3184", outcome=Outcome.AUTHENTICATES),
        PaymentMethod(id="pm_card_bypassPending", last4="0077", available_at_once=True),
        PaymentMethod(id="pm_card_pendingRefund", last4="7726", refund="pending", refund_becomes="succeeded"),
        PaymentMethod(id="pm_card_refundFail", last4="5126", refund_becomes="failed"),
        PaymentMethod(id="pm_usBankAccount", last4="6789", outcome=Outcome.PROCESSES),
    )
}
