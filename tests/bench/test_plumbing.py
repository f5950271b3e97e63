"""Relay and consumer against raw aiokafka in the same run, per core-second; and how long a commit takes to be handled elsewhere.

The facts are payments' about real orders, heard by orders' own handlers, with inbox, rows and outbox written. A core-second is
one of this process' CPU time, the broker's library and its threads included; PostgreSQL's is printed apart.
"""

import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ordermesh.infrastructure import Infrastructure
from orders.handlers import handlers
from orders.store import ORDERS
from orders.tables import orders
from shared.bus import Bus, create_topics
from shared.commands import Command, execute
from shared.contracts.envelope import Fact
from shared.contracts.orders import LineQuantity
from shared.contracts.payments import PaymentCaptured, PaymentFeeRecorded, PaymentReady
from shared.contracts.shipping import ShipmentPrepared
from shared.contracts.topics import PAYMENT_EVENTS, Topic
from shared.db import Database
from shared.inbox import Inbox, Record
from shared.mapping import insert_sql, recordset
from shared.outbox import Outgoing, Relay
from shared.settings import ServiceSettings
from shared.tx import Tx
from support.accounts import ACCOUNTS, open_accounts
from support.hearing import hear
from support.orders import NOW, an_order
from support.processes import CpuClock

PURCHASES, FACTS_EACH, AT_A_TIME, ROUNDS = 2000, 3, 500, 3
EVENTS = PURCHASES * FACTS_EACH
RAW = Topic("raw-events", ("bench",), (), ())
WARM_UP, SAMPLES, PACE_SECONDS = 50, 300, 0.02

RELAY_AT_LEAST = 1 / 3  # of what raw aiokafka sends per core-second in the same run
CONSUMER_AT_LEAST, CONSUMER_GOAL = 2_000, 3_000


async def test_relay_and_consumer_per_core_second_against_raw_aiokafka(
    infrastructure: Infrastructure, fresh_databases: Any
) -> None:
    databases = await fresh_databases("payments")
    await create_topics(infrastructure.kafka_url, [RAW])
    async with opened(databases["payments"]) as payments:
        ids = await open_accounts(payments, PURCHASES)
        said = await say_purchases(payments, ids)
        relay = await relayed(payments, infrastructure)
    sender, raw = await sent(infrastructure, said), 0.0
    best = 0.0
    for _ in range(ROUNDS):
        raw = max(raw, await fetched(infrastructure))
        async with opened((await fresh_databases("orders"))["orders"]) as db:
            await place(db, ids)
            best = max(best, await consumed(db, infrastructure))
    print(
        f"\nrelay    {relay:8.0f} events/core-s, raw aiokafka send {sender:8.0f}, ratio {relay / sender:.2f}"
    )
    print(
        f"consumer {best:8.0f} messages/core-s (goal {CONSUMER_GOAL}), raw getmany {raw:8.0f}, ratio {best / raw:.2f}"
    )
    print(f"broker: {infrastructure.broker.description}; load average {os.getloadavg()[0]:.1f}", end="")
    assert relay >= RELAY_AT_LEAST * sender
    assert best >= CONSUMER_AT_LEAST


async def test_latency_from_a_commit_to_its_handling_in_another_process(
    infrastructure: Infrastructure, fresh_databases: Any
) -> None:
    databases = await fresh_databases("shipping", "orders")
    async with opened(databases["shipping"]) as shipping, opened(databases["orders"]) as heard:
        ids = await open_accounts(shipping, WARM_UP + SAMPLES)
        await place(heard, ids)
        committed: dict[str, float] = {}
        shipping.committed.append(
            lambda commit: committed.update(dict.fromkeys(commit.keys, time.monotonic()))
        )
        async with relaying(shipping, infrastructure), listener(heard.url, infrastructure) as handled:
            await ship(shipping, ids[:WARM_UP])
            await arrived(handled, WARM_UP)
            await ship(shipping, ids[WARM_UP:], pace=PACE_SECONDS)
            await arrived(handled, len(ids))
    took = [(handled[str(each)] - committed[str(each)]) * 1000 for each in ids[WARM_UP:]]
    p50, p95 = statistics.median(took), statistics.quantiles(took, n=20)[-1]
    print(
        f"\ncommit to handled (committed): p50 {p50:.1f} ms, p95 {p95:.1f} ms, most {max(took):.1f} ms; ",
        end="",
    )
    print(f"broker: {infrastructure.broker.description}; load average {os.getloadavg()[0]:.1f}", end="")
    assert min(took) > 0  # nothing is handled before it is committed


