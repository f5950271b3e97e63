"""Ordermesh as real processes, every connection of theirs through a proxy of ours, PostgreSQL and the broker ours to stop.

The launcher boots it; whoever breaks it says how it comes back. Services are told their crash points as they start.
"""

import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from chaos.proxy import HOST, Proxy
from chaos.schedule import SERVICES
from ordermesh import programs
from ordermesh.apache_kafka import JavaKafka
from ordermesh.infrastructure import create_topics
from ordermesh.kafka import Tansu, pick
from ordermesh.postgres import Postgres
from ordermesh.process import Command, gone
from ordermesh.programs import SANDBOX, Surroundings, Waves
from ordermesh.server import EmbeddedServer
from ordermesh.settings import Settings
from ordermesh.stack import Stack, serving
from ordermesh.state import RunDirectory

PATIENCE: Mapping[str, str] = {
    "LOG_LEVEL": "WARNING",
    "LABEL_SECOND_LOOK": "2",
    "SLACK_EVERY": "0.2",
    "JOB_LEASE": "20",
    "FEE_DELAY_SECONDS": "0.3",
    "ANONYMOUS_MUTATIONS_PER_MINUTE": "0",
    "ANONYMOUS_COSTLY_QUERIES_PER_MINUTE": "0",
}
"""Waits that are long in a shop and would only make the run longer; and all shoppers without an account share an address here."""


@dataclass(frozen=True)
class _Link:
    """`user` reaches `program`, which listens at its variable `port`, by the addresses in its `variables`."""

    user: str
    program: str
    variables: tuple[str, ...]
    port: str = "PORT"


_LINKS_OF_PROGRAMS = {
    "payments provider": _Link("payments", SANDBOX, ("STRIPE_API_BASE",)),
    "shipping provider": _Link("shipping", SANDBOX, ("SHIPPO_API_BASE",)),
    "notifications provider": _Link("notifications", SANDBOX, ("TWILIO_API_BASE", "SLACK_WEBHOOK_URL")),
    "mail server": _Link("notifications", SANDBOX, ("SMTP_URL",), "SMTP_PORT"),
    "payments webhooks": _Link(SANDBOX, "payments", ("STRIPE_WEBHOOK_URL",)),
    "shipping webhooks": _Link(SANDBOX, "shipping", ("SHIPPO_WEBHOOK_URL",)),
}


class _ThroughProxy(EmbeddedServer):
    """A broker that tells its clients to come through the proxy."""

    proxy: Proxy

    @property
    def advertised(self) -> str:
        return f"{HOST}:{self.proxy.port}"

    async def launch(
        self, command: Command, answers: Callable[[], Awaitable[bool]], *, attached: bool
    ) -> None:
        self.proxy.target = self.port
        await super().launch(command, answers, attached=attached)

    def forget_records(self) -> None:
        """Called while it is stopped: the next start has an empty broker."""


class _Tansu(_ThroughProxy, Tansu):
    pass


class _Apache(_ThroughProxy, JavaKafka):
    def forget_records(self) -> None:
        shutil.rmtree(self._data)


def a_broker(directory: RunDirectory, proxy: Proxy) -> _Tansu | _Apache:
    """Apache Kafka where the launcher would pick it by Java, else the embedded one: no other is ours to break."""
    settings = Settings.read().model_copy(update={"kafka_url": None})
    is_java = isinstance(pick(settings, directory), JavaKafka)
    broker = _Apache(settings, directory) if is_java else _Tansu(directory)
    broker.proxy = proxy
    return broker


class _OwnPorts(RunDirectory):
    """No port that another stack on this machine would want: a killed service must find its own free again."""

    def port(self, name: str, *, default: int | None = None, asked: int | None = None) -> int:  # noqa: ARG002 - the base's signature
        return super().port(name, asked=asked)


