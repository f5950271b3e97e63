"""The brokers that a stack can have."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ordermesh.apache_kafka import IMAGE, DockerKafka, JavaKafka
from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure
from ordermesh.kafka import GivenBroker, Tansu, embedded, pick, running_url
from ordermesh.process import Identity
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory, Running


async def test_a_record_goes_through_the_broker_that_was_picked(infra: Infrastructure) -> None:
    await create("letters", infra.kafka_url)
    producer = AIOKafkaProducer(bootstrap_servers=infra.kafka_url, enable_idempotence=infra.kafka_idempotence)
    await producer.start()
    await producer.send_and_wait("letters", b"hello", key=b"k")
    await producer.stop()
    found = await first_value("letters", infra.kafka_url, fetch_max_wait_ms=infra.kafka_fetch_max_wait_ms)
    assert found == b"hello"


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


def a_program(place: Path, name: str, script: str) -> None:
    """A program of this name, in the PATH of whoever looks into `place`."""
    place.mkdir(exist_ok=True)
    path = place / name
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(0o755)


HAS_IMAGE = "import sys; sys.exit(sys.argv[1:3] != ['image', 'inspect'])"
HAS_NONE = "import sys; sys.exit('Cannot connect to the Docker daemon')"


class TestTheChoice:
    """URL from the environment, Docker, jars from the cache, embedded; only what is there already, unless asked for."""

    @pytest.fixture
    def _there(self, tmp_path: Path) -> None:
        """A machine with Docker that has the image, with Java, and with the jars."""
        a_program(tmp_path / "bin", "docker", HAS_IMAGE)
        a_program(tmp_path / "bin", "java", "")
        JavaKafka(self.settings(tmp_path), RunDirectory(tmp_path))._jars.mkdir(parents=True)

    def settings(self, tmp_path: Path, **variables: str) -> Settings:
        places = {"PATH": str(tmp_path / "bin"), "ORDERMESH_CACHE": str(tmp_path / "cache")}
        return Settings.read(places | variables)

    def picked(self, tmp_path: Path, **variables: str) -> type:
        return type(pick(self.settings(tmp_path, **variables), RunDirectory(tmp_path)))

    @pytest.mark.usefixtures("_there")
    def test_it_goes_by_the_order(self, tmp_path: Path) -> None:
        assert self.picked(tmp_path, KAFKA_URL="127.0.0.1:1") is GivenBroker
        assert self.picked(tmp_path) is DockerKafka
        a_program(tmp_path / "bin", "docker", HAS_NONE)
        assert self.picked(tmp_path) is JavaKafka
        (tmp_path / "bin" / "java").unlink()
        assert self.picked(tmp_path) is Tansu

    @pytest.mark.parametrize(
        ("name", "broker"), [("docker", DockerKafka), ("apache", JavaKafka), ("embedded", Tansu)]
    )
    def test_a_name_decides_whatever_is_there(self, tmp_path: Path, name: str, broker: type) -> None:
        assert self.picked(tmp_path, ORDERMESH_KAFKA=name) is broker
        assert self.picked(tmp_path, ORDERMESH_KAFKA=name, KAFKA_URL="127.0.0.1:1") is broker

    @pytest.mark.usefixtures("_there")
    def test_a_requirement_allows_no_fall_back(self, tmp_path: Path) -> None:
        assert self.picked(tmp_path, REQUIRE_KAFKA="apache") is DockerKafka
        (tmp_path / "bin" / "docker").unlink()
        (tmp_path / "bin" / "java").unlink()
        assert self.picked(tmp_path, REQUIRE_KAFKA="apache") is JavaKafka
        with pytest.raises(LauncherError, match="excludes the embedded"):
            self.picked(tmp_path, REQUIRE_KAFKA="apache", ORDERMESH_KAFKA="embedded")

    async def test_what_was_required_and_cannot_be_had_fails(self, tmp_path: Path) -> None:
        settings, directory = (
            self.settings(tmp_path, REQUIRE_KAFKA="apache"),
            RunDirectory(tmp_path).prepare(),
        )
        with pytest.raises(LauncherError, match="needs Java"):
            await pick(settings, directory).start(attached=True)
        a_program(tmp_path / "bin", "java", "")
        with pytest.raises(LauncherError, match="`mvn`, which would fetch it, is not there"):
            await pick(settings, directory).start(attached=True)

    @pytest.mark.usefixtures("_there")
    async def test_what_runs_already_is_used_and_excludes_the_others(self, tmp_path: Path) -> None:
        directory = RunDirectory(tmp_path).prepare()
        running = Tansu(directory)
        await running.start(attached=True)
        assert self.picked(tmp_path) is Tansu
        with pytest.raises(LauncherError, match=r"Tansu .* runs in .*: stop it first"):
            self.picked(tmp_path, ORDERMESH_KAFKA="apache")
        await running.stop()
        assert self.picked(tmp_path) is DockerKafka


class TestTheCache:
    """The jars, fetched once."""

    MAVEN = """
