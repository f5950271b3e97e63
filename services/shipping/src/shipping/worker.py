"""The provider work of shipping, each kind in two halves: the call (no transaction held) and what is recorded of it.

A purchase whose outcome is unknown is looked for by its rate. It is repeated only after two looks, some time apart, that saw
nothing: Shippo has no idempotency key, and a request may still be on its way.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from shared.db import Database
from shared.jobs import Job, Jobs
from shared.tx import Tx
from shipping import changes, domain, events, labels
from shipping.domain import LabelStage, Shipment, ShipmentStatus, Work
from shipping.labels import Label, NotOffered, Rate, Refunded, Refused
from shipping.provider import Shippo
from shipping.settings import Settings
from shipping.store import CONSIGNMENTS, SHIPMENTS, apply, load

log = structlog.get_logger(__name__)

LOOKS = 2
"""So many empty looks, one after the other, before a rate is bought again."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Shippo shows no label for the rate; `looks` times so far."""

    looks: int


@dataclass(frozen=True, slots=True)
class Unwanted:
    """The shipment no longer asks for this; nothing was called."""


@dataclass(frozen=True, slots=True)
class OnHold:
    """The order must not go out; nothing was called."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The fixed rate is too old to be bought; it was not."""


Rated = Rate | Refused | NotOffered | Unwanted | OnHold
Bought = Label | Refused | Unseen | Unwanted | OnHold | Expired


class Calls:
    """What is asked of Shippo, as the rows stand when a job is run."""

    def __init__(self, provider: Shippo, database: Callable[[], Database], settings: Settings) -> None:
        self._provider, self._database, self._settings = provider, database, settings

    async def rate(self, job: Job) -> Rated:
        consignment, shipment = await self._load(job)
        if shipment.label is not LabelStage.REQUESTED or shipment.status is ShipmentStatus.VOIDED:
            return Unwanted()
        if consignment.holds:
            return OnHold()
        if (offer := await self._offer(consignment, shipment)) is not None:
            return offer
        return await self._provider.rate(
            sender=self._settings.ship_from,
            destination=consignment.destination,
            parcel=self._settings.parcel,
            grams=consignment.weight_of(shipment.lines),
            service=shipment.asked_service or consignment.shipping_service,
            metadata=metadata_of(shipment),
        )

    async def _offer(self, consignment: domain.Consignment, shipment: Shipment) -> Rate | None:
        """What the shopper was quoted, if it was for this very parcel. One that is too old turns out Expired when it is to be bought."""
        rate_id = consignment.offer_for(shipment)
        if rate_id is None:
            return None
        grams = consignment.weight_of(shipment.lines)
        return await self._provider.offered(rate_id, consignment.destination, grams)

    async def buy(self, job: Job) -> Bought:
        rate_id, again = job.payload["rate_id"], job.attempts > 1
        if again or job.payload.get("looks"):
            found = await self._provider.find(rate_id)
            if found is not None:
                return found
            looks = 1 if again else job.payload["looks"] + 1
            if looks < LOOKS:
                return Unseen(looks)
        consignment, shipment = await self._load(job)
        wanted = shipment.label is LabelStage.RATED and shipment.rate_id == rate_id
        if not wanted or shipment.status is ShipmentStatus.VOIDED or shipment.rated_at is None:
            return Unwanted()
        if consignment.holds:
            return OnHold()
        if datetime.now(UTC) - shipment.rated_at > labels.RATES_LIVE:
            return Expired()
        return await self._provider.buy(rate_id, metadata_of(shipment))

    async def refund(self, job: Job) -> Refunded | Refused:
        return await self._provider.refund(job.payload["transaction_id"])

    async def follow(self, job: Job) -> Refused | None:
        _, shipment = await self._load(job)
        carrier, number = shipment.carrier or "", shipment.tracking_number or ""
        return await self._provider.follow(carrier, number, metadata_of(shipment))

    async def record_bought(self, job: Job, outcome: Bought, tx: Tx) -> None:
        shipment = _shipment(job, tx)
        match outcome:
            case Label():
                apply(tx, labels.bought(shipment, outcome, tx.now))
            case Refused(reason):
                apply(tx, labels.failed(shipment, reason, tx.now))
            case Unseen(looks):
                later = tx.now + timedelta(seconds=self._settings.label_second_look)
                tx.request(Work.BUY, job.key, {**job.payload, "looks": looks}, due_at=later)
            case Expired():
                apply(tx, labels.expired(shipment, job.payload["rate_id"]))
            case OnHold():
                apply(tx, labels.held(shipment))
            case Unwanted():
                apply(tx, labels.given_up(shipment))

    async def _load(self, job: Job) -> tuple[domain.Consignment, Shipment]:
        return await load(self._database(), UUID(job.payload["shipment_id"]))


