"""Apache Kafka, one node of KRaft on the loopback interface: its jars under the local Java, or its image under Docker.

The jars are what Maven resolves from `pom.xml` beside this file; they are kept in a cache outside the checkout, so that they are
fetched once for all checkouts. Nothing is fetched unless Apache Kafka was asked for by name. What the jars hold survives a restart,
what a container holds does not.
"""

import asyncio
import re
import secrets
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from ordermesh.errors import LauncherError
from ordermesh.process import Command, run
from ordermesh.server import EmbeddedServer
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory

POM = Path(__file__).with_name("pom.xml")
_VERSION = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.+?)</version>", POM.read_text())
VERSION = _VERSION[1] if _VERSION else ""
IMAGE = f"apache/kafka:{VERSION}"
_JVM = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOG = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")


class ApacheKafka(EmbeddedServer):
    """What both ways to run it have in common: idempotent producers, and a fetch that waits without a cost."""

    idempotence = True
    fetch_max_wait_ms = 500
    # It hands its partitions over to nobody, but writes what it holds.
    stop_seconds = 15.0

    @property
    def advertised(self) -> str:
        """Where clients are told to find it."""
        return self.url

    async def _answers(self) -> bool:
        return await has_brokers(self.port)


class JavaKafka(ApacheKafka):
    """Its jars from the cache, its data in the run directory: a restart keeps topics, records and offsets."""

    name = "apache-kafka"

    def __init__(self, settings: Settings, directory: RunDirectory) -> None:
        super().__init__(directory)
        self._environment = settings.environment
        self._cache = settings.ordermesh_cache
        self._jars = self._cache / f"kafka-{VERSION}"
        self.description = f"Apache Kafka {VERSION} by Java ({self._jars})"

    @property
    def life(self) -> str:
        """New whenever its data are."""
        found = re.search(r"^cluster\.id=(.+)$", self._meta.read_text(), re.MULTILINE)
        return f"apache {found[1]}" if found else ""

    @property
    def _data(self) -> Path:
        return self.directory.path / "kafka"

    @property
    def _meta(self) -> Path:
        """Written last of all when the data are made."""
        return self._data / "log" / "meta.properties"

    def is_there(self) -> bool:
        """Whether it starts without fetching anything."""
        return self._jars.is_dir() and self._program("java") is not None

    async def start(self, *, attached: bool) -> None:
        """Fetch it if need be, make its data if there are none, start it. Raises LauncherError if one of these fails."""
        java = self._required("java", "Apache Kafka needs Java 17 or newer, and `java` is not in the PATH.")
        log = self.directory.new_log(self.name)
        await self.fetch()
        self.port = self.directory.port(self.name)
        self._data.mkdir(mode=0o700, exist_ok=True)
        configuration = self._data / "server.properties"
        configuration.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        if not self._meta.exists():
            # As an argument it must not begin with a dash.
            cluster = f"K{secrets.token_urlsafe(16)[1:]}"
            how = ("format", "-t", cluster, "-c", str(configuration), "--ignore-formatted")
            await run(self._command(java, "kafka.tools.StorageTool", *how, log=log))
        server = self._command(java, "kafka.Kafka", str(configuration), log=log)
        await self.launch(server, self._answers, attached=attached)

    async def fetch(self) -> None:
        """Put the jars into the cache unless they are there. Raises LauncherError without Maven or what Maven needs."""
        if self._jars.is_dir():
            return
        maven = self._required(
            "mvn",
            f"Apache Kafka {VERSION} is not in {self._cache}, and `mvn`, which would fetch it, is not there.",
        )
        print(
            f"Fetching Apache Kafka {VERSION} by Maven into {self._jars} (44 MB, once)",
            file=sys.stderr,
            flush=True,
        )
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=".kafka-") as fresh:
            into = Path(fresh) / "jars"
            argv = (
                maven,
                "-q",
                "-B",
                "-f",
                str(POM),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={into}",
            )
            log = self.directory.new_log("maven")
            await run(Command(name="Maven", argv=argv, environment=self._environment, log=log))
            try:
                into.rename(self._jars)
            except OSError:
                # Another process was faster: its jars are the same.
                if not self._jars.is_dir():
                    raise

    def _properties(self) -> dict[str, str]:
        controller = f"127.0.0.1:{self.directory.port(f'{self.name}-controller')}"
        listeners = f"PLAINTEXT://{self.url},CONTROLLER://{controller}"
        return properties(listeners, self.advertised, controller) | {"log.dirs": str(self._data / "log")}

    def _command(self, java: str, program: str, *arguments: str, log: Path) -> Command:
        argv = (java, *_JVM, *_LOG, "-cp", f"{self._jars}/*", program, *arguments)
        # Ended without a word it would check all its data at the next start.
        return Command(
            name=program, argv=argv, environment=self._environment, log=log, orphaned=self.stop_signal
        )

    def _program(self, name: str) -> str | None:
        return shutil.which(name, path=self._environment.get("PATH"))

    def _required(self, name: str, otherwise: str) -> str:
        found = self._program(name)
        if found is None:
            raise LauncherError(otherwise)
        return found


