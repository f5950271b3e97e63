"""What facts of payments and shipping do to an order: in order, twice, too late, and overtaking one another."""

from dataclasses import replace
from itertools import permutations
from uuid import UUID, uuid4

import pytest

from orders.decisions import decide, request_refund
from orders.domain import Decision, Order, PaymentStatus, RefundStatus, Stage
from orders.life import parcels
from orders.reactions import (
    Tracking,
    fee_recorded,
    label_bought,
    label_refunded,
    paid_offline,
    payment_captured,
    payment_closed,
    payment_failed,
    payment_processing,
    payment_settled,
    refund_failed,
    refunded,
    shipment_reached,
)
from orders.status import Command, Happened, OrderStatus
from shared.contracts import orders as facts
from shared.contracts.shipping import ShipmentLabelled
from support.orders import ACT, a_line, all_lines, an_order, later

SHIPMENT, SECOND = uuid4(), uuid4()
SETTLED_AT = later(200_000).now


def said(decision: Decision) -> list[str]:
    return [fact.type for fact in decision.facts]


def paid(order: Order | None = None) -> Order:
    order = order or an_order()
    return payment_captured(order, order.total, "pi_1", ACT).order


def reached(
    order: Order, stage: Stage, shipment: UUID = SHIPMENT, lines: dict[int, int] | None = None
) -> Decision:
    return shipment_reached(order, shipment, stage, lines or all_lines(order), later(60))


def labelled(shipment: UUID, cost: int, currency: str = "USD") -> ShipmentLabelled:
    return ShipmentLabelled(
        order_id=an_order().id,
        shipment_id=shipment,
        lines=(),
        carrier="USPS",
        service="priority",
        tracking_number="9201",
        label_url="https://label",
        cost=cost,
        currency=currency,
        labelled_at=ACT.now,
        provider_shipment_id="shp_1",
        provider_rate_id="rate_1",
    )


def shipped(order: Order | None = None) -> Order:
    return reached(order or paid(), Stage.DISPATCHED).order


def test_a_capture_makes_the_order_paid_and_says_what_is_to_be_fulfilled() -> None:
    order = an_order()
    decision = payment_captured(order, order.total, "pi_1", ACT)
    assert decision.order.status is OrderStatus.PROCESSING
    assert decision.order.payment_status is PaymentStatus.PAID
    assert decision.order.paid_at == ACT.now
    [fact] = decision.facts
    assert isinstance(fact, facts.OrderPaid)
    assert {part.line: part.quantity for part in fact.lines} == {1: 2, 2: 1}
    assert [entry.to_status for entry in decision.entries] == [OrderStatus.PROCESSING]


def test_a_capture_told_twice_changes_nothing() -> None:
    order = paid()
    assert payment_captured(order, order.total, "pi_1", later(5)) == Decision(order)


def test_a_capture_after_the_cancellation_asks_for_a_refund_once() -> None:
    cancelled = decide(an_order(), Command.CANCEL, ACT).order
    decision = payment_captured(cancelled, cancelled.total, "pi_1", ACT)
    assert decision.order.status is OrderStatus.CANCELLED
    assert said(decision) == ["order.refund_requested"]
    assert decision.order.refundable == 0
    assert payment_captured(decision.order, cancelled.total, "pi_1", ACT).facts == ()


def test_cancelling_a_paid_order_cancels_at_once_and_refunds_all_of_it() -> None:
    decision = decide(paid(), Command.CANCEL, ACT)
    assert decision.order.status is OrderStatus.CANCELLED
    assert said(decision) == ["order.cancelled", "order.refund_requested"]
    assert decision.order.cancelled_at == ACT.now


def test_a_decline_is_told_and_the_shopper_may_try_again() -> None:
    decision = payment_failed(an_order(), "card_declined", ACT)
    assert decision.order.payment_status is PaymentStatus.FAILED
    assert said(decision) == ["order.payment_failed"]
    assert paid(decision.order).payment_status is PaymentStatus.PAID


