"""Sending: a wave at a time, acknowledged whole or raised, from a thread, since the library blocks."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Library

from shared.bus.client import ANSWER_SECONDS, connection
from shared.contracts.envelope import Envelope, Fact
from shared.contracts.topics import topic_of
from shared.ids import uuid7
from shared.outbox import Outgoing

log = structlog.get_logger(__name__)

T = TypeVar("T")
SEND_SECONDS = 30
STEP_SECONDS = 0.5
"""How long the producer's thread waits before it looks whether the process stops."""


class Producer:
    """The library's producer, replaced after a failure: what it could not deliver is still in the outbox."""

    def __init__(self, kafka_url: str, *, idempotence: bool) -> None:
        self._config = {
            **connection(kafka_url),
            "acks": "all",
            "enable.idempotence": idempotence,
            "linger.ms": 0,
            "delivery.timeout.ms": SEND_SECONDS * 1000,
            # As every Java client does: the same key, the same partition, whoever sends.
            "partitioner": "murmur2_random",
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-producer")
        self._current: Library | None = None
        self._stopping = False

    async def start(self) -> None:
        """Raises KafkaException when no broker answers within ANSWER_SECONDS."""
        await self._call(lambda: self._working().list_topics(timeout=ANSWER_SECONDS))

    async def stop(self) -> None:
        """What is on its way is given up after STEP_SECONDS: it is still in the outbox."""
        self._stopping = True
        await self._call(self._discard)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Raises KafkaException, or TimeoutError after SEND_SECONDS; the next call then begins with a fresh producer."""
        await self._call(self._send, messages)

    async def _call(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _send(self, messages: Sequence[Outgoing]) -> None:
        try:
            self._deliver(self._working(), messages)
        except Exception:
            log.warning("producer is replaced")
            self._discard()
            raise

    def _deliver(self, producer: Library, messages: Sequence[Outgoing]) -> None:
        failures: list[KafkaError] = []

        def report(failure: KafkaError | None, _: Message) -> None:
            if failure is not None:
                failures.append(failure)

        for each in messages:
            headers: list[tuple[str, str | bytes | None]] = [*each.headers.items()]
            producer.produce(each.topic, each.body, each.key, headers=headers, on_delivery=report)
        until = time.monotonic() + SEND_SECONDS
        while undelivered := producer.flush(STEP_SECONDS):
            if self._stopping or time.monotonic() > until:
                break
        if failures:
            raise KafkaException(failures[0])
        if undelivered:
            raise TimeoutError(f"{undelivered} events were not acknowledged")

    def _working(self) -> Library:
        if self._current is None:
            self._current = Library(self._config)
        return self._current

    def _discard(self) -> None:
        producer, self._current = self._current, None
        if producer is not None:
            producer.purge()
            producer.flush(ANSWER_SECONDS)


async def tell(kafka_url: str, source: str, facts: Sequence[Fact]) -> None:
    """Publish facts from outside any service: the shop's catalogue does. Raises KafkaException and TimeoutError."""
    producer = Producer(kafka_url, idempotence=False)
    try:
        await producer.send([_told(source, fact) for fact in facts])
    finally:
        await producer.stop()


def _told(source: str, fact: Fact) -> Outgoing:
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
    return Outgoing(topic_of(type(fact)).name, fact.key, envelope.headers(), fact.model_dump_json().encode())