class DockerKafka(ApacheKafka):
    """Its image, as a container that is removed when it stops; the client's process stands for it."""

    name = "docker-kafka"
    description = f"Apache Kafka by Docker ({IMAGE})"
    # Docker's own process does, which refuses a port that is taken.
    listens_itself = False

    def __init__(self, settings: Settings, directory: RunDirectory) -> None:
        super().__init__(directory)
        self._environment = settings.environment

    @property
    def life(self) -> str:
        running = self.directory.running(self.name)
        return f"docker {running.identity.pid} {running.identity.started}" if running else ""

    def is_there(self) -> bool:
        """Whether Docker answers and has the image; the client alone proves nothing."""
        docker = self._client()
        if docker is None:
            return False
        asked = (docker, "image", "inspect", "--format", "{{.Id}}", IMAGE)
        try:
            answer = subprocess.run(
                asked, env=dict(self._environment), capture_output=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return answer.returncode == 0

    async def start(self, *, attached: bool) -> None:
        """Start the container; Docker fetches the image if it has none. Raises LauncherError with the client's words."""
        docker = self._client()
        if docker is None:
            raise LauncherError("Docker is not installed: `docker` is not in the PATH.")
        self.port = self.directory.port(self.name)
        listeners = "PLAINTEXT://:9092,CONTROLLER://:9093"
        settings = properties(listeners, self.url, "localhost:9093")
        told = (f"KAFKA_{name.upper().replace('.', '_')}={value}" for name, value in settings.items())
        variables = [word for setting in told for word in ("--env", setting)]
        argv = (docker, "run", "--rm", "--publish", f"{self.url}:9092", *variables, IMAGE)
        command = Command(
            name="Docker",
            argv=argv,
            environment=self._environment,
            log=self.directory.new_log(self.name),
            orphaned=self.stop_signal,
        )
        await self.launch(command, self._answers, attached=attached)

    def _client(self) -> str | None:
        return shutil.which("docker", path=self._environment.get("PATH"))


def properties(listeners: str, advertised: str, controller: str) -> dict[str, str]:
    """One node that is everything, and that keeps no second copy of anything."""
    one = dict.fromkeys(
        (
            "offsets.topic.replication.factor",
            "transaction.state.log.replication.factor",
            "transaction.state.log.min.isr",
            "transaction.state.log.num.partitions",
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.min.isr",
            "node.id",
        ),
        "1",
    )
    return one | {
        "process.roles": "broker,controller",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://{advertised}",
        "auto.create.topics.enable": "false",
        # Nobody else joins a group a moment later: waiting for them would cost each start three seconds.
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.num.partitions": "5",
        # Twice a second by default, for other nodes to see that it lives: a quarter of what the broker did while idle.
        "metadata.max.idle.interval.ms": "10000",
        # 128 MB by default, for a machine that compacts more than a few topics.
        "log.cleaner.dedupe.buffer.size": "4194304",
    }


async def has_brokers(port: int) -> bool:
    """Whether a broker at this port of the loopback interface answers and counts itself in: before, it takes no topics.

    It is the protocol's Metadata request, version 1, for no topic; the answer begins with the number of brokers.
    """
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(struct.pack(">i", len(request)) + request)
                _, _, brokers = struct.unpack(">iii", await reader.readexactly(12))
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    return bool(brokers > 0)
