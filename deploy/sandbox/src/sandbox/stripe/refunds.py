"""Refunds: never more than what was captured, whatever is asked at once."""

from sandbox.endpoint import Answer, Call
from sandbox.stripe import lists, objects
from sandbox.stripe import params as read
from sandbox.stripe.account import Account
from sandbox.stripe.cards import PAYMENT_METHODS
from sandbox.stripe.errors import Conflict, Invalid
from sandbox.stripe.objects import Json

CREATE = frozenset(
    {"amount", "charge", "expand", "metadata", "payment_intent", "reason", "instructions_email"}
)
REASONS = ("duplicate", "fraudulent", "requested_by_customer")


class Refunds:
    def __init__(self, account: Account) -> None:
        self._account = account
        account.jobs.handle("refunds", self._settle)

    def create(self, call: Call) -> Answer:
        read.only(call.params, CREATE)
        reason = read.choice(call.params, "reason", REASONS)
        metadata = read.metadata(call.params)
        wanted = read.integer(call.params["amount"], "amount") if "amount" in call.params else None
        if wanted is not None and wanted < 1:
            raise Invalid(
                "This value must be greater than or equal to 1.",
                code="parameter_invalid_integer",
                param="amount",
            )
        charged = self._charge(call)
        amount = _refundable(charged, wanted)
        method = PAYMENT_METHODS[charged["payment_method"]]
        refund = objects.refund(
            charged, amount=amount, status=method.refund, reason=reason, metadata=metadata
        )
        links = {"charge": charged["id"], "payment_intent": charged["payment_intent"]}
        self._account.add(refund, **links)
        self._book(refund, charged, amount, call.idempotency_key)
        self._account.effect(method.refund, refund, call.idempotency_key)
        for event in ("refund.created", "refund.updated"):
            self._account.emit(event, refund, call.idempotency_key)
        if method.refund_becomes is not None:
            self._account.jobs.add("refunds", refund["id"], delay=self._account.settings.fee_delay_seconds)
        return self._answer(refund, call)

    def retrieve(self, call: Call) -> Answer:
        return self._answer(self._account.load("refund", call.parts["id"]), call)

    def page(self, call: Call) -> Answer:
        read.only(call.params, lists.PAGING | {"charge", "payment_intent"})
        given = [(name, call.params[name]) for name in ("charge", "payment_intent") if name in call.params]
        return lists.page(self._account, "refund", call.params, link=given[0] if given else None)

    def _charge(self, call: Call) -> Json:
        if "charge" in call.params:
            charged = self._account.load("charge", call.params["charge"], "charge")
        elif "payment_intent" in call.params:
            intent = self._account.load("payment_intent", call.params["payment_intent"], "payment_intent")
            if intent["status"] != "succeeded":
                raise Conflict(
                    f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
                )
            charged = self._account.load("charge", intent["latest_charge"])
        else:
            message = (
                "One of the following params should be provided for this request: payment_intent or charge."
            )
            raise Invalid(message, code="parameter_missing", param="payment_intent")
        if charged["status"] != "succeeded":
            raise Conflict(
                f"Charge {charged['id']} cannot be refunded because it did not succeed.", param="charge"
            )
        return charged

    def _book(self, refund: Json, charged: Json, amount: int, key: str | None) -> None:
        """Move `amount` (negative when a refund failed) from the charge to the refund."""
        kind = "refund" if amount > 0 else "refund_failure"
        transaction = objects.balance_transaction(
            refund, amount=-amount, fee=0, kind=kind, available_on=objects.now()
        )
        self._account.add(transaction)
        refund["balance_transaction" if amount > 0 else "failure_balance_transaction"] = transaction["id"]
        previous = {"amount_refunded": charged["amount_refunded"], "refunded": charged["refunded"]}
        charged["amount_refunded"] += amount
        charged["refunded"] = charged["amount_refunded"] == charged["amount_captured"]
        self._account.save(charged)
        self._account.save(refund)
        event = "charge.refunded" if amount > 0 else "charge.updated"
        self._account.emit(event, charged, key, previous=previous)

    async def _settle(self, refund_id: str, _: int) -> None:
        """What some test cards do to a refund after a while. A job may run twice; the second time it is done."""
        with self._account.state.transaction():
            refund = self._account.load("refund", refund_id)
            charged = self._account.load("charge", refund["charge"])
            status = PAYMENT_METHODS[charged["payment_method"]].refund_becomes
            if status is None or refund["status"] == status:
                return
            previous = {"status": refund["status"]}
            refund["status"] = status
            if status == "failed":
                refund["failure_reason"] = "expired_or_canceled_card"
                self._book(refund, charged, -refund["amount"], None)
            self._account.save(refund)
            self._account.effect(status, refund)
            for event in ("refund.updated", "refund.failed") if status == "failed" else ("refund.updated",):
                self._account.emit(event, refund, previous=previous)

    def _answer(self, refund: Json, call: Call) -> Answer:
        return Answer.json(self._account.expand(refund, read.expansions(call.params)))


def _refundable(charged: Json, wanted: int | None) -> int:
    """The amount to refund in minor units; None asks for all that is left."""
    left = charged["amount_captured"] - charged["amount_refunded"]
    if left == 0:
        raise Conflict(f"Charge {charged['id']} has already been refunded.", code="charge_already_refunded")
    if wanted is not None and wanted > left:
        asked, unrefunded = (f"{value / 100:,.2f} {charged['currency']}" for value in (wanted, left))
        message = f"Refund amount ({asked}) is greater than unrefunded amount on charge ({unrefunded})"
        raise Conflict(message, code="amount_too_large", param="amount")
    return left if wanted is None else wanted
