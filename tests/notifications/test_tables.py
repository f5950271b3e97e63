"""The migrations make the tables that the code declares."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from notifications.tables import metadata


async def test_the_migrated_database_is_the_declared_one(fresh_databases: Any) -> None:
    url = (await fresh_databases("notifications"))["notifications"]
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))

    def differences(connection: Connection) -> list[Any]:
        own = metadata.tables.keys()
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, parents: kind != "table" or name in own,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()
