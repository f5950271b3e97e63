"""The shipping subgraph: an order's shipments for those who may see the order, and what staff does with them."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import strawberry

from shared import commands
from shared.auth import Principal, Scope
from shared.contracts.money import to_major
from shared.db import Database
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.texts import checked
from shared.tx import Tx
from shipping import changes, domain, labels, store
from shipping.domain import UNDER_WAY, Consignment, Decision, LabelStage, LineQuantity, ShipmentStatus
from shipping.store import CONSIGNMENTS, SHIPMENTS

strawberry.enum(ShipmentStatus, description="How far a parcel has come.")
_MAX_TEXT = 100
_MAX_LINES = 100
_TRACKING_NUMBER = re.compile(r"[!-~]{1,64}")
T = TypeVar("T")
Decide = Callable[[Consignment, domain.Shipment, Tx], Decision]
Find = Callable[[Database, Principal, Sequence[UUID]], Awaitable[list[T | None]]]


@strawberry.type(description="How many pieces of an order's line are in the shipment.")
class ShipmentLine:
    line: int
    quantity: int


@strawberry.input(description="How many pieces of an order's line.")
class ShipmentLineInput:
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
            prepared_at=shipment.prepared_at.isoformat(),
            labelled_at=_iso(shipment.labelled_at),
            dispatched_at=_iso(shipment.dispatched_at),
            delivered_at=_iso(shipment.delivered_at),
            returned_at=_iso(shipment.returned_at),
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


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="Buy a label of `service` (name or Shippo's token), else the cheapest. Asking again never buys twice. Staff (fulfilment)."
    )
    async def buy_shipping_label(
        self, info: Info, shipment_id: strawberry.ID, service: str | None = None
    ) -> Shipment:
        wanted = _text("service", service)

        def decide(consignment: Consignment, shipment: domain.Shipment, _: Tx) -> Decision:
            return domain.unless_held(consignment, shipment, labels.ask(shipment, wanted))

        arguments = {"shipmentId": shipment_id, "service": wanted}
        found = await _change(info, "buyShippingLabel", shipment_id, arguments, decide)
        if found.status is ShipmentStatus.PREPARED and found.failure_reason:
            raise Refusal(Code.BAD_INPUT, found.failure_reason, argument="service")
        return found

    @strawberry.mutation(
        description="The courier has it: by our label, or by the tracking number of a label bought elsewhere. Staff (fulfilment)."
    )
    async def dispatch_shipment(
        self,
        info: Info,
        shipment_id: strawberry.ID,
        tracking_number: str | None = None,
        carrier: str | None = None,
    ) -> Shipment:
        number, courier = _text("trackingNumber", tracking_number), _text("carrier", carrier)
        number = "".join(number.split()).upper() if number else None
        if number and not _TRACKING_NUMBER.fullmatch(number):
            raise Refusal(
                Code.BAD_INPUT, "trackingNumber has 1 to 64 ASCII characters", argument="trackingNumber"
            )

        def decide(consignment: Consignment, shipment: domain.Shipment, tx: Tx) -> Decision:
            decision = domain.dispatch(shipment, courier, number, tx.now)
            return domain.unless_held(consignment, shipment, decision)

        arguments = {"shipmentId": shipment_id, "trackingNumber": number, "carrier": courier}
        return await _change(info, "dispatchShipment", shipment_id, arguments, decide)

    @strawberry.mutation(
        description="Give the label back; the shipment is void, and another is prepared for an order that goes on. Staff (fulfilment)."
    )
    async def void_shipping_label(self, info: Info, shipment_id: strawberry.ID) -> Shipment:
        def decide(_: Consignment, shipment: domain.Shipment, __: Tx) -> Decision:
            return domain.ask_to_void(shipment)

        return await _change(info, "voidShippingLabel", shipment_id, {"shipmentId": shipment_id}, decide)

    @strawberry.mutation(
        description="Two parcels of one that has no label: `lines`, and the rest. Answers all of the order's shipments. Staff (fulfilment)."
    )
    async def split_shipment(
        self, info: Info, shipment_id: strawberry.ID, lines: list[ShipmentLineInput]
    ) -> list[Shipment]:
        pieces = _pieces(lines)

        def decide(consignment: Consignment, shipment: domain.Shipment, tx: Tx) -> Iterable[Decision]:
            return changes.split(consignment, shipment, pieces, tx.new_id, tx.now)

        arguments = {"shipmentId": shipment_id, "lines": [[line.line, line.quantity] for line in lines]}
        _, order_id = await _commit(info, "splitShipment", shipment_id, arguments, decide)
        caller = info.context.principal
        [found] = await store.find_of_orders(info.context.service.db, caller, [UUID(order_id)])
        return [Shipment.of(shipment, caller) for shipment in found or ()]


async def _change(
    info: Info, field: str, shipment_id: str, arguments: dict[str, Any], decide: Decide
) -> Shipment:
    """Commit the wish, wait a bounded time for the provider's part of it, answer what is there then."""
    service, caller = info.context.service, info.context.principal
    key, order_id = await _commit(info, field, shipment_id, arguments, lambda *given: (decide(*given),))

    async def read() -> domain.Shipment:
        return await _find(info, key)

    done = await service.waits.until(order_id, read, _is_settled, service.settings.outcome_wait)
    return Shipment.of(done, caller)


