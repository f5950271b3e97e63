"""A label's way from wish to paper and back, decided from what the provider answered. Pure, like `domain`.

Shippo's purchases carry no idempotency key, so a purchase is two committed steps: first a rate is fixed on the row, then that
rate is bought. Whatever becomes of a purchase, it can be found again by its rate; what was bought once too often goes back.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.contracts import shipping
from shipping import domain
from shipping.domain import (
    UNDER_WAY,
    Decision,
    LabelStage,
    Request,
    Shipment,
    ShipmentStatus,
    StaffCase,
    Work,
    about,
)

RATES_LIVE = timedelta(days=6, hours=12)
"""Shippo sells a rate for seven days; an older one is asked for anew."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A price that can be bought; `cost` in minor units of `currency`, `days` of transit, made at `made_at` (None: just now).

    `shipment_id` is the provider's: what it was made for.
    """

    rate_id: str
    carrier: str
    service: str
    cost: int
    currency: str
    days: int | None = None
    made_at: datetime | None = None
    shipment_id: str | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A bought label. `surplus` are the transactions of others that were bought with the same rate."""

    transaction_id: str
    rate_id: str
    tracking_number: str
    tracking_url: str | None
    label_url: str | None
    surplus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider's definite no, in its own words."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotOffered:
    """No carrier sells the service that was asked for; the reason tells those that are sold."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refunded:
    """The provider takes the label back."""


def ask(shipment: Shipment, service: str | None) -> Decision:
    """Staff's wish for a label, of `service` or the cheapest. Asking again never buys again.

    Raises Refusal INVALID_TRANSITION; also when a label of another service is there or under way.
    """
    status, label = shipment.status, shipment.label
    under_way = status is ShipmentStatus.PREPARED and label in UNDER_WAY
    there = status is ShipmentStatus.LABELLED and label is LabelStage.BOUGHT
    if under_way or there:
        if service in (None, shipment.asked_service):
            return Decision(shipment)
        raise domain.refusal(
            shipment, ShipmentStatus.LABELLED, "it has another label, or one is being bought"
        )
    if ShipmentStatus.LABELLED not in domain.allowed(shipment):
        raise domain.refusal(shipment, ShipmentStatus.LABELLED)
    asked = replace(shipment, asked_service=service, failure_reason=None, failed_at=None)
    return _rate_anew(replace(asked, status=ShipmentStatus.PREPARED))


def rated(shipment: Shipment, rate: Rate, now: datetime) -> Decision:
    """The rate is fixed on the row, so that its purchase can be found again; then it is bought."""
    if shipment.label is not LabelStage.REQUESTED:
        return Decision(shipment)
    if shipment.status is ShipmentStatus.VOIDED:
        return Decision(replace(shipment, label=LabelStage.NONE))
    chosen = replace(
        shipment,
        label=LabelStage.RATED,
        rate_id=rate.rate_id,
        rated_at=rate.made_at or now,
        provider_shipment_id=rate.shipment_id,
        carrier=rate.carrier,
        service=rate.service,
        cost=rate.cost,
        currency=rate.currency,
    )
    payload = {"shipment_id": str(shipment.id), "rate_id": rate.rate_id}
    return Decision(chosen, (), (Request(Work.BUY, payload),))


def expired(shipment: Shipment, rate_id: str) -> Decision:
    """The fixed rate can no longer be bought, and was not."""
    if shipment.label is not LabelStage.RATED or shipment.rate_id != rate_id:
        return Decision(shipment)
    return _rate_anew(shipment)


def given_up(shipment: Shipment) -> Decision:
    """Nobody wants the label any more, and none was bought."""
    unwanted = shipment.status is ShipmentStatus.VOIDED and shipment.label in UNDER_WAY
    return Decision(replace(shipment, label=LabelStage.NONE) if unwanted else shipment)


def held(shipment: Shipment) -> Decision:
    """The order was put on hold before anything was bought: staff ask again when it is released."""
    if shipment.label not in UNDER_WAY:
        return Decision(shipment)
    return Decision(replace(shipment, label=LabelStage.NONE, rate_id=None, rated_at=None))


def failed(shipment: Shipment, reason: str, now: datetime) -> Decision:
    """No label, for good: staff may ask again."""
    if shipment.status is ShipmentStatus.VOIDED or shipment.label not in UNDER_WAY:
        return given_up(shipment)
    without = replace(
        shipment,
        status=ShipmentStatus.FAILED,
        label=LabelStage.FAILED,
        failure_reason=reason,
        failed_at=now,
        carrier=None,
        service=None,
        cost=None,
        currency=None,
    )
    return Decision(without, (shipping.ShipmentFailed(**about(without), reason=reason, failed_at=now),))


def not_offered(shipment: Shipment, reason: str) -> Decision:
    """Nothing happened to the parcel: it stays PREPARED, and its reason says which services staff may ask for."""
    if shipment.status is ShipmentStatus.VOIDED or shipment.label is not LabelStage.REQUESTED:
        return given_up(shipment)
    return Decision(replace(shipment, label=LabelStage.FAILED, failure_reason=reason))


def bought(shipment: Shipment, label: Label, now: datetime) -> Decision:
    """By the worker's call, its look, or the webhook: the first one counts, a repeat changes nothing, a surplus goes back."""
    extra = tuple(_surplus(shipment, other) for other in label.surplus if other != shipment.transaction_id)
    if shipment.transaction_id == label.transaction_id:
        return Decision(shipment, (), extra)
    if shipment.label is not LabelStage.RATED or shipment.rate_id != label.rate_id:
        return Decision(shipment, (), (*extra, _surplus(shipment, label.transaction_id)))
    with_label = replace(
        shipment,
        label=LabelStage.BOUGHT,
        transaction_id=label.transaction_id,
        tracking_number=label.tracking_number,
        tracking_url=label.tracking_url,
        label_url=label.label_url,
        labelled_at=now,
    )
    if shipment.status is ShipmentStatus.VOIDED:
        returning = domain.give_label_back(with_label)
        return replace(returning, requests=(*extra, *returning.requests))
    labelled = replace(with_label, status=ShipmentStatus.LABELLED)
    return Decision(labelled, (_labelled_fact(labelled, now),), extra)


