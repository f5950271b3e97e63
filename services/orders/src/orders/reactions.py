"""What the facts of payments and shipping do to an order. Pure, safe to repeat, and ready for facts that overtake each other."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid5

from orders.decisions import about_order, decide, derive, noted
from orders.domain import (
    OUT,
    Act,
    Decision,
    Entry,
    Label,
    Order,
    PaymentStatus,
    Refund,
    RefundStatus,
    Shipment,
    Stage,
)
from orders.life import holds
from orders.lines import pieces, with_quantities, with_refunds
from orders.status import Command, Happened, OrderStatus, Trigger
from shared.contracts import orders as facts
from shared.contracts.shipping import ShipmentLabelled

_RANK = {stage: rank for rank, stage in enumerate(Stage)}
_NEVER_OUT = frozenset({Stage.VOIDED, Stage.FAILED})


@dataclass(frozen=True, slots=True)
class Tracking:
    """How a dispatched shipment is followed."""

    carrier: str
    number: str
    url: str | None


def payment_ready(order: Order, intent_id: str, act: Act) -> Decision:
    return Decision(replace(order, payment_intent_id=intent_id, updated_at=act.now))


def payment_processing(order: Order, act: Act) -> Decision:
    """The shopper has paid by a means that takes its time: the order does not expire meanwhile."""
    if order.captured:
        return Decision(order)
    return Decision(replace(order, payment_processing=True, updated_at=act.now))


def payment_captured(order: Order, amount: int, intent_id: str | None, act: Act) -> Decision:
    """Money came in, whatever the order's status: the table says whether it moves on or the money goes back.

    An intent captures once. So what comes of another one, or after an offline payment, is a second payment.
    """
    if order.captured and (order.payment_method == facts.OFFLINE or intent_id != order.payment_intent_id):
        return _paid_twice(order, amount, intent_id, act)
    if order.captured:
        return Decision(order)
    paid = replace(order, payment_intent_id=intent_id or order.payment_intent_id)
    return _paid(order, paid, amount, Happened.PAYMENT_CAPTURED, act)


def paid_offline(order: Order, act: Act) -> Decision:
    """Staff's word that the whole total was paid in another way."""
    if order.status is not OrderStatus.PENDING:
        return decide(order, Command.PAY_OFFLINE, act)
    return _paid(order, replace(order, payment_method=facts.OFFLINE), order.total, Command.PAY_OFFLINE, act)


def _paid(before: Order, order: Order, amount: int, trigger: Trigger, act: Act) -> Decision:
    paid = replace(
        order,
        captured=amount,
        payment_status=_paid_status(order),
        payment_processing=False,
        updated_at=act.now,
    )
    moved = derive(before, decide(paid, trigger, act), act)
    held = holds.on_payment(moved.order, act)
    # The hold is said first: a label that is asked for the moment the order is paid must find it.
    return Decision(held.order, held.facts + moved.facts, moved.entries + held.entries)


def _paid_twice(order: Order, amount: int, intent_id: str | None, act: Act) -> Decision:
    """Counted, and given back at once; the refund's id is the intent's, so that a repeat is one."""
    refund_id = uuid5(order.id, f"paid twice {intent_id}")
    if any(refund.id == refund_id for refund in order.refunds):
        return Decision(order)
    paid = with_refunds(replace(order, captured=order.captured + amount, updated_at=act.now))
    back = replace(act, amount=amount, refund_id=refund_id, reason="paid twice")
    return decide(paid, Happened.PAID_TWICE, back)


def payment_failed(order: Order, code: str, act: Act, *, final: bool = False) -> Decision:
    if order.captured or order.status is not OrderStatus.PENDING:
        return Decision(order)
    failed = replace(order, payment_status=PaymentStatus.FAILED, payment_processing=False, updated_at=act.now)
    told = facts.OrderPaymentFailed(
        **about_order(order),
        failed_at=act.now,
        code=code,
        final=final,
    )
    entry = noted(order, "payment failed", act, code)
    return Decision(failed, (told,), (entry,)).then(decide(failed, Happened.PAYMENT_FAILED, act))


def payment_closed(order: Order, act: Act) -> Decision:
    """Nobody can pay this intent any more: nothing keeps an unpaid order from expiring."""
    return Decision(replace(order, payment_processing=False, updated_at=act.now))


def fee_recorded(order: Order, fee: int, currency: str, act: Act) -> Decision:
    """A fee in another currency (that of the payout) stays with payments: amounts of two currencies are never one figure."""
    if currency != order.currency:
        return Decision(order)
    return Decision(replace(order, stripe_fee=fee, updated_at=act.now))


def payment_settled(order: Order, settled_at: datetime, act: Act) -> Decision:
    """What our provider captured is available to us."""
    if order.settled_at is not None:
        return Decision(order)
    settled = replace(order, settled_at=settled_at, updated_at=act.now)
    if order.payment_status is PaymentStatus.PAID:
        settled = replace(settled, payment_status=_paid_status(settled))
    return Decision(settled, (), (noted(order, "settled", act),))


def _paid_status(order: Order) -> PaymentStatus:
    """Of money that is here and did not go back. What staff took was never our provider's to make available."""
    is_settled = order.settled_at is not None and order.payment_method != facts.OFFLINE
    return PaymentStatus.COMPLETED if is_settled else PaymentStatus.PAID


