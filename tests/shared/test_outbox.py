"""From the event log to a real broker: nothing lost, no key's events overtaking one another."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from ordermesh.infrastructure import Infrastructure
from shared import outbox
from shared.bus import Bus, create_topics
from shared.commands import Command, execute
from shared.contracts.topics import PAYMENT_EVENTS
from shared.db import Database
from shared.outbox import Outgoing, Relay, replay
from shared.settings import ServiceSettings
from shared.tx import Tx
from support.accounts import ACCOUNTS, credit, open_accounts
from support.topics import reading

WRITERS, EACH = 16, 60


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def a_bus(db: Database, infrastructure: Infrastructure) -> AsyncIterator[Bus]:
    settings = ServiceSettings(
        database_url=db.url,
        kafka_url=infrastructure.kafka_url,
        kafka_idempotence=infrastructure.kafka_idempotence,
    )
    bus = Bus(settings)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def drained(db: Database) -> None:
    async with asyncio.timeout(60), db.connection() as conn:
        while await conn.fetchval("SELECT count(*) FROM outbox_pending"):
            await asyncio.sleep(0.02)


def say(account: UUID, writer: int, n: int) -> Command:
    async def command(tx: Tx) -> str:
        known = tx.get(ACCOUNTS, account)
        tx.save(ACCOUNTS, replace(known, balance=known.balance + 1))
        tx.emit(credit(account, f"{writer}:{n}", known.balance + 1))
        return str(account)

    return command


async def test_sixteen_writers_on_shared_accounts_lose_no_fact_and_invert_none(
    db: Database, infrastructure: Infrastructure
) -> None:
    """Each fact carries its account's balance after it: per key the broker must hold 1, 2, 3... in order."""
    ids = await open_accounts(db, 6)

    async def write(writer: int) -> None:
        for n in range(EACH):
            account = ids[(writer + n) % len(ids)]
            await execute(db, "test", say(account, writer, n), (ACCOUNTS, [str(account)]), correlation_id="t")

    async with (
        a_bus(db, infrastructure) as bus,
        running(Relay(db, bus.publish)),
        running(Relay(db, bus.publish)),
    ):
        await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        await drained(db)
    heard = await consume(infrastructure.kafka_url, {str(account) for account in ids}, WRITERS * EACH)
    assert sum(len(amounts) for amounts in heard.values()) == WRITERS * EACH
    for amounts in heard.values():
        assert amounts == list(range(1, len(amounts) + 1))


async def consume(kafka_url: str, keys: set[str], count: int) -> dict[str, list[int]]:
    """The amounts of the records with these keys, per key in the broker's order, read from the beginning."""
    heard: dict[str, list[int]] = {key: [] for key in keys}
    async with reading(kafka_url, PAYMENT_EVENTS) as more, asyncio.timeout(30):
        while sum(map(len, heard.values())) < count:
            for key, message in await more():
                if key in keys:
                    heard[key].append(orjson.loads(message.value() or b"")["amount"])
    return heard


async def test_a_failure_stops_the_relay_before_a_later_event_of_the_same_key(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    for n in range(4):
        await execute(db, "test", say(account, 0, n), (ACCOUNTS, [str(account)]), correlation_id="t")
    sent: list[int] = []
    refusals = iter([True, False, True, False, False, False])

    async def publish(messages: Sequence[Outgoing]) -> None:
        """A refusal loses the first message alone: those after it have arrived."""
        is_lost = next(refusals)
        sent.extend(orjson.loads(message.body)["amount"] for message in messages[is_lost:])
        if is_lost:
            raise OSError("the broker went away")

    async with running(Relay(db, publish)):
        await drained(db)
    assert sent == [1, 2, 3, 4]


async def test_replay_sends_a_range_again_with_the_same_ids_in_the_same_order(db: Database) -> None:
    ids = await open_accounts(db, 3)
    for n in range(9):
        account = ids[n % 3]
        await execute(db, "test", say(account, 0, n), (ACCOUNTS, [str(account)]), correlation_id="t")
    sent: list[tuple[str, str]] = []

    async def publish(messages: Sequence[Outgoing]) -> None:
        sent.extend((message.key, message.headers["ce_id"]) for message in messages)

    async with running(Relay(db, publish)):
        await drained(db)
        assert await replay(db, datetime.now(UTC) - timedelta(days=1)) == 9
        db.announce(said=True)
        await drained(db)
    first, again = (per_key(half) for half in (sent[:9], sent[9:]))
    assert [len(said) for said in first.values()] == [3, 3, 3]
    assert again == first


def per_key(sent: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """The events' ids in the order of sending, by key."""
    said: dict[str, list[str]] = {}
    for key, event_id in sent:
        said.setdefault(key, []).append(event_id)
    return said


async def test_a_producer_that_failed_for_good_is_replaced(
    db: Database, infrastructure: Infrastructure
) -> None:
    [account] = await open_accounts(db, 1)
    async with a_bus(db, infrastructure) as bus:
        await execute(db, "test", say(account, 0, 0), (ACCOUNTS, [str(account)]), correlation_id="t")
        async with running(Relay(db, bus.publish)):
            await drained(db)
        broken = bus._producer._current
        assert broken is not None
        await broken.stop()
        await execute(db, "test", say(account, 0, 1), (ACCOUNTS, [str(account)]), correlation_id="t")
        async with running(Relay(db, bus.publish)):
            await drained(db)
        assert bus._producer._current is not broken
    heard = await consume(infrastructure.kafka_url, {str(account)}, 2)
    assert heard[str(account)] == [1, 2]


async def test_topics_have_their_declared_partitions_and_creating_them_again_is_harmless(
    infrastructure: Infrastructure,
) -> None:
    await create_topics(infrastructure.kafka_url)
    consumer = AIOKafkaConsumer(bootstrap_servers=infrastructure.kafka_url)
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        partitions = consumer.partitions_for_topic(PAYMENT_EVENTS.name) or await _known(consumer)
    finally:
        await consumer.stop()
    assert len(partitions) == PAYMENT_EVENTS.partitions


async def _known(consumer: AIOKafkaConsumer) -> set[int]:
    consumer._client.add_topic(PAYMENT_EVENTS.name)
    await consumer._client.force_metadata_update()
    return set(consumer.partitions_for_topic(PAYMENT_EVENTS.name))


async def test_what_a_replica_says_that_does_not_lead_is_sent_without_waiting_for_the_poll(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "POLL_SECONDS", 600)
    other = Database(db.url)
    await other.open()
    sent = list[str]()

    async def publish(messages: Sequence[Outgoing]) -> None:
        sent.extend(message.key for message in messages)

    leader, follower = Relay(db, publish), Relay(other, publish)
    accounts = await open_accounts(db, 5)
    async with running(leader):
        await until(lambda: leader.leading)
        async with running(follower):
            for account in accounts:
                loads = (ACCOUNTS, [str(account)])
                await execute(other, "payments", say(account, 0, 0), loads, correlation_id="t")
                await until(partial(sent.__contains__, str(account)))
            assert not follower.leading
    await other.close()
    assert sent == [str(account) for account in accounts]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
