"""What a placed and paid order costs: CPU milliseconds over all processes, PostgreSQL and the broker included; idle memory.

Run it with `make bench`. CPU time is read from /proc; where the host shares its cores it moves by a half from hour to hour, the ratio to the
sandbox's share by less. Wall time is printed, never judged.
An order is placed with the document that a storefront sends (`ordermesh.shop.CHECKOUT`); what its page costs, read once with
everything the four services know of it, is a line of its own. The sandbox that plays the providers, and this process (the load), are listed apart.
"""

import asyncio
import time

import pytest

from ordermesh.catalogue import feed_catalogue
from ordermesh.programs import GATEWAY, SANDBOX
from ordermesh.shop import Places, Shop
from ordermesh.stack import Stack
from support.load import (
    INFRASTRUCTURE,
    OUTSIDE,
    all_done,
    pids_of,
    place_and_pay,
    read_pages,
    report,
    report_batches,
    report_pages,
)
from support.processes import CpuClock, pss_kib

WARM_UP, ORDERS = 60, 300


@pytest.mark.timeout(600)
async def test_cost_of_a_placed_and_paid_order(stack: Stack) -> None:
    pids = pids_of(stack)
    async with Shop(Places(stack.urls[GATEWAY], stack.urls[SANDBOX])) as shop:
        await feed_catalogue(stack.infrastructure.kafka_url, shop)
        await asyncio.sleep(5)  # idle: nothing depends on how long
        memory = {name: pss_kib(pid) / 1024 for name, pid in pids.items()}
        await place_and_pay(shop, WARM_UP, WARM_UP)
        clock, start = CpuClock(pids), time.monotonic()
        ids = await place_and_pay(shop, ORDERS, WARM_UP + ORDERS)
        wall = time.monotonic() - start
        await all_done(stack.infrastructure.databases)
        used = clock.used()
        clock = CpuClock(pids)
        await read_pages(shop, ids)
        pages = clock.used()
    ours = report(used, ORDERS, wall, memory)
    services = sum(size for name, size in memory.items() if name not in {*OUTSIDE, *INFRASTRUCTURE})
    print(f"five services      {services:8.0f} MiB idle")
    report_pages(pages, len(ids))
    await report_batches(stack.infrastructure.databases)
    assert ours < 286  # what the comparable Node shop spends on server and database (research/costs.md)
