"""Consignments and shipments, and how facts and staff move them. Pure: no I/O, no clock, ids come in.

A shipment has two axes. Its *status* says where the parcel is; its *label* says what we hold at the provider. Facts are never
refused, and a repeat changes nothing; commands may be refused, with the statuses that are allowed instead.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from shared.contracts import orders, shipping
from shared.errors import Code, Refusal


class ShipmentStatus(StrEnum):
    """FAILED: no label could be bought (it may be asked for again), or the carrier could not deliver."""

    PREPARED = "PREPARED"
    LABELLED = "LABELLED"
    DISPATCHED = "DISPATCHED"
    DELIVERED = "DELIVERED"
    RETURNED = "RETURNED"
    FAILED = "FAILED"
    VOIDED = "VOIDED"


class LabelStage(StrEnum):
    """REQUESTED and RATED (its rate is fixed) are on the way to BOUGHT, REFUNDING is on the way to REFUNDED."""

    NONE = "NONE"
    REQUESTED = "REQUESTED"
    RATED = "RATED"
    BOUGHT = "BOUGHT"
    REFUNDING = "REFUNDING"
    REFUNDED = "REFUNDED"
    FAILED = "FAILED"


UNDER_WAY = frozenset({LabelStage.REQUESTED, LabelStage.RATED})


class StaffCase(StrEnum):
    """Why a person has to look at a shipment."""

    CANCELLED_AFTER_DISPATCH = "cancelled_after_dispatch"
    ADDRESS_CHANGED_AFTER_DISPATCH = "address_changed_after_dispatch"
    LABEL_REFUND_REFUSED = "label_refund_refused"
    SCANNED_AFTER_VOID = "scanned_after_void"


class Work(StrEnum):
    """What the worker does at the provider: the kinds of its jobs."""

    RATE = "shippo.rate_shipment"
    BUY = "shippo.buy_label"
    REFUND = "shippo.refund_label"
    FOLLOW = "shippo.register_track"


@dataclass(frozen=True, slots=True)
class Line:
    """`line` is its number within the order, `quantity` what is still wanted; `weight_grams` is for one piece."""

    line: int
    quantity: int
    weight_grams: int


@dataclass(frozen=True, slots=True)
class LineQuantity:
    line: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A carrier's scan: when (UTC), Shippo's tracking status, the carrier's words, and where."""

    time: datetime
    status: str
    message: str
    location: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing of the order may go out, until the order is released from it."""

    id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Consignment:
    """One order, as far as shipping needs it; its row is the lock of all that concerns the order.

    `shipping_rate_id` is the carrier's offer that the shopper took, until a label is bought by it or it no longer fits;
    `shipping_service` is the service of that offer. `holds` are the open ones; `released` are those that are over, also of holds that were not heard of yet.
    """

    order_id: UUID
    version: int
    order_number: str
    customer_id: UUID
    partner_id: str | None
    currency: str
    address: dict[str, Any]
    lines: tuple[Line, ...]
    placed_at: datetime
    paid_at: datetime | None = None
    cancelled_at: datetime | None = None
    shipping_rate_id: str | None = None
    shipping_service: str | None = None
    holds: tuple[Hold, ...] = ()
    released: tuple[UUID, ...] = ()

    @property
    def destination(self) -> orders.Address:
        return orders.Address.model_validate(self.address)

    def offer_for(self, shipment: "Shipment") -> str | None:
        """The offer that the shopper took, if it is for all that is in this shipment and nobody wants another service."""
        wanted = {(line.line, line.quantity) for line in self.lines if line.quantity}
        is_whole = wanted == {(line.line, line.quantity) for line in shipment.lines}
        as_chosen = shipment.asked_service in (None, self.shipping_service)
        return self.shipping_rate_id if is_whole and as_chosen else None

    def weight_of(self, lines: Iterable[LineQuantity]) -> int:
        """In grams; carriers take nothing that weighs nothing."""
        grams = {line.line: line.weight_grams for line in self.lines}
        return max(1, sum(line.quantity * grams.get(line.line, 0) for line in lines))


@dataclass(frozen=True, slots=True)
class Shipment:
    """One parcel. `cost` is its label's, in minor units of `currency`; `provider_shipment_id` is what its rate was made for."""

    id: UUID
    version: int
    order_id: UUID
    customer_id: UUID
    partner_id: str | None
    status: ShipmentStatus
    lines: tuple[LineQuantity, ...]
    label: LabelStage
    prepared_at: datetime
    asked_service: str | None = None
    rate_id: str | None = None
    rated_at: datetime | None = None
    transaction_id: str | None = None
    carrier: str | None = None
    service: str | None = None
    cost: int | None = None
    currency: str | None = None
    tracking_number: str | None = None
    tracking_url: str | None = None
    label_url: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    staff_case: StaffCase | None = None
    failure_reason: str | None = None
    labelled_at: datetime | None = None
    dispatched_at: datetime | None = None
    delivered_at: datetime | None = None
    returned_at: datetime | None = None
    failed_at: datetime | None = None
    voided_at: datetime | None = None
    provider_shipment_id: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Work to ask of the provider; a `dedupe` that was asked before asks for nothing."""

    work: Work
    payload: dict[str, Any]
    dedupe: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The shipment as it is now, what to say about it, and what to ask of the provider."""

    shipment: Shipment
    facts: tuple[shipping.ShipmentFact, ...] = ()
    requests: tuple[Request, ...] = ()


