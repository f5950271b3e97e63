"""What every test stands on: a real PostgreSQL and a real broker, started once; a fresh database for whoever asks.

The broker is the launcher's choice (`ordermesh.kafka.pick`; ORDERMESH_KAFKA, REQUIRE_KAFKA), PostgreSQL is always embedded. Python's own sockets connect to loopback only.
"""

import asyncio
import importlib.util
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ordermesh import kafka
from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure, opened
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory
from shared.bus import create_topics
from shared.migrations import migrate

settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("suite")
"""The suite tries the same cases every time; `make explore` tries new ones, and many. No deadline: the clock proves nothing."""

SERVICES = ("orders", "payments", "shipping", "notifications")
TESTS = Path(__file__).parent
MESSAGING = (
    "system",
    "faults/test_chaos.py",
    "local/test_kafka.py",
    *(f"shared/test_{module}.py" for module in ("bus", "outbox", "outage", "service")),
)
"""Where a broker matters: these run on Apache Kafka too (`make test-apache`)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(item.path.is_relative_to(TESTS / place) for place in MESSAGING):
            item.add_marker(pytest.mark.messaging)


def pytest_report_header() -> str:
    """What was picked; asked for on a directory that is never made."""
    nowhere = TESTS / "nowhere"
    try:
        return f"kafka: {kafka.pick(choice(nowhere), RunDirectory(nowhere)).description}"
    except LauncherError as error:
        raise pytest.UsageError(str(error)) from None


def choice(home: Path) -> Settings:
    """The environment's, but for databases: tests make their own by the dozen."""
    blank = dict.fromkeys(f"{service}_database_url" for service in SERVICES)
    return Settings.read(ordermesh_home=home, ordermesh_fast=True).model_copy(update=blank)


@pytest.fixture(scope="session")
async def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Infrastructure]:
    async with opened(choice(tmp_path_factory.mktemp("home"))) as running:
        await create_topics(running.kafka_url)
        yield running


@pytest.fixture(scope="session")
async def migrated(infrastructure: Infrastructure) -> dict[str, str]:
    """A migrated template database per service; nothing ever connects to it again."""
    templates = await infrastructure.fresh_databases(SERVICES)
    for service in SERVICES:
        if importlib.util.find_spec(f"{service}.migrations") is not None:
            await asyncio.to_thread(migrate, service, templates[service])
    return templates


FreshDatabases = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture(scope="session")
def fresh_databases(infrastructure: Infrastructure, migrated: dict[str, str]) -> FreshDatabases:
    """Call it with service names for new, migrated, empty databases by service."""

    async def fresh(*services: str) -> dict[str, str]:
        template = {service: migrated[service] for service in services}
        return await infrastructure.fresh_databases(services, template=template)

    return fresh


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Any:
    """A test that speaks to anything but this machine is a defect: here it fails, where it uses this process' Python sockets.

    A native client (pyreqwest), a blocked name look-up, and the processes that a test starts are out of its reach.
    """
    connect = socket.socket.connect

    def checked(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in {
            "127.0.0.1",
            "::1",
            "localhost",
        }:
            raise AssertionError(f"a test connects to {address}")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", checked)
    yield
    patch.undo()
