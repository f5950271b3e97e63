"""A topic read from its beginning, whatever else lies in it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from shared.contracts.topics import Topic

More = Callable[[], Awaitable[list[tuple[str, Message]]]]


@asynccontextmanager
async def reading(kafka_url: str, topic: Topic) -> AsyncIterator[More]:
    """Yields a function that answers what is there by now and was not answered yet, each with its key."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka_url,
            "group.id": f"reader-{uuid4()}",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    parts = range(topic.partitions)
    consumer.assign([TopicPartition(topic.name, part, OFFSET_BEGINNING) for part in parts])

    async def more() -> list[tuple[str, Message]]:
        found = await asyncio.to_thread(consumer.consume, 500, 0.2)
        return [((each.key() or b"").decode(errors="replace"), each) for each in found if not each.error()]

    try:
        yield more
    finally:
        await asyncio.to_thread(consumer.close)
