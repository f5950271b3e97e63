"""No list reads all orders: what PostgreSQL would do for each filter, sort and search, with ten thousand of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from itertools import combinations
from typing import Any

import orjson
import pytest

from orders.domain import OrderType, PaymentStatus
from orders.lists import store
from orders.lists.cursors import Place
from orders.lists.filters import GONE, Attention, Sort, Span, Wanted
from orders.lists.store import Slice
from orders.status import OrderStatus
from shared.db import Connection, Database
from support.bulk import fill, known
from support.orders import NOW, SHOPPER, STAFF, an_id

MANY = 10_000
ALL_OF_THE_INDEX = 10_000
"""PostgreSQL's price of reading it from end to end, which it does for what has no trigram, is more."""
MIDNIGHT = NOW.replace(hour=0, minute=0)
FILTERS: dict[str, dict[str, Any]] = {
    "status": {"statuses": (OrderStatus.DELIVERED,)},
    "payment status": {"payment_status": PaymentStatus.PAID},
    "type": {"order_type": OrderType.MIXED},
    "customer": {"customer_id": SHOPPER.customer_id},
    "days": {"span": Span(MIDNIGHT - timedelta(days=100), MIDNIGHT)},
    "rare status": {"statuses": (OrderStatus.PENDING,)},
    "left": {"statuses": GONE},
    "carrier": {"carrier": "USPS"},
    "service": {"service": "Ground"},
    "no such carrier": {"carrier": "nobody"},
    "tracking": {"tracking": "94001"},
    "held": {"attention": Attention.ON_HOLD},
    "refund failed": {"attention": Attention.REFUND_FAILED},
}
MOST = {"carrier", "service"}
"""By total these are sorted when they are not alone, MOST_SORTED at most: here that is all orders, and most of them match, so to
read all is right.
"""
ALONE = [("carrier",), ("service",), ("left", "carrier"), ("held",), ("refund failed",)]
SIZES = [names for size in range(4) for names in combinations(FILTERS, size)]


