"""Every query of orders, with the caller's right to see a row in its WHERE; and how rows become orders."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Uuid, bindparam, func, literal_column, select, text

from orders.domain import (
    Channel,
    Hold,
    Label,
    Line,
    Order,
    OrderType,
    PaymentStatus,
    Refund,
    RefundedLine,
    RefundStatus,
    Shipment,
    Stage,
    WayOut,
)
from orders.status import OrderStatus
from orders.tables import customers, orders, skus, timeline
from shared.auth import Principal
from shared.backlog import Stuck
from shared.db import Database
from shared.mapping import Mapping, decoder
from shared.statements import Row, Statement, one_of
from shared.visibility import Reading, visible, visible_to

MAX_TIMELINE = 200
_NUMBERS_AT_ONCE = 20
_REFUND_REQUESTED = (
    "(SELECT min(CAST(r ->> 'requested_at' AS timestamptz)) FROM jsonb_array_elements(refunds) AS r"
    " WHERE r ->> 'status' = 'REQUESTED')"
)
OVERDUE = {
    "its payment to be prepared": (
        timedelta(minutes=15),
        "created_at",
        "status = 'PENDING' AND payment_intent_id IS NULL",
    ),
    "its payment, which is being processed": (timedelta(days=7), "created_at", "payment_processing"),
    "its shipment, being paid": (
        timedelta(minutes=15),
        "paid_at",
        "status = 'PROCESSING' AND shipments = '[]'",
    ),
    "a refund": (timedelta(days=1), _REFUND_REQUESTED, """refunds @> '[{"status": "REQUESTED"}]'"""),
}
"""What an order may wait for and for how long, since when, and the condition: each has an index. A bank debit takes days.

