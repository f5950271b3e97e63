"""Schema migrations by Alembic, for every service alike: one at a time (advisory lock), never waiting long for a lock.

`python -m <service> migrate` runs them. They are numbered, and expand before they contract: the previous release's code
must work on the new schema. A service keeps its own in `<service>/migrations/versions`.
"""

import asyncio
from importlib import resources

from alembic import context, op
from alembic.command import upgrade
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import create_async_engine

_LOCK = 0x6D696772617465  # "migrate"
_TIMEOUTS = "SET lock_timeout = '4s'; SET statement_timeout = '60s'"


def migrate(package: str, url: str) -> None:
    """Bring the service's database to its newest revision. Blocking; raises SQLAlchemyError."""
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.attributes["url"] = url
    upgrade(config, "head")


def run(metadata: MetaData) -> None:
    """What a service's `migrations/env.py` calls."""
    asyncio.run(_run(context.config.attributes["url"], metadata))


def create_plumbing() -> None:
    """The plumbing's tables, version 1: the first thing a service's first migration does."""
    script = resources.files("shared").joinpath("plumbing.sql").read_text(encoding="utf-8")
    for statement in script.split(";\n"):
        if statement.strip():
            op.execute(text(statement))


async def _run(url: str, metadata: MetaData) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade, metadata)
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, metadata: MetaData) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    for statement in _TIMEOUTS.split(";"):
        connection.execute(text(statement))
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