class System:
    """`proxies` by link (`schedule.LINKS`). `stack` is there when it has booted."""

    stack: Stack
    postgres: Postgres
    broker: _Tansu | _Apache

    def __init__(self, home: Path, crashes: Mapping[str, tuple[str, ...]]) -> None:
        self.home = home
        self.proxies: dict[str, Proxy] = {}
        self.to_come: dict[str, list[str]] = {service: list(crashes.get(service, ())) for service in SERVICES}
        self.armed: dict[str, str] = {}
        self.databases: dict[str, str] = {}
        self._settings = Settings()
        self._said_before: dict[str, int] = {}
        self._environments: dict[str, Mapping[str, str]] = {}

    @property
    def urls(self) -> dict[str, str]:
        return self.stack.urls

    async def boot(self, exits: AsyncExitStack) -> None:
        for link in (*_LINKS_OF_PROGRAMS, "kafka", *(f"{service} database" for service in SERVICES)):
            self.proxies[link] = await exits.enter_async_context(Proxy())
        directory = _OwnPorts(self.home / "infrastructure").prepare()
        self.postgres = Postgres(directory)
        self.broker = a_broker(directory, self.proxies["kafka"])
        for part in (self.postgres, self.broker):
            exits.push_async_callback(part.stop)
            await part.start(attached=True)
        self._aim_at_postgres()
        self._settings = Settings.read(self._environment(), ordermesh_home=str(self.home / "stack"))
        context = serving(self._settings, say=lambda _: None, table=self._table)
        self.stack = await exits.enter_async_context(context)

    async def postgres_again(self) -> None:
        """Stop PostgreSQL as a crash would, and start it on the same data."""
        self.postgres.stop_signal = signal.SIGQUIT
        await self.postgres.stop()
        await self.postgres.start(attached=True)
        self._aim_at_postgres()

    async def empty_broker(self) -> None:
        """Lose the broker with everything it held; the services are down while the outboxes are made ready to fill a new one.

        A service that lived through it would go on at an offset of the old broker, and might send the new before the old.
        """
        await self.broker.stop()
        self.proxies["kafka"].cut()
        self.broker.forget_records()
        await self.broker.start(attached=True)
        await create_topics(self.stack.infrastructure, self._settings)
        for service in SERVICES:
            await self.stack.step(service, "outbox replay")

    async def end(self, name: str, signum: signal.Signals, seconds: float = 60) -> None:
        """Send the signal and wait for the end of the process."""
        child = self.stack.child(name)
        child.send(signum)
        if not await gone(child, seconds=seconds):
            child.send(signal.SIGKILL)
            await gone(child)

    def start(self, name: str) -> None:
        """Start a process that ended, with the next crash point that it is to die at."""
        self._said_before[name] = self.stack.directory.log(name).stat().st_size
        self.stack.start_again(name, {**self._environments[name], **self._arm(name)})

    def disarm(self) -> None:
        """Nothing that starts from now on is told to die."""
        self.to_come = {service: [] for service in SERVICES}
        self.armed.clear()

    def has_died_at_its_crash_point(self, name: str) -> bool:
        """Whether the process died as it was told; the next start then tells it another place."""
        place = self.armed.get(name, "").partition(":")[0]
        log = self.stack.directory.log(name).read_bytes()[self._said_before.get(name, 0) :]
        if not place or f"dies at crash point {place}".encode() not in log:
            return False
        self.to_come[name].pop(0)
        del self.armed[name]
        return True

    def _arm(self, name: str) -> dict[str, str]:
        places = self.to_come.get(name)
        if not places:
            return {}
        self.armed[name] = places[0]
        return {"ORDERMESH_CRASH_AT": places[0]}

    def _aim_at_postgres(self) -> None:
        self.databases = {service: self.postgres.dsn(service) for service in SERVICES}
        for service in SERVICES:
            self.proxies[f"{service} database"].target = self.postgres.port

    def _environment(self) -> dict[str, str]:
        through = {
            f"{service.upper()}_DATABASE_URL": dsn.replace(
                f":{self.postgres.port}/", f":{self.proxies[f'{service} database'].port}/"
            )
            for service, dsn in self.databases.items()
        }
        kafka = {
            "KAFKA_URL": f"{HOST}:{self.proxies['kafka'].port}",
            "KAFKA_IDEMPOTENCE": str(self.broker.idempotence).lower(),
            "KAFKA_FETCH_MAX_WAIT_MS": str(self.broker.fetch_max_wait_ms),
        }
        given = {
            name: value for name, value in os.environ.items() if not name.endswith(("_URL", "_KEY", "_KAFKA"))
        }
        return {**given, **PATIENCE, **through, **kafka}

    def _table(self, around: Surroundings) -> Waves:
        """The launcher's own table, with the proxies between the programs and the first crash points told."""
        apart = replace(around, directory=_OwnPorts(around.directory.path))
        waves = programs.ordermesh(apart)
        found = {program.name: program for wave in waves for program in wave}
        for link, target in _LINKS_OF_PROGRAMS.items():
            port = found[target.program].environment[target.port]
            self.proxies[link].target = int(port)
            user = found[target.user]
            environment = dict(user.environment)
            for variable in target.variables:
                environment[variable] = environment[variable].replace(
                    f":{port}", f":{self.proxies[link].port}"
                )
            found[target.user] = replace(user, environment=environment)
        self._environments = {name: program.environment for name, program in found.items()}
        for service in SERVICES:
            program = found[service]
            found[service] = replace(program, environment={**program.environment, **self._arm(service)})
        return tuple(tuple(found[program.name] for program in wave) for wave in waves)
