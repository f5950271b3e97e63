"""Migrations make exactly the tables that the code describes, from nothing, and again, and beside themselves."""

import asyncio
import importlib
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from ordermesh.infrastructure import Infrastructure

SERVICES = ("orders", "payments", "shipping", "notifications")


def differences(connection: Connection, metadata: MetaData) -> list[Any]:
    """What separates the database from the code; the plumbing's tables are no service's to describe."""
    options = {
        "compare_type": True,
        "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,
    }
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


async def migrated(service: str, url: str) -> int:
    """The exit code of a process of its own, as each replica would start one."""
    program = f"from shared.migrations import migrate; migrate({service!r}, {url!r})"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    return await process.wait()


@pytest.mark.parametrize("service", SERVICES)
async def test_migrations_from_nothing_make_what_the_tables_say(
    service: str, infrastructure: Infrastructure
) -> None:
    url = (await infrastructure.fresh_databases([service]))[service]
    assert set(await asyncio.gather(migrated(service, url), migrated(service, url))) == {0}
    assert await migrated(service, url) == 0
    metadata = importlib.import_module(f"{service}.tables").metadata
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences, metadata) == []
    await engine.dispose()
