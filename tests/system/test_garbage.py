"""Thousands of records that nobody can read, on every topic that a service hears, between good ones: over the real broker."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from ordermesh.infrastructure import Infrastructure, embedded
from orders.store import ORDERS
from shared import letters
from shared.bus import Bus, create_topics
from shared.commands import execute
from shared.contracts.envelope import FACTS, Fact
from shared.contracts.topics import TOPICS, Topic
from shared.db import Database
from shared.handlers import Handlers
from shared.inbox import UNREADABLE, Inbox, Record
from shared.redrive import Redriver
from shared.settings import ServiceSettings
from shared.tx import Tx
from support.accounts import record
from support.garbage import KINDS, Garbage, garbage, send
from support.orders import an_order

EXAMPLES = Path(__file__).parents[2] / "shared" / "examples"
BAD, GOOD, SEED = 2000, 200, 20261122
PARTITIONS = 3
SAID = {  # on each topic a fact that every one of its consumers acts on
    "order-events": "order.placed",
    "payment-events": "payment.refund_failed",
    "shipment-events": "shipment.failed",
    "catalog-skus": "sku.listed",
}
SERVICES = ("orders", "payments", "shipping", "notifications")
HEARD = [(service, topic.name) for service in SERVICES for topic in TOPICS if service in topic.consumers]


@dataclass
class Sent:
    """What lies on one topic; offsets as the broker gave them."""

    bad: list[Garbage]
    good: list[Record]


@dataclass
class Aftermath:
    """Everything was sent, and every service has heard it all."""

    sent: dict[str, Sent]
    databases: dict[str, Database]
    buses: dict[str, Bus]


def handlers_of(service: str) -> Handlers:
    found: Handlers = importlib.import_module(f"{service}.handlers").handlers
    return found


def facts(topic: Topic, ids: Iterator[UUID]) -> Iterator[Record]:
    said = SAID[topic.name]
    example = min((EXAMPLES / said / "v1").glob("*.json")).read_bytes()
    body = orjson.loads(example)
    for number, order_id in enumerate(ids):
        named = {"sku_id": f"SKU-{order_id}"} if said == "sku.listed" else {"order_id": str(order_id)}
        fact: Fact = FACTS[said, 1].model_validate_json(orjson.dumps({**body, **named}))
        yield replace(record(fact), partition=number % PARTITIONS)


async def an_order_for(db: Database, ids: Sequence[UUID]) -> None:
    async def command(tx: Tx) -> str:
        for order_id in ids:
            tx.add(ORDERS, an_order(id=order_id))
        return ""

    await execute(db, "orders", command, correlation_id="t")


async def lay_out(producer: AIOKafkaProducer, topic: Topic, ids: Sequence[UUID], seed: int) -> Sent:
    """Garbage and good facts, mixed, in PARTITIONS partitions."""
    facts_of_topic = facts(topic, iter(ids))
    elsewhere = b"order.paid" if topic.name != "order-events" else b"payment.captured"
    mixed: list[tuple[Garbage | None, Record]] = []
    for n, bad in enumerate(garbage(facts_of_topic, BAD, seed, elsewhere)):
        mixed.append((bad, bad.record))
        if n % (BAD // GOOD) == 0:
            mixed.append((None, next(facts_of_topic)))
    mixed.sort(key=lambda each: each[1].partition)
    landed = await send(producer, [each for _, each in mixed])
    pairs = list(zip((bad for bad, _ in mixed), landed, strict=True))
    return Sent(
        [replace(bad, record=each) for bad, each in pairs if bad is not None],
        [each for bad, each in pairs if bad is None],
    )


@pytest.fixture(scope="module")
async def aftermath(
    fresh_databases: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Aftermath]:
    """On a broker of its own: nobody else's services shall hear this."""
    urls = await fresh_databases(*SERVICES)
    ids = [uuid4() for _ in range(BAD + GOOD)]
    async with AsyncExitStack() as stack:
        home = tmp_path_factory.mktemp("garbage")
        infrastructure = await stack.enter_async_context(embedded(home=home, fast=True))
        await create_topics(infrastructure.kafka_url)
        databases = {name: Database(urls[name], pool_size=6) for name in SERVICES}
        for db in databases.values():
            await db.open()
            stack.push_async_callback(db.close)
        await an_order_for(databases["orders"], ids)
        producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka_url)
        await producer.start()
        stack.push_async_callback(producer.stop)
        laid = [lay_out(producer, topic, ids, SEED + n) for n, topic in enumerate(TOPICS)]
        sent = dict(zip(SAID, await asyncio.gather(*laid), strict=True))
        buses = {name: bus(infrastructure, db, name) for name, db in databases.items()}
        await asyncio.gather(*(each.start() for each in buses.values()))
        for each in buses.values():
            stack.push_async_callback(each.stop)
        await until(lambda: all_heard(databases, buses, sent))
        yield Aftermath(sent, databases, buses)