# -- what is measured


async def relayed(db: Database, infrastructure: Infrastructure) -> float:
    """Events a core-second from the event log to the broker."""
    left, all_sent = EVENTS, asyncio.Event()

    async with a_bus(db, infrastructure) as bus:

        async def publish(messages: Sequence[Outgoing]) -> None:
            nonlocal left
            await bus.publish(messages)
            left -= len(messages)
            if left == 0:
                all_sent.set()

        clock = clock_of(infrastructure)
        async with running(Relay(db, publish).run()):
            await all_sent.wait()
            used = clock.used()
    return rate("relay", used)


async def consumed(db: Database, infrastructure: Infrastructure) -> float:
    """Messages a core-second through orders' handlers, from joining the group to the commit of the last."""
    left, all_heard, inbox = EVENTS, asyncio.Event(), Inbox(db, handlers)

    class Counted:
        async def receive(self, records: Sequence[Record]) -> None:
            nonlocal left
            await inbox.receive(records)
            left -= len(records)
            if left == 0:
                all_heard.set()

    listening: Any = Counted()
    async with a_bus(
        db,
        infrastructure,
        lambda bus: bus.listen(db, listening, "orders", topics=[PAYMENT_EVENTS], group=f"bench-{uuid4()}"),
    ):
        clock = clock_of(infrastructure)
        await all_heard.wait()
        used = clock.used()
    async with db.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM inbox") == EVENTS
        assert await conn.fetchval("SELECT count(*) FROM dead_letters") == 0
        assert await conn.fetchval("SELECT count(*) FROM orders WHERE stripe_fee > 0") == PURCHASES
    return rate("consumer", used)


async def sent(infrastructure: Infrastructure, messages: Sequence[Outgoing]) -> float:
    """Events a core-second that a bare aiokafka producer sends, batched as it likes, all acknowledged."""
    producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka_url, acks="all")
    await producer.start()
    try:
        clock = clock_of(infrastructure)
        waiting = [
            await producer.send(
                RAW.name,
                each.body,
                key=each.key.encode(),
                headers=[(name, value.encode()) for name, value in each.headers.items()],
            )
            for each in messages
        ]
        await asyncio.gather(*waiting)
        return rate("raw send", clock.used())
    finally:
        await producer.stop()


async def fetched(infrastructure: Infrastructure) -> float:
    """Messages a core-second that a bare aiokafka consumer takes, and drops."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=infrastructure.kafka_url, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(RAW.name, n) for n in range(RAW.partitions)])
        clock, left = clock_of(infrastructure), EVENTS
        while left:
            found = await consumer.getmany(timeout_ms=1000, max_records=200)
            left -= sum(map(len, found.values()))
        return rate("raw getmany", clock.used())
    finally:
        await consumer.stop()


def rate(what: str, used: dict[str, float]) -> float:
    """Events a second of this process' CPU time, printed with all CPU time per event, so that a miss explains itself."""
    each = ", ".join(f"{name} {seconds * 1e6 / EVENTS:.0f}" for name, seconds in used.items())
    print(f"\n{what:<12} {EVENTS / used['here']:8.0f} per core-s; CPU us per event: {each}", end="")
    return EVENTS / used["here"]


def clock_of(infrastructure: Infrastructure) -> CpuClock:
    if infrastructure.server is None:
        return CpuClock({})
    running = infrastructure.server.directory.all_running()
    return CpuClock({name: part.identity.pid for name, part in running.items()})


# -- what it is measured on


