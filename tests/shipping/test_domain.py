"""What facts and staff make of a shipment, in every state it can be in."""

import itertools

import pytest

from shared.errors import Code, Refusal
from shipping.domain import (
    Decision,
    LabelStage,
    LineQuantity,
    Shipment,
    ShipmentStatus,
    StaffCase,
    Work,
    allowed,
    ask_to_void,
    cancel,
    dispatch,
    prepare,
    void,
)
from support.shipments import NOW, a_consignment, a_shipment

S, L = ShipmentStatus, LabelStage
EVERY = list(itertools.product(S, L))
POSSIBLE = [
    (S.PREPARED, L.NONE),
    (S.PREPARED, L.REQUESTED),
    (S.PREPARED, L.RATED),
    (S.FAILED, L.FAILED),
    (S.FAILED, L.BOUGHT),
    (S.LABELLED, L.BOUGHT),
    (S.LABELLED, L.REFUNDING),
    (S.DISPATCHED, L.BOUGHT),
    (S.DISPATCHED, L.NONE),
    (S.DISPATCHED, L.FAILED),
    (S.DISPATCHED, L.REFUNDING),
    (S.DELIVERED, L.BOUGHT),
    (S.RETURNED, L.BOUGHT),
    (S.VOIDED, L.NONE),
    (S.VOIDED, L.RATED),
    (S.VOIDED, L.REFUNDED),
]
ALLOWED = {
    (S.PREPARED, L.NONE): {S.LABELLED, S.DISPATCHED},
    (S.FAILED, L.FAILED): {S.LABELLED, S.DISPATCHED},
    (S.LABELLED, L.BOUGHT): {S.DISPATCHED, S.VOIDED},
}


def types(decision: Decision) -> list[str]:
    return [fact.type for fact in decision.facts]


def works(decision: Decision) -> list[Work]:
    return [request.work for request in decision.requests]


def test_a_shipment_is_prepared_for_those_who_may_see_the_order() -> None:
    consignment = a_consignment(partner_id="acme")
    shipment = a_shipment()
    decision = prepare(consignment, [LineQuantity(2, 1)], shipment.id, NOW)
    made = decision.shipment
    assert (made.status, made.label, made.lines) == (S.PREPARED, L.NONE, (LineQuantity(2, 1),))
    assert (made.customer_id, made.partner_id) == (consignment.customer_id, "acme")
    [fact] = decision.facts
    assert (fact.type, fact.key) == ("shipment.prepared", str(consignment.order_id))
    assert [(line.line, line.quantity) for line in fact.lines] == [(2, 1)]


def test_a_parcel_weighs_what_is_in_it_and_never_nothing() -> None:
    consignment = a_consignment()
    assert consignment.weight_of([LineQuantity(1, 2), LineQuantity(2, 1)]) == 850
    assert consignment.weight_of([LineQuantity(2, 1)]) == 250
    assert consignment.weight_of([]) == 1


@pytest.mark.parametrize(("status", "label"), POSSIBLE)
def test_staff_may_do_what_the_table_says_and_nothing_else(status: ShipmentStatus, label: LabelStage) -> None:
    assert set(allowed(a_shipment(status, label))) == ALLOWED.get((status, label), set())


CANCELLED: dict[
    tuple[ShipmentStatus, LabelStage], tuple[ShipmentStatus, list[str], list[Work], StaffCase | None]
] = {
    (S.PREPARED, L.NONE): (S.VOIDED, ["shipment.voided"], [], None),
    (S.PREPARED, L.REQUESTED): (S.VOIDED, ["shipment.voided"], [], None),
    (S.PREPARED, L.RATED): (S.VOIDED, ["shipment.voided"], [], None),
    (S.FAILED, L.FAILED): (S.VOIDED, ["shipment.voided"], [], None),
    (S.FAILED, L.BOUGHT): (S.FAILED, [], [], StaffCase.CANCELLED_AFTER_DISPATCH),
    (S.LABELLED, L.BOUGHT): (S.LABELLED, [], [Work.REFUND], None),
    (S.LABELLED, L.REFUNDING): (S.LABELLED, [], [], None),
    (S.DISPATCHED, L.BOUGHT): (S.DISPATCHED, [], [], StaffCase.CANCELLED_AFTER_DISPATCH),
    (S.DISPATCHED, L.NONE): (S.DISPATCHED, [], [], StaffCase.CANCELLED_AFTER_DISPATCH),
    (S.DISPATCHED, L.FAILED): (S.DISPATCHED, [], [], StaffCase.CANCELLED_AFTER_DISPATCH),
    (S.DISPATCHED, L.REFUNDING): (S.DISPATCHED, [], [], StaffCase.CANCELLED_AFTER_DISPATCH),
    (S.DELIVERED, L.BOUGHT): (S.DELIVERED, [], [], StaffCase.CANCELLED_AFTER_DISPATCH),
    (S.RETURNED, L.BOUGHT): (S.RETURNED, [], [], None),
    (S.VOIDED, L.NONE): (S.VOIDED, [], [], None),
    (S.VOIDED, L.RATED): (S.VOIDED, [], [], None),
    (S.VOIDED, L.REFUNDED): (S.VOIDED, [], [], None),
}


