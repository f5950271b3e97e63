"""A label's way from wish to paper and back."""

import itertools
from dataclasses import replace

import pytest

from shared.errors import Code, Refusal
from shipping import labels
from shipping.domain import Decision, LabelStage, Shipment, ShipmentStatus, StaffCase, Work, allowed
from shipping.labels import Label, Rate
from support.shipments import NOW, a_shipment

S, L = ShipmentStatus, LabelStage
RATE = Rate("r1", "USPS", "Ground Advantage", 566, "USD", shipment_id="shp1")
LABEL = Label("t1", "r1", "9201", "https://track", "https://label")


def types(decision: Decision) -> list[str]:
    return [fact.type for fact in decision.facts]


def asked(decision: Decision) -> list[tuple[Work, object, str | None]]:
    return [
        (request.work, request.payload.get("transaction_id"), request.dedupe) for request in decision.requests
    ]


def unchanged(decision: Decision, shipment: Shipment) -> bool:
    return decision == Decision(shipment)


def test_a_wish_becomes_a_rate_and_the_rate_a_label() -> None:
    wish = labels.ask(a_shipment(), None)
    assert (wish.shipment.label, asked(wish)) == (L.REQUESTED, [(Work.RATE, None, None)])
    fixed = labels.rated(wish.shipment, RATE, NOW)
    assert (fixed.shipment.label, fixed.shipment.rate_id) == (L.RATED, "r1")
    assert fixed.requests[0].payload == {"shipment_id": str(fixed.shipment.id), "rate_id": "r1"}
    held = labels.bought(fixed.shipment, LABEL, NOW)
    assert (held.shipment.status, held.shipment.label, asked(held)) == (S.LABELLED, L.BOUGHT, [])
    fact = held.facts[0].model_dump()
    assert (fact["cost"], fact["currency"], fact["carrier"], fact["service"]) == (
        566,
        "USD",
        "USPS",
        "Ground Advantage",
    )
    assert (fact["tracking_number"], fact["label_url"]) == ("9201", "https://label")
    assert (fact["provider_shipment_id"], fact["provider_rate_id"]) == ("shp1", "r1")


def test_asking_again_never_asks_the_provider_again() -> None:
    shipment = labels.ask(a_shipment(), "ups_ground").shipment
    for step in (
        lambda s: s,
        lambda s: labels.rated(s, RATE, NOW).shipment,
        lambda s: labels.bought(s, LABEL, NOW).shipment,
    ):
        shipment = step(shipment)
        for service in (None, "ups_ground"):
            assert unchanged(labels.ask(shipment, service), shipment)
        with pytest.raises(Refusal) as refused:
            labels.ask(shipment, "usps_priority")
        assert refused.value.code is Code.INVALID_TRANSITION


def test_a_service_that_nobody_offers_leaves_the_shipment_as_it_was_and_another_may_be_asked_for() -> None:
    decision = labels.not_offered(labels.ask(a_shipment(), "zeppelin").shipment, "No rate")
    assert decision == Decision(replace(decision.shipment, status=S.PREPARED, failure_reason="No rate"))
    assert allowed(decision.shipment) == allowed(a_shipment())
    again = labels.ask(decision.shipment, "ups_ground").shipment
    assert (again.label, again.asked_service, again.failure_reason) == (L.REQUESTED, "ups_ground", None)


def test_a_refused_purchase_fails_the_shipment_until_staff_asks_again() -> None:
    rated = a_shipment(S.PREPARED, L.RATED)
    decision = labels.failed(rated, "Insufficient funds", NOW)
    failed = decision.shipment
    assert (failed.status, failed.label, failed.cost, types(decision)) == (
        S.FAILED,
        L.FAILED,
        None,
        ["shipment.failed"],
    )
    assert unchanged(labels.failed(failed, "Insufficient funds", NOW), failed)
    again = labels.ask(failed, None).shipment
    assert (again.status, again.label, again.failure_reason, again.failed_at) == (
        S.PREPARED,
        L.REQUESTED,
        None,
        None,
    )


def test_a_label_is_bought_once_whoever_tells_it() -> None:
    labelled = labels.bought(a_shipment(S.PREPARED, L.RATED), LABEL, NOW).shipment
    assert unchanged(labels.bought(labelled, LABEL, NOW), labelled)


def test_a_second_label_goes_back_and_changes_nothing() -> None:
    labelled = labels.bought(a_shipment(S.PREPARED, L.RATED), LABEL, NOW).shipment
    decision = labels.bought(labelled, replace(LABEL, transaction_id="t2"), NOW)
    assert (decision.shipment, types(decision)) == (labelled, [])
    assert asked(decision) == [(Work.REFUND, "t2", "surplus:t2")]


def test_of_several_labels_of_one_rate_one_is_kept() -> None:
    decision = labels.bought(a_shipment(S.PREPARED, L.RATED), replace(LABEL, surplus=("t2", "t3")), NOW)
    assert decision.shipment.transaction_id == "t1"
    assert asked(decision) == [(Work.REFUND, "t2", "surplus:t2"), (Work.REFUND, "t3", "surplus:t3")]


