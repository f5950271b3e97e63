"""The brokers that a stack can have."""

import asyncio
import socket

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure
from ordermesh.kafka import GivenBroker, Tansu, pick
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory


async def test_a_record_goes_through_the_embedded_broker(infra: Infrastructure) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=infra.kafka_url)
    await admin.start()
    await admin.create_topics([NewTopic("letters", 3, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=infra.kafka_url, enable_idempotence=infra.kafka_idempotence)
    await producer.start()
    await producer.send_and_wait("letters", b"hello", key=b"k")
    await producer.stop()
    consumer = AIOKafkaConsumer(
        "letters",
        bootstrap_servers=infra.kafka_url,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=infra.kafka_fetch_max_wait_ms,
    )
    await consumer.start()
    record = await asyncio.wait_for(consumer.getone(), 30)
    await consumer.stop()
    assert (record.key, record.value) == (b"k", b"hello")


async def test_the_embedded_broker_keeps_its_port_and_loses_its_life(directory: RunDirectory) -> None:
    lives, urls = set(), set()
    for _ in range(2):
        broker = Tansu(directory)
        await broker.start(attached=True)
        lives.add(broker.life)
        urls.add(broker.url)
        await broker.stop()
        assert not broker.is_alive()
    assert len(lives) == 2
    assert len(urls) == 1


async def test_the_environments_broker_is_used_as_it_is(
    infra: Infrastructure, directory: RunDirectory
) -> None:
    settings = Settings.read({"KAFKA_URL": infra.kafka_url, "KAFKA_FETCH_MAX_WAIT_MS": "77"})
    broker = pick(settings, directory)
    await broker.start(attached=True)
    await broker.stop()
    assert infra.broker.is_alive()
    assert (broker.url, broker.idempotence, broker.fetch_max_wait_ms) == (infra.kafka_url, True, 77)
    assert broker.life == pick(settings, directory).life


async def test_a_broker_that_is_not_there_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{closed.getsockname()[1]}"
        broker = GivenBroker(url, idempotence=True, fetch_max_wait_ms=500)
        with pytest.raises(LauncherError, match=f"Nothing listens at KAFKA_URL={url}"):
            await broker.start(attached=True)
