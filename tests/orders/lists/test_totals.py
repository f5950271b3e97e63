"""Statistics are what counting all orders again would say: at any moment, whoever writes, and whenever it is added up."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from alembic.command import upgrade
from alembic.config import Config

from ordermesh.infrastructure import Infrastructure
from orders.domain import Order, PaymentStatus
from orders.lists import totals
from orders.status import OrderStatus
from orders.store import ORDERS
from orders.tables import orders
from shared.db import Database
from shared.mapping import insert_sql, recordset, update_sql
from shared.migrations import migrate
from support.listing import Shelf, random_order
from support.orders import NOW, an_order

STATS = """{ orderStats { totalOrders pendingOrders processingOrders shippedOrders deliveredOrders cancelledOrders returnedOrders refundedOrders
    totalRevenue averageOrderValue } }"""
SERIES = "query($r: DateRangeInput!) { orderSeries(dateRange: $r) { day orders paidOrders revenue averageOrderValue } }"
COUNTED = ("orders", "paid_orders", "captured", "refunded")
BY_DAY = f"""SELECT day, currency, status, payment_status, order_type, {", ".join(f"sum({n})::bigint" for n in COUNTED)}
FROM (SELECT * FROM order_days UNION ALL SELECT day, currency, status, payment_status, order_type, {", ".join(COUNTED)} FROM order_deltas) AS t
GROUP BY 1, 2, 3, 4, 5 HAVING sum(orders) <> 0"""  # noqa: S608 - constants
BY_KIND = f"""SELECT currency, status, payment_status, order_type, {", ".join(f"sum({n})::bigint" for n in COUNTED)}
FROM (SELECT * FROM order_totals UNION ALL SELECT currency, status, payment_status, order_type, {", ".join(COUNTED)} FROM order_deltas) AS t
GROUP BY 1, 2, 3, 4 HAVING sum(orders) <> 0"""  # noqa: S608 - constants
BY_DAY_TOGETHER = f"""SELECT day, currency, {", ".join(f"sum({n})::bigint" for n in COUNTED)}
FROM (SELECT * FROM order_series UNION ALL SELECT day, currency, {", ".join(COUNTED)} FROM order_deltas) AS t
GROUP BY 1, 2 HAVING sum(orders) <> 0"""  # noqa: S608 - constants
RECOUNTED = (
    "count(*), count(*) FILTER (WHERE captured > 0), sum(captured)::bigint, sum(refunded)::bigint FROM orders"
)
CELL = "currency, status, payment_status, order_type"
DAY = "(created_at AT TIME ZONE 'UTC')::date"


async def rows(db: Database, query: str) -> Counter[tuple[Any, ...]]:
    async with db.connection() as conn:
        return Counter(tuple(row.values()) for row in await conn.fetch(query))


async def assert_exact(db: Database) -> None:
    """Only while nobody writes: the two sides are read one after the other."""
    assert await rows(db, BY_KIND) == await rows(db, f"SELECT {CELL}, {RECOUNTED} GROUP BY {CELL}")
    assert await rows(db, BY_DAY_TOGETHER) == await rows(
        db, f"SELECT {DAY}, currency, {RECOUNTED} GROUP BY {DAY}, currency"
    )
    assert await rows(db, BY_DAY) == await rows(
        db, f"SELECT {DAY}, {CELL}, {RECOUNTED} GROUP BY {DAY}, {CELL}"
    )


def changed(chance: random.Random, order: Order) -> Order:
    """A step of a random life: most change what is counted, some do not."""
    captured = chance.choice((order.captured, order.total))
    return replace(
        order,
        status=chance.choice(list(OrderStatus)),
        payment_status=chance.choice(list(PaymentStatus)),
        captured=captured,
        refunded=chance.randint(0, captured),
        notes=chance.choice((None, "called")),
    )


async def save(db: Database, changed_orders: Sequence[Order]) -> None:
    """As `shared.flush` does: a statement for many."""
    columns = tuple(name for name in ORDERS.columns if name not in {"id", "version"})
    async with db.transaction() as conn:
        await conn.execute(update_sql(orders, "id", columns), recordset(changed_orders))


async def test_statistics_equal_a_recount_after_random_lives(empty: Shelf) -> None:
    chance = random.Random(11)
    alive: list[Order] = []
    for step in range(60):
        new = [random_order(chance, step * 10 + n) for n in range(chance.randrange(4))]
        await empty.put(new)
        alive += new
        chosen = chance.sample(range(len(alive)), min(len(alive), chance.randrange(6)))
        for n in chosen:
            alive[n] = changed(chance, alive[n])
        if chosen:
            await save(empty.db, [alive[n] for n in chosen])
            for n in chosen:
                alive[n] = replace(alive[n], version=alive[n].version + 1)
        if chance.random() < 0.3:
            await totals.roll_up(empty.db)
        await assert_exact(empty.db)
    async with empty.db.connection() as conn:
        await conn.execute("DELETE FROM orders WHERE status = 'CANCELLED'")
    await assert_exact(empty.db)


async def test_statistics_equal_a_recount_while_many_write_and_replicas_add_up(empty: Shelf) -> None:
    """Every reading in between sees whole transactions: as many orders as were placed, and none twice."""
    done = asyncio.Event()

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        for n in range(15):
            order = random_order(chance, seed * 100 + n)
            await empty.put([order])
            await save(empty.db, [changed(chance, order)])

    async def add_up() -> None:
        while not done.is_set():
            await totals.roll_up(empty.db)

    async def read() -> list[int]:
        seen: list[int] = []
        while not done.is_set():
            seen.append((await empty.ask(STATS))["orderStats"]["totalOrders"])
        return seen

    adding, reading = [asyncio.create_task(add_up()) for _ in range(2)], asyncio.create_task(read())
    await asyncio.gather(*map(write, range(6)))
    done.set()
    await asyncio.gather(*adding)
    seen = await reading
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 90
    while await totals.roll_up(empty.db):
        pass
    assert await rows(empty.db, "SELECT * FROM order_deltas") == Counter()
    await assert_exact(empty.db)


async def test_one_replica_at_a_time_adds_up(empty: Shelf) -> None:
    await empty.put([an_order()])
    async with empty.db.transaction() as conn:
        await conn.fetchval("SELECT pg_advisory_xact_lock($1)", totals._LOCK)
        assert await totals.roll_up(empty.db) == 0
    assert await totals.roll_up(empty.db) == 1


async def test_a_change_of_nothing_that_is_counted_writes_no_delta(empty: Shelf) -> None:
    order = an_order()
    await empty.put([order])
    await totals.roll_up(empty.db)
    await save(empty.db, [replace(order, notes="called", tracking="1Z")])
    assert await rows(empty.db, "SELECT * FROM order_deltas") == Counter()


async def test_order_stats_are_the_seeds_in_the_shops_own_currency(shelf: Shelf) -> None:
    of = Counter(order.status for order in shelf.orders)
    own = [order for order in shelf.orders if order.currency == "USD"]
    revenue, paid = sum(o.captured - o.refunded for o in own), sum(o.captured > 0 for o in own)
    assert (await shelf.ask(STATS))["orderStats"] == {
        "totalOrders": len(shelf.orders),
        "pendingOrders": of[OrderStatus.PENDING],
        "processingOrders": of[OrderStatus.PROCESSING],
        "shippedOrders": of[OrderStatus.SHIPPED],
        "deliveredOrders": of[OrderStatus.DELIVERED],
        "cancelledOrders": of[OrderStatus.CANCELLED],
        "returnedOrders": of[OrderStatus.RETURNED],
        "refundedOrders": of[OrderStatus.REFUNDED],
        "totalRevenue": revenue / 100,
        "averageOrderValue": round(revenue / paid) / 100,
    }


async def test_a_shop_without_orders_has_statistics(empty: Shelf) -> None:
    assert set((await empty.ask(STATS))["orderStats"].values()) == {0}


async def test_the_series_has_every_day_of_the_range(shelf: Shelf) -> None:
    first, last = NOW.date() - timedelta(days=25), NOW.date() + timedelta(days=1)
    found = (await shelf.ask(SERIES, r={"start": first.isoformat(), "end": last.isoformat()}))["orderSeries"]
    assert [each["day"] for each in found] == [
        (first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)
    ]
    for each in found:
        day = date.fromisoformat(each["day"])
        own = [o for o in shelf.orders if o.currency == "USD" and o.created_at.date() == day]
        revenue, paid = sum(o.captured - o.refunded for o in own), sum(o.captured > 0 for o in own)
        assert each == {
            "day": each["day"],
            "orders": len(own),
            "paidOrders": paid,
            "revenue": revenue / 100,
            "averageOrderValue": round(revenue / paid) / 100 if paid else 0.0,
        }


@pytest.mark.parametrize(
    ("end", "said"), [("2027-01-02", "dateRange has 366 days at most"), ("2025", "dateRange.end is")]
)
async def test_a_series_that_is_too_long_is_refused(shelf: Shelf, end: str, said: str) -> None:
    assert (await shelf.bad_input(SERIES, r={"start": "2026-01-01", "end": end})).startswith(said)
    year = await shelf.ask(SERIES, r={"start": "2026-01-01", "end": "2027-01-01"})
    assert len(year["orderSeries"]) == 366


async def test_the_migration_counts_what_was_there_before(infrastructure: Infrastructure) -> None:
    url = (await infrastructure.fresh_databases(["orders"]))["orders"]
    await asyncio.to_thread(migrated_to, url, "0002")
    chance = random.Random(3)
    db = Database(url)
    await db.open()
    async with db.transaction() as conn:
        there = [random_order(chance, n) for n in range(50)]
        named = "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders'"
        had = {row["column_name"] for row in await conn.fetch(named)}
        columns = tuple(name for name in ORDERS.columns if name in had)
        await conn.execute(insert_sql(orders, columns), recordset(there))
    await db.close()
    await asyncio.to_thread(migrate, "orders", url)
    await db.open()
    assert await rows(db, "SELECT sum(orders)::int FROM order_totals") == Counter([(50,)])
    await assert_exact(db)
    await db.close()


def migrated_to(url: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "orders:migrations")
    config.attributes["url"] = url
    upgrade(config, revision)
