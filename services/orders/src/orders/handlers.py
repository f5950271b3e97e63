"""What orders does about the facts it hears: load, decide, save, say."""

from dataclasses import replace

from orders import reactions
from orders.domain import Act, Decision, Order, Stage
from orders.life.refunds import to_ask_again
from orders.reactions import Tracking
from orders.store import ORDERS
from orders.tables import skus, timeline
from shared.contracts import catalog, payments, shipping
from shared.contracts.envelope import Fact
from shared.contracts.orders import OrderCancelled, OrderHeld
from shared.contracts.topics import topic_of
from shared.handlers import Handlers
from shared.tx import Tx

handlers = Handlers("orders")
HOLD = "orders.hold"
"""The job that is due at a hold's deadline."""
DISCOUNT_RELEASE = "orders.discount_release"
"""The job, by the code, that gives a use of it back."""


def settle(tx: Tx, decision: Decision) -> None:
    """Write a decision down: the order, its timeline, its facts, the deadlines of its holds."""
    tx.save(ORDERS, _listed(decision.order))
    for entry in decision.entries:
        tx.insert(
            timeline,
            id=tx.new_id(),
            order_id=decision.order.id,
            at=entry.at,
            actor=entry.actor,
            what=entry.what,
            from_status=entry.from_status,
            to_status=entry.to_status,
            why=entry.why,
        )
    tx.emit(*decision.facts)
    for fact in decision.facts:
        if isinstance(fact, OrderHeld) and fact.deadline is not None:
            tx.request(HOLD, fact.order_id, {"hold_id": str(fact.hold_id)}, due_at=fact.deadline)
    if decision.order.frees_discount and any(isinstance(fact, OrderCancelled) for fact in decision.facts):
        tx.request(DISCOUNT_RELEASE, decision.order.discount_code)


def _listed(order: Order) -> Order:
    """With what lists look for, and it does not know by itself."""
    return replace(order, refund_failed=bool(to_ask_again(order))) if order.refunds else order


def _heard(fact: Fact, tx: Tx, reason: str | None = None) -> Act:
    """Whoever says the fact is the actor; what it says, unless it gives a reason of its own, is why an order moves."""
    [actor] = topic_of(type(fact)).producers
    return Act(tx.now, actor, reason or fact.type)


def _lines(fact: shipping.ShipmentFact) -> dict[int, int]:
    return {part.line: part.quantity for part in fact.lines}


def _reached(
    order: Order, fact: shipping.ShipmentFact, stage: Stage, act: Act, tracking: Tracking | None = None
) -> Decision:
    return reactions.shipment_reached(order, fact.shipment_id, stage, _lines(fact), act, tracking=tracking)


@handlers.on(catalog.SkuListed)
async def on_sku_listed(fact: catalog.SkuListed, tx: Tx) -> None:
    listed = fact.model_dump(exclude={"sku_id"})
    tx.upsert(skus, id=fact.sku_id, **listed, updated_at=tx.now)


@handlers.on(payments.PaymentReady, ORDERS)
async def on_payment_ready(fact: payments.PaymentReady, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, reactions.payment_ready(order, fact.payment_intent_id, _heard(fact, tx)))


@handlers.on(payments.PaymentProcessing, ORDERS)
async def on_payment_processing(fact: payments.PaymentProcessing, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, reactions.payment_processing(order, _heard(fact, tx)))


@handlers.on(payments.PaymentCaptured, ORDERS)
async def on_payment_captured(fact: payments.PaymentCaptured, tx: Tx) -> None:
    order, act = tx.get(ORDERS, fact.order_id), _heard(fact, tx, "paid")
    settle(tx, reactions.payment_captured(order, fact.amount, fact.payment_intent_id, act))


@handlers.on(payments.PaymentFailed, ORDERS)
async def on_payment_failed(fact: payments.PaymentFailed, tx: Tx) -> None:
    order, act = tx.get(ORDERS, fact.order_id), _heard(fact, tx)
    settle(tx, reactions.payment_failed(order, fact.code, act, final=fact.final))


@handlers.on(payments.PaymentCancelled, ORDERS)
async def on_payment_cancelled(fact: payments.PaymentCancelled, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, reactions.payment_closed(order, _heard(fact, tx)))


@handlers.on(payments.PaymentFeeRecorded, ORDERS)
async def on_payment_fee_recorded(fact: payments.PaymentFeeRecorded, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, reactions.fee_recorded(order, fact.amount, fact.currency, _heard(fact, tx)))


@handlers.on(payments.PaymentSettled, ORDERS)
async def on_payment_settled(fact: payments.PaymentSettled, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, reactions.payment_settled(order, fact.settled_at, _heard(fact, tx)))


@handlers.on(payments.PaymentRefunded, ORDERS)
async def on_payment_refunded(fact: payments.PaymentRefunded, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, reactions.refunded(order, fact.refund_id, fact.amount, _heard(fact, tx)))


@handlers.on(payments.PaymentRefundFailed, ORDERS)
async def on_payment_refund_failed(fact: payments.PaymentRefundFailed, tx: Tx) -> None:
    order, act = tx.get(ORDERS, fact.order_id), _heard(fact, tx, fact.reason)
    settle(tx, reactions.refund_failed(order, fact.refund_id, act))


@handlers.on(shipping.ShipmentPrepared, ORDERS)
async def on_shipment_prepared(fact: shipping.ShipmentPrepared, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, _reached(order, fact, Stage.PREPARED, _heard(fact, tx)))


@handlers.on(shipping.ShipmentLabelled, ORDERS)
async def on_shipment_labelled(fact: shipping.ShipmentLabelled, tx: Tx) -> None:
    decision = _reached(tx.get(ORDERS, fact.order_id), fact, Stage.LABELLED, _heard(fact, tx))
    settle(tx, decision.then(Decision(reactions.label_bought(decision.order, fact))))


@handlers.on(shipping.ShipmentVoided, ORDERS)
async def on_shipment_voided(fact: shipping.ShipmentVoided, tx: Tx) -> None:
    decision = _reached(tx.get(ORDERS, fact.order_id), fact, Stage.VOIDED, _heard(fact, tx))
    settle(tx, decision.then(Decision(reactions.label_refunded(decision.order, fact.shipment_id))))


@handlers.on(shipping.ShipmentDispatched, ORDERS)
async def on_shipment_dispatched(fact: shipping.ShipmentDispatched, tx: Tx) -> None:
    tracking = Tracking(fact.carrier, fact.tracking_number, fact.tracking_url)
    order, act = tx.get(ORDERS, fact.order_id), _heard(fact, tx)
    settle(tx, _reached(order, fact, Stage.DISPATCHED, act, tracking))


@handlers.on(shipping.ShipmentDelivered, ORDERS)
async def on_shipment_delivered(fact: shipping.ShipmentDelivered, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, _reached(order, fact, Stage.DELIVERED, _heard(fact, tx)))


@handlers.on(shipping.ShipmentReturned, ORDERS)
async def on_shipment_returned(fact: shipping.ShipmentReturned, tx: Tx) -> None:
    order = tx.get(ORDERS, fact.order_id)
    settle(tx, _reached(order, fact, Stage.RETURNED, _heard(fact, tx)))


@handlers.on(shipping.ShipmentFailed, ORDERS)
async def on_shipment_failed(fact: shipping.ShipmentFailed, tx: Tx) -> None:
    order, act = tx.get(ORDERS, fact.order_id), _heard(fact, tx, fact.reason)
    settle(tx, _reached(order, fact, Stage.FAILED, act))