def test_a_decline_that_comes_after_the_capture_means_nothing() -> None:
    order = paid()
    assert payment_failed(order, "card_declined", ACT) == Decision(order)


def test_the_order_is_shipped_when_all_its_live_items_are_out() -> None:
    tracking = Tracking("USPS", "9205", "https://track")
    decision = shipment_reached(
        paid(), SHIPMENT, Stage.DISPATCHED, {1: 2, 2: 1}, later(60), tracking=tracking
    )
    assert decision.order.status is OrderStatus.SHIPPED
    assert (decision.order.tracking, decision.order.shipping_carrier) == ("9205", "USPS")
    [fact] = decision.facts
    assert isinstance(fact, facts.OrderShipped)
    assert fact.tracking_number == "9205"


def test_a_partial_shipment_keeps_the_order_processing_until_the_rest_is_out() -> None:
    first = reached(paid(), Stage.DISPATCHED, SHIPMENT, {1: 2})
    assert first.order.status is OrderStatus.PROCESSING
    assert not first.order.is_cancellable
    assert reached(first.order, Stage.DISPATCHED, SECOND, {2: 1}).order.status is OrderStatus.SHIPPED


def test_shipment_facts_in_any_order_and_repeated_end_the_same() -> None:
    stages = [Stage.PREPARED, Stage.LABELLED, Stage.DISPATCHED, Stage.DELIVERED]
    for order_of_arrival in permutations(stages):
        order = paid()
        for stage in (*order_of_arrival, *order_of_arrival):
            order = reached(order, stage).order
        assert order.status is OrderStatus.DELIVERED
        assert all(line.delivered == line.live for line in order.lines)


def test_items_are_in_fulfilment_from_the_label_on_and_back_when_it_is_voided() -> None:
    labelled = reached(paid(), Stage.LABELLED).order
    assert [line.in_fulfilment for line in labelled.lines] == [2, 1]
    voided = reached(labelled, Stage.VOIDED).order
    assert [line.in_fulfilment for line in voided.lines] == [0, 0]
    assert voided.status is OrderStatus.PROCESSING


def test_a_shipment_that_failed_may_still_get_its_label() -> None:
    failed = reached(paid(), Stage.FAILED).order
    assert reached(failed, Stage.LABELLED).order.lines[0].in_fulfilment == 2


def test_a_void_after_the_dispatch_does_not_call_the_parcel_back() -> None:
    order = shipped()
    assert reached(order, Stage.VOIDED).order == order


def test_a_parcel_that_comes_back_returns_the_order_and_its_refund_leaves_it_returned() -> None:
    returned = reached(shipped(), Stage.RETURNED)
    assert returned.order.status is OrderStatus.RETURNED
    assert said(returned) == ["order.returned"]
    asked = decide(returned.order, Command.REFUND, ACT).order
    done = refunded(asked, asked.refunds[0].id, asked.captured, ACT)
    assert done.order.status is OrderStatus.RETURNED
    assert done.order.payment_status is PaymentStatus.REFUNDED


def test_a_full_refund_after_delivery_makes_the_order_refunded_and_a_partial_one_does_not() -> None:
    delivered = reached(shipped(), Stage.DELIVERED).order
    first = request_refund(delivered, replace(ACT, amount=1000)).order
    half = refunded(first, first.refunds[0].id, 1000, ACT)
    assert half.order.status is OrderStatus.DELIVERED
    rest = request_refund(half.order, ACT).order
    full = refunded(rest, rest.refunds[1].id, rest.refunds[1].amount, ACT)
    assert full.order.status is OrderStatus.REFUNDED
    assert said(full) == ["order.refunded"]


def test_a_refund_told_twice_counts_once() -> None:
    asked = decide(shipped(), Command.REFUND, ACT).order
    once = refunded(asked, asked.refunds[0].id, asked.captured, ACT).order
    assert refunded(once, asked.refunds[0].id, asked.captured, ACT) == Decision(once)