def refunded(shipment: Shipment, transaction_id: str, now: datetime) -> Decision:
    """The label went back. A shipment that waited for that is void; a surplus label's return changes nothing."""
    if shipment.transaction_id != transaction_id or shipment.label is not LabelStage.REFUNDING:
        return Decision(shipment)
    returned = replace(shipment, label=LabelStage.REFUNDED)
    if shipment.status is ShipmentStatus.LABELLED:
        return domain.void(returned, now, refunded_cost=shipment.cost or 0)
    if shipment.dispatched_at is not None:
        returned = replace(returned, staff_case=shipment.staff_case or StaffCase.SCANNED_AFTER_VOID)
    return Decision(returned)


def refund_refused(shipment: Shipment, transaction_id: str) -> Decision:
    """The provider keeps the money, at once or on second thoughts: the label is ours, and a person has to look.

    Unless it travels after all: then it was needed.
    """
    given_back = shipment.label in (LabelStage.REFUNDING, LabelStage.REFUNDED)
    if shipment.transaction_id != transaction_id or not given_back:
        return Decision(shipment)
    case = shipment.staff_case if shipment.dispatched_at else StaffCase.LABEL_REFUND_REFUSED
    return Decision(replace(shipment, label=LabelStage.BOUGHT, staff_case=case))


def _rate_anew(shipment: Shipment) -> Decision:
    requested = replace(shipment, label=LabelStage.REQUESTED, rate_id=None, rated_at=None)
    return Decision(requested, (), (Request(Work.RATE, {"shipment_id": str(shipment.id)}),))


def _surplus(shipment: Shipment, transaction_id: str) -> Request:
    payload = {"shipment_id": str(shipment.id), "transaction_id": transaction_id}
    return Request(Work.REFUND, payload, dedupe=f"surplus:{transaction_id}")


def _labelled_fact(shipment: Shipment, now: datetime) -> shipping.ShipmentLabelled:
    return shipping.ShipmentLabelled(
        **about(shipment),
        carrier=shipment.carrier or "",
        service=shipment.service or "",
        tracking_number=shipment.tracking_number or "",
        tracking_url=shipment.tracking_url,
        label_url=shipment.label_url,
        cost=shipment.cost or 0,
        currency=shipment.currency or "",
        labelled_at=now,
        provider_shipment_id=shipment.provider_shipment_id,
        provider_rate_id=shipment.rate_id,
    )
