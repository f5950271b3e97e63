"""A migrated database for the plumbing's tests."""

from collections.abc import AsyncIterator

import pytest

from shared.db import Database


@pytest.fixture
async def db(fresh_databases: object) -> AsyncIterator[Database]:
    url = (await fresh_databases("orders"))["orders"]  # type: ignore[operator] # a fixture's type
    database = Database(url, pool_size=20)
    await database.open()
    yield database
    await database.close()
