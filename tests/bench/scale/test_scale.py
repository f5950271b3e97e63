"""`make bench-scale`: what a list, a search or a statistic takes with a million orders, against ten thousand, in the same run.

Each query is asked of the graph (parsed, read from PostgreSQL, answered) with another value each time, at both sizes in turn, so that
a busy machine is as busy for both. Not a test: it is too slow, and says how good it is (goal: p95 at most 1.5 times).
"""

import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from orders.lists import totals
from orders.lists.cursors import cursor_of
from orders.lists.filters import Sort, Wanted
from shared.db import Database
from shared.errors import Refusal
from support.bulk import DAYS, FIRST, Known, fill, known, vacuumed
from support.listing import Shelf
from support.orders import NOW, an_order

SMALL, LARGE = 10_000, 1_000_000
ROUNDS, WARM = 150, 12
GOAL = 1.5
NODES = "nodes { id orderNumber status total createdAt } pageInfo { hasNext endCursor }"
LIST = f"""query($filter: OrderFilterInput, $sort: SortInput, $after: String, $page: Int) {{
    orders(filter: $filter, sort: $sort, after: $after, page: $page, limit: 50) {{ {NODES} }} }}"""
LEFT = f"""query($filter: ShippedOrderFilterInput, $sort: SortInput) {{
    shippedOrders(filter: $filter, sort: $sort, limit: 50) {{ {NODES} }} }}"""
TOTAL = "query($filter: OrderFilterInput) { orders(filter: $filter, limit: 1) { pageInfo { total pages totalIsExact } } }"
STATS = "{ orderStats { totalOrders pendingOrders totalRevenue averageOrderValue } }"
SERIES = "query($r: DateRangeInput!) { orderSeries(dateRange: $r) { day orders revenue } }"
Variables = dict[str, Any]


@dataclass
class Shop:
    """One size; `walks` has a cursor in the middle of the list by its sort."""

    shelf: Shelf
    size: int
    known: list[Known]
    walks: dict[Sort, str]


Ask = Callable[[Shop, random.Random], tuple[str, Variables]]


def days(chance: random.Random, long: int) -> Variables:
    start = (FIRST + timedelta(days=chance.randrange(DAYS - long))).date()
    return {"start": start.isoformat(), "end": (start + timedelta(days=long - 1)).isoformat()}


FILTERS: dict[str, Callable[[random.Random], Variables]] = {
    "nothing": lambda _: {},
    "status": lambda chance: {"status": chance.choice(("PENDING", "DELIVERED", "SHIPPED", "REFUNDED"))},
    "paymentStatus": lambda chance: {"paymentStatus": chance.choice(("PAID", "FAILED", "REFUNDED"))},
    "orderType": lambda chance: {"orderType": chance.choice(("REGULAR", "MIXED"))},
    "three": lambda chance: {
        "status": chance.choice(("DELIVERED", "PENDING")),
        "paymentStatus": "PAID",
        "orderType": "MIXED",
    },
    "attention": lambda chance: {"attention": chance.choice(("ON_HOLD", "REFUND_FAILED"))},
    "dateRange": lambda chance: {"dateRange": days(chance, 30)},
    "dateRange and status": lambda chance: {"dateRange": days(chance, 30), "status": "DELIVERED"},
}
SEARCHES: dict[str, Callable[[Known], str]] = {
    "number": lambda one: one.order_number,
    "day's numbers": lambda one: one.order_number[:12],
    "sequence": lambda one: one.order_number.rpartition("-")[2],
    "email": lambda one: one.email,
    "name": lambda one: one.name,
    "phone": lambda one: one.phone[2:],
    "tracking": lambda one: one.tracking,
    # Of which there are so many that it is refused, at the larger size at least.
    "first name": lambda one: one.name.partition(" ")[0],
    "two letters": lambda one: one.name.partition(" ")[2][:2],
}


def listed(filter_: Callable[[random.Random], Variables], sort: str, direction: str) -> Ask:
    return lambda _, chance: (
        LIST,
        {"filter": filter_(chance), "sort": {"field": sort, "direction": direction}},
    )


def searched(term: Callable[[Known], str], **filters: Any) -> Ask:
    return lambda shop, chance: (LIST, {"filter": {"search": term(chance.choice(shop.known)), **filters}})


def fixed(document: str, **variables: Any) -> Ask:
    return lambda _shop, _chance: (document, variables)