@pytest.fixture(scope="module")
async def full(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[Database]:
    db = Database((await fresh_databases("orders"))["orders"])
    await db.open()
    await fill(db, MANY)
    yield db
    await db.close()


class Plans:
    """What is read, and how."""

    def __init__(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._db, self.read = db, list[tuple[str, Any]]()
        read = db._read

        async def noted(text: str, arguments: Any) -> Any:
            self.read.append((text, arguments))
            return await read(text, arguments)

        monkeypatch.setattr(db, "_read", noted)

    async def scanned(self) -> set[str]:
        """The tables that are read from end to end."""
        found = set[str]()
        async with self._db.connection() as conn:
            for text, arguments in self.read:
                plan = await planned(conn, text, arguments)
                found |= {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}
        self.read.clear()
        return found


async def planned(conn: Connection, text: str, arguments: Any) -> dict[str, Any]:
    [plan] = orjson.loads(await conn.fetchval(f"EXPLAIN (FORMAT JSON) {text}", *arguments))
    top: dict[str, Any] = plan["Plan"]
    return top


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.fixture
def plans(full: Database, monkeypatch: pytest.MonkeyPatch) -> Plans:
    return Plans(full, monkeypatch)


async def test_a_list_that_is_read_from_end_to_end_is_seen(full: Database, plans: Plans) -> None:
    plans.read.append(("SELECT * FROM orders WHERE notes = $1", ["x"]))
    assert await plans.scanned() == {"orders"}


async def test_no_filter_and_no_sort_reads_all_orders(full: Database, plans: Plans) -> None:
    for names in SIZES:
        filters: dict[str, Any] = {}
        for name in names:
            filters |= FILTERS[name]
        for sort in Sort:
            if sort is Sort.TOTAL and not MOST.isdisjoint(names) and names not in ALONE:
                continue
            for descending in (True, False):
                wanted = Wanted(**filters, sort=sort, descending=descending)
                key = 5000 if sort is Sort.TOTAL else NOW - timedelta(days=200)
                for part in (Slice(11), Slice(101, after=Place(key, an_id(), 1))):
                    await store.listed(full, STAFF, wanted, part)
                    assert "orders" not in await plans.scanned(), (names, sort, descending, part)


async def test_the_totals_of_some_days_are_sorted_without_a_look_at_the_orders(
    full: Database, plans: Plans
) -> None:
    await store.listed(full, STAFF, Wanted(**FILTERS["days"], sort=Sort.TOTAL), Slice(11))
    async with full.connection() as conn:
        plan = [
            node for text, arguments in plans.read for node in nodes(await planned(conn, text, arguments))
        ]
    assert "orders_created_at" in {n.get("Index Name") for n in plan if n["Node Type"] == "Index Only Scan"}


async def test_no_search_reads_all_orders(full: Database, plans: Plans) -> None:
    one = await known(full, MANY // 2)
    terms = (
        one.order_number,
        one.order_number[-5:],
        one.order_number[-14:],
        one.tracking,
        one.name,
        one.email,
        one.phone,
        "nothing",
        "or",
        "94",
    )
    async with full.transaction() as conn:
        await conn.execute(
            "UPDATE orders SET earlier_trackings = '[\"1Z999\"]' WHERE order_number = $1", one.order_number
        )
    for term in (*terms, one.order_number[:13], "ORD-2026", "1Z999"):
        for names in ((), ("status",), ("rare status", "days"), ("payment status", "type")):
            filters: dict[str, Any] = {}
            for name in names:
                filters |= FILTERS[name]
            wanted = Wanted(search=term, **filters)
            await store.listed(full, STAFF, wanted, Slice(11))
            assert "orders" not in await plans.scanned(), (term, names)
            await store.listed(
                full, STAFF, wanted, Slice(11, after=Place(NOW - timedelta(days=9), an_id(), 1))
            )
            assert "orders" not in await plans.scanned(), (term, names)


async def test_customers_are_found_by_an_index(full: Database, plans: Plans) -> None:
    """Of so few PostgreSQL may read all: here it may not, and the index has to know each kind of term."""
    one = await known(full, MANY // 2)
    for term in (
        one.name,
        one.email,
        one.phone,
        one.name[:3],
        "(415) 555-0123",
        one.phone[-4:],
        "100%_",
        "--a",
        "ab-",
        "___@x.org",
        "bo",
        "a--",
        "äöü",
        "Анна",
        "李明",
        "李明華@",
    ):
        await store.listed(full, STAFF, Wanted(search=term), Slice(11))
        async with full.transaction() as conn:
            await conn.execute("SET LOCAL enable_seqscan = off")
            used = {n.get("Index Name"): n for n in nodes(await planned(conn, *plans.read[0]))}
        assert used["customers_searched"]["Total Cost"] < ALL_OF_THE_INDEX, term
        plans.read.clear()
    for term in ("---", "___", "%%%"):
        assert await store.listed(full, STAFF, Wanted(search=term), Slice(11)) == []
        assert not any("FROM customers" in text for text, _ in plans.read), term


async def test_a_shoppers_own_and_what_is_counted_read_no_order_that_is_not_meant(
    full: Database, plans: Plans
) -> None:
    mine = Wanted(mine=True)
    await store.listed(full, SHOPPER, mine, Slice(11))
    await store.counted(full, SHOPPER, mine)
    await store.counted_by_roll_up(full, Wanted(statuses=(OrderStatus.PENDING,)))
    await store.counted_by_roll_up(full, Wanted(**FILTERS["days"]))
    await store.kinds(full)
    assert "orders" not in await plans.scanned()


async def test_an_update_that_changes_nothing_that_is_found_by_writes_no_index(full: Database) -> None:
    """HOT: such as a note, or a fee. Many indexes cost only those who change what they hold."""
    async with full.transaction() as conn:
        await conn.execute(
            "UPDATE orders SET version = version + 1, notes = 'x', stripe_fee = 1, updated_at = now()"
            " WHERE id IN (SELECT id FROM orders ORDER BY created_at LIMIT 100)"
        )
        row = await conn.fetchrow(
            "SELECT n_tup_upd AS updated, n_tup_hot_upd AS hot FROM pg_stat_xact_user_tables WHERE relname = 'orders'"
        )
    assert row is not None
    assert (row["updated"], row["hot"] > 50) == (100, True)