async def say_purchases(db: Database, ids: Sequence[UUID]) -> list[Outgoing]:
    """What payments says about these orders, in its event log; answers the same, as it is sent."""
    about: list[Callable[[UUID], Fact]] = [
        lambda order: PaymentReady(
            order_id=order, currency="USD", amount=3599, payment_intent_id=f"pi_{order}"
        ),
        lambda order: PaymentCaptured(
            order_id=order,
            currency="USD",
            amount=3599,
            payment_intent_id=f"pi_{order}",
            charge_id=f"ch_{order}",
            captured_at=NOW,
        ),
        lambda order: PaymentFeeRecorded(order_id=order, currency="USD", amount=134, charge_id=f"ch_{order}"),
    ]
    for fact_of in about:
        for start in range(0, len(ids), AT_A_TIME):
            part = ids[start : start + AT_A_TIME]
            await said(db, "payments", part, [fact_of(order) for order in part])
    async with db.connection() as conn:
        rows = await conn.fetch("SELECT topic, key, headers, body FROM event_log ORDER BY id")
    return [Outgoing(row["topic"], row["key"], row["headers"], row["body"]) for row in rows]


async def said(db: Database, service: str, ids: Sequence[UUID], facts: Sequence[Fact]) -> None:
    """Commit a command that emits these facts, its aggregates locked."""

    async def command(tx: Tx) -> str:
        tx.emit(*facts)
        return str(ids[0])

    loading: Command = command
    await execute(db, service, loading, (ACCOUNTS, [str(each) for each in ids]), correlation_id="bench")


async def ship(db: Database, ids: Sequence[UUID], *, pace: float = 0) -> None:
    for order in ids:
        prepared = ShipmentPrepared(
            order_id=order, shipment_id=uuid4(), lines=(LineQuantity(line=1, quantity=2),)
        )
        await said(db, "shipping", [order], [prepared])
        await asyncio.sleep(pace)  # the shape of the load; nothing is decided by it


async def place(db: Database, ids: Sequence[UUID]) -> None:
    rows = [an_order(id=each) for each in ids]
    async with db.connection() as conn:
        await conn.execute(insert_sql(orders, ORDERS.columns), recordset(rows))


async def arrived(handled: dict[str, float], count: int) -> None:
    async with asyncio.timeout(60):
        while len(handled) < count:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    db = Database(url)
    await db.open()
    try:
        yield db
    finally:
        await db.close()


def settings_of(url: str, infrastructure: Infrastructure) -> dict[str, Any]:
    return {
        "database_url": url,
        "kafka_url": infrastructure.kafka_url,
        "kafka_idempotence": infrastructure.kafka_idempotence,
        "kafka_fetch_max_wait_ms": infrastructure.kafka_fetch_max_wait_ms,
    }


@asynccontextmanager
async def a_bus(
    db: Database, infrastructure: Infrastructure, listen: Callable[[Bus], None] = lambda _: None
) -> AsyncIterator[Bus]:
    bus = Bus(ServiceSettings(**settings_of(db.url, infrastructure)))
    listen(bus)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def relaying(db: Database, infrastructure: Infrastructure) -> AsyncIterator[None]:
    async with a_bus(db, infrastructure) as bus, running(Relay(db, bus.publish).run()):
        yield


@asynccontextmanager
async def listener(url: str, infrastructure: Infrastructure) -> AsyncIterator[dict[str, float]]:
    """The hearing process; by order id, when what it heard was committed there."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    handled: dict[str, float] = {}

    def take() -> None:
        while ours.poll():
            handled.update([ours.recv()])

    spawn = multiprocessing.get_context("spawn")
    arguments = (settings_of(url, infrastructure), f"bench-{uuid4()}", theirs)
    process = spawn.Process(target=hear, args=arguments, daemon=True)
    process.start()
    asyncio.get_running_loop().add_reader(ours.fileno(), take)
    try:
        yield handled
    finally:
        asyncio.get_running_loop().remove_reader(ours.fileno())
        process.terminate()
        await asyncio.to_thread(process.join)
        ours.close()