@pytest.mark.parametrize(("status", "label"), POSSIBLE)
def test_a_cancelled_order_ends_each_stage_in_its_own_way(status: ShipmentStatus, label: LabelStage) -> None:
    decision = cancel(a_shipment(status, label), NOW)
    made = decision.shipment
    assert (made.status, types(decision), works(decision), made.staff_case) == CANCELLED[status, label]
    again = cancel(made, NOW)
    assert (again.shipment, again.facts, again.requests) == (made, (), ())


@pytest.mark.parametrize(("status", "label"), EVERY)
def test_a_fact_is_never_refused(status: ShipmentStatus, label: LabelStage) -> None:
    cancel(a_shipment(status, label), NOW)


@pytest.mark.parametrize(("status", "label"), POSSIBLE)
def test_dispatch_by_hand_goes_where_it_is_allowed(status: ShipmentStatus, label: LabelStage) -> None:
    shipment = a_shipment(status, label)
    if S.DISPATCHED in ALLOWED.get((status, label), set()):
        carrier, number = (None, None) if status is S.LABELLED else ("UPS", "1Z7")
        decision = dispatch(shipment, carrier, number, NOW)
        assert types(decision) == ["shipment.dispatched"]
        assert decision.shipment.dispatched_at == NOW
        assert works(decision) == ([] if status is S.LABELLED else [Work.FOLLOW])
        assert dispatch(decision.shipment, carrier, number, NOW) == Decision(decision.shipment)
    elif status is S.DISPATCHED:
        assert dispatch(shipment, None, None, NOW) == Decision(shipment)
    else:
        assert_refused(shipment, lambda: dispatch(shipment, None, None, NOW))


@pytest.mark.parametrize(("status", "label"), POSSIBLE)
def test_a_label_is_given_back_where_it_is_allowed(status: ShipmentStatus, label: LabelStage) -> None:
    shipment = a_shipment(status, label)
    if (status, label) == (S.LABELLED, L.BOUGHT):
        decision = ask_to_void(shipment)
        assert (decision.shipment.label, works(decision), types(decision)) == (L.REFUNDING, [Work.REFUND], [])
        assert ask_to_void(decision.shipment) == Decision(decision.shipment)
    elif status is S.VOIDED or label is L.REFUNDING:
        assert ask_to_void(shipment) == Decision(shipment)
    else:
        assert_refused(shipment, lambda: ask_to_void(shipment))


@pytest.mark.parametrize("tracking", [(None, None), ("UPS", None), (None, "1Z7")])
def test_a_parcel_without_a_label_needs_carrier_and_number(tracking: tuple[str | None, str | None]) -> None:
    with pytest.raises(Refusal) as refused:
        dispatch(a_shipment(), *tracking, NOW)
    assert refused.value.code is Code.BAD_INPUT


def test_tracking_that_contradicts_the_label_is_refused() -> None:
    labelled = a_shipment(S.LABELLED, L.BOUGHT)
    with pytest.raises(Refusal) as refused:
        dispatch(labelled, "UPS", "1Z7", NOW)
    assert refused.value.code is Code.BAD_INPUT
    assert dispatch(labelled, labelled.carrier, labelled.tracking_number, NOW).shipment.status is S.DISPATCHED


def test_a_dispatched_shipment_does_not_change_its_tracking() -> None:
    gone = a_shipment(S.DISPATCHED, L.NONE)
    assert_refused(gone, lambda: dispatch(gone, "UPS", "1Z7", NOW))


def test_a_void_shipment_says_what_comes_back() -> None:
    decision = void(a_shipment(S.LABELLED, L.REFUNDED), NOW, refunded_cost=566)
    assert decision.facts[0].model_dump()["refunded_cost"] == 566


def assert_refused(shipment: Shipment, command: object) -> None:
    assert callable(command)
    with pytest.raises(Refusal) as refused:
        command()
    assert refused.value.code is Code.INVALID_TRANSITION
    assert refused.value.details == {"status": shipment.status, "allowed": list(allowed(shipment))}