def bus(infrastructure: Infrastructure, db: Database, service: str) -> Bus:
    settings = ServiceSettings(
        database_url=db.url,
        kafka_url=infrastructure.kafka_url,
        kafka_idempotence=infrastructure.kafka_idempotence,
        kafka_fetch_max_wait_ms=infrastructure.kafka_fetch_max_wait_ms,
    )
    made = Bus(settings)
    made.listen(db, Inbox(db, handlers_of(service)), service)
    return made


async def all_heard(databases: dict[str, Database], buses: dict[str, Bus], sent: dict[str, Sent]) -> bool:
    """Raises AssertionError for a consumer that stopped: nothing comes of waiting then."""
    for service, topic in HEARD:
        assert buses[service].stopped_because is None, (service, buses[service].stopped_because)
        async with databases[service].connection() as conn:
            dead = await conn.fetchval("SELECT count(*) FROM dead_letters WHERE topic = $1", topic)
        if dead < BAD or await heard(databases[service], sent[topic].good) < GOOD:
            return False
    return True


async def heard(db: Database, good: Sequence[Record]) -> int:
    ids = [UUID(each.text_headers()["ce_id"]) for each in good]
    async with db.connection() as conn:
        return int(await conn.fetchval("SELECT count(*) FROM inbox WHERE event_id = ANY($1::uuid[])", ids))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(240):
        while not await condition():
            await asyncio.sleep(0.1)


def as_held(bad: Garbage) -> Record:
    """Byte by byte, but for headers that the broker's client cannot read."""
    nameless = bad.what == "a header's name that is not UTF-8"
    return replace(bad.record, headers=UNREADABLE) if nameless else bad.record


@pytest.mark.parametrize(("service", "topic"), HEARD)
async def test_garbage_is_held_byte_by_byte_with_a_reason_and_every_good_fact_is_handled(
    aftermath: Aftermath, service: str, topic: str
) -> None:
    db, sent = aftermath.databases[service], aftermath.sent[topic]
    assert aftermath.buses[service].stopped_because is None
    found = await letters.find(db, service, letters.Filter(topic=topic), 10_000)
    assert {letter.record for letter in found} == {as_held(bad) for bad in sent.bad}
    assert len(found) == len(sent.bad) == BAD
    assert {bad.what for bad in sent.bad} >= {*KINDS, "1 MB", "another topic's type"}
    assert all(letter.reason and not letter.blocks_key for letter in found)
    assert await heard(db, sent.good) == GOOD


@pytest.mark.parametrize(("service", "topic"), HEARD)
async def test_a_mended_one_is_redriven(aftermath: Aftermath, service: str, topic: str) -> None:
    db, sent = aftermath.databases[service], aftermath.sent[topic]
    chosen = next(bad for bad in sent.bad if bad.what == "a truncated body")
    async with db.connection() as conn:
        letter_id = await conn.fetchval(
            'SELECT id FROM dead_letters WHERE topic = $1 AND partition = $2 AND "offset" = $3',
            topic,
            chosen.record.partition,
            chosen.record.offset,
        )
    [letter] = await letters.find(db, service, letters.Filter(ids=(letter_id,)), 1)
    mended = letters.changed(letter.record, body=chosen.good.value)
    assert await letters.mend(db, service, letter, mended, "eve")
    redriver = Redriver(db, Inbox(db, handlers_of(service)), service)
    while await redriver.round():
        pass
    assert await letters.find(db, service, letters.Filter(ids=(letter.id,)), 1) == []
    assert [row["outcome"] for row in await letters.audit(db, service, letter.id)] == ["handled"]
    assert await heard(db, [chosen.good]) == 1
