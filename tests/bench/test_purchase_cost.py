"""What a placed and paid order costs: CPU milliseconds over all processes, PostgreSQL and the broker included; idle memory.

Run it with `make bench`. CPU time is read from /proc, so a busy machine moves it little; wall time is not looked at. The
sandbox that plays the providers, and this process (the load), are listed apart.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from ordermesh.catalogue import feed_catalogue
from ordermesh.programs import GATEWAY, SANDBOX
from ordermesh.settings import Settings
from ordermesh.shop import Places, Shop
from ordermesh.stack import Stack, serving
from ordermesh.stories import MUG

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
OUTSIDE = (SANDBOX, "load")
AT_ONCE, WARM_UP, ORDERS = 16, 60, 300
COUNT = "query Count { ordersByStatus(status: PROCESSING, limit: 1) { pageInfo { total } } }"


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LOG_LEVEL": "WARNING"}
        settings = Settings.read(environment).model_copy(update={"ordermesh_home": Path(home)})
        async with serving(settings, say=lambda _: None) as running:
            yield running


@pytest.mark.timeout(600)
async def test_cost_of_a_placed_and_paid_order(stack: Stack) -> None:
    pids = {name: running.identity.pid for name, running in stack.directory.all_running().items()}
    pids = {name: pid for name, pid in pids.items() if name != "launcher"} | {"load": os.getpid()}
    async with Shop(Places(stack.urls[GATEWAY], stack.urls[SANDBOX])) as shop:
        await feed_catalogue(stack.infrastructure.kafka_url, shop)
        await asyncio.sleep(5)  # idle: nothing depends on how long
        memory = {name: pss_kib(pid) / 1024 for name, pid in pids.items()}
        await place_and_pay(shop, WARM_UP, WARM_UP)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        await place_and_pay(shop, ORDERS, WARM_UP + ORDERS)
        used = {name: (cpu_seconds(pid) - before[name]) * 1000 / ORDERS for name, pid in pids.items()}
    print("\nprocess            idle MiB   CPU ms/order")
    for name in sorted(pids, key=lambda name: (name in OUTSIDE, -used[name])):
        print(f"{name:<18} {memory[name]:8.0f} {used[name]:14.2f}")
    ours = sum(cost for name, cost in used.items() if name not in OUTSIDE)
    services = sum(size for name, size in memory.items() if name not in {*OUTSIDE, "postgres", "kafka"})
    print(f"{'all but outside':<18} {'':8} {ours:14.2f}\nfive services      {services:8.0f}")
    assert ours < 286  # what the comparable Node shop spends on server and database (research/costs.md)


async def place_and_pay(shop: Shop, count: int, total: int) -> None:
    """Place and pay `count` orders, AT_ONCE at a time, and return when `total` of them are being processed."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(n: int) -> None:
        async with slots:
            order = await shop.place(f"shopper{n % 50}", {MUG: 1})
            await shop.pay(order)

    await asyncio.gather(*(one(n) for n in range(count)))
    async with asyncio.timeout(120):
        while (await shop.ask(COUNT))["ordersByStatus"]["pageInfo"]["total"] < total:
            await asyncio.sleep(0.5)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, those that ended included."""
    total = 0
    for each in (pid, *children(pid)):
        with suppress(OSError):  # it has ended meanwhile: its parent's figure has it
            fields = (Path("/proc") / str(each) / "stat").read_text().rpartition(")")[2].split()
            total += sum(int(ticks) for ticks in fields[11:15])
    return total / TICKS_PER_SECOND


def pss_kib(pid: int) -> float:
    """Memory of a process and all below it, shared pages counted by share."""
    total = 0.0
    for each in (pid, *children(pid)):
        rollup = (Path("/proc") / str(each) / "smaps_rollup").read_text()
        total += float(rollup.split("Pss:")[1].split()[0])
    return total


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in (Path("/proc") / str(pid) / "task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *children(child)]
    return found if pid != os.getpid() else []
