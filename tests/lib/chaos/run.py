"""One run: boot, traffic under faults, calm, settle, judge. The report says what happened and what was broken by it."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import quantiles

import asyncpg

from chaos import providers
from chaos.nemesis import Injected, Nemesis, Say
from chaos.schedule import Schedule
from chaos.system import System
from chaos.topics import overtaken, published
from chaos.traffic import PatientShop, Told, Traffic
from ordermesh.books import Book, Violation, checks
from ordermesh.catalogue import feed_catalogue
from ordermesh.evidence import Evidence, gather, in_flight
from ordermesh.history import history
from ordermesh.programs import GATEWAY, SANDBOX
from ordermesh.shop import Places

AT_ONCE = 12
FAULTY_PROVIDERS = 0.2
"""The share of the providers' calls, and of their webhooks, that goes wrong."""
PATIENCE_SECONDS = 240
"""How long a story waits for what must come: several leases of a minute may run out behind one another."""
SETTLE_SECONDS = 240
MORE_ORDERS = 3
"""So many times the orders asked for may be placed until every fault has happened and every crash point was reached."""


@dataclass
class Report:
    """`unreached`: crash points that no process died at. `slowest` etc. are in seconds."""

    schedule: Schedule
    told: list[Told] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    provider_faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    asked_again: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    figures: list[tuple[str, str, str, int]] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    def recovery(self, percent: int) -> float:
        """The percentile of the recoveries, in seconds."""
        if len(self.recoveries) < 2:
            return sum(self.recoveries)
        return quantiles(self.recoveries, n=100, method="inclusive")[percent - 1]


async def run(schedule: Schedule, home: Path, say: Say) -> Report:
    """Raises what keeps it from being judged at all: a boot that failed, a service that never gets ready again."""
    report = Report(schedule)
    async with AsyncExitStack() as exits:
        system = System(home, schedule.crashes)
        await system.boot(exits)
        say(f"broker: {system.broker.description}")
        places = Places(system.urls[GATEWAY], system.urls[SANDBOX])
        shop = await exits.enter_async_context(PatientShop(places, patience=PATIENCE_SECONDS))
        await feed_catalogue(f"127.0.0.1:{system.proxies['kafka'].port}", shop)
        await providers.fail(shop, schedule.seed, FAULTY_PROVIDERS)
        await _disturb(system, shop, report, say)
        report.provider_faults = await providers.recover(shop)
        say("settling")
        await _settle(system, shop, say)
        evidence = await gather(system.databases, shop)
        report.violations += _judge(report, evidence, shop)
        report.violations += overtaken(evidence, await published(system.broker.url, evidence))
        report.recoveries = await _recoveries(report.injected, system.databases)
        report.asked_again = shop.answers
        if report.violations:
            report.history = history(evidence, report.violations[0].order_id)
    return report


async def _disturb(system: System, shop: PatientShop, report: Report, say: Say) -> None:
    """Traffic and faults side by side, until all orders were placed and all faults happened."""
    schedule = report.schedule
    traffic = Traffic(shop, at_once=min(AT_ONCE, max(1, schedule.orders // 3)))
    nemesis = Nemesis(system, lambda: traffic.begun, say)
    faults = asyncio.create_task(nemesis.run(schedule))
    watch = asyncio.create_task(nemesis.watch())

    def go_on(begun: int) -> bool:
        missing = not faults.done() or any(system.to_come.values())
        return begun < schedule.orders or (missing and begun < schedule.orders * MORE_ORDERS)

    stories = asyncio.create_task(traffic.run(go_on))
    try:
        # A defect of the harness itself must not leave the others running.
        await asyncio.wait({stories, watch}, return_when=asyncio.FIRST_COMPLETED)
        await stories
        await faults
    finally:
        for task in (stories, faults, watch):
            task.cancel()
        await asyncio.gather(stories, faults, watch, return_exceptions=True)
    report.unreached = [f"{name} at {place}" for name, places in system.to_come.items() for place in places]
    await nemesis.calm()
    report.told, report.injected = traffic.told, nemesis.injected
    report.violations += [Violation("processes end as they are told", "", what) for what in nemesis.defects]


async def _settle(system: System, shop: PatientShop, say: Say) -> None:
    """Until nothing is in flight, twice in a row, or the time is up; what then still is, the books say."""
    deadline, quiet = asyncio.get_running_loop().time() + SETTLE_SECONDS, 0
    last: dict[str, int] = {}
    while quiet < 2 and asyncio.get_running_loop().time() < deadline:
        left = await in_flight(system.databases, shop)
        quiet = 0 if left else quiet + 1
        if left != last:
            say(f"in flight: {left}")
            last = left
        await asyncio.sleep(1)


def _judge(report: Report, evidence: Evidence, shop: PatientShop) -> list[Violation]:
    found = [
        Violation(
            "a story ends as it is told",
            _order_of(evidence, told),
            f"{told.story} ({told.shopper}): {told.failure}",
        )
        for told in report.told
        if told.failure
    ]
    found += [
        Violation("an acknowledged order is there", order_id, "it is not")
        for order_id in sorted(shop.acknowledged - evidence.orders.keys())
    ]
    owners = Counter(str(order["customer_id"]) for order in evidence.orders.values())
    found += [
        Violation("an order is placed once", order_id, f"its shopper has {owners[str(order['customer_id'])]}")
        for order_id, order in evidence.orders.items()
        if owners[str(order["customer_id"])] > 1
    ]
    for check in checks(Book(evidence, repeats=True)):
        report.figures.append((check.what, check.ours, check.theirs, len(check.violations)))
        found += check.violations
    return found


def _order_of(evidence: Evidence, told: Told) -> str:
    """The order of a story that failed: each story has a shopper, and each shopper an email address of their own."""
    return next(
        (
            order_id
            for order_id, row in evidence.contacts.items()
            if row["email"] == f"{told.shopper}@example.com"
        ),
        told.order_id,
    )


async def _recoveries(injected: list[Injected], databases: Mapping[str, str]) -> list[float]:
    """For each fault, the seconds from its beginning until every service that it hit had heard something after its end."""
    heard: dict[str, list[datetime]] = defaultdict(list)
    for service, dsn in databases.items():
        conn = await asyncpg.connect(dsn, timeout=10)
        rows = await conn.fetch("SELECT DISTINCT received_at FROM inbox ORDER BY received_at")
        await conn.close()
        heard[service] = [row["received_at"] for row in rows]
    found = []
    for fault in injected:
        firsts = [
            next((at for at in heard[s] if at > fault.over), None) for s in fault.affected if s in heard
        ]
        if firsts and None not in firsts:
            found.append(max((at - fault.at).total_seconds() for at in firsts if at))
    return found
