"""What librdkafka's clients are told, and the topics, created as they are declared."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from shared.contracts.topics import TOPICS, Topic

ANSWER_SECONDS = 5
"""How long a broker may take to say that it is there, or to let a member go."""
CREATE_SECONDS = 30


def connection(kafka_url: str) -> dict[str, Any]:
    """What each client of the library is told; the library's own words go where all lines go."""
    logger = logging.getLogger("shared.broker")
    logger.setLevel(logging.ERROR)
    return {
        "bootstrap.servers": kafka_url,
        "reconnect.backoff.max.ms": 1000,
        "allow.auto.create.topics": False,
        "log.connection.close": False,
        "logger": logger,
    }


async def create_topics(
    kafka_url: str, topics: Sequence[Topic] = TOPICS, *, replication_factor: int = 1
) -> None:
    """Create what is missing, with the declared partitions and retention. Raises KafkaException when the broker refuses."""
    await asyncio.to_thread(_create_topics, kafka_url, topics, replication_factor)


def _create_topics(kafka_url: str, topics: Sequence[Topic], replication_factor: int) -> None:
    admin = AdminClient(connection(kafka_url))
    existing = admin.list_topics(timeout=ANSWER_SECONDS).topics
    missing = [_new_topic(topic, replication_factor) for topic in topics if topic.name not in existing]
    for created in admin.create_topics(missing).values() if missing else ():
        try:
            created.result(CREATE_SECONDS)
        except KafkaException as refused:
            if refused.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _new_topic(topic: Topic, replication_factor: int) -> NewTopic:
    retention_ms = str(topic.retention_days * 86_400_000)
    return NewTopic(topic.name, topic.partitions, replication_factor, config={"retention.ms": retention_ms})