def about(shipment: Shipment) -> dict[str, Any]:
    """What every fact about this shipment carries."""
    lines = tuple(orders.LineQuantity(line=line.line, quantity=line.quantity) for line in shipment.lines)
    return {"order_id": shipment.order_id, "shipment_id": shipment.id, "lines": lines}


def dispatched_fact(shipment: Shipment, at: datetime) -> shipping.ShipmentDispatched:
    return shipping.ShipmentDispatched(
        **about(shipment),
        carrier=shipment.carrier or "",
        tracking_number=shipment.tracking_number or "",
        tracking_url=shipment.tracking_url,
        dispatched_at=at,
    )


def allowed(shipment: Shipment) -> tuple[ShipmentStatus, ...]:
    """What staff may make of it now. While the provider is at work on its label, nothing."""
    if shipment.label in UNDER_WAY or shipment.label is LabelStage.REFUNDING:
        return ()
    if shipment.status is ShipmentStatus.LABELLED:
        return (ShipmentStatus.DISPATCHED, ShipmentStatus.VOIDED)
    here = shipment.status in (ShipmentStatus.PREPARED, ShipmentStatus.FAILED)
    if here and shipment.dispatched_at is None:
        return (ShipmentStatus.LABELLED, ShipmentStatus.DISPATCHED)
    return ()


def refusal(shipment: Shipment, target: ShipmentStatus, why: str = "") -> Refusal:
    sentence = f"A shipment that is {shipment.status} cannot become {target} now"
    return Refusal(
        Code.INVALID_TRANSITION,
        f"{sentence}: {why}" if why else sentence,
        status=shipment.status,
        allowed=list(allowed(shipment)),
    )


def unless_held(consignment: Consignment, shipment: Shipment, decision: Decision) -> Decision:
    """The decision; a repeat changes nothing, so it is answered. Raises Refusal ON_HOLD."""
    if consignment.holds and decision != Decision(shipment):
        reason = consignment.holds[0].reason
        raise Refusal(Code.ON_HOLD, f"The order is on hold: {reason}", reason=reason)
    return decision


