"""Payment intents: created by the shop, confirmed by the shopper's browser, cancelled by the shop."""

import hmac

from sandbox.endpoint import Answer, Call
from sandbox.stripe import lists, objects
from sandbox.stripe import params as read
from sandbox.stripe.account import Account
from sandbox.stripe.cards import PAYMENT_METHODS, Outcome, PaymentMethod
from sandbox.stripe.charges import Charges
from sandbox.stripe.errors import Conflict, Invalid, Missing, error
from sandbox.stripe.objects import Json

SHOWN = frozenset({
    "capture_method", "confirmation_method", "customer", "description", "payment_method", "payment_method_types",
    "receipt_email", "setup_future_usage", "shipping", "statement_descriptor", "statement_descriptor_suffix",
    "transfer_group",
})  # fmt: skip
CREATE = SHOWN | {
    "amount",
    "automatic_payment_methods",
    "confirm",
    "currency",
    "expand",
    "metadata",
    "return_url",
}
CONFIRM = frozenset({
    "client_secret", "expand", "expected_payment_method_type", "key", "payment_method", "receipt_email", "return_url",
    "use_stripe_sdk",
})  # fmt: skip
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (*CONFIRMABLE, "requires_capture", "processing")
CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
UNEXPECTED_STATE = "payment_intent_unexpected_state"


