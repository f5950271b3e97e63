"""What an order costs from placing to the door: placed, paid, labelled, dispatched, delivered. CPU ms by process, as for a purchase.

The load is what people and carriers do once each: a reading by staff, a label bought, two scans by the carrier.
"""

import time

import pytest

from ordermesh.catalogue import feed_catalogue
from ordermesh.programs import GATEWAY, SANDBOX
from ordermesh.shop import Places, Shop
from ordermesh.stack import Stack
from support.load import all_done, deliver, pids_of, place_and_pay, report, report_batches
from support.processes import CpuClock

WARM_UP, ORDERS = 64, 256


@pytest.mark.timeout(600)
async def test_cost_of_an_order_from_placing_to_the_door(stack: Stack) -> None:
    async with Shop(Places(stack.urls[GATEWAY], stack.urls[SANDBOX])) as shop:
        await feed_catalogue(stack.infrastructure.kafka_url, shop)
        await deliver(shop, await place_and_pay(shop, WARM_UP, WARM_UP), WARM_UP)
        clock, start = CpuClock(pids_of(stack)), time.monotonic()
        await deliver(shop, await place_and_pay(shop, ORDERS, ORDERS), WARM_UP + ORDERS)
        wall = time.monotonic() - start
        await all_done(stack.infrastructure.databases)
        used = clock.used()
    ours = report(used, ORDERS, wall)
    await report_batches(stack.infrastructure.databases)
    assert (
        ours < 2 * 286
    )  # twice what the comparable Node shop spends on a purchase alone (research/costs.md)
