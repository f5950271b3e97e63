"""Load on a running stack, AT_ONCE orders at a time: placed and paid, then labelled, dispatched and delivered; and what it cost."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import asyncpg

from ordermesh.programs import SANDBOX
from ordermesh.shop import BUY_LABEL, CHECKOUT, Shop
from ordermesh.stack import Stack
from ordermesh.stories import MUG

AT_ONCE = 64
"""So many give the batches of about 8 that the budget counts on (research/costs.md, section 9)."""
OUTSIDE = (SANDBOX, "here")
INFRASTRUCTURE = ("postgres", "kafka", "apache-kafka")
SETTLED_SECONDS = 120

_COUNT = (
    "query Count($status: OrderStatus!) { ordersByStatus(status: $status, limit: 1) { pageInfo { total } } }"
)
_SHIPMENT = "query Shipment($id: ID!) { order(id: $id) { shipments { id } } }"
_LEFT = """
SELECT EXISTS (SELECT FROM jobs WHERE state = 'due' AND due_at <= now()) OR EXISTS (SELECT FROM outbox_pending)
"""
_PAUSE = 0.2
_WORTH_NAMING = 0.05


def pids_of(stack: Stack) -> dict[str, int]:
    """Every process of the stack by name; the load is made by this one, which `CpuClock` calls `here`."""
    running = {name: part.identity.pid for name, part in stack.directory.all_running().items()}
    return {name: pid for name, pid in running.items() if name != "launcher"}


async def place_and_pay(shop: Shop, count: int, total: int) -> list[str]:
    """Place and pay `count` orders and return their ids when `total` of all are being processed."""

    async def one(n: int) -> str:
        order = await shop.place(f"shopper{n % 50}", {MUG: 1}, document=CHECKOUT)
        await shop.pay(order)
        return str(order["id"])

    ids = await _side_by_side(one, range(count))
    await _until_all_are(shop, "PROCESSING", total)
    return ids


async def read_pages(shop: Shop, ids: Sequence[str]) -> None:
    """Read each of these orders once, with everything the four services know of it: what an order's page shows."""
    await _side_by_side(shop.read, ids)


async def deliver(shop: Shop, ids: Sequence[str], total: int) -> None:
    """Buy the labels of these paid orders, have the carrier take and deliver them; return when `total` of all are delivered."""
    numbers = await _side_by_side(lambda order_id: _label(shop, order_id), ids)
    for said, status in (("TRANSIT", "SHIPPED"), ("DELIVERED", "DELIVERED")):
        await _side_by_side(partial(shop.carrier_says, status=said), numbers)
        await _until_all_are(shop, status, len(ids) if status == "SHIPPED" else total)


def report(
    used: Mapping[str, float], orders: int, wall: float, memory: Mapping[str, float] | None = None
) -> float:
    """Print CPU ms per order by process (`used` in CPU seconds) and orders a second (wall time); answers the sum but for OUTSIDE.

    A CPU millisecond is worth more in one hour of a shared machine than in another: compare two runs by the ratio to the sandbox.
    """
    per_order = {name: seconds * 1000 / orders for name, seconds in used.items()}
    print(f"\n{'process':<18} {'CPU ms/order':>12}" + ("   idle MiB" if memory else ""))
    for name in sorted(per_order, key=lambda name: (name in OUTSIDE, -per_order[name])):
        print(
            f"{name:<18} {per_order[name]:12.2f}"
            + (f" {memory[name]:10.0f}" if memory and name in memory else "")
        )
    ours = sum(cost for name, cost in per_order.items() if name not in OUTSIDE)
    print(f"{'all but outside':<18} {ours:12.2f}   {ours / per_order[SANDBOX]:.2f} times the sandbox's share")
    print(
        f"orders/s           {orders / wall:12.1f}   ({AT_ONCE} at once, load average {os.getloadavg()[0]:.1f})"
    )
    return ours


def report_pages(used: Mapping[str, float], pages: int) -> None:
    """Print CPU ms per page read (`used` in CPU seconds): what `report` of a purchase does not hold, since a shop may never ask."""
    per_page = {name: seconds * 1000 / pages for name, seconds in sorted(used.items()) if name not in OUTSIDE}
    parts = "  ".join(f"{name} {cost:.2f}" for name, cost in per_page.items() if cost >= _WORTH_NAMING)
    print(
        f"an order's page    {sum(per_page.values()):12.2f}   CPU ms, read once, of all four services: {parts}"
    )


async def all_done(databases: Mapping[str, str]) -> None:
    """Until no service has a job that is due or an event to send: emails and fees wait for others, and cost as much later."""
    for dsn in databases.values():
        conn = await asyncpg.connect(dsn)
        try:
            async with asyncio.timeout(SETTLED_SECONDS):
                while await conn.fetchval(_LEFT):
                    await asyncio.sleep(_PAUSE)
        finally:
            await conn.close()


async def report_batches(databases: Mapping[str, str]) -> None:
    """Print how many facts each service handled in one transaction, on average since its database is new."""
    print("facts a transaction", end="")
    for service, dsn in databases.items():
        conn = await asyncpg.connect(dsn)
        try:
            facts, batches = await conn.fetchrow("SELECT count(*), count(DISTINCT xmin::text) FROM inbox")
        finally:
            await conn.close()
        print(f"  {service} {facts / max(batches, 1):.1f}", end="")
    print()


async def _label(shop: Shop, order_id: str) -> str:
    """Buy the label of the order's one shipment; answers its tracking number. Raises NotYet."""
    while not (found := (await shop.ask(_SHIPMENT, {"id": order_id}))["order"]["shipments"]):
        await asyncio.sleep(_PAUSE)
    bought: dict[str, Any] = (await shop.ask(BUY_LABEL, {"id": found[0]["id"]}))["buyShippingLabel"]
    if bought["trackingNumber"] is None:  # the label was not there before the mutation had waited long enough
        order = await shop.until(order_id, lambda seen: bool(seen["shipments"][0]["trackingNumber"]))
        bought = order["shipments"][0]
    return str(bought["trackingNumber"])


async def _side_by_side(work: Callable[[Any], Awaitable[Any]], items: Sequence[Any]) -> list[Any]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> Any:
        async with slots:
            return await work(item)

    return await asyncio.gather(*map(one, items))


async def _until_all_are(shop: Shop, status: str, total: int) -> None:
    async with asyncio.timeout(SETTLED_SECONDS):
        while (await shop.ask(_COUNT, {"status": status}))["ordersByStatus"]["pageInfo"]["total"] < total:
            await asyncio.sleep(_PAUSE)