def test_a_failed_refund_frees_its_amount_and_stands_on_the_timeline() -> None:
    asked = decide(shipped(), Command.REFUND, ACT).order
    failed = refund_failed(asked, asked.refunds[0].id, ACT)
    assert failed.order.refunds[0].status is RefundStatus.FAILED
    assert failed.order.refundable == asked.captured
    assert [entry.what for entry in failed.entries] == ["refund failed"]


def test_a_refund_that_the_bank_sends_back_counts_as_captured_again() -> None:
    asked = decide(shipped(), Command.REFUND, ACT).order
    done = refunded(asked, asked.refunds[0].id, asked.captured, ACT).order
    back = refund_failed(done, asked.refunds[0].id, ACT)
    assert (back.order.refunded, back.order.payment_status) == (0, PaymentStatus.PAID)
    assert back.order.refundable == done.captured
    assert refund_failed(back.order, asked.refunds[0].id, ACT) == Decision(back.order)


def settled(order: Order) -> Order:
    return payment_settled(order, SETTLED_AT, ACT).order


def test_a_paid_order_is_completed_when_its_money_is_available_and_says_so_once() -> None:
    once = payment_settled(paid(), SETTLED_AT, ACT)
    assert (once.order.payment_status, once.order.settled_at) == (PaymentStatus.COMPLETED, SETTLED_AT)
    assert once.order.status is OrderStatus.PROCESSING
    assert [entry.what for entry in once.entries] == ["settled"]
    assert once.facts == ()
    assert payment_settled(once.order, later(9).now, later(9)) == Decision(once.order)


@pytest.mark.parametrize("is_settled_first", [True, False])
def test_what_went_back_is_refunded_and_completed_again_if_the_bank_sends_it_back(
    is_settled_first: bool,  # noqa: FBT001 - a table's column
) -> None:
    asked = decide(settled(shipped()) if is_settled_first else shipped(), Command.REFUND, ACT).order
    done = refunded(asked, asked.refunds[0].id, asked.captured, ACT).order
    done = done if is_settled_first else settled(done)
    assert done.payment_status is PaymentStatus.REFUNDED
    back = refund_failed(done, asked.refunds[0].id, ACT).order
    assert back.payment_status is PaymentStatus.COMPLETED


def test_money_that_becomes_available_after_the_bank_sent_a_refund_back_completes_the_order() -> None:
    asked = decide(shipped(), Command.REFUND, ACT).order
    done = refunded(asked, asked.refunds[0].id, asked.captured, ACT).order
    assert (
        settled(refund_failed(done, asked.refunds[0].id, ACT).order).payment_status is PaymentStatus.COMPLETED
    )


def test_a_refund_that_failed_at_once_leaves_the_order_completed() -> None:
    asked = decide(settled(shipped()), Command.REFUND, ACT).order
    assert asked.payment_status is PaymentStatus.COMPLETED
    failed = refund_failed(asked, asked.refunds[0].id, ACT).order
    assert failed.payment_status is PaymentStatus.COMPLETED


def test_the_money_of_a_cancelled_order_may_be_available_before_it_goes_back() -> None:
    cancelled = settled(decide(paid(), Command.CANCEL, ACT).order)
    assert (cancelled.status, cancelled.payment_status) == (OrderStatus.CANCELLED, PaymentStatus.COMPLETED)
    done = refunded(cancelled, cancelled.refunds[0].id, cancelled.captured, ACT).order
    assert done.payment_status is PaymentStatus.REFUNDED


def test_a_word_of_available_money_that_overtakes_the_capture_is_kept() -> None:
    early = settled(an_order())
    assert early.payment_status is PaymentStatus.PENDING
    assert paid(early).payment_status is PaymentStatus.COMPLETED