async def record_rated(job: Job, outcome: Rated, tx: Tx) -> None:
    shipment = _shipment(job, tx)
    match outcome:
        case Rate():
            consignment = tx.get(CONSIGNMENTS, shipment.order_id)
            if (
                outcome.rate_id == consignment.shipping_rate_id
            ):  # one label a rate: the next one is rated anew
                tx.save(CONSIGNMENTS, replace(consignment, shipping_rate_id=None))
            apply(tx, labels.rated(shipment, outcome, tx.now))
        case NotOffered(reason):
            apply(tx, labels.not_offered(shipment, reason))
        case Refused(reason):
            apply(tx, labels.failed(shipment, reason, tx.now))
        case OnHold():
            apply(tx, labels.held(shipment))
        case Unwanted():
            apply(tx, labels.given_up(shipment))


async def record_refunded(job: Job, outcome: Refunded | Refused, tx: Tx) -> None:
    """A shipment whose label went back is prepared anew, as far as its order still wants the goods."""
    before, transaction_id = _shipment(job, tx), job.payload["transaction_id"]
    if isinstance(outcome, Refused):
        log.warning("label refund refused", transaction_id=transaction_id, reason=outcome.reason)
        return apply(tx, labels.refund_refused(before, transaction_id))
    decision = labels.refunded(before, transaction_id, tx.now)
    apply(tx, decision)
    voided = decision.shipment.status is ShipmentStatus.VOIDED and before.status is ShipmentStatus.LABELLED
    if voided:
        consignment, of_order = tx.get(CONSIGNMENTS, before.order_id), tx.all(SHIPMENTS, before.order_id)
        for anew in changes.prepare_anew(consignment, of_order, before.lines, tx.new_id, tx.now):
            apply(tx, anew)
    return None


async def record_followed(job: Job, outcome: Refused | None, tx: Tx) -> None:  # noqa: ARG001 - every record has this shape
    """Nothing changes by it; without Shippo's webhooks, staff tells the delivery."""
    if outcome is not None:
        log.warning("parcel is not followed", shipment_id=job.payload["shipment_id"], reason=outcome.reason)


def metadata_of(shipment: Shipment) -> str:
    """Ours, on everything at Shippo that concerns the shipment (100 characters at most): webhooks bring it back."""
    return f"ordermesh:{shipment.id} order:{shipment.order_id}"


def jobs_for(provider: Shippo, database: Callable[[], Database], settings: Settings) -> Jobs:
    """Every kind of work that shipping does. `database` answers the service's, which is there once the service is built."""
    jobs, calls, loads = Jobs(), Calls(provider, database, settings), (CONSIGNMENTS, SHIPMENTS)
    jobs.call(Work.RATE, calls.rate, record_rated, *loads)
    jobs.call(Work.BUY, calls.buy, calls.record_bought, *loads)
    jobs.call(Work.REFUND, calls.refund, record_refunded, *loads)
    jobs.call(Work.FOLLOW, calls.follow, record_followed, *loads)
    jobs.on(events.KIND, *loads)(events.record)
    return jobs


def _shipment(job: Job, tx: Tx) -> Shipment:
    return tx.get(SHIPMENTS, job.payload["shipment_id"])
