"""PostgreSQL and the broker together: what the environment names is used as it is, the rest is started here.

`opened` is for launcher and tests (it uses what `ordermesh infra up` left running, or starts its own and takes it along),
`bring_up` and `take_down` for the command line. `kafka.pick` says which broker.
"""

import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ordermesh import kafka
from ordermesh.errors import LauncherError
from ordermesh.kafka import Broker
from ordermesh.postgres import SERVICES, Postgres
from ordermesh.process import Command, run, together
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory


@dataclass(frozen=True)
class Infrastructure:
    """What is there to connect to. A DSN is asyncpg's and names the service's own role, the owner of its database."""

    databases: Mapping[str, str]
    broker: Broker
    server: Postgres | None
    given: frozenset[str]
    """The services whose databases the environment named."""

    @property
    def is_new(self) -> bool:
        """Whether every database was made just now, so that there is nothing in any."""
        return not self.given and self.server is not None and self.server.is_new

    @property
    def kafka_url(self) -> str:
        return self.broker.url

    @property
    def kafka_idempotence(self) -> bool:
        return self.broker.idempotence

    @property
    def kafka_fetch_max_wait_ms(self) -> int:
        return self.broker.fetch_max_wait_ms

    @property
    def admin_dsn(self) -> str:
        """The embedded server's superuser. Raises LauncherError if there is no embedded server."""
        return self._embedded().admin_dsn

    async def fresh_databases(
        self, names: Iterable[str] = SERVICES, template: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """New databases on the embedded server, as service -> DSN: empty, or copies of those that `template` has for them.

        Nothing may be connected to a template meanwhile.
        """
        return await self._embedded().fresh_databases(names, template)

    async def drop_databases(self, dsns: Iterable[str]) -> None:
        """Remove what `fresh_databases` made; whoever is connected is thrown out."""
        await self._embedded().drop_databases(dsns)

    def environment(self) -> dict[str, str]:
        """The variables by which another process finds all this; every command of ours understands them."""
        databases = {f"{service.upper()}_DATABASE_URL": dsn for service, dsn in self.databases.items()}
        return databases | self.kafka_environment()

    def kafka_environment(self) -> dict[str, str]:
        return {
            "KAFKA_URL": self.kafka_url,
            "KAFKA_IDEMPOTENCE": str(self.kafka_idempotence).lower(),
            "KAFKA_FETCH_MAX_WAIT_MS": str(self.kafka_fetch_max_wait_ms),
        }

    def picked(self) -> list[str]:
        """What was picked, a line for each part."""
        server = self.server.description if self.server else ""
        own = [f"{name}: {'its own URL' if name in self.given else server}" for name in self.databases]
        same = f"PostgreSQL: {server}" if not self.given else f"PostgreSQL: {', '.join(own)}"
        return [same, f"Kafka: {self.broker.description}"]

    def dead(self) -> str | None:
        """The name of an embedded part that ended by itself, if one did."""
        if self.server is not None and not self.server.is_alive():
            return self.server.name
        return None if self.broker.is_alive() else self.broker.name

    def _embedded(self) -> Postgres:
        if self.server is None:
            raise LauncherError("The environment names every database: there is no embedded PostgreSQL.")
        return self.server


@asynccontextmanager
async def embedded(*, home: Path, fast: bool = False) -> AsyncIterator[Infrastructure]:
    """Both parts from wheels, on new or earlier data under `home`; they end with the block. Topics are the caller's affair."""
    async with opened(
        Settings(ordermesh_home=home, ordermesh_fast=fast, ordermesh_kafka="embedded")
    ) as infrastructure:
        yield infrastructure


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Infrastructure]:
    """What the settings pick. What runs already is used and left running; what is started here ends with the block."""
    directory = RunDirectory(settings.ordermesh_home).prepare()
    started: list[Postgres | Broker] = []
    try:
        async with directory.infrastructure():
            infrastructure = await _start(settings, directory, attached=True, started=started)
        yield infrastructure
    finally:
        await together(*(part.stop() for part in started))


async def bring_up(settings: Settings) -> Infrastructure:
    """Start what does not run yet and leave it running. Safe to repeat: it then tells the same."""
    directory = RunDirectory(settings.ordermesh_home).prepare()
    started: list[Postgres | Broker] = []
    async with directory.infrastructure():
        try:
            infrastructure = await _start(settings, directory, attached=False, started=started)
            if started:
                await create_topics(infrastructure, settings)
            for part in started:
                part.leave_running()
        except BaseException:
            await together(*(part.stop() for part in started))
            raise
    return infrastructure


async def take_down(settings: Settings) -> list[str]:
    """Stop what `bring_up` left running, and name it. Raises LauncherError while another process uses it."""
    directory = RunDirectory(settings.ordermesh_home).prepare()
    stopped = []
    async with directory.infrastructure():
        user = directory.user()
        if user is not None:
            raise LauncherError(f"Process {user.pid} uses it: stop that first (Ctrl-C or SIGTERM).")
        for part in (*kafka.embedded(settings, directory).values(), Postgres(directory)):
            if await part.attach():
                await part.stop()
                stopped.append(part.description)
    return stopped


async def create_topics(infrastructure: Infrastructure, settings: Settings) -> None:
    """Create the declared topics with their declared partitions; safe to repeat. Raises LauncherError if the broker refuses."""
    argv = (sys.executable, "-m", "shared.topics", infrastructure.kafka_url)
    log = RunDirectory(settings.ordermesh_home).new_log("topics")
    await run(Command(name="Creating the topics", argv=argv, environment=settings.environment, log=log))


async def _start(
    settings: Settings, directory: RunDirectory, *, attached: bool, started: list[Postgres | Broker]
) -> Infrastructure:
    """Start the parts side by side. Each is put into `started` before it starts, so that the caller can stop a half-started one."""
    databases = {name: url for name in SERVICES if (url := settings.database_url(name))}
    given = frozenset(databases)
    server = Postgres(directory, fast=settings.ordermesh_fast) if len(given) < len(SERVICES) else None
    broker = kafka.pick(settings, directory)
    parts: list[Postgres | Broker] = [broker] if server is None else [server, broker]
    started += [part for part in parts if not await part.attach()]
    await together(*(part.start(attached=attached) for part in started))
    if server is not None:
        databases |= {name: server.dsn(name) for name in SERVICES if name not in given}
    return Infrastructure({name: databases[name] for name in SERVICES}, broker, server, given)
