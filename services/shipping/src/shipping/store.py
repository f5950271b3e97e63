"""Between the tables and the domain: how a decision is written, and every read with the caller's visibility in its WHERE."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from shared.auth import Principal, Role
from shared.db import Database
from shared.mapping import Mapping, decoder
from shared.statements import Statement, one_of
from shared.tx import Missing, Tx
from shared.visibility import Reading, visible
from shipping.changes import Change
from shipping.domain import (
    Checkpoint,
    Consignment,
    Decision,
    Hold,
    LabelStage,
    Line,
    LineQuantity,
    Shipment,
    ShipmentStatus,
    StaffCase,
)
from shipping.tables import consignments, shipments, skus


def _checkpoints(rows: list[dict[str, Any]]) -> tuple[Checkpoint, ...]:
    return tuple(Checkpoint(**row | {"time": datetime.fromisoformat(row["time"])}) for row in rows)


def _holds(rows: list[dict[str, Any]]) -> tuple[Hold, ...]:
    return tuple(Hold(UUID(row["id"]), row["reason"]) for row in rows)


_line, _quantity = decoder(Line), decoder(LineQuantity)

CONSIGNMENTS = Mapping(
    consignments,
    Consignment,
    key="order_id",
    decode={
        "lines": lambda rows: tuple(map(_line, rows)),
        "holds": _holds,
        "released": lambda ids: tuple(map(UUID, ids)),
    },
)
SHIPMENTS = Mapping(
    shipments,
    Shipment,
    owner="order_id",
    decode={
        "status": ShipmentStatus,
        "label": LabelStage,
        "staff_case": StaffCase,
        "lines": lambda rows: tuple(map(_quantity, rows)),
        "checkpoints": _checkpoints,
    },
)


def apply(tx: Tx, decision: Decision) -> None:
    """Write down what was decided: the shipment, what to say, what to ask of the provider."""
    shipment = decision.shipment
    if tx.find(SHIPMENTS, shipment.id) is None:
        tx.add(SHIPMENTS, shipment)
    else:
        tx.save(SHIPMENTS, shipment)
    tx.emit(*decision.facts)
    for request in decision.requests:
        tx.request(request.work, shipment.order_id, request.payload, dedupe=request.dedupe)


def apply_change(tx: Tx, change: Change) -> None:
    """Write down what became of an order's consignment and of its shipments."""
    tx.save(CONSIGNMENTS, change.consignment)
    for decision in change.decisions:
        apply(tx, decision)


def _of_orders(role: Role) -> Select[Any]:
    joined = consignments.outerjoin(shipments, shipments.c.order_id == consignments.c.order_id)
    return (
        select(consignments.c.order_id.label("of_order"), *shipments.c)
        .select_from(joined)
        .where(one_of(consignments.c.order_id), visible(role, consignments))
        .order_by(shipments.c.id)
    )


_OF_ORDERS = Reading(_of_orders)
_BY_ID = Reading(lambda role: select(shipments).where(one_of(shipments.c.id), visible(role, shipments)))


_WEIGHTS = Statement(select(skus.c.id, skus.c.weight_grams).where(one_of(skus.c.id)))


async def find_of_orders(
    db: Database, principal: Principal, order_ids: Sequence[UUID]
) -> list[list[Shipment] | None]:
    """The orders' shipments, oldest first, in the order of the ids; None where no order is known that the caller may see."""
    found: dict[UUID, list[Shipment]] = {}
    for row in await _OF_ORDERS.fetch(db, principal, ids=list(order_ids)):
        columns = row._asdict()
        of_order = found.setdefault(columns.pop("of_order"), [])
        if columns["id"] is not None:
            of_order.append(SHIPMENTS.entity_of(columns))
    return [found.get(order_id) for order_id in order_ids]


async def find_shipments(db: Database, principal: Principal, ids: Sequence[UUID]) -> list[Shipment | None]:
    """The shipments in the order of the ids; None where there is none that the caller may see."""
    rows = await _BY_ID.fetch(db, principal, ids=list(ids))
    found = {row.id: SHIPMENTS.entity_of_values(row) for row in rows}
    return [found.get(shipment_id) for shipment_id in ids]


async def weights_of(db: Database, sku_ids: Sequence[str]) -> dict[str, int]:
    """Grams of one piece, of those SKUs that are listed."""
    return {row.id: row.weight_grams for row in await db.fetch(_WEIGHTS, {"ids": list(sku_ids)})}


async def load(db: Database, shipment_id: UUID) -> tuple[Consignment, Shipment]:
    """For the worker: the shipment with its order's consignment, as they are now. Raises Missing."""
    for row in await db.fetch(select(shipments).where(shipments.c.id == shipment_id)):
        shipment = SHIPMENTS.entity_of(row._asdict())
        wanted = select(consignments).where(consignments.c.order_id == shipment.order_id)
        return CONSIGNMENTS.entity_of((await db.fetch(wanted))[0]._asdict()), shipment
    raise Missing(f"no shipment {shipment_id}")


async def order_of_tracking(db: Database, tracking_number: str) -> UUID | None:
    """The order of the newest shipment that travels under this number (carriers use numbers again after months)."""
    rows = await db.fetch(
        select(shipments.c.order_id)
        .where(shipments.c.tracking_number == tracking_number)
        .order_by(shipments.c.id.desc())
        .limit(1)
    )
    return rows[0].order_id if rows else None


def pick(tx: Tx, order_id: object, *, shipment_id: UUID | None, number: str | None) -> Shipment | None:
    """Of an order's loaded shipments, the one that an event names, else the newest with its tracking number."""
    of_order: Sequence[Shipment] = tx.all(SHIPMENTS, order_id)
    if shipment_id is not None:
        return next((s for s in of_order if s.id == shipment_id), None)
    return next((s for s in reversed(of_order) if number and s.tracking_number == number), None)
