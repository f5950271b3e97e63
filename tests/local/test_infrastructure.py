"""Both parts together: what is picked, what is left running and what is not."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure, embedded, opened, take_down
from ordermesh.kafka import Tansu
from ordermesh.postgres import SERVICES, Postgres
from ordermesh.process import Identity
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory


async def test_two_run_directories_live_side_by_side(tmp_path: Path) -> None:
    async with (
        embedded(home=tmp_path / "a", fast=True) as one,
        embedded(home=tmp_path / "b", fast=True) as other,
    ):
        assert one.kafka_url != other.kafka_url
        assert not set(one.databases.values()) & set(other.databases.values())
        for infra in (one, other):
            connection = await asyncpg.connect(infra.databases["orders"], ssl=False)
            assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = 'orders'") == 1
            await connection.close()


async def test_nothing_is_left_when_the_block_ends(
    directory: RunDirectory, processes: Callable[[], list[str]]
) -> None:
    async with embedded(home=directory.path, fast=True) as infra:
        assert infra.dead() is None
        assert len(processes()) >= 2
    assert processes() == []
    assert list((directory.path / "pids").iterdir()) == []
    assert not (directory.path / "postgres" / "postmaster.pid").exists()


async def test_nothing_is_left_when_the_block_fails(
    directory: RunDirectory, processes: Callable[[], list[str]]
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with embedded(home=directory.path, fast=True):
            raise ZeroDivisionError
    assert processes() == []


async def test_a_part_that_fails_takes_the_other_along(
    settings: Settings, directory: RunDirectory, processes: Callable[[], list[str]]
) -> None:
    data = directory.path / "postgres"
    data.mkdir(mode=0o700)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(LauncherError, match="PostgreSQL 18 did not start"):
        async with opened(settings):
            pass
    assert processes() == []


class _Robbed(RunDirectory):
    """Another program takes the port between the choice and the start."""

    taken: int

    def port(self, name: str, *, default: int | None = None, asked: int | None = None) -> int:  # noqa: ARG002 - the base's signature
        return self.taken


@pytest.mark.parametrize("part", [Postgres, Tansu])
async def test_another_program_at_its_port_is_not_taken_for_the_server(
    directory: RunDirectory, processes: Callable[[], list[str]], part: type[Postgres | Tansu]
) -> None:
    robbed = _Robbed(directory.path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        robbed.taken = other.getsockname()[1]
        server = part(robbed)
        taken = rf"did not start \(.*; another program has taken its port {robbed.taken}\)"
        with pytest.raises(LauncherError, match=taken):
            await server.start(attached=True)
        await server.stop()
    assert processes() == []


async def test_what_runs_already_is_used_and_left_running(
    settings: Settings, directory: RunDirectory
) -> None:
    async with opened(settings) as first:
        async with opened(settings) as second:
            assert second.databases == first.databases
            assert second.kafka_url == first.kafka_url
        assert first.dead() is None
        keeper = directory.running("postgres")
        assert keeper is not None
        assert keeper.keeper == Identity.current()


async def test_what_outlived_its_launcher_is_replaced(settings: Settings, directory: RunDirectory) -> None:
    async with opened(settings) as orphaned:
        for name in ("postgres", "kafka"):
            running = directory.running(name)
            assert running is not None
            stale = Identity(running.identity.pid, "another start")
            directory.record(name, type(running)(running.identity, running.port, stale))
        async with opened(settings) as infra:
            assert orphaned.server is not None
            assert not orphaned.server.is_alive()
            assert not orphaned.broker.is_alive()
            assert infra.dead() is None


async def test_it_is_not_taken_down_under_its_user(settings: Settings) -> None:
    async with opened(settings) as infra:
        with pytest.raises(LauncherError, match=f"Process {os.getpid()} uses it"):
            await take_down(settings)
        assert infra.dead() is None


async def test_what_ends_by_itself_is_named(settings: Settings) -> None:
    async with opened(settings) as infra:
        await infra.broker.stop()
        assert infra.dead() == "kafka"


class TestGivenParts:
    """What the environment names is used as it is."""

    async def test_a_given_database_goes_to_its_service_alone(
        self, infra: Infrastructure, directory: RunDirectory
    ) -> None:
        given = infra.databases["orders"]
        settings = Settings.read(
            {
                "ORDERS_DATABASE_URL": given,
                "KAFKA_URL": infra.kafka_url,
                "ORDERMESH_HOME": str(directory.path),
                "ORDERMESH_FAST": "1",
            }
        )
        async with opened(settings) as mixed:
            assert mixed.databases["orders"] == given
            assert mixed.databases["payments"] != infra.databases["payments"]
            assert mixed.kafka_url == infra.kafka_url
            databases, broker = mixed.picked()
            assert "orders: its own URL, payments: embedded PostgreSQL 18" in databases
            assert broker == f"Kafka: {infra.kafka_url} (KAFKA_URL)"

    async def test_nothing_is_embedded_when_all_is_given(
        self, infra: Infrastructure, directory: RunDirectory, processes: Callable[[], list[str]]
    ) -> None:
        settings = Settings.read({**infra.environment(), "ORDERMESH_HOME": str(directory.path)})
        async with opened(settings) as given:
            assert given.environment() == infra.environment()
            assert tuple(given.databases) == SERVICES
            assert processes() == []
            with pytest.raises(LauncherError, match="there is no embedded PostgreSQL"):
                await given.fresh_databases()
