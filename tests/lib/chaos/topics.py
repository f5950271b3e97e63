"""What the broker holds in the end, against what the services' event logs say: nothing missing, no key's events overtaking."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition

from ordermesh.books import Violation
from ordermesh.evidence import Evidence
from shared.contracts.topics import TOPICS

READ_SECONDS = 60
RULE = "the topics hold what was said, in order"


async def published(kafka_url: str, evidence: Evidence) -> Mapping[str, list[UUID]]:
    """The ids of the events on each topic's partitions, in order (`<topic> <partition>`); read until all are seen, or for so long."""
    missing = {fact["event_id"] for fact in evidence.facts}
    found: dict[str, list[UUID]] = defaultdict(list)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic.name, n) for topic in TOPICS for n in range(topic.partitions)])
        deadline = asyncio.get_running_loop().time() + READ_SECONDS
        while missing and asyncio.get_running_loop().time() < deadline:
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    headers = dict(record.headers)
                    if headers["ce_source"] == b"shop":  # its facts are in no log of ours
                        continue
                    event_id = UUID(headers["ce_id"].decode())
                    missing.discard(event_id)
                    found[f"{partition.topic} {partition.partition}"].append(event_id)
    finally:
        await consumer.stop()
    return found


def overtaken(evidence: Evidence, topics: Mapping[str, list[UUID]]) -> list[Violation]:
    """Each event is there at least once, and of each key the first appearances are in the order in which they were said."""
    logged = {fact["event_id"]: fact for fact in evidence.facts}
    seen: dict[UUID, None] = {}
    last: dict[tuple[str, str], int] = {}
    broken = []
    for ids in topics.values():
        for event_id in ids:
            fact = logged.get(event_id)
            if fact is None:
                broken.append(Violation(RULE, "", f"event {event_id} was published and is in no log"))
            elif event_id not in seen:
                seen[event_id] = None
                key = (fact["service"], fact["key"])
                if fact["id"] < last.get(key, 0):
                    broken.append(Violation(RULE, fact["key"], f"{fact['type']} was overtaken"))
                last[key] = max(fact["id"], last.get(key, 0))
    broken += [
        Violation(RULE, fact["key"], f"{fact['type']} never reached {fact['topic']}")
        for event_id, fact in logged.items()
        if event_id not in seen
    ]
    return broken
