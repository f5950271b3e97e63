"""The only speaker to the broker: one batch consumer per service, offsets committed after the transaction, and the producer.

What the library would get wrong for us is settled here once: at-most-once acknowledgement (manual), "latest" as the first
offset (earliest), a null or non-UTF-8 header that makes a record vanish (our parser never decodes), acks=1 (all).
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import IllegalStateError, KafkaError, for_code
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage

from shared import telemetry
from shared.contracts.envelope import Envelope, Fact
from shared.contracts.topics import TOPICS, Topic, topic_of
from shared.db import UNAVAILABLE, Database, describe
from shared.ids import uuid7
from shared.inbox import Inbox, Record
from shared.outbox import Outgoing
from shared.settings import ServiceSettings
from shared.watchdog import Heartbeat, longest_silence

log = structlog.get_logger(__name__)

BATCH = 200
IDLE_MS = 20
"""How long the library waits, and then sleeps, when there is nothing: the price is 25 wake-ups a second."""
SEND_SECONDS = 30
STOP_SECONDS = 5
_TOPIC_EXISTS = 36


class Bus:
    """A service's connection to the broker. `publish` for its relay; `listen` before `start` for its consumer."""

    UNAVAILABLE = (KafkaError, OSError)

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._broker = KafkaBroker(
            settings.kafka_url,
            consumer_only=True,
            allow_auto_create_topics=False,
            graceful_timeout=settings.graceful_timeout,
            ack_policy=AckPolicy.MANUAL,
            apply_types=False,
            logger=_broker_log(),
        )
        self._producer = _Producer(settings)
        self._resuming: set[asyncio.Task[None]] = set()
        self._heartbeats: list[Heartbeat] = []
        self.stopped_because: str | None = None

    def listen(
        self, db: Database, inbox: Inbox, consumer: str, *, topics: Sequence[Topic] = TOPICS, group: str = ""
    ) -> None:
        """Hear those topics that name this consumer, in batches; nothing is acknowledged before it is committed.

        Each topic has a consumer and a group of its own (`<group>.<topic>`, the group by default the consumer's name): what
        stops or floods one of them does not touch the others.
        """
        for topic in topics:
            if consumer in topic.consumers:
                self._subscribe(db, inbox, topic.name, f"{group or consumer}.{topic.name}")

    def _subscribe(self, db: Database, inbox: Inbox, topic: str, group: str) -> None:
        subscriber = self._broker.subscriber(
            topic,
            group_id=group,
            batch=True,
            max_records=BATCH,
            batch_timeout_ms=IDLE_MS,
            fetch_max_wait_ms=self._settings.kafka_fetch_max_wait_ms,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            parser=_parse,
            decoder=_decode,
        )

        @subscriber
        async def receive(message: KafkaAckableMessage) -> None:
            await self._receive(db, inbox, message)

    async def start(self) -> None:
        """Raises one of UNAVAILABLE; may be tried again."""
        await self._producer.start()
        await self._broker.start()
        self._heartbeats = [_heartbeat_of(consumer) for _, consumer in self._consumers()]

    def silent_for(self) -> float:
        """Seconds since the slowest consumer's loop last came round; 0 while nothing is heard."""
        return longest_silence(self._heartbeats)

    async def lag(self) -> dict[tuple[str, str, str], int]:
        """By group, topic and partition: how many records the broker had, when last fetched from, that were not taken yet."""
        found: dict[tuple[str, str, str], int] = {}
        for group, consumer in self._consumers():
            for part in consumer.assignment():
                with suppress(IllegalStateError):  # a rebalance takes it away just now
                    end = consumer.highwater(part)
                    if end is not None:
                        at = await consumer.position(part)
                        found[group, part.topic, str(part.partition)] = max(0, end - at)
        return found

    def _consumers(self) -> list[tuple[str, Any]]:
        subscribers: Any = self._broker.subscribers
        return [(each.group_id, each.consumer) for each in subscribers if each.consumer is not None]

    async def stop_listening(self) -> None:
        """Take no new batch and finish the one in hand; publishing goes on."""
        self._heartbeats = []
        await asyncio.gather(*(subscriber.stop() for subscriber in self._broker.subscribers))

    async def stop(self) -> None:
        for task in list(self._resuming):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._broker.stop()
        await self._producer.stop()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Send all, pipelined, and return when every one is acknowledged. Raises one of UNAVAILABLE when one is not."""
        await self._producer.send(messages)

    async def _receive(self, db: Database, inbox: Inbox, message: KafkaAckableMessage) -> None:
        raw = message.raw_message
        records = raw if isinstance(raw, tuple) else (raw,)
        try:
            await inbox.receive([_record(record) for record in records])
        except UNAVAILABLE as away:
            log.warning("consumer pauses", reason=f"{type(away).__name__}: {away}")
            await self._pause(message)
            self._resuming.add(task := asyncio.create_task(self._resume(db, message)))
            task.add_done_callback(self._resuming.discard)
        except Exception as fault:  # noqa: BLE001 - whatever it is: the next batch's commit must not pass over this one
            self.stopped_because = describe(fault)
            log.error("consumer stopped", reason=self.stopped_because)  # noqa: TRY400 - a traceback may quote a row
            await self._pause(message)
        else:
            await message.ack()

    async def _pause(self, message: KafkaAckableMessage) -> None:
        """Keep polling (the group must not lose us), fetch nothing, and stand before the batch again."""
        consumer: Any = message.consumer
        with suppress(
            IllegalStateError
        ):  # a rebalance took the partitions away: their new owner begins at the commit
            await message.nack()
        consumer.pause(*consumer.assignment())
        telemetry.CONSUMER_PAUSED.set(1)

    async def _resume(self, db: Database, message: KafkaAckableMessage) -> None:
        consumer: Any = message.consumer
        while True:
            await asyncio.sleep(0.5)
            try:
                async with db.connection() as conn:
                    await conn.execute("SELECT 1")
            except UNAVAILABLE:
                continue
            consumer.resume(*consumer.paused())
            telemetry.CONSUMER_PAUSED.set(0)
            log.info("consumer resumes")
            return


def _heartbeat_of(consumer: Any) -> Heartbeat:
    """Beats each time that the library's loop asks for records."""
    heartbeat, take = Heartbeat(), consumer.getmany

    async def getmany(**options: Any) -> Any:
        heartbeat.beat()
        return await take(**options)

    consumer.getmany = getmany
    return heartbeat