class Intents:
    def __init__(self, account: Account, charges: Charges) -> None:
        self._account = account
        self._charges = charges

    def create(self, call: Call) -> Answer:
        params = call.params
        read.only(params, CREATE)
        read.choice(params, "capture_method", ("automatic", "automatic_async"))
        currency = read.currency(params)
        shown = {name: params[name] for name in SHOWN & params.keys()}
        if "automatic_payment_methods" in params:
            enabled = read.boolean(read.hash_of(params, "automatic_payment_methods"), "enabled")
            shown["automatic_payment_methods"] = {"allow_redirects": "always", "enabled": enabled}
        intent = objects.payment_intent(
            amount=read.amount(params, currency), currency=currency, metadata=read.metadata(params), **shown
        )
        confirm = read.boolean(params, "confirm")
        method = self._method(intent, call) if confirm or intent["payment_method"] else None
        if method is not None:
            intent["status"] = "requires_confirmation"
        self._account.add(intent)
        self._account.effect("created", intent, call.idempotency_key)
        self._account.emit("payment_intent.created", intent, call.idempotency_key)
        if confirm and method is not None:
            return self._attempt(intent, method, call)
        return self._answer(intent, call)

    def retrieve(self, call: Call) -> Answer:
        intent = self._account.load("payment_intent", call.parts["id"])
        _check_client_secret(intent, call)
        return self._answer(intent, call)

    def page(self, call: Call) -> Answer:
        read.only(call.params, lists.PAGING)
        return lists.page(self._account, "payment_intent", call.params)

    def search(self, call: Call) -> Answer:
        return lists.search(self._account, "payment_intent", call.params)

    def confirm(self, call: Call) -> Answer:
        """What a browser does with the client secret and a publishable key, or the shop with its secret key."""
        read.only(call.params, CONFIRM)
        intent = self._account.load("payment_intent", call.parts["id"])
        _check_client_secret(intent, call)
        if intent["status"] == "succeeded":
            message = "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
            raise Conflict(message, code=UNEXPECTED_STATE, payment_intent=intent)
        _require(intent, "confirmed", CONFIRMABLE)
        intent["receipt_email"] = call.params.get("receipt_email", intent["receipt_email"])
        return self._attempt(intent, self._method(intent, call), call)

    def cancel(self, call: Call) -> Answer:
        read.only(call.params, frozenset({"cancellation_reason", "expand"}))
        reason = read.choice(call.params, "cancellation_reason", CANCELLATION_REASONS)
        intent = self._account.load("payment_intent", call.parts["id"])
        _require(intent, "canceled", CANCELABLE)
        intent |= {
            "status": "canceled",
            "canceled_at": objects.now(),
            "cancellation_reason": reason,
            "next_action": None,
            "processing": None,
        }
        self._account.save(intent)
        self._account.effect("canceled", intent, call.idempotency_key)
        self._account.emit("payment_intent.canceled", intent, call.idempotency_key)
        return self._answer(intent, call)

    def complete(self, call: Call) -> Answer:
        """What the shopper does at the bank's page, or the bank with a slow debit: `outcome` succeed or fail."""
        intent = self._account.load("payment_intent", call.parts["id"])
        _require(intent, "completed", ("requires_action", "processing"))
        method = PAYMENT_METHODS[intent["payment_method"]]
        if read.choice(call.params, "outcome", ("succeed", "fail")) == "fail":
            return self._refuse(intent, method, call, charged=None)
        return self._succeed(intent, method, call)

    def _attempt(self, intent: Json, method: PaymentMethod, call: Call) -> Answer:
        intent |= {"payment_method": method.id, "last_payment_error": None, "next_action": None}
        if method.outcome is Outcome.SUCCEEDS:
            return self._succeed(intent, method, call)
        if method.outcome is Outcome.DECLINES:
            return self._refuse(
                intent, method, call, charged=self._charges.decline(intent, method, call.idempotency_key)
            )
        if method.outcome is Outcome.AUTHENTICATES:
            return self._move(
                intent, call, "requires_action", next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {}}
            )
        return self._move(intent, call, "processing", processing={"type": method.type})

    def _succeed(self, intent: Json, method: PaymentMethod, call: Call) -> Answer:
        charged = self._charges.capture(intent, method, call.idempotency_key)
        received = {"amount_received": intent["amount"], "latest_charge": charged["id"]}
        return self._move(intent, call, "succeeded", next_action=None, processing=None, **received)

    def _refuse(self, intent: Json, method: PaymentMethod, call: Call, *, charged: Json | None) -> Answer:
        """A decline is an answer, not a refusal of the request: it changed the intent, and a key remembers it."""
        failure: Json = {"message": method.message, "payment_method": method.resource}
        if charged is None:
            failure["code"] = "payment_intent_authentication_failure"
            failure["message"] = "The provided PaymentMethod has failed authentication."
        else:
            failure |= {"code": "card_declined", "decline_code": method.decline_code, "charge": charged["id"]}
            intent["latest_charge"] = charged["id"]
        intent["payment_method"] = None
        intent["last_payment_error"] = failure | {"type": "card_error"}
        self._move(
            intent, call, "requires_payment_method", event="payment_failed", next_action=None, processing=None
        )
        return error(402, "card_error", **failure, payment_intent=intent)

    def _move(
        self, intent: Json, call: Call, status: str, *, event: str | None = None, **changes: object
    ) -> Answer:
        intent |= changes | {"status": status}
        self._account.save(intent)
        self._account.emit(f"payment_intent.{event or status}", intent, call.idempotency_key)
        return self._answer(intent, call)

    def _method(self, intent: Json, call: Call) -> PaymentMethod:
        method_id = call.params.get("payment_method") or intent["payment_method"]
        if not method_id:
            message = "You cannot confirm this PaymentIntent because it's missing a payment method."
            raise Conflict(message, code=UNEXPECTED_STATE, payment_intent=intent)
        if method_id not in PAYMENT_METHODS:
            raise Missing("PaymentMethod", method_id, "payment_method")
        return PAYMENT_METHODS[method_id]

    def _answer(self, intent: Json, call: Call) -> Answer:
        return Answer.json(self._account.expand(intent, read.expansions(call.params)))


def _require(intent: Json, deed: str, statuses: tuple[str, ...]) -> None:
    if intent["status"] not in statuses:
        message = (
            f"This PaymentIntent cannot be {deed} because it has a status of {intent['status']}."
            f" Only a PaymentIntent with one of the following statuses may be {deed}: {', '.join(statuses)}."
        )
        raise Conflict(message, code=UNEXPECTED_STATE, payment_intent=intent)


def _check_client_secret(intent: Json, call: Call) -> None:
    """A publishable key alone opens nothing; with the intent's client secret it opens that intent."""
    secret = call.params.get("client_secret")
    if secret is None and call.credential.startswith("pk_"):
        raise Invalid(
            "Missing required param: client_secret.", code="parameter_missing", param="client_secret"
        )
    if secret is not None and not hmac.compare_digest(str(secret).encode(), intent["client_secret"].encode()):
        message = (
            "The client_secret provided does not match the client_secret associated with the PaymentIntent."
        )
        raise Invalid(message, code="payment_intent_invalid_parameter", param="client_secret")
