"""The only speaker to the broker: librdkafka hears, in threads of its own; aiokafka sends, a wave in one request.

`Bus` is a service's connection; `tell` publishes from outside any service; `create_topics` makes what is declared.
"""

from collections.abc import Sequence

from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from shared.bus.client import create_topics
from shared.bus.listener import Listener
from shared.bus.producer import Producer, tell
from shared.contracts.topics import TOPICS, Topic
from shared.db import Database
from shared.inbox import Inbox
from shared.outbox import Outgoing
from shared.settings import ServiceSettings

__all__ = ["Bus", "create_topics", "tell"]


class Bus:
    """A service's connection to the broker. `publish` for its relay; `listen` before `start` for its consumer."""

    UNAVAILABLE = (KafkaException, KafkaError, OSError)

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._producer = Producer(settings.kafka_url, idempotence=settings.kafka_idempotence)
        self._listener: Listener | None = None

    @property
    def stopped_because(self) -> str | None:
        """Why a topic is no longer heard; None while all are."""
        return self._listener.stopped_because if self._listener else None

    def silent_for(self) -> float:
        """Seconds since the consumer's loop last came round; 0 while nothing is heard."""
        return self._listener.silent_for() if self._listener else 0

    async def lag(self) -> dict[tuple[str, str, str], int]:
        """By group, topic and partition: how many records the broker had, when last fetched from, that were not handled yet."""
        return await self._listener.lag() if self._listener else {}

    def listen(
        self, db: Database, inbox: Inbox, consumer: str, *, topics: Sequence[Topic] = TOPICS, group: str = ""
    ) -> None:
        """Hear those topics that name this consumer, in batches; nothing is acknowledged before it is committed."""
        names = [topic.name for topic in topics if consumer in topic.consumers]
        self._listener = Listener(self._settings, db, inbox, names, group or consumer)

    async def start(self) -> None:
        """Raises one of UNAVAILABLE; may be tried again."""
        await self._producer.start()
        if self._listener is not None:
            self._listener.start()

    async def stop_listening(self) -> None:
        """Take no new batch and finish the one in hand; publishing goes on."""
        if self._listener is not None:
            await self._listener.stop()

    async def stop(self) -> None:
        await self.stop_listening()
        await self._producer.stop()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Send all, pipelined, and return when every one is acknowledged. Raises one of UNAVAILABLE when one is not."""
        await self._producer.send(messages)
