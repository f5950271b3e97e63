"""What carriers' scans make of a shipment. They come twice, late and out of order, so they are applied by rank. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.contracts import shipping
from shipping.domain import (
    Checkpoint,
    Decision,
    Shipment,
    ShipmentStatus,
    StaffCase,
    about,
    dispatched_fact,
)

MAX_CHECKPOINTS = 50


class TrackingStatus(StrEnum):
    """Shippo's. Source: docs.goshippo.com/docs/tracking/tracking."""

    UNKNOWN = "UNKNOWN"
    PRE_TRANSIT = "PRE_TRANSIT"
    TRANSIT = "TRANSIT"
    DELIVERED = "DELIVERED"
    RETURNED = "RETURNED"
    FAILURE = "FAILURE"

    @classmethod
    def _missing_(cls, value: object) -> "TrackingStatus":  # noqa: ARG003 - enum's own signature
        """A status that Shippo adds one day moves nothing."""
        return cls.UNKNOWN


REACHES: dict[TrackingStatus, ShipmentStatus | None] = {
    TrackingStatus.UNKNOWN: None,
    TrackingStatus.PRE_TRANSIT: None,
    TrackingStatus.TRANSIT: ShipmentStatus.DISPATCHED,
    TrackingStatus.FAILURE: ShipmentStatus.FAILED,
    TrackingStatus.DELIVERED: ShipmentStatus.DELIVERED,
    TrackingStatus.RETURNED: ShipmentStatus.RETURNED,
}
RANK: dict[ShipmentStatus, int] = {
    ShipmentStatus.PREPARED: 0,
    ShipmentStatus.LABELLED: 1,
    ShipmentStatus.DISPATCHED: 2,
    ShipmentStatus.FAILED: 3,
    ShipmentStatus.DELIVERED: 4,
    ShipmentStatus.RETURNED: 5,
    ShipmentStatus.VOIDED: 6,
}
"""A scan only ever moves a shipment up. A carrier's FAILURE may still end in a delivery; what is void stays void."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A tracking event: the parcel's present status, and the carrier's history so far, oldest first."""

    status: TrackingStatus
    history: tuple[Checkpoint, ...]


def steps(status: ShipmentStatus, tracking: TrackingStatus) -> tuple[ShipmentStatus, ...]:
    """The statuses that the scan adds, in order: whoever scans a parcel beyond PRE_TRANSIT was handed it before."""
    target = REACHES[tracking]
    if target is None or RANK[target] <= RANK[status]:
        return ()
    handed_over = RANK[status] >= RANK[ShipmentStatus.DISPATCHED] or target is ShipmentStatus.DISPATCHED
    return (target,) if handed_over else (ShipmentStatus.DISPATCHED, target)


def track(shipment: Shipment, scan: Scan, now: datetime, *, cancelled: bool) -> Decision:
    """`cancelled`: the shipment's order is; a parcel that leaves all the same is a case for staff."""
    if shipment.tracking_number is None:
        return Decision(shipment)
    decision = Decision(replace(shipment, checkpoints=_merged(shipment.checkpoints, scan.history)))
    if shipment.status is ShipmentStatus.VOIDED and REACHES[scan.status] is not None:
        return replace(decision, shipment=replace(decision.shipment, staff_case=StaffCase.SCANNED_AFTER_VOID))
    for step in steps(shipment.status, scan.status):
        decision = _reach(decision, step, scan, now)
    if cancelled and shipment.dispatched_at is None and decision.shipment.dispatched_at is not None:
        flagged = replace(decision.shipment, staff_case=StaffCase.CANCELLED_AFTER_DISPATCH)
        decision = replace(decision, shipment=flagged)
    return decision


def _reach(decision: Decision, step: ShipmentStatus, scan: Scan, now: datetime) -> Decision:
    at, shipment = _time_of(step, scan.history, now), replace(decision.shipment, status=step)
    fact: shipping.ShipmentFact
    match step:
        case ShipmentStatus.DISPATCHED:
            shipment = replace(shipment, dispatched_at=at)
            fact = dispatched_fact(shipment, at)
        case ShipmentStatus.DELIVERED:
            shipment = replace(shipment, delivered_at=at, failed_at=None, failure_reason=None)
            fact = shipping.ShipmentDelivered(**about(shipment), delivered_at=at)
        case ShipmentStatus.RETURNED:
            shipment = replace(shipment, returned_at=at, failed_at=None, failure_reason=None)
            fact = shipping.ShipmentReturned(**about(shipment), returned_at=at)
        case _:
            reason = scan.history[-1].message if scan.history else "The carrier could not deliver it"
            shipment = replace(shipment, failed_at=at, failure_reason=reason)
            fact = shipping.ShipmentFailed(**about(shipment), reason=reason, failed_at=at)
    return Decision(shipment, (*decision.facts, fact))


def _time_of(step: ShipmentStatus, history: Iterable[Checkpoint], now: datetime) -> datetime:
    """The carrier's first scan that says so, else now."""
    return min(
        (scan.time for scan in history if REACHES[TrackingStatus(scan.status)] is step and scan.time <= now),
        default=now,
    )


def _merged(known: Iterable[Checkpoint], news: Iterable[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Every scan once, oldest first, the newest of them if there are too many."""
    every = {(scan.time, scan.status, scan.message): scan for scan in (*known, *news)}
    return tuple(every[key] for key in sorted(every))[-MAX_CHECKPOINTS:]