def test_a_label_of_an_older_rate_goes_back() -> None:
    rated = a_shipment(S.PREPARED, L.RATED, rate_id="r2")
    decision = labels.bought(rated, LABEL, NOW)
    assert decision.shipment == rated
    assert asked(decision) == [(Work.REFUND, "t1", "surplus:t1")]


def test_a_label_bought_for_an_order_that_was_cancelled_meanwhile_goes_back_at_once() -> None:
    decision = labels.bought(a_shipment(S.VOIDED, L.RATED), LABEL, NOW)
    assert (decision.shipment.status, decision.shipment.label, types(decision)) == (S.VOIDED, L.REFUNDING, [])
    assert asked(decision) == [(Work.REFUND, "t1", None)]
    returned = labels.refunded(decision.shipment, "t1", NOW)
    assert (returned.shipment.label, types(returned)) == (L.REFUNDED, [])


def test_a_void_shipment_wants_no_label_any_more() -> None:
    for label in (L.REQUESTED, L.RATED):
        void = a_shipment(S.VOIDED, label)
        assert labels.given_up(void).shipment.label is L.NONE
        assert labels.failed(void, "no", NOW) == labels.given_up(void)
        assert labels.not_offered(void, "no") == labels.given_up(void)
    rated = labels.rated(a_shipment(S.VOIDED, L.REQUESTED), RATE, NOW)
    assert (rated.shipment.label, rated.requests) == (L.NONE, ())


def test_an_expired_rate_is_asked_for_anew() -> None:
    decision = labels.expired(a_shipment(S.PREPARED, L.RATED), "r1")
    assert (decision.shipment.label, decision.shipment.rate_id) == (L.REQUESTED, None)
    assert asked(decision) == [(Work.RATE, None, None)]
    assert unchanged(labels.expired(decision.shipment, "r1"), decision.shipment)


def test_a_returned_label_voids_its_shipment_with_its_cost() -> None:
    returning = a_shipment(S.LABELLED, L.REFUNDING)
    decision = labels.refunded(returning, "t1", NOW)
    assert (decision.shipment.status, decision.shipment.label) == (S.VOIDED, L.REFUNDED)
    assert decision.facts[0].model_dump()["refunded_cost"] == 566
    assert unchanged(labels.refunded(decision.shipment, "t1", NOW), decision.shipment)


def test_the_return_of_a_surplus_label_changes_nothing() -> None:
    returning = a_shipment(S.LABELLED, L.REFUNDING)
    assert unchanged(labels.refunded(returning, "t2", NOW), returning)
    assert unchanged(labels.refund_refused(returning, "t2"), returning)


def test_a_label_that_travels_although_it_went_back_is_a_staff_case() -> None:
    decision = labels.refunded(a_shipment(S.DISPATCHED, L.REFUNDING), "t1", NOW)
    assert (decision.shipment.status, decision.shipment.label) == (S.DISPATCHED, L.REFUNDED)
    assert decision.shipment.staff_case is StaffCase.SCANNED_AFTER_VOID


@pytest.mark.parametrize("label", [L.REFUNDING, L.REFUNDED])
def test_a_refused_refund_is_a_staff_case_and_may_be_asked_again(label: LabelStage) -> None:
    refused = labels.refund_refused(a_shipment(S.LABELLED, label), "t1").shipment
    assert (refused.status, refused.label, refused.staff_case) == (
        S.LABELLED,
        L.BOUGHT,
        StaffCase.LABEL_REFUND_REFUSED,
    )
    travelling = labels.refund_refused(a_shipment(S.DISPATCHED, label), "t1").shipment
    assert (travelling.label, travelling.staff_case) == (L.BOUGHT, None)


@pytest.mark.parametrize(("status", "label"), list(itertools.product(S, L)))
def test_an_outcome_is_never_refused(status: ShipmentStatus, label: LabelStage) -> None:
    shipment = a_shipment(status, label)
    for decision in (
        labels.rated(shipment, RATE, NOW),
        labels.bought(shipment, LABEL, NOW),
        labels.failed(shipment, "no", NOW),
        labels.not_offered(shipment, "no"),
        labels.expired(shipment, "r1"),
        labels.given_up(shipment),
        labels.refunded(shipment, "t1", NOW),
        labels.refund_refused(shipment, "t1"),
    ):
        assert decision.shipment.id == shipment.id


@pytest.mark.parametrize(("status", "label"), list(itertools.product(S, L)))
def test_a_wish_is_granted_repeated_or_refused_by_type(status: ShipmentStatus, label: LabelStage) -> None:
    shipment = a_shipment(status, label)
    under_way = status is S.PREPARED and label in {L.REQUESTED, L.RATED}
    if under_way or (status, label) == (S.LABELLED, L.BOUGHT):
        assert unchanged(labels.ask(shipment, None), shipment)
    elif S.LABELLED in allowed(shipment):
        assert labels.ask(shipment, None).shipment.label is L.REQUESTED
    else:
        with pytest.raises(Refusal) as refused:
            labels.ask(shipment, None)
        assert refused.value.code is Code.INVALID_TRANSITION
