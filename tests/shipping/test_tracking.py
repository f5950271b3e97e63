"""Scans by rank: every status against every scan, and every order in which scans can come."""

import itertools
from datetime import timedelta

import pytest

from shipping.domain import Checkpoint, LabelStage, Shipment, ShipmentStatus, StaffCase
from shipping.tracking import MAX_CHECKPOINTS, RANK, REACHES, Scan, TrackingStatus, steps, track
from support.shipments import NOW, a_shipment

S, T = ShipmentStatus, TrackingStatus
NOTHING = {T.UNKNOWN: (), T.PRE_TRANSIT: ()}
EXPECTED: dict[ShipmentStatus, dict[TrackingStatus, tuple[ShipmentStatus, ...]]] = {
    S.PREPARED: {
        T.TRANSIT: (S.DISPATCHED,),
        T.FAILURE: (S.DISPATCHED, S.FAILED),
        T.DELIVERED: (S.DISPATCHED, S.DELIVERED),
        T.RETURNED: (S.DISPATCHED, S.RETURNED),
    },
    S.LABELLED: {
        T.TRANSIT: (S.DISPATCHED,),
        T.FAILURE: (S.DISPATCHED, S.FAILED),
        T.DELIVERED: (S.DISPATCHED, S.DELIVERED),
        T.RETURNED: (S.DISPATCHED, S.RETURNED),
    },
    S.DISPATCHED: {
        T.TRANSIT: (),
        T.FAILURE: (S.FAILED,),
        T.DELIVERED: (S.DELIVERED,),
        T.RETURNED: (S.RETURNED,),
    },
    S.FAILED: {T.TRANSIT: (), T.FAILURE: (), T.DELIVERED: (S.DELIVERED,), T.RETURNED: (S.RETURNED,)},
    S.DELIVERED: {T.TRANSIT: (), T.FAILURE: (), T.DELIVERED: (), T.RETURNED: (S.RETURNED,)},
    S.RETURNED: {T.TRANSIT: (), T.FAILURE: (), T.DELIVERED: (), T.RETURNED: ()},
    S.VOIDED: {T.TRANSIT: (), T.FAILURE: (), T.DELIVERED: (), T.RETURNED: ()},
}


def seen(status: TrackingStatus, minutes: int = 0, message: str = "scanned") -> Scan:
    return Scan(status, (Checkpoint(NOW + timedelta(minutes=minutes), status, message, "Chicago, IL, US"),))


def labelled() -> Shipment:
    return a_shipment(S.LABELLED, LabelStage.BOUGHT)


def test_the_tables_are_total() -> None:
    assert set(REACHES) == set(T)
    assert set(RANK) == set(S)


@pytest.mark.parametrize("status", S)
@pytest.mark.parametrize("tracking", T)
def test_a_scan_adds_the_expected_steps(status: ShipmentStatus, tracking: TrackingStatus) -> None:
    assert steps(status, tracking) == (NOTHING | EXPECTED[status])[tracking]


@pytest.mark.parametrize("first", T)
def test_in_whatever_order_scans_come_each_step_is_said_once_and_upwards(first: TrackingStatus) -> None:
    for others in itertools.product(T, repeat=3):
        assert_said_once_and_upwards((first, *others))


def assert_said_once_and_upwards(order: tuple[TrackingStatus, ...]) -> None:
    shipment, said = labelled(), []
    for minutes, status in enumerate(order):
        decision = track(shipment, seen(status, minutes), NOW + timedelta(hours=1), cancelled=False)
        shipment = decision.shipment
        said += [fact.type for fact in decision.facts]
    reached = {REACHES[status] for status in order} - {None}
    ranks = [RANK[S(kind.removeprefix("shipment.").upper())] for kind in said]
    assert ranks == sorted(set(ranks)), order
    assert ("shipment.dispatched" in said) == bool(reached), order
    assert RANK[shipment.status] == max([1, *(RANK[status] for status in reached if status)]), order
    assert len(shipment.checkpoints) == len(order)


def test_a_delivery_before_the_first_transit_says_both_with_the_carriers_times() -> None:
    history = (*seen(T.TRANSIT, 5).history, *seen(T.DELIVERED, 90).history)
    decision = track(labelled(), Scan(T.DELIVERED, history), NOW + timedelta(hours=3), cancelled=False)
    assert [fact.type for fact in decision.facts] == ["shipment.dispatched", "shipment.delivered"]
    assert decision.shipment.dispatched_at == NOW + timedelta(minutes=5)
    assert decision.shipment.delivered_at == NOW + timedelta(minutes=90)


def test_a_carriers_clock_ahead_of_ours_dates_nothing_into_the_future() -> None:
    decision = track(labelled(), seen(T.TRANSIT, 5), NOW, cancelled=False)
    assert decision.shipment.dispatched_at == NOW


def test_a_failure_carries_the_carriers_words() -> None:
    decision = track(labelled(), seen(T.FAILURE, message="Address does not exist"), NOW, cancelled=False)
    assert decision.shipment.failure_reason == "Address does not exist"
    assert decision.facts[-1].model_dump()["reason"] == "Address does not exist"


def test_checkpoints_are_kept_once_in_order_and_only_the_newest() -> None:
    shipment = labelled()
    for minutes in reversed(range(MAX_CHECKPOINTS + 10)):
        for _ in range(2):
            shipment = track(shipment, seen(T.TRANSIT, minutes), NOW, cancelled=False).shipment
    times = [checkpoint.time for checkpoint in shipment.checkpoints]
    assert len(times) == len(set(times)) == MAX_CHECKPOINTS
    assert times == sorted(times)
    assert times[-1] == NOW + timedelta(minutes=MAX_CHECKPOINTS + 9)


def test_a_parcel_of_a_cancelled_order_that_leaves_all_the_same_is_a_staff_case() -> None:
    before, after = (
        track(labelled(), seen(status), NOW, cancelled=True) for status in (T.PRE_TRANSIT, T.TRANSIT)
    )
    assert before.shipment.staff_case is None
    assert after.shipment.staff_case is StaffCase.CANCELLED_AFTER_DISPATCH
    assert [fact.type for fact in after.facts] == ["shipment.dispatched"]


def test_a_void_shipment_that_is_scanned_stays_void_and_is_a_staff_case() -> None:
    void = a_shipment(S.VOIDED, LabelStage.REFUNDED)
    decision = track(void, seen(T.TRANSIT), NOW, cancelled=True)
    assert (decision.shipment.status, decision.facts) == (S.VOIDED, ())
    assert decision.shipment.staff_case is StaffCase.SCANNED_AFTER_VOID
    assert track(void, seen(T.PRE_TRANSIT), NOW, cancelled=True).shipment.staff_case is None


def test_what_has_no_tracking_number_cannot_be_scanned() -> None:
    shipment = a_shipment(S.PREPARED)
    assert track(shipment, seen(T.TRANSIT), NOW, cancelled=False).shipment is shipment


def test_a_status_that_shippo_adds_one_day_moves_nothing() -> None:
    assert TrackingStatus("LOST_IN_SPACE") is T.UNKNOWN
