"""Stripe's objects as JSON. Amounts are integers in minor units, times UTC epoch seconds, currencies lower case."""

import secrets
import time
from typing import Any

from sandbox.stripe.cards import PaymentMethod

API_VERSION = "2026-10-28.endive"
Json = dict[str, Any]


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def now() -> int:
    return int(time.time())


# What is the same in every new intent and every charge. Shared between objects, so nothing in here may be changed.
NEW_INTENT: Json = {
    "object": "payment_intent",
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": 0,
    "application": None,
    "application_fee_amount": None,
    "automatic_payment_methods": None,
    "canceled_at": None,
    "cancellation_reason": None,
    "capture_method": "automatic_async",
    "confirmation_method": "automatic",
    "customer": None,
    "description": None,
    "last_payment_error": None,
    "latest_charge": None,
    "livemode": False,
    "next_action": None,
    "on_behalf_of": None,
    "payment_method": None,
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "processing": None,
    "receipt_email": None,
    "review": None,
    "setup_future_usage": None,
    "shipping": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": "requires_payment_method",
    "transfer_data": None,
    "transfer_group": None,
}
NEW_CHARGE: Json = {
    "object": "charge",
    "amount_refunded": 0,
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "calculated_statement_descriptor": "ORDERMESH",
    "captured": True,
    "disputed": False,
    "failure_balance_transaction": None,
    "failure_code": None,
    "failure_message": None,
    "fraud_details": {},
    "livemode": False,
    "on_behalf_of": None,
    "outcome": {
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "seller_message": "Payment complete.",
        "type": "authorized",
    },
    "paid": True,
    "receipt_number": None,
    "receipt_url": None,
    "refunded": False,
    "review": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": "succeeded",
    "transfer_data": None,
    "transfer_group": None,
}


def payment_intent(*, amount: int, currency: str, metadata: Json, **params: Any) -> Json:
    """A new intent; `params` are the request's other fields that an intent shows as they came."""
    intent_id = new_id("pi")
    own = {
        "id": intent_id,
        "amount": amount,
        "client_secret": f"{intent_id}_secret_{secrets.token_hex(12)}",
        "created": now(),
        "currency": currency,
        "metadata": metadata,
    }
    return NEW_INTENT | own | params


def charge(intent: Json, method: PaymentMethod) -> Json:
    """A succeeded charge of the whole intent, without a balance transaction; a failed one has some fields replaced."""
    shared = ("amount", "currency", "customer", "description", "metadata", "receipt_email", "shipping")
    own = {
        "id": new_id("ch"),
        "amount_captured": intent["amount"],
        "billing_details": {"address": None, "email": intent["receipt_email"], "name": None, "phone": None},
        "created": now(),
        "payment_intent": intent["id"],
        "payment_method": method.id,
        "payment_method_details": method.details,
    }
    return NEW_CHARGE | {name: intent[name] for name in shared} | own


def failed_charge(intent: Json, method: PaymentMethod) -> Json:
    outcome = {
        "network_status": "declined_by_network",
        "reason": method.decline_code,
        "risk_level": "normal",
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }
    return charge(intent, method) | {
        "amount_captured": 0,
        "captured": False,
        "failure_code": "card_declined",
        "failure_message": method.message,
        "outcome": outcome,
        "paid": False,
        "status": "failed",
    }


def refund(charged: Json, *, amount: int, status: str, reason: str | None, metadata: Json) -> Json:
    refund_id = new_id("re")
    kind = charged["payment_method_details"]["type"]
    return {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charged["id"],
        "created": now(),
        "currency": charged["currency"],
        "destination_details": {"type": kind, kind: {"reference_status": "pending", "type": "refund"}},
        "metadata": metadata,
        "payment_intent": charged["payment_intent"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }


def balance_transaction(source: Json, *, amount: int, fee: int, kind: str, available_on: int) -> Json:
    """Money that moved: `amount` before and `net` after the `fee`; negative amounts leave the balance."""
    details = [{"amount": fee, "application": None, "currency": source["currency"], "type": "stripe_fee"}]
    return {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": available_on,
        "balance_type": "payments",
        "created": now(),
        "currency": source["currency"],
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [{**details[0], "description": "Stripe processing fees"}] if fee else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source["id"],
        "status": "pending",
        "type": kind,
    }


def event(kind: str, subject: Json, *, previous: Json | None, idempotency_key: str | None) -> Json:
    """`previous` holds the earlier values of what an `updated` event changed."""
    data: Json = {"object": subject}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": idempotency_key},
        "type": kind,
    }