def prepare(
    consignment: Consignment, lines: Iterable[LineQuantity], shipment_id: UUID, now: datetime
) -> Decision:
    """A new shipment of these lines."""
    shipment = Shipment(
        id=shipment_id,
        version=1,
        order_id=consignment.order_id,
        customer_id=consignment.customer_id,
        partner_id=consignment.partner_id,
        status=ShipmentStatus.PREPARED,
        lines=tuple(lines),
        label=LabelStage.NONE,
        prepared_at=now,
    )
    return Decision(shipment, (shipping.ShipmentPrepared(**about(shipment)),))


def cancel(shipment: Shipment, now: datetime) -> Decision:
    """The order was cancelled. What has no label is void; a label goes back first; what is on its way is staff's case.

    A label that is being bought at this moment is given back when its purchase is recorded.
    """
    match shipment.status:
        case ShipmentStatus.VOIDED | ShipmentStatus.RETURNED:
            return Decision(shipment)
        case ShipmentStatus.LABELLED:
            return give_label_back(shipment)
        case _ if shipment.dispatched_at is not None:
            return Decision(replace(shipment, staff_case=StaffCase.CANCELLED_AFTER_DISPATCH))
        case _:
            return void(shipment, now)


def void(shipment: Shipment, now: datetime, refunded_cost: int = 0) -> Decision:
    voided = replace(shipment, status=ShipmentStatus.VOIDED, voided_at=now)
    fact = shipping.ShipmentVoided(**about(voided), refunded_cost=refunded_cost, voided_at=now)
    return Decision(voided, (fact,))


def give_label_back(shipment: Shipment) -> Decision:
    """Its label, held since it was bought, goes back to the provider; the outcome decides the rest."""
    if shipment.label is not LabelStage.BOUGHT:
        return Decision(shipment)
    payload = {"shipment_id": str(shipment.id), "transaction_id": shipment.transaction_id}
    returning = replace(shipment, label=LabelStage.REFUNDING, staff_case=None)
    return Decision(returning, (), (Request(Work.REFUND, payload),))


def ask_to_void(shipment: Shipment) -> Decision:
    """Staff's wish to give the label back. Raises Refusal INVALID_TRANSITION."""
    repeated = shipment.status is ShipmentStatus.VOIDED or shipment.label is LabelStage.REFUNDING
    if repeated:
        return Decision(shipment)
    if ShipmentStatus.VOIDED not in allowed(shipment):
        raise refusal(shipment, ShipmentStatus.VOIDED)
    return give_label_back(shipment)


def dispatch(shipment: Shipment, carrier: str | None, tracking_number: str | None, now: datetime) -> Decision:
    """Staff's word that the courier has it: with our label, or with the tracking number of a label bought elsewhere.

    Raises Refusal: INVALID_TRANSITION, or BAD_INPUT where tracking is missing or contradicts the label's.
    """
    given = (carrier or shipment.carrier, tracking_number or shipment.tracking_number)
    same = given == (shipment.carrier, shipment.tracking_number)
    if shipment.status is ShipmentStatus.DISPATCHED and same:
        return Decision(shipment)
    if ShipmentStatus.DISPATCHED not in allowed(shipment):
        raise refusal(shipment, ShipmentStatus.DISPATCHED)
    if shipment.status is ShipmentStatus.LABELLED and not same:
        raise Refusal(
            Code.BAD_INPUT, "The shipment has a label, with a carrier and a tracking number of its own"
        )
    by_hand = shipment.status is not ShipmentStatus.LABELLED
    if by_hand and not (carrier and tracking_number):
        raise Refusal(Code.BAD_INPUT, "Without a label, carrier and trackingNumber say how it travels")
    gone = replace(
        shipment,
        status=ShipmentStatus.DISPATCHED,
        carrier=given[0],
        tracking_number=given[1],
        dispatched_at=now,
        failed_at=None,
        failure_reason=None,
    )
    requests = (Request(Work.FOLLOW, {"shipment_id": str(gone.id)}),) if by_hand else ()
    return Decision(gone, (dispatched_fact(gone, now),), requests)