class _Producer:
    """The library's producer, replaced after a failure: one that was fenced or lost its sequence fails for ever after."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._current: AIOKafkaProducer | None = None
        self._failed = False
        self._replacing = asyncio.Lock()

    async def start(self) -> None:
        """Raises KafkaError, or TimeoutError after SEND_SECONDS."""
        async with asyncio.timeout(SEND_SECONDS):
            await self._working()

    async def stop(self) -> None:
        """What was sent is delivered, if the broker takes it within STOP_SECONDS."""
        current, self._current = self._current, None
        if current is None:
            return
        if not self._failed:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await current.flush()
        await _discard(current)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Raises KafkaError, or TimeoutError after SEND_SECONDS; the next call then begins with a fresh producer."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                producer = await self._working()
                acknowledgements = [await _send(producer, message) for message in messages]
                await _all_acknowledged(acknowledgements)
        except Exception:
            self._failed = True
            raise

    async def _working(self) -> AIOKafkaProducer:
        async with self._replacing:
            if self._failed and self._current is not None:
                log.warning("producer is replaced")
                failed, self._current = self._current, None
                await _discard(failed)
            if self._current is None:
                self._current = await self._started()
                self._failed = False
            return self._current

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_url,
            acks="all",
            enable_idempotence=self._settings.kafka_idempotence,
        )
        try:
            await producer.start()
        except BaseException:
            await _discard(producer)
            raise
        return producer


async def _send(producer: AIOKafkaProducer, message: Outgoing) -> "asyncio.Future[Any]":
    headers = [(name, value.encode()) for name, value in message.headers.items()]
    acknowledgement: asyncio.Future[Any] = await producer.send(
        message.topic, message.body, key=message.key.encode(), headers=headers
    )
    return acknowledgement


async def _all_acknowledged(acknowledgements: "Sequence[asyncio.Future[Any]]") -> None:
    """Every one has ended when this raises the first error."""
    for result in await asyncio.gather(*acknowledgements, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _discard(producer: AIOKafkaProducer) -> None:
    """Close it without waiting for what it could not deliver: that is still in the outbox."""
    await producer.client.close()
    producer._message_accumulator.fail_all(KafkaError("discarded"))  # noqa: SLF001 - else `stop` waits for the lost
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()


def _broker_log() -> logging.Logger:
    """The library's own logger brings a handler and a format; ours goes where all lines go. Its warnings are about style."""
    logger = logging.getLogger("shared.broker")
    logger.setLevel(logging.ERROR)
    return logger


async def create_topics(
    kafka_url: str, topics: Sequence[Topic] = TOPICS, *, replication_factor: int = 1
) -> None:
    """Create what is missing, with the declared partitions and retention. Raises KafkaError when the broker refuses."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if not missing:
            return
        answer = await admin.create_topics([_new_topic(topic, replication_factor) for topic in missing])
        for name, code, *_ in answer.topic_errors:
            if code not in {0, _TOPIC_EXISTS}:
                raise for_code(code)(f"topic {name}")
    finally:
        await admin.close()


async def tell(kafka_url: str, source: str, facts: Sequence[Fact]) -> None:
    """Publish facts from outside any service: the shop's catalogue does. Raises KafkaError."""
    broker = KafkaBroker(kafka_url, acks="all", logger=_broker_log())
    async with broker:
        for fact in facts:
            envelope = Envelope(
                id=uuid7(),
                type=fact.type,
                version=fact.version,
                source=source,
                subject=fact.key,
                time=datetime.now(UTC),
                correlation_id=str(uuid7()),
                causation_id="",
            )
            await broker.publish(
                fact.model_dump_json().encode(),
                topic_of(type(fact)).name,
                key=fact.key.encode(),
                headers=envelope.headers(),
            )


def _new_topic(topic: Topic, replication_factor: int) -> NewTopic:
    retention_ms = str(topic.retention_days * 86_400_000)
    configs = {"retention.ms": retention_ms}
    return NewTopic(topic.name, topic.partitions, replication_factor, topic_configs=configs)


def _record(record: "ConsumerRecord[bytes | None, bytes | None]") -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.key, record.value, tuple(record.headers)
    )


async def _parse(records: "tuple[ConsumerRecord[Any, Any], ...]", original: Any) -> KafkaAckableMessage:
    """The library's own parser decodes headers and drops the record on a bad one; ours leaves all bytes to the inbox."""
    bare = tuple(_bare(record) for record in records)
    message: KafkaAckableMessage = await original(bare)
    message.raw_message = records
    return message


def _bare(record: "ConsumerRecord[Any, Any]") -> "ConsumerRecord[Any, Any]":
    return ConsumerRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        b"",
        record.checksum,
        record.serialized_key_size,
        record.serialized_value_size,
        (),
    )


async def _decode(message: KafkaAckableMessage) -> KafkaAckableMessage:
    return message