Never since `updated_at`: whoever writes a note every day would keep the order from ever being told of.
"""


def _shipment(raw: dict[str, Any]) -> Shipment:
    lines = {int(line): quantity for line, quantity in raw["lines"].items()}
    label = Label(**raw["label"]) if raw.get("label") else None
    by_hand = raw.get("by_hand", False)
    return Shipment(UUID(raw["id"]), Stage(raw["stage"]), lines, raw["cost"], by_hand, label)


def _refund(raw: dict[str, Any]) -> Refund:
    return Refund(
        UUID(raw["id"]),
        raw["amount"],
        raw["reason"],
        RefundStatus(raw["status"]),
        datetime.fromisoformat(raw["requested_at"]),
        tuple(RefundedLine(**part) for part in raw.get("lines", ())),
        raw.get("asked_by", ""),
    )


def _hold(raw: dict[str, Any]) -> Hold:
    times = {name: raw[name] and datetime.fromisoformat(raw[name]) for name in _HOLD_TIMES}
    return Hold(**{**raw, **times, "id": UUID(raw["id"]), "way_out": WayOut(raw["way_out"])})


_HOLD_TIMES = ("held_at", "deadline", "released_at")
_line = decoder(Line)

ORDERS: Mapping[Order] = Mapping(
    orders,
    Order,
    decode={
        "status": OrderStatus,
        "payment_status": PaymentStatus,
        "order_type": OrderType,
        "lines": lambda raw: tuple(map(_line, raw)),
        "shipments": lambda raw: tuple(map(_shipment, raw)),
        "refunds": lambda raw: tuple(map(_refund, raw)),
        "channel": Channel,
        "holds": lambda raw: tuple(map(_hold, raw)),
        "earlier_trackings": tuple,
    },
)


class OrderNumbers:
    """PREFIX-YYYYMMDD-NNNNN from a sequence: unique under any load. Numbers are fetched a handful at a time."""

    def __init__(self, db: Database, prefix: str) -> None:
        self._db, self._prefix = db, prefix
        self._left: list[int] = []
        self._fetching = asyncio.Lock()

    async def next(self, now: datetime) -> str:
        async with self._fetching:
            if not self._left:
                rows = await self._db.fetch(
                    text("SELECT nextval('order_numbers') AS number FROM generate_series(1, :count)"),
                    {"count": _NUMBERS_AT_ONCE},
                )
                self._left = sorted((row.number for row in rows), reverse=True)
            return f"{self._prefix}-{now:%Y%m%d}-{self._left.pop():05d}"


def _timelines() -> Select[Any]:
    """Of each order its newest entries, the oldest of them first."""
    place = func.row_number().over(partition_by=timeline.c.order_id, order_by=timeline.c.id.desc())
    numbered = select(timeline, place.label("n")).where(one_of(timeline.c.order_id)).subquery()
    return (
        select(numbered)
        .where(numbered.c.n <= literal_column(str(MAX_TIMELINE)))
        .order_by(numbered.c.order_id, numbered.c.n.desc())
    )


_BY_ID = Reading(lambda role: select(orders).where(one_of(orders.c.id), visible(role, orders)))
_TIMELINES = Statement(_timelines())
_ANYBODYS = Statement(select(orders).where(one_of(orders.c.id)))
_SKUS = Statement(
    select(skus, *(column.label(f"customer_{column.name}") for column in customers.c))
    .select_from(skus.outerjoin(customers, customers.c.id == bindparam("customer", type_=Uuid)))
    .where(one_of(skus.c.id))
)
_CUSTOMERS = Statement(select(customers).where(one_of(customers.c.id)))


async def orders_by_id(db: Database, principal: Principal, ids: Sequence[UUID]) -> dict[UUID, Order]:
    found = map(ORDERS.entity_of_values, await _BY_ID.fetch(db, principal, ids=list(ids)))
    return {order.id: order for order in found}


async def anybodys_orders(db: Database, ids: Sequence[UUID]) -> list[Order | None]:
    """In the order of the ids. For those who wait, many callers in one query: each has to ask `may_see` of what is its own."""
    rows = await db.fetch(_ANYBODYS, {"ids": list(ids)})
    found = {row.id: ORDERS.entity_of_values(row) for row in rows}
    return [found.get(order_id) for order_id in ids]


async def order_by_number(db: Database, principal: Principal, number: str) -> Order | None:
    found = await _orders(
        db, select(orders).where(orders.c.order_number == number, visible_to(principal, orders))
    )
    return found[0] if found else None


async def timelines(db: Database, ids: Sequence[UUID]) -> dict[UUID, list[Row]]:
    """The timelines of orders that the caller is known to see, oldest entry first."""
    rows = await db.fetch(_TIMELINES, {"ids": list(ids)})
    by_order: dict[UUID, list[Row]] = {order_id: [] for order_id in ids}
    for row in rows:
        by_order[row.order_id].append(row)
    return by_order


async def latest_entry(db: Database, order_id: UUID) -> Row | None:
    """The newest line of the timeline of an order that the caller is known to see."""
    newest = select(timeline).where(timeline.c.order_id == order_id).order_by(timeline.c.id.desc()).limit(1)
    rows = await db.fetch(newest)
    return rows[0] if rows else None


async def customers_by_id(db: Database, ids: Sequence[UUID]) -> dict[UUID, Row]:
    return {row.id: row for row in await db.fetch(_CUSTOMERS, {"ids": list(ids)})}


async def skus_for(db: Database, ids: Sequence[str], customer_id: UUID) -> dict[str, Row]:
    """By id; each has what is known of the customer too (`customer_name`...), all null for a new one."""
    rows = await db.fetch(_SKUS, {"ids": list(ids), "customer": customer_id})
    return {row.id: row for row in rows}


async def skus_page(db: Database, *, after: str, limit: int) -> Sequence[Row]:
    """In the order of their ids."""
    return await db.fetch(select(skus).where(skus.c.id > after).order_by(skus.c.id).limit(limit))


async def overdue(db: Database, after: timedelta | None, limit: int) -> list[Stuck]:
    """Orders that wait longer than OVERDUE allows, or than `after`: the operators' view, `limit` of each sort at most."""
    found: list[Stuck] = []
    for what, (allowed, since, condition) in OVERDUE.items():
        waiting = text(
            f"SELECT id, order_number, {since} AS since FROM orders WHERE {condition} AND {since} < now() - CAST(:allowed AS interval)"  # noqa: S608 - constants of this module
            f" ORDER BY {since} LIMIT :limit"
        )
        rows = await db.fetch(waiting, {"allowed": after or allowed, "limit": limit})
        found += [Stuck(str(row.id), f"{row.order_number} waits for {what}", row.since) for row in rows]
    return found


async def _orders(db: Database, query: Select[Any]) -> list[Order]:
    """Of a query that selects the table's columns."""
    return [ORDERS.entity_of_values(row) for row in await db.fetch(query)]
