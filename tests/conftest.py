"""What every test stands on: a real PostgreSQL and a real broker, started once; a fresh database for whoever asks.

Python's own sockets connect to loopback only.
"""

import asyncio
import importlib.util
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import settings

from ordermesh.infrastructure import Infrastructure, embedded
from shared.bus import create_topics
from shared.migrations import migrate

settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("suite")
"""The suite tries the same cases every time; `make explore` tries new ones, and many. No deadline: the clock proves nothing."""

SERVICES = ("orders", "payments", "shipping", "notifications")


@pytest.fixture(scope="session")
async def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Infrastructure]:
    async with embedded(home=tmp_path_factory.mktemp("home"), fast=True) as running:
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