def test_what_staff_took_stays_paid_whatever_a_card_brings_beside_it() -> None:
    by_hand = paid_offline(an_order(), ACT).order
    twice = payment_captured(by_hand, by_hand.total, "pi_1", ACT).order
    assert settled(twice).payment_status is PaymentStatus.PAID


def test_a_parcel_shipped_for_a_cancelled_order_is_a_case_for_staff_once() -> None:
    cancelled = decide(paid(), Command.CANCEL, ACT).order
    first = reached(cancelled, Stage.DISPATCHED)
    assert first.order.status is OrderStatus.CANCELLED
    assert [entry.why for entry in first.entries] == ["a person has to look"]
    later_facts = fee_recorded(first.order, 50, "USD", later(100))
    assert later_facts.entries == ()


def test_what_was_shipped_before_the_payment_counts_as_soon_as_it_is_paid() -> None:
    unpaid = reached(an_order(), Stage.DISPATCHED).order
    assert unpaid.status is OrderStatus.PENDING
    decision = payment_captured(unpaid, unpaid.total, "pi_1", ACT)
    assert decision.order.status is OrderStatus.SHIPPED
    assert said(decision) == ["order.paid", "order.shipped"]


def test_marking_delivered_counts_the_items_and_a_later_scan_changes_nothing() -> None:
    order = parcels.delivered(shipped(), ACT).order
    assert [line.delivered for line in order.lines] == [2, 1]
    assert reached(order, Stage.DELIVERED).order == order


def test_the_actual_cost_is_the_sum_of_live_labels() -> None:
    two = reached(
        reached(paid(), Stage.LABELLED, SHIPMENT, {1: 2}).order, Stage.LABELLED, SECOND, {2: 1}
    ).order
    costed = label_bought(label_bought(two, labelled(SHIPMENT, 700)), labelled(SECOND, 300))
    assert costed.actual_shipping_cost == 1000
    assert label_refunded(costed, SHIPMENT).actual_shipping_cost == 300


def test_the_order_knows_its_latest_label_at_the_carriers_broker_until_it_goes_back() -> None:
    costed = label_bought(reached(paid(), Stage.LABELLED).order, labelled(SHIPMENT, 700))
    at_shippo = (costed.shippo_label_url, costed.shippo_shipment_id, costed.shippo_rate_id)
    assert at_shippo == ("https://label", "shp_1", "rate_1")
    gone = label_refunded(costed, SHIPMENT)
    assert (gone.shippo_label_url, gone.shippo_shipment_id, gone.shippo_rate_id) == (None, None, None)


def test_the_order_s_service_is_that_of_the_parcel_whose_tracking_it_shows() -> None:
    order, usps = paid(), Tracking("USPS", "9201", None)
    for shipment in (SHIPMENT, SECOND):
        order = reached(order, Stage.PREPARED, shipment, {1: 1}).order
    ours = label_bought(reached(order, Stage.LABELLED, SHIPMENT, {1: 1}).order, labelled(SHIPMENT, 700))
    assert ours.shipping_service == "priority"
    sent = shipment_reached(ours, SHIPMENT, Stage.DISPATCHED, {1: 1}, ACT, tracking=usps).order
    assert (sent.shipping_carrier, sent.shipping_service) == ("USPS", "priority")
    dhl = Tracking("DHL", "JD01", None)
    by_hand = shipment_reached(sent, SECOND, Stage.DISPATCHED, {1: 1}, ACT, tracking=dhl).order
    assert (by_hand.shipping_carrier, by_hand.shipping_service) == ("DHL", None)


def test_a_label_leaves_the_service_that_staff_wrote_down_with_a_tracking_number() -> None:
    written = {"shipping_carrier": "DHL", "shipping_service": "express", "tracking": "JD01"}
    order = parcels.tracked(reached(paid(), Stage.PREPARED).order, ACT, **written).order
    assert label_bought(order, labelled(SHIPMENT, 700)).shipping_service == "express"