async def _commit(
    info: Info,
    field: str,
    shipment_id: str,
    arguments: dict[str, Any],
    decide: Callable[[Consignment, domain.Shipment, Tx], Iterable[Decision]],
) -> tuple[UUID, str]:
    """The shipment's id and its order's, once what was decided is written down. Raises Refusal."""
    context = info.context
    context.principal.require_staff(Scope.FULFILMENT)
    service, key = context.service, commands.uuid_or(shipment_id, _unknown())
    order_id = str((await _find(info, key)).order_id)

    async def command(tx: Tx) -> str:
        for decision in decide(tx.get(CONSIGNMENTS, order_id), tx.get(SHIPMENTS, key), tx):
            store.apply(tx, decision)
        return str(key)

    await commands.execute(
        service.db,
        service.name,
        command,
        (CONSIGNMENTS, [order_id]),
        (SHIPMENTS, [order_id]),
        correlation_id=context.correlation_id,
        once=context.once(field, arguments),
    )
    return key, order_id


async def _find(info: Info, key: UUID) -> domain.Shipment:
    """As it is now. Raises Refusal SHIPMENT_NOT_FOUND."""
    [found] = await store.find_shipments(info.context.service.db, info.context.principal, [key])
    if found is None:
        raise _unknown()
    return found


def _unknown() -> Refusal:
    return Refusal(Code.SHIPMENT_NOT_FOUND, "No such shipment")


def _pieces(lines: Sequence[ShipmentLineInput]) -> list[LineQuantity]:
    """Raises Refusal BAD_INPUT."""
    if len(lines) > _MAX_LINES or any(line.quantity < 1 for line in lines):
        raise Refusal(
            Code.BAD_INPUT, f"lines has {_MAX_LINES} entries at most, of 1 piece at least", argument="lines"
        )
    return [LineQuantity(line.line, line.quantity) for line in lines]


def _is_settled(shipment: domain.Shipment) -> bool:
    return shipment.label not in UNDER_WAY and shipment.label is not LabelStage.REFUNDING


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


def _text(name: str, value: str | None) -> str | None:
    """An optional argument, trimmed. Raises Refusal BAD_INPUT."""
    if value is None:
        return None
    text = checked(name, value, _MAX_TEXT).strip()
    if not text:
        raise Refusal(Code.BAD_INPUT, f"{name} is empty", argument=name)
    return text


def _checkpoint(scan: domain.Checkpoint) -> Checkpoint:
    return Checkpoint(
        time=scan.time.isoformat(), status=scan.status, message=scan.message, location=scan.location
    )


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


schema = strawberry.federation.Schema(mutation=Mutation, types=[Order, Shipment])
