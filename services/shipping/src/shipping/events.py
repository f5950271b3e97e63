"""Shippo's events: what is kept of one (no address, no name), and what it makes of a shipment.

They come twice, late, out of order, and for everything in the account: what is none of ours is ignored.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from shared.jobs import Job
from shared.tx import Tx
from shipping import labels
from shipping.domain import UNDER_WAY, Checkpoint, Decision, Shipment
from shipping.labels import Label
from shipping.provider import Unknown, label_of
from shipping.store import CONSIGNMENTS, apply, pick
from shipping.tracking import MAX_CHECKPOINTS, Scan, TrackingStatus, track

KIND = "shippo.event"
"""The kind of the local jobs that apply stored events."""
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_METADATA = re.compile(rf"\bordermesh:({_UUID}) order:({_UUID})\b")


class Kept(BaseModel):
    """A part of an event; fields that it does not name are dropped."""

    model_config = ConfigDict(frozen=True)


class Place(Kept):
    city: str | None = None
    state: str | None = None
    country: str | None = None


class TrackingPoint(Kept):
    """One line of a tracking page."""

    status: TrackingStatus
    status_details: str | None = None
    status_date: datetime | None = None
    location: Place | None = None

    def checkpoint(self) -> Checkpoint | None:
        if self.status_date is None:
            return None
        at = self.status_date if self.status_date.tzinfo else self.status_date.replace(tzinfo=UTC)
        place = self.location or Place()
        where = ", ".join(filter(None, (place.city, place.state, place.country)))
        return Checkpoint(at, self.status, (self.status_details or "")[:300], where[:100])


class Track(Kept):
    """A parcel's tracking page."""

    tracking_number: str
    transaction: str | None = None
    metadata: str | None = None
    tracking_status: TrackingPoint | None = None
    tracking_history: Annotated[
        tuple[TrackingPoint, ...], AfterValidator(lambda points: points[-MAX_CHECKPOINTS:])
    ] = ()

    def scan(self) -> Scan:
        now = self.tracking_status or TrackingPoint(status=TrackingStatus.UNKNOWN)
        points = (*self.tracking_history, now)
        checkpoints = dict.fromkeys(filter(None, (point.checkpoint() for point in points)))
        return Scan(now.status, tuple(checkpoints))


class Transaction(Kept):
    """The purchase of a label. `rate` is shown as its id or whole."""

    object_id: str
    object_created: str
    object_updated: str | None = None
    status: str
    rate: str | dict[str, Any]
    metadata: str | None = None
    tracking_number: str | None = None
    tracking_url_provider: str | None = None
    label_url: str | None = None


class TrackUpdated(Kept):
    event: Literal["track_updated"]
    test: bool = False
    data: Track

    def identity(self) -> tuple[object, ...]:
        now = self.data.tracking_status
        parcel = self.data.transaction or self.data.tracking_number
        return (parcel, now.status, now.status_date) if now else (parcel,)

    def decide(self, shipment: Shipment, now: datetime, *, cancelled: bool) -> Decision:
        """Raises Unknown while the purchase of the scanned label is not recorded."""
        if shipment.transaction_id is None and shipment.label in UNDER_WAY:
            raise Unknown("the label's purchase is not recorded yet")
        other_label = shipment.transaction_id and self.data.transaction not in (None, shipment.transaction_id)
        if other_label or self.data.tracking_number != shipment.tracking_number:
            return Decision(shipment)  # a surplus label's, which goes back
        return track(shipment, self.data.scan(), now, cancelled=cancelled)


class TransactionChanged(Kept):
    event: Literal["transaction_created", "transaction_updated"]
    test: bool = False
    data: Transaction

    def identity(self) -> tuple[object, ...]:
        return (self.data.object_id, self.data.status, self.data.object_updated)

    def decide(self, shipment: Shipment, now: datetime, *, cancelled: bool) -> Decision:  # noqa: ARG002 - as above
        """A label that is there counts as bought, whoever hears of it first; a refund may be taken back later."""
        if self.data.status == "REFUNDREJECTED":
            return labels.refund_refused(shipment, self.data.object_id)
        if self.data.status != "SUCCESS":
            return Decision(shipment)
        found = label_of([self.data.model_dump()])
        return labels.bought(shipment, found, now) if isinstance(found, Label) else Decision(shipment)


Event = TrackUpdated | TransactionChanged
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
_HEARD = frozenset({"track_updated", "transaction_created", "transaction_updated"})


def parse(body: bytes) -> Event | None:
    """A webhook's body; None for an event that we do nothing about. Raises ValueError."""
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the body is no object")  # noqa: TRY004 - the caller's one error for a bad body
    return _EVENTS.validate_python(document) if document.get("event") in _HEARD else None


def dedupe_of(event: Event) -> str:
    """The same for the same news sent again."""
    return f"shippo:{hashlib.sha256(repr((event.event, *event.identity())).encode()).hexdigest()}"


def names_of(event: Event) -> tuple[UUID, UUID] | None:
    """The shipment and the order that our metadata names."""
    found = _METADATA.search(event.data.metadata or "")
    return (UUID(found[1]), UUID(found[2])) if found else None


async def record(job: Job, tx: Tx) -> None:
    """Apply a stored event to the shipment that it names, or that travels under its number."""
    event = _EVENTS.validate_python(job.payload)
    names = names_of(event)
    consignment = tx.find(CONSIGNMENTS, job.key)
    shipment = pick(tx, job.key, shipment_id=names[0] if names else None, number=event.data.tracking_number)
    if consignment is not None and shipment is not None:
        apply(tx, event.decide(shipment, tx.now, cancelled=consignment.cancelled_at is not None))
