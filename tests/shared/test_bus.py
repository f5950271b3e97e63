"""The consumer against a real broker: what it cannot read, what it cannot handle, and a database that goes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, TopicPartition
from structlog.testing import capture_logs

from ordermesh.infrastructure import Infrastructure
from shared.bus import Bus
from shared.bus.listener import Listener
from shared.contracts.payments import PaymentFeeRecorded
from shared.contracts.topics import PAYMENT_EVENTS
from shared.db import Database
from shared.handlers import Handlers
from shared.inbox import Inbox, Record
from shared.settings import ServiceSettings
from support import accounts, garbage
from support.accounts import balances, credit, dead_letters, open_accounts, record


@asynccontextmanager
async def listening(
    db: Database, infrastructure: Infrastructure, inbox: Any, consumer: str
) -> AsyncIterator[Bus]:
    settings = ServiceSettings(
        database_url=db.url,
        kafka_url=infrastructure.kafka_url,
        kafka_idempotence=infrastructure.kafka_idempotence,
        kafka_fetch_max_wait_ms=infrastructure.kafka_fetch_max_wait_ms,
    )
    bus = Bus(settings)
    bus.listen(db, inbox, "orders", topics=[PAYMENT_EVENTS], group=consumer)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


async def send(infrastructure: Infrastructure, records: list[Record]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=infrastructure.kafka_url)
    await producer.start()
    try:
        await garbage.send(producer, records)
    finally:
        await producer.stop()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)


async def credited(db: Database, account: UUID, balance: int) -> bool:
    return (await balances(db, [account]))[account] == balance


def mine(account: UUID, hearing: Handlers) -> Handlers:
    """Other tests share the broker's topics: act on this account's facts only."""
    handle = hearing.by_fact[PaymentFeeRecorded].handle

    async def only_mine(fact: PaymentFeeRecorded, tx: Any) -> None:
        if fact.order_id == account:
            await handle(fact, tx)

    own = Handlers(hearing.consumer)
    own.on(PaymentFeeRecorded, *hearing.by_fact[PaymentFeeRecorded].loads)(only_mine)
    return own


NAMELESS = Record("payment-events", 0, 0, b"k", b"{}", (("\udcff", b"x"),))
"""Its header's name is not UTF-8."""


async def test_records_with_headers_that_the_library_cannot_read_are_kept_and_the_good_around_them_handled(
    db: Database, infrastructure: Infrastructure
) -> None:
    [account] = await open_accounts(db, 1)
    good = [record(credit(account, f"{n}")) for n in range(4)]
    null = Record("payment-events", 0, 0, b"k", b"{}", (("ce_id", None),))
    binary = Record("payment-events", 0, 0, b"k", b"{}", (("x", b"\xff\xfe"),))
    inbox = Inbox(db, mine(account, accounts.handlers()))
    async with listening(db, infrastructure, inbox, f"test-{uuid4()}"):
        await send(infrastructure, [good[0], null, good[1], binary, good[2], NAMELESS, good[3]])
        await until(lambda: credited(db, account, 4))
    letters = await dead_letters(db)
    assert {letter["body"] for letter in letters} >= {b"{}"}
    kept = [letter["headers"] for letter in letters]
    assert [["ce_id", None]] in kept
    assert [["x", "//4="]] in kept
    assert [[{"base64": "/w=="}, None]] in kept


async def test_offsets_that_the_library_does_not_keep_are_told(db: Database) -> None:
    """They are of a partition that was taken away: its new owner hears those records again."""
    settings = ServiceSettings(database_url=db.url, kafka_url="127.0.0.1:1")
    listener = Listener(settings, db, Inbox(db, accounts.handlers()), [], "test")
    listener._consumer = Consumer(listener._config)
    with capture_logs() as logs:
        listener._store([TopicPartition("payment-events", 0, 1)])
    listener._consumer.close()
    [told] = logs
    assert told["event"] == "offsets were not kept for the commit"
    assert "StoreOffsets failed" in told["reason"]


async def test_while_the_database_is_away_nothing_is_skipped(
    db: Database, infrastructure: Infrastructure
) -> None:
    [account] = await open_accounts(db, 1)
    away, seen = True, asyncio.Event()
    inner = Inbox(db, mine(account, accounts.handlers()))

    class Shaky:
        async def receive(self, records: Any) -> None:
            if away:
                seen.set()
                raise asyncpg.ConnectionDoesNotExistError("the server closed the connection")
            await inner.receive(records)

    async with listening(db, infrastructure, Shaky(), f"test-{uuid4()}") as bus:
        # A batch that is tried again is not read from the library again, which could not bear it.
        await send(infrastructure, [NAMELESS, *(record(credit(account, f"{n}")) for n in range(3))])
        await seen.wait()
        # The loop comes round all the same: a database that is away is no reason to be restarted.
        paused = time.monotonic()
        await until(lambda: _beats_since(bus, paused))
        assert sum((await bus.lag()).values()) >= 1
        away = False
        await until(lambda: credited(db, account, 3))
        await until(lambda: _has_no_lag(bus))
        assert bus.stopped_because is None