def queries() -> dict[str, Ask]:
    found: dict[str, Ask] = {}
    for name, filter_ in FILTERS.items():
        for sort in ("createdAt", "total"):
            if sort == "total" and name.startswith("dateRange"):
                continue
            for direction in ("DESC", "ASC"):
                found[f"{name}, {sort} {direction}"] = listed(filter_, sort, direction)
    # As many orders to sort at both sizes.
    found["2,500 of some days, total DESC"] = lambda shop, chance: (
        LIST,
        {"filter": {"dateRange": days(chance, DAYS * 2500 // shop.size)}, "sort": {"field": "total"}},
    )
    for sort in Sort:
        found[f"deep cursor, {sort}"] = lambda shop, _, sort=sort: (  # type: ignore[misc]
            LIST,
            {"sort": {"field": sort}, "after": shop.walks[sort]},
        )
    found["page 100"] = fixed(LIST, page=100)
    found |= {f"search {name}": searched(term) for name, term in SEARCHES.items()}
    found["search email and status"] = searched(SEARCHES["email"], status="DELIVERED")
    found["shipped, all"] = fixed(LEFT)
    found["shipped, carrier"] = fixed(LEFT, filter={"carrier": "UPS"})
    found["shipped, carrier, total DESC"] = fixed(LEFT, filter={"carrier": "UPS"}, sort={"field": "total"})
    found["shipped, no such carrier"] = fixed(LEFT, filter={"carrier": "nobody"})
    found["shipped, service"] = fixed(LEFT, filter={"service": "Express"})
    found["stats"] = fixed(STATS)
    found["series, a year"] = lambda _, chance: (SERIES, {"r": days(chance, 366)})
    found["total"] = fixed(TOTAL)
    found["total of a status"] = lambda _, chance: (TOTAL, {"filter": FILTERS["status"](chance)})
    found["total of 30 days"] = lambda _, chance: (TOTAL, {"filter": {"dateRange": days(chance, 30)}})
    return found


def middle(sort: Sort) -> str:
    """The cursor behind the middle of the days, or of the amounts."""
    there = an_order(created_at=NOW - timedelta(days=DAYS / 2), total=50_000)
    return cursor_of(Wanted(sort=sort), there, SMALL // 100)


@pytest.fixture
async def shops(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[list[Shop]]:
    made = []
    for size in (SMALL, LARGE):
        db = Database((await fresh_databases("orders"))["orders"])
        await db.open()
        began = time.monotonic()
        await fill(db, size)
        while await totals.roll_up(db):
            pass
        await vacuumed(db, "order_days", "order_series", "order_totals", "order_deltas")
        print(f"\n{size} orders loaded in {time.monotonic() - began:.0f} s", end="", flush=True)
        shelf = Shelf(db)
        numbers = [random.Random(n).randrange(1, size - 100) for n in range(40)]
        some = [await known(db, number) for number in numbers]
        walks = {sort: middle(sort) for sort in Sort}
        made.append(Shop(shelf, size, some, walks))
    yield made
    for shop in made:
        await shop.shelf.db.close()


@pytest.mark.timeout(3600)
async def test_a_million_orders_against_ten_thousand(shops: list[Shop]) -> None:
    print(f"\n{'':34}{'10,000: p50, p95 ms':>22}{'1,000,000':>22}{'ratio of p50':>14}{'p95':>8}")
    over: dict[str, float] = {}
    for name, ask in queries().items():
        small, large = await measured(shops, ask)
        usual, ratio = large[0] / small[0], large[1] / small[1]
        times = "".join(f"{time:11.2f}" for time in (*small, *large))
        print(f"{name:34}{times}{usual:14.2f}{ratio:8.2f}", flush=True)
        if ratio > GOAL:
            over[name] = round(ratio, 2)
    print(f"over {GOAL}: {over or 'none'}")


async def measured(shops: list[Shop], ask: Ask) -> list[tuple[float, float]]:
    """(p50, p95) in ms at each size, in turn; the first few prepare statements and fill caches."""
    taken: list[list[float]] = [[] for _ in shops]
    chances = [random.Random(1) for _ in shops]
    for n in range(ROUNDS + WARM):
        for shop, chance, times in zip(shops, chances, taken, strict=True):
            document, variables = ask(shop, chance)
            began = time.perf_counter()
            with suppress(Refusal):  # of what too many match: that is to be said as fast
                await shop.shelf.ask(document, **variables)
            if n >= WARM:
                times.append((time.perf_counter() - began) * 1000)
    return [(statistics.median(times), statistics.quantiles(times, n=20)[18]) for times in taken]
