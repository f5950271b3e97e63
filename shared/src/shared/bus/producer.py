"""Sending: a wave at a time, acknowledged whole or raised.

The producer is aiokafka's, which sends a wave in one request. librdkafka makes one of each partition's part, and the broker wakes
its consumers for each: that cost half as much again there, and twice as many transactions where the facts are heard.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer

from shared.bus.client import ANSWER_SECONDS
from shared.contracts.envelope import Envelope, Fact
from shared.contracts.topics import topic_of
from shared.ids import uuid7
from shared.outbox import Outgoing

log = structlog.get_logger(__name__)
logging.getLogger("aiokafka").setLevel(
    logging.CRITICAL
)  # what matters is raised, and said by who waits for it

SEND_SECONDS = 30
BATCH_BYTES = 256 * 1024
"""What a partition takes in one request; a larger fact goes alone."""


class Producer:
    """The library's producer, replaced after a failure: what it could not deliver is still in the outbox."""

    def __init__(self, kafka_url: str, *, idempotence: bool) -> None:
        self._config = {
            "bootstrap_servers": kafka_url,
            "acks": "all",
            "enable_idempotence": idempotence,
            "request_timeout_ms": SEND_SECONDS * 1000,
            "max_batch_size": BATCH_BYTES,
        }
        self._starting = asyncio.Lock()
        self._current: Any = None

    async def start(self) -> None:
        """Raises KafkaError when no broker answers, TimeoutError when that takes longer than ANSWER_SECONDS."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._working()

    async def stop(self) -> None:
        """What is on its way is given up: it is still in the outbox."""
        producer, self._current = self._current, None
        if producer is not None:
            await _give_up(producer)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Raises KafkaError, or TimeoutError after SEND_SECONDS; the next call then begins with a fresh producer."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                producer = await self._working()
                await asyncio.gather(*[await _begin(producer, each) for each in messages])
        except BaseException:
            log.warning("producer is replaced")
            await self.stop()
            raise

    async def _working(self) -> Any:
        async with self._starting:
            if self._current is None:
                fresh = AIOKafkaProducer(**self._config)
                try:
                    await fresh.start()
                except BaseException:
                    await fresh.stop()
                    raise
                self._current = fresh
            return self._current


async def _begin(producer: Any, message: Outgoing) -> Any:
    """Answers what will be done when the broker has acknowledged it."""
    headers = [(name, value.encode()) for name, value in message.headers.items()]
    return await producer.send(message.topic, message.body, key=message.key.encode(), headers=headers)


async def _give_up(producer: Any) -> None:
    """Close it now. Its own `stop` would wait for a broker that is away, and its task does so when it is cancelled only once."""
    task = producer._sender.sender_task  # noqa: SLF001 - see above
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    producer._message_accumulator.fail_all(ConnectionError("the producer was given up"))  # noqa: SLF001 - see above
    await producer.stop()


async def tell(kafka_url: str, source: str, facts: Sequence[Fact]) -> None:
    """Publish facts from outside any service: the shop's catalogue does. Raises KafkaError and TimeoutError."""
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
