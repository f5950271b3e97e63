"""Charges and their balance transactions. The fee (2.9 % + 30 minor units) is booked some time after the capture."""

from sandbox.endpoint import Answer, Call
from sandbox.stripe import lists, objects
from sandbox.stripe import params as read
from sandbox.stripe.account import Account
from sandbox.stripe.cards import PAYMENT_METHODS, PaymentMethod
from sandbox.stripe.objects import Json


def fee(amount: int) -> int:
    """Stripe's fee on `amount` minor units: 2.9 %, rounded half up, plus 30."""
    return (amount * 29 + 500) // 1000 + 30


class Charges:
    def __init__(self, account: Account) -> None:
        self._account = account
        account.jobs.handle("fees", self._book_fee)

    def capture(self, intent: Json, method: PaymentMethod, key: str | None) -> Json:
        """Charge the intent; its fee follows by `charge.updated`."""
        charged = objects.charge(intent, method)
        self._account.add(charged, payment_intent=intent["id"])
        self._account.effect("succeeded", charged, key)
        self._account.emit("charge.succeeded", charged, key)
        self._account.jobs.add("fees", charged["id"], delay=self._account.settings.fee_delay_seconds)
        return charged

    def decline(self, intent: Json, method: PaymentMethod, key: str | None) -> Json:
        charged = objects.failed_charge(intent, method)
        self._account.add(charged, payment_intent=intent["id"])
        self._account.effect("failed", charged, key)
        self._account.emit("charge.failed", charged, key)
        return charged

    def retrieve(self, call: Call) -> Answer:
        charged = self._account.load("charge", call.parts["id"])
        return Answer.json(self._account.expand(charged, read.expansions(call.params)))

    def page(self, call: Call) -> Answer:
        read.only(call.params, lists.PAGING | {"payment_intent"})
        intent_id = call.params.get("payment_intent")
        return lists.page(
            self._account, "charge", call.params, link=("payment_intent", intent_id) if intent_id else None
        )

    def retrieve_balance_transaction(self, call: Call) -> Answer:
        transaction = self._account.load("balance_transaction", call.parts["id"])
        return Answer.json(self._account.expand(transaction, read.expansions(call.params)))

    def page_of_balance_transactions(self, call: Call) -> Answer:
        read.only(call.params, lists.PAGING)
        return lists.page(self._account, "balance_transaction", call.params)

    async def _book_fee(self, charge_id: str, _: int) -> None:
        """A job may run twice; the second time the fee is there."""
        with self._account.state.transaction():
            charged = self._account.load("charge", charge_id)
            if charged["balance_transaction"] is not None:
                return
            method = PAYMENT_METHODS[charged["payment_method"]]
            delay = 0.0 if method.available_at_once else self._account.settings.available_delay_seconds
            transaction = objects.balance_transaction(
                charged,
                amount=charged["amount"],
                fee=fee(charged["amount"]),
                kind="charge",
                available_on=objects.now() + int(delay),
            )
            charged["balance_transaction"] = transaction["id"]
            self._account.add(transaction)
            self._account.save(charged)
            self._account.effect("created", transaction, amount=transaction["fee"])
            self._account.emit("charge.updated", charged, previous={"balance_transaction": None})