async def test_a_database_that_comes_back_in_steps_is_waited_for(
    db: Database, infrastructure: Infrastructure
) -> None:
    [account] = await open_accounts(db, 1)
    inner, looks = Inbox(db, mine(account, accounts.handlers())), 0

    class Restored(Database):
        @asynccontextmanager
        async def connection(self) -> AsyncIterator[Any]:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise asyncpg.InvalidCatalogNameError("it is being restored")
            async with db.connection() as conn:
                yield conn

    class Shaky:
        async def receive(self, records: Any) -> None:
            if looks < 2:
                raise asyncpg.ConnectionDoesNotExistError("the server closed the connection")
            await inner.receive(records)

    async with listening(Restored(db.url), infrastructure, Shaky(), f"test-{uuid4()}"):
        await send(infrastructure, [record(credit(account, "1"))])
        await until(lambda: credited(db, account, 1))


async def test_a_consumer_that_hangs_within_a_batch_falls_silent(
    db: Database, infrastructure: Infrastructure
) -> None:
    hangs, may_end = asyncio.Event(), asyncio.Event()

    class Hanging:
        async def receive(self, _: Any) -> None:
            hangs.set()
            await may_end.wait()

    async with listening(db, infrastructure, Hanging(), f"test-{uuid4()}") as bus:
        await send(infrastructure, [record(credit(uuid4(), "1"))])
        await hangs.wait()
        hung = time.monotonic()
        await until(lambda: _is_silent(bus, 0.5))
        assert not await _beats_since(bus, hung)
        may_end.set()
        await until(lambda: _beats_since(bus, hung))
        await bus.stop_listening()
        assert bus.silent_for() == 0


async def test_an_unforeseen_fault_stops_the_consumer_and_commits_nothing(
    db: Database, infrastructure: Infrastructure
) -> None:
    [account] = await open_accounts(db, 1)
    group, seen = f"test-{uuid4()}", asyncio.Event()

    class Broken:
        async def receive(self, _: Any) -> None:
            seen.set()
            raise RuntimeError("a bug of ours")

    async with listening(db, infrastructure, Broken(), group) as bus:
        await send(infrastructure, [record(credit(account, "1"))])
        await seen.wait()
        await until(lambda: _stopped(bus))
    async with listening(db, infrastructure, Inbox(db, mine(account, accounts.handlers())), group):
        assert await first_credit(db, infrastructure, account) == "1"


async def test_a_new_group_hears_what_was_said_before_it_came(
    db: Database, infrastructure: Infrastructure
) -> None:
    [account] = await open_accounts(db, 1)
    await send(infrastructure, [record(credit(account, "before"))])
    inbox = Inbox(db, mine(account, accounts.handlers()))
    async with listening(db, infrastructure, inbox, f"test-{uuid4()}"):
        assert await first_credit(db, infrastructure, account) == "before"


class Noting:
    """An inbox that only notes an account's records."""

    def __init__(self, account: UUID) -> None:
        self._key = str(account).encode()
        self.heard: list[Record] = []

    async def receive(self, records: list[Record]) -> None:
        self.heard += [each for each in records if each.key == self._key]

    async def has_heard(self) -> bool:
        return bool(self.heard)


async def test_what_was_handled_is_not_heard_again_by_the_member_that_comes_next(
    db: Database, infrastructure: Infrastructure
) -> None:
    account, group = uuid4(), f"test-{uuid4()}"
    for charge in ("first", "second"):
        said, inbox = record(credit(account, charge)), Noting(account)
        async with listening(db, infrastructure, inbox, group):
            await send(infrastructure, [said])
            await until(inbox.has_heard)
        assert [each.value for each in inbox.heard] == [said.value]


async def test_what_was_handled_is_committed_while_the_member_stays(
    db: Database, infrastructure: Infrastructure
) -> None:
    account, group = uuid4(), f"test-{uuid4()}"
    onlooker = Consumer({"bootstrap.servers": infrastructure.kafka_url, "group.id": group})

    async def is_committed() -> bool:
        newest = inbox.heard[-1]
        place = TopicPartition(newest.topic, newest.partition)
        [found] = await asyncio.to_thread(onlooker.committed, [place], 10)
        return bool(found.offset == newest.offset + 1)

    async with listening(db, infrastructure, inbox := Noting(account), group):
        await send(infrastructure, [record(credit(account, "1"))])
        await until(inbox.has_heard)
        await until(is_committed)
    onlooker.close()


async def first_credit(db: Database, infrastructure: Infrastructure, account: UUID) -> str:
    """What the account heard first. New facts are sent until it hears any, so what was skipped is not waited for."""
    async with asyncio.timeout(60):
        while await credited(db, account, 0):
            await send(infrastructure, [record(credit(account, "after"))])
            await asyncio.sleep(0.2)
    async with db.connection() as conn:
        return str(await conn.fetchval("SELECT credits ->> 0 FROM accounts WHERE id = $1", account))


async def _stopped(bus: Bus) -> bool:
    return bus.stopped_because == "RuntimeError: a bug of ours"


async def _beats_since(bus: Bus, then: float) -> bool:
    return bus.silent_for() < time.monotonic() - then


async def _is_silent(bus: Bus, seconds: float) -> bool:
    return bus.silent_for() > seconds


async def _has_no_lag(bus: Bus) -> bool:
    lag = await bus.lag()
    return bool(lag) and not any(lag.values())