import pathlib, sys
into = pathlib.Path(sys.argv[-1].partition("=")[2])
into.mkdir()
(into / "kafka.jar").touch()
"""

    def kafka(self, tmp_path: Path, maven: str) -> JavaKafka:
        a_program(tmp_path / "bin", "mvn", maven)
        places = {"PATH": str(tmp_path / "bin"), "ORDERMESH_CACHE": str(tmp_path / "cache")}
        return JavaKafka(Settings.read(places), RunDirectory(tmp_path).prepare())

    async def test_two_that_fetch_at_once_end_with_the_same(self, tmp_path: Path) -> None:
        kafka = self.kafka(tmp_path, self.MAVEN)
        await asyncio.gather(kafka.fetch(), kafka.fetch())
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [kafka._jars.name]
        assert [path.name for path in kafka._jars.iterdir()] == ["kafka.jar"]

    async def test_a_failed_fetch_says_why_and_leaves_nothing(self, tmp_path: Path) -> None:
        kafka = self.kafka(tmp_path, f"{self.MAVEN}\nsys.exit('no registry answers')")
        with pytest.raises(LauncherError, match=r"(?s)Maven failed.*no registry answers"):
            await kafka.fetch()
        assert list((tmp_path / "cache").iterdir()) == []


async def test_a_container_is_reachable_from_this_machine_alone_and_goes_with_its_client(
    directory: RunDirectory, tmp_path: Path
) -> None:
    """Docker's client is played: it publishes the port that it was told and answers as a broker does."""
    client = """
import pathlib, socket, sys
pathlib.Path(__file__).with_name("told").write_text("\\n".join(sys.argv[1:]))
host, port, _ = sys.argv[sys.argv.index("--publish") + 1].split(":")
with socket.create_server((host, int(port))) as server:
    while True:
        connection = server.accept()[0]
        connection.recv(100)
        connection.sendall(bytes(11) + b"\\1")
"""
    a_program(tmp_path / "bin", "docker", client)
    broker = DockerKafka(Settings.read({"PATH": str(tmp_path / "bin")}), directory)
    await broker.start(attached=True)
    assert broker.life.startswith("docker ")
    await broker.stop()
    told = (tmp_path / "bin" / "told").read_text().splitlines()
    assert told[:4] == ["run", "--rm", "--publish", f"127.0.0.1:{broker.port}:9092"]
    assert f"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://{broker.url}" in told
    assert told[-1] == IMAGE


async def test_whatever_broker_runs_is_found(directory: RunDirectory) -> None:
    settings = Settings.read({"ORDERMESH_HOME": str(directory.path)})
    for name, broker in embedded(settings, directory).items():
        assert running_url(settings, directory) is None, name
        directory.record(broker.name, Running(Identity.current(), 7))
        assert running_url(settings, directory) == "127.0.0.1:7", name
        directory.forget(broker.name)


async def test_apache_kafka_keeps_topics_and_records_over_a_restart(directory: RunDirectory) -> None:
    """The real one: where the suite runs on it, or its jars are cached."""
    broker = JavaKafka(Settings.read(), directory)
    if not broker.is_there():
        pytest.skip("Apache Kafka is not cached: ORDERMESH_KAFKA=apache fetches it")
    lives, urls = set(), set()
    try:
        await broker.start(attached=True)
        lives.add(broker.life)
        urls.add(broker.url)
        await create("letters", broker.url)
        producer = AIOKafkaProducer(bootstrap_servers=broker.url, enable_idempotence=True)
        await producer.start()
        await producer.send_and_wait("letters", b"hello", key=b"k")
        await producer.stop()
        await broker.stop()
        assert not broker.is_alive()
        await broker.start(attached=True)
        lives.add(broker.life)
        urls.add(broker.url)
        assert await first_value("letters", broker.url) == b"hello"
    finally:
        await broker.stop()
    assert (len(lives), len(urls)) == (1, 1)


async def create(topic: str, url: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=url)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1)])
    await admin.close()


async def first_value(topic: str, url: str, **options: int) -> bytes:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=url, auto_offset_reset="earliest", **options)
    await consumer.start()
    record = await asyncio.wait_for(consumer.getone(), 30)
    await consumer.stop()
    value: bytes = record.value
    return value