def test_a_label_that_goes_back_takes_no_other_parcels_with_it() -> None:
    one = label_bought(reached(paid(), Stage.LABELLED, SHIPMENT, {1: 2}).order, labelled(SHIPMENT, 700))
    two = label_bought(
        reached(one, Stage.LABELLED, SECOND, {2: 1}).order,
        labelled(SECOND, 300).model_copy(update={"provider_shipment_id": "shp_2"}),
    )
    assert two.shippo_shipment_id == "shp_2"
    assert label_refunded(two, SHIPMENT).shippo_shipment_id == "shp_2"
    back = label_refunded(reached(two, Stage.VOIDED, SECOND, {2: 1}).order, SECOND)
    assert (back.shippo_shipment_id, back.actual_shipping_cost) == ("shp_1", 700)
    quoted = replace(reached(paid(), Stage.PREPARED).order, shippo_rate_id="rate_0")
    assert label_refunded(quoted, SHIPMENT) == quoted


def test_an_unpaid_order_expires_and_a_paid_one_does_not() -> None:
    expired = decide(an_order(), Happened.EXPIRED, ACT)
    assert expired.order.cancel_reason == "expired"
    order = paid()
    assert decide(order, Happened.EXPIRED, ACT) == Decision(order)


@pytest.mark.parametrize("amount", [0, -5, 10**9])
def test_no_refund_is_requested_for_nothing_or_more_than_is_left(amount: int) -> None:
    order = paid(an_order(a_line(1)))
    assert request_refund(order, replace(ACT, amount=amount)) == Decision(order)


def test_a_cost_in_another_currency_is_not_added_to_the_orders() -> None:
    order = reached(paid(), Stage.LABELLED).order
    assert fee_recorded(order, 50, "EUR", ACT) == Decision(order)
    assert label_bought(order, labelled(SHIPMENT, 700, "EUR")).actual_shipping_cost is None


def test_a_refund_that_failed_after_the_cancellation_can_be_asked_for_again() -> None:
    cancelled = decide(paid(), Command.CANCEL, ACT).order
    failed = refund_failed(cancelled, cancelled.refunds[0].id, ACT).order
    again = decide(failed, Command.REFUND, ACT)
    assert said(again) == ["order.refund_requested"]
    assert again.order.refunds[1].amount == cancelled.captured


def test_a_processing_payment_is_remembered_until_it_ends() -> None:
    order = payment_processing(an_order(), ACT).order
    assert order.payment_processing
    assert not paid(order).payment_processing
    assert not payment_failed(order, "debit_refused", ACT).order.payment_processing


def test_a_payment_that_was_closed_while_processing_lets_the_order_expire() -> None:
    order = payment_processing(an_order(), ACT).order
    assert not payment_closed(order, ACT).order.payment_processing


def test_a_refund_that_the_bank_sent_back_is_not_done_by_an_old_word() -> None:
    asked = decide(shipped(), Command.REFUND, ACT).order
    back = refund_failed(asked, asked.refunds[0].id, ACT).order
    again = decide(back, Command.REFUND, ACT).order
    assert refunded(again, asked.refunds[0].id, asked.captured, ACT) == Decision(again)


def test_a_refund_that_nobody_asked_for_counts_once_and_is_not_refunded_again() -> None:
    order, unasked = shipped(), uuid4()
    once = refunded(order, unasked, 1000, ACT).order
    assert (once.refunded, once.refundable) == (1000, order.captured - 1000)
    assert refunded(once, unasked, 1000, ACT) == Decision(once)


def test_an_order_has_arrived_when_one_parcel_was_delivered_and_the_other_came_back() -> None:
    first = reached(paid(), Stage.RETURNED, SHIPMENT, {1: 2})
    both = reached(first.order, Stage.DELIVERED, SECOND, {2: 1})
    assert both.order.status is OrderStatus.DELIVERED
    assert reached(both.order, Stage.RETURNED, SECOND, {2: 1}).order.status is OrderStatus.RETURNED