def refunded(order: Order, refund_id: UUID, amount: int, act: Act) -> Decision:
    """The money is on its way back. A refund that we never asked for counts as well; one that failed has failed for good."""
    unasked = Refund(refund_id, amount, act.reason, RefundStatus.REQUESTED, act.now)
    known = next((refund for refund in order.refunds if refund.id == refund_id), unasked)
    if known.status is not RefundStatus.REQUESTED:
        return Decision(order)
    done = replace(known, status=RefundStatus.DONE)
    settled = (
        (*order.refunds, done)
        if known is unasked
        else tuple(done if refund is known else refund for refund in order.refunds)
    )
    total = order.refunded + amount
    after = with_refunds(
        replace(
            order,
            refunds=settled,
            refunded=total,
            payment_status=PaymentStatus.REFUNDED,
            updated_at=act.now,
        )
    )
    told = facts.OrderRefunded(
        **about_order(order),
        refund_id=refund_id,
        refunded_at=act.now,
        amount=amount,
        refunded_total=total,
    )
    entry = noted(order, "refunded", act)
    return derive(order, Decision(after, (told,), (entry,)), act)


def refund_failed(order: Order, refund_id: UUID, act: Act) -> Decision:
    """The reservation ends, so that staff may refund again; the case is on the timeline.

    A bank can send a refund back after it succeeded: then what counted as refunded counts as captured again.
    """
    refund = next((refund for refund in order.refunds if refund.id == refund_id), None)
    if refund is None or refund.status is RefundStatus.FAILED:
        return Decision(order)
    failed = replace(refund, status=RefundStatus.FAILED)
    back = order.refunded - (refund.amount if refund.status is RefundStatus.DONE else 0)
    after = replace(
        order,
        refunds=tuple(failed if known is refund else known for known in order.refunds),
        refunded=back,
        payment_status=order.payment_status if back or not order.refunded else _paid_status(order),
        updated_at=act.now,
    )
    return Decision(with_refunds(after), (), (noted(order, "refund failed", act),))


def shipment_reached(
    order: Order,
    shipment_id: UUID,
    stage: Stage,
    lines: dict[int, int],
    act: Act,
    *,
    tracking: Tracking | None = None,
) -> Decision:
    """A shipment came to `stage`: the lines' quantities follow from all shipments, the status from the lines."""
    known = next((s for s in order.shipments if s.id == shipment_id), None)
    if known is not None and not _advances(known.stage, stage):
        return Decision(order)
    new = Shipment(shipment_id, stage, lines)
    shipment = replace(new, cost=known.cost, label=known.label) if known else new
    others = tuple(s for s in order.shipments if s.id != shipment_id)
    after = with_quantities(replace(order, shipments=(*others, shipment), updated_at=act.now))
    if tracking is not None:
        after = replace(
            after,
            **after.followed_by(tracking.number),
            tracking_url=tracking.url,
            shipping_carrier=tracking.carrier,
            shipping_service=(shipment.label.service or order.shipping_service) if shipment.label else None,
        )
    is_newly_out = stage in OUT and (known is None or known.stage not in OUT)
    cases = _cases(order, after, shipment, act) if is_newly_out else ()
    decision = derive(order, Decision(after, (), cases), act)
    failed = stage is Stage.FAILED and not after.is_partly_out
    return decision.then(holds.on_failed_shipment(decision.order, act)) if failed else decision


def _cases(before: Order, after: Order, shipment: Shipment, act: Act) -> tuple[Entry, ...]:
    """What a parcel that has left must not have done, and cannot undo."""
    live = {line.line: line.live for line in after.lines}
    found = []
    if any(pieces(after, line, OUT) > live.get(line, 0) for line in shipment.lines):
        found.append("more has left than is wanted: a person has to look")
    if before.open_holds:
        found.append("it has left although it was held: a person has to look")
    return tuple(noted(after, "shipped", act, why) for why in found)


def label_bought(order: Order, fact: ShipmentLabelled) -> Order:
    """The shipment's label cost counts towards what shipping really cost, if it is in the order's currency."""
    cost = fact.cost if fact.currency == order.currency else 0
    label = Label(fact.label_url, fact.provider_shipment_id, fact.provider_rate_id, fact.service)
    known = order if order.tracking else replace(order, shipping_service=fact.service)
    return _labelled(known, fact.shipment_id, cost, label)


def label_refunded(order: Order, shipment_id: UUID) -> Order:
    """A shipment that has none leaves the order as it is: its rate is the one that the shopper was quoted."""
    had = any(s.id == shipment_id and (s.label or s.cost) for s in order.shipments)
    return _labelled(order, shipment_id, 0, None) if had else order


def _labelled(order: Order, shipment_id: UUID, cost: int, label: Label | None) -> Order:
    """The order's own label is this one, or else that of the newest shipment that still has one."""
    shipments = tuple(
        replace(s, cost=cost, label=label) if s.id == shipment_id else s for s in order.shipments
    )
    shown = label or next((s.label for s in reversed(shipments) if s.label), Label())
    return replace(
        order,
        shipments=shipments,
        shippo_label_url=shown.url,
        shippo_shipment_id=shown.shipment_id,
        shippo_rate_id=shown.rate_id,
        actual_shipping_cost=sum(s.cost for s in shipments) or None,
    )


def _advances(known: Stage, stage: Stage) -> bool:
    """A voided shipment is over; one that failed may get a label after all; the rest only goes forward."""
    if known is Stage.VOIDED or known is stage:
        return False
    if known is Stage.FAILED:
        return stage not in _NEVER_OUT or stage is Stage.VOIDED
    if stage in _NEVER_OUT:
        return known not in OUT
    return _RANK[stage] > _RANK[known]
