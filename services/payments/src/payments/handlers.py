"""What payments does about the facts it hears: load, decide, save, say. The provider is asked later, by the worker."""

from payments import domain, refunds
from payments.domain import Decision
from payments.store import PAYMENTS, REFUNDS
from shared.contracts.orders import OrderCancelled, OrderPaid, OrderPlaced, OrderRefundRequested
from shared.handlers import Handlers
from shared.tx import Tx

handlers = Handlers("payments")


def settle(tx: Tx, decision: Decision) -> None:
    """Write a decision down: the payment, its facts, and the calls that the provider is owed."""
    tx.save(PAYMENTS, decision.payment)
    tx.emit(*decision.facts)
    for call in decision.calls:
        about = decision.payment.order_id
        tx.request(call.kind, about, call.payload, dedupe=call.dedupe, due_at=call.due_at)


@handlers.on(OrderPlaced, PAYMENTS)
async def on_order_placed(fact: OrderPlaced, tx: Tx) -> None:
    if tx.find(PAYMENTS, fact.order_id) is None:
        decision = domain.open_payment(fact, tx.now)
        tx.add(PAYMENTS, decision.payment)
        settle(tx, decision)


@handlers.on(OrderPaid, PAYMENTS)
async def on_order_paid(fact: OrderPaid, tx: Tx) -> None:
    payment = tx.get(PAYMENTS, fact.order_id)
    settle(tx, domain.settle_outside(payment, fact.amount, fact.method, fact.paid_at))


@handlers.on(OrderCancelled, PAYMENTS)
async def on_order_cancelled(fact: OrderCancelled, tx: Tx) -> None:
    settle(tx, domain.cancel(tx.get(PAYMENTS, fact.order_id)))


@handlers.on(OrderRefundRequested, PAYMENTS, REFUNDS)
async def on_order_refund_requested(fact: OrderRefundRequested, tx: Tx) -> None:
    if tx.find(REFUNDS, fact.refund_id) is None:
        payment, others = tx.get(PAYMENTS, fact.order_id), tx.all(REFUNDS, fact.order_id)
        decision = refunds.request(payment, others, fact, tx.now)
        tx.add(REFUNDS, decision.refund)
        settle(tx, decision)
