"""Hearing: one member of the service's group, called in a thread; offsets are handed over after the transaction.

The library commits what it was handed once a second, when a partition is taken away, and when it is closed: a commit costs the
broker as much as a batch. Whoever dies in between hears at most a second's records again, which the inbox has seen.

What is heard is handled topic by topic, side by side: what stops one topic does not stop the others.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from shared import telemetry
from shared.bus.client import connection
from shared.crash import crash_point
from shared.db import UNAVAILABLE, Database, describe
from shared.inbox import UNREADABLE, Inbox, Record
from shared.settings import ServiceSettings
from shared.watchdog import Heartbeat

log = structlog.get_logger(__name__)

T = TypeVar("T")
BATCH = 200
POLL_SECONDS = 0.25
"""How long the consumer's thread sleeps when there is nothing; a record wakes it at once."""
COMMIT_MS = 1000
AWAY_SECONDS = 0.5
JOIN_SECONDS = 5
_call_headers = methodcaller("headers")


class Listener:
    """One member of the service's group, for all of its topics.

    `stopped` says which topics are no longer heard and why: their partitions are paused, their offsets stay where they are.
    """

    def __init__(
        self, settings: ServiceSettings, db: Database, inbox: Inbox, topics: Sequence[str], group: str
    ) -> None:
        self._config = {
            **connection(settings.kafka_url),
            "group.id": group,
            "enable.auto.commit": True,
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": COMMIT_MS,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 2000,
            "fetch.wait.max.ms": settings.kafka_fetch_max_wait_ms,
            # What lies ready in memory: a flood on one topic is not to stand long before the others.
            "queued.min.messages": 2 * BATCH,
            "fetch.queue.backoff.ms": 5,
            "on_commit": _tell_commit,
        }
        self._db, self._inbox, self._topics = db, inbox, list(topics)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-consumer")
        self._consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = self._is_member = False
        self._heartbeat: Heartbeat | None = None
        self._in_hand: Sequence[Record] = ()
        self.stopped: dict[str, str] = {}

    @property
    def stopped_because(self) -> str | None:
        return next(iter(self.stopped.values()), None)

    def silent_for(self) -> float:
        """Seconds since the loop last came round; 0 while it does not run."""
        return self._heartbeat.silence() if self._heartbeat else 0

    async def lag(self) -> dict[tuple[str, str, str], int]:
        return await self._call(self._lag) if self._consumer else {}

    def start(self) -> None:
        self._stopping = False
        self._heartbeat = Heartbeat()
        self._task = asyncio.create_task(self._run(), name="consumer")

    async def stop(self) -> None:
        """The batch in hand is handled and its offset committed; a database that is away is not waited for."""
        self._stopping = True
        if self._task is not None:
            task, self._task = self._task, None
            await asyncio.gather(task, return_exceptions=True)
        self._heartbeat = None

    async def _run(self) -> None:
        """Whatever the library raises: a member that gave up begins anew, where its group has committed."""
        while not self._stopping:
            try:
                await self._take_part()
            except Exception as fault:  # noqa: BLE001 - see above
                log.error("consumer begins anew", reason=describe(fault))  # noqa: TRY400 - it may quote a record
                await asyncio.sleep(AWAY_SECONDS)

    async def _take_part(self) -> None:
        self._consumer = await self._call(self._join)
        done: list[TopicPartition] = []
        try:
            while not self._stopping:
                self._beat()
                self._in_hand = await self._call(self._take, done)
                done = await self._handle(self._in_hand)
                self._in_hand = ()
        finally:
            await self._call(self._leave, done)
            self._consumer = None

    async def _handle(self, records: Sequence[Record]) -> list[TopicPartition]:
        """Handle the batch, each topic's part by itself; answers the offsets that may be committed."""
        waiting = _by_topic(records)
        done: list[TopicPartition] = []
        while waiting and not self._stopping:
            results = await asyncio.gather(*(self._receive(topic, part) for topic, part in waiting.items()))
            handled = dict(zip(waiting, results, strict=True))
            done += [at for topic in waiting if handled[topic] for at in _after(waiting[topic])]
            waiting = {
                topic: part
                for topic, part in waiting.items()
                if not handled[topic] and topic not in self.stopped
            }
            if waiting:
                await self._until_database_is_back()
        return done

    async def _receive(self, topic: str, records: Sequence[Record]) -> bool:
        """True when these are handled; False when the database is away, or the topic has stopped."""
        if topic in self.stopped:
            await self._call(self._pause, {topic})
            return False
        crash_point("batch_received")
        try:
            await self._inbox.receive(records)
        except UNAVAILABLE as away:
            log.warning("consumer pauses", topic=topic, reason=f"{type(away).__name__}: {away}")
            return False
        except Exception as fault:  # noqa: BLE001 - whatever it is: the next batch's commit must not pass over this one
            self.stopped[topic] = describe(fault)
            log.error("consumer stopped", topic=topic, reason=self.stopped[topic])  # noqa: TRY400 - a traceback may quote a row
            await self._call(self._pause, {topic})
            _tell_paused({topic}, paused=True)
            return False
        return True

    async def _until_database_is_back(self) -> None:
        """Keep polling (the group must not lose us), fetch nothing; the batch in hand waits."""
        heard = set(self._topics) - self.stopped.keys()
        _tell_paused(heard, paused=True)
        while not self._stopping:
            self._beat()
            await self._call(self._pause, set(self._topics))
            await asyncio.sleep(AWAY_SECONDS)
            try:
                async with self._db.connection() as conn:
                    await conn.execute("SELECT 1")
                break
            except Exception as away:  # noqa: BLE001 - whatever it says while it comes back, somebody has to look again
                log.debug("consumer still waits", reason=describe(away))
        await self._call(self._resume)
        _tell_paused(heard, paused=False)
        log.info("consumer resumes")

    def _beat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.beat()

    # -- in the thread

    async def _call(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _join(self) -> Consumer:
        consumer = Consumer(self._config)
        self._is_member = False
        consumer.subscribe(self._topics, on_assign=self._joined)
        return consumer

    def _joined(self, _: Consumer, __: Sequence[TopicPartition]) -> None:
        self._is_member = True

    def _take(self, done: Sequence[TopicPartition]) -> list[Record]:
        self._store(done)
        first = self._working.poll(POLL_SECONDS)
        if first is None:
            return []
        taken = (first, *self._working.consume(BATCH - 1, 0))
        return [_record(message) for message in taken if _is_record(message)]

    def _store(self, done: Sequence[TopicPartition]) -> None:
        """These may be committed. What was taken away meanwhile is refused: its new owner hears it again."""
        if done:
            try:
                self._working.store_offsets(offsets=list(done))
            except KafkaException as refused:
                log.info("offsets were not kept for the commit", reason=str(refused))

    def _pause(self, topics: set[str]) -> None:
        """Also what a rebalance has brought meanwhile; a record that slips through is fetched again later."""
        consumer = self._working
        consumer.pause([part for part in consumer.assignment() if part.topic in topics])
        slipped = consumer.poll(0)
        if slipped is not None and _is_record(slipped):
            consumer.seek(TopicPartition(*_place(slipped)))

    def _resume(self) -> None:
        self._working.resume([part for part in self._working.assignment() if part.topic not in self.stopped])

    def _lag(self) -> dict[tuple[str, str, str], int]:
        found: dict[tuple[str, str, str], int] = {}
        in_hand = Counter((record.topic, record.partition) for record in self._in_hand)
        for part in self._working.position(self._working.assignment()):
            _, end = self._working.get_watermark_offsets(part, cached=True)
            if part.offset >= 0 <= end:
                labels = (self._config["group.id"], part.topic, str(part.partition))
                found[labels] = max(0, end - part.offset) + in_hand[part.topic, part.partition]
        return found

    def _leave(self, done: Sequence[TopicPartition]) -> None:
        """A member that leaves while it joins would stop its group on Tansu for good: it joins first."""
        until = time.monotonic() + JOIN_SECONDS
        while not self._is_member and time.monotonic() < until:
            self._working.poll(POLL_SECONDS)
        self._store(done)
        self._working.close()

    @property
    def _working(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("the consumer has not joined")
        return self._consumer


def _by_topic(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.topic, []).append(record)
    return found


def _after(records: Sequence[Record]) -> list[TopicPartition]:
    """Where each partition goes on after these."""
    newest = {(record.topic, record.partition): record.offset for record in records}
    return [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in newest.items()]


def _place(message: Message) -> tuple[str, int, int]:
    return message.topic() or "", message.partition() or 0, message.offset() or 0


def _record(message: Message) -> Record:
    return Record(*_place(message), message.key(), message.value(), _headers(message))


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """UNREADABLE where a name is not UTF-8.

    The library then answers a list although an exception is set, which only a call through C's own interface notices. It
    must not be asked again: it would answer the same list without the exception, and with nothing where an entry is read.
    """
    try:
        return tuple(_call_headers(message) or ())
    except (SystemError, UnicodeDecodeError):
        return UNREADABLE


def _is_record(message: Message) -> bool:
    """False for what the library reports about a topic in the place of a record."""
    error = message.error()
    if error is not None:
        log.warning("the broker reports", topic=message.topic(), reason=error.str())
    return error is None


def _tell_paused(topics: set[str], *, paused: bool) -> None:
    for topic in topics:
        telemetry.CONSUMER_PAUSED.labels(topic).set(paused)


def _tell_commit(error: KafkaError | None, _: Sequence[TopicPartition]) -> None:
    """A rebalance takes the right to commit away: whoever owns the partition now hears those records again."""
    if error is None:
        crash_point("offset_committed")
    else:
        log.info("offsets were not committed", reason=error.str())
