"""SQLAlchemy statements, read through asyncpg."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from orders.domain import OrderType
from orders.store import ORDERS
from orders.tables import orders
from shared.db import Database
from shared.mapping import insert_sql, recordset
from support.orders import an_order


@pytest.fixture
async def ids(db: Database) -> list[UUID]:
    rows = [an_order(notes=f"note {n}") for n in range(3)]
    async with db.connection() as conn:
        await conn.execute(insert_sql(orders, ORDERS.columns), recordset(rows))
    return [order.id for order in rows]


async def test_a_statement_of_a_known_shape_takes_its_own_values(db: Database, ids: list[UUID]) -> None:
    for order_id in ids:
        [row] = await db.fetch(select(orders.c.id, orders.c.notes).where(orders.c.id == order_id))
        assert row.id == row[0] == order_id
        assert row._asdict() == {"id": order_id, "notes": f"note {ids.index(order_id)}"}


async def test_in_takes_any_number_of_values(db: Database, ids: list[UUID]) -> None:
    for wanted in ([], ids[:1], ids, [*ids, uuid4()], ids[1:]):
        query = select(orders.c.id).where(orders.c.id.in_(wanted), orders.c.order_type == OrderType.REGULAR)
        assert {row.id for row in await db.fetch(query)} == set(wanted) & set(ids)


async def test_labels_counts_json_and_named_parameters_are_read(db: Database, ids: list[UUID]) -> None:
    [row] = await db.fetch(select(func.count().label("orders"), func.max(orders.c.total)))
    assert (row.orders, row[0]) == (len(ids), len(ids))
    rows = await db.fetch(text("SELECT lines FROM orders WHERE notes = :notes"), {"notes": "note 1"})
    assert [line["line"] for line in rows[0].lines] == [1, 2]
    assert await db.fetch(text("SELECT 1 AS one WHERE false")) == []


async def test_a_whole_row_is_the_entity_it_was(db: Database, ids: list[UUID]) -> None:
    [row] = await db.fetch(select(orders).where(orders.c.id == ids[0]))
    assert ORDERS.entity_of(row._asdict()) == ORDERS.entity_of_values(row)
    assert ORDERS.entity_of_values(row).lines == an_order().lines
