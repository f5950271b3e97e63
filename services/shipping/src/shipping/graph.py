"""The types of the shipping subgraph: shipments, as their caller may know them, the orders they hang off, and quotes."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Self, TypeVar
from uuid import UUID

import strawberry

from shared.auth import Principal
from shared.contracts.money import to_major
from shared.db import Database
from shared.graphql import Info, iso, maybe_iso
from shipping import domain, store
from shipping.domain import ShipmentStatus
from shipping.quotes import Quote

strawberry.enum(ShipmentStatus, description="How far a parcel has come.")
T = TypeVar("T")
Find = Callable[[Database, Principal, Sequence[UUID]], Awaitable[list[T | None]]]


@strawberry.type(description="How many pieces of an order's line are in the shipment.")
class ShipmentLine:
    line: int
    quantity: int


@strawberry.type(description="A carrier's scan. `time` is ISO 8601 in UTC.")
class Checkpoint:
    time: str
    status: str
    message: str
    location: str


@strawberry.federation.type(
    keys=["id"],
    description="A parcel. Times are ISO 8601 in UTC; labelUrl, cost and staffCase are for staff.",
)
class Shipment:
    id: strawberry.ID
    status: ShipmentStatus
    carrier: str | None
    service: str | None
    tracking_number: str | None
    tracking_url: str | None
    label_url: str | None
    cost: float | None
    currency: str | None
    lines: list[ShipmentLine]
    checkpoints: list[Checkpoint]
    prepared_at: str
    labelled_at: str | None
    dispatched_at: str | None
    delivered_at: str | None
    returned_at: str | None
    failure_reason: str | None
    staff_case: str | None

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:  # noqa: A002 - the key's name
        """None for a shipment that is unknown, or that the caller may not see."""
        found = await _load(info, store.find_shipments, id)
        return None if found is None else cls.of(found, info.context.principal)

    @classmethod
    def of(cls, shipment: domain.Shipment, caller: Principal) -> Self:
        """What the caller may know of it."""
        staff, cost = caller.is_staff, shipment.cost
        return cls(
            id=strawberry.ID(str(shipment.id)),
            status=shipment.status,
            carrier=shipment.carrier,
            service=shipment.service,
            tracking_number=shipment.tracking_number,
            tracking_url=shipment.tracking_url,
            label_url=shipment.label_url if staff else None,
            cost=to_major(cost, shipment.currency or "") if staff and cost is not None else None,
            currency=shipment.currency,
            lines=[ShipmentLine(line=line.line, quantity=line.quantity) for line in shipment.lines],
            checkpoints=[_checkpoint(scan) for scan in shipment.checkpoints],
            prepared_at=iso(shipment.prepared_at),
            labelled_at=maybe_iso(shipment.labelled_at),
            dispatched_at=maybe_iso(shipment.dispatched_at),
            delivered_at=maybe_iso(shipment.delivered_at),
            returned_at=maybe_iso(shipment.returned_at),
            failure_reason=shipment.failure_reason,
            staff_case=shipment.staff_case if staff else None,
        )


@strawberry.federation.type(keys=["id"])
class Order:
    id: strawberry.ID
    shipments: list[Shipment] | None

    @classmethod
    async def resolve_reference(cls, info: Info, id: strawberry.ID) -> Self | None:  # noqa: A002 - the key's name
        """None for an order that is unknown here, or that the caller may not see."""
        found = await _load(info, store.find_of_orders, id)
        if found is None:
            return None
        return cls(id=id, shipments=[Shipment.of(shipment, info.context.principal) for shipment in found])


@strawberry.type(
    description="What a carrier asks; `token` is for createOrder, until `expiresAt` (ISO 8601 in UTC), for these items and this address."
)
class ShippingQuote:
    id: strawberry.ID
    carrier: str
    service: str
    amount: float
    currency: str
    estimated_days: int | None
    expires_at: str
    token: str

    @classmethod
    def of(cls, quote: Quote) -> Self:
        rate = quote.rate
        return cls(
            id=strawberry.ID(rate.rate_id),
            carrier=rate.carrier,
            service=rate.service,
            amount=to_major(rate.cost, rate.currency),
            currency=rate.currency,
            estimated_days=rate.days,
            expires_at=iso(quote.expires_at),
            token=quote.token,
        )


async def _load(info: Info, find: Find[T], given: str) -> T | None:
    """By id, through the request's loader: one query for all that a request asks for."""
    try:
        key = UUID(given)
    except ValueError:
        return None
    context = info.context
    load = partial(find, context.service.db, context.principal)
    found: T | None = await context.loader(find.__name__, load).load(key)
    return found


def _checkpoint(scan: domain.Checkpoint) -> Checkpoint:
    return Checkpoint(time=iso(scan.time), status=scan.status, message=scan.message, location=scan.location)
