"""One shelf of a hundred orders for the tests that only read, an empty one for those that write."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from shared.db import Database
from support.listing import Shelf, random_order


@pytest.fixture(scope="session")
async def shelf(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[Shelf]:
    db = Database((await fresh_databases("orders"))["orders"])
    await db.open()
    chance = random.Random(5)
    filled = Shelf(db)
    await filled.know_customers()
    await filled.put(random_order(chance, number) for number in range(1, 401))
    yield filled
    await db.close()


@pytest.fixture
async def empty(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[Shelf]:
    db = Database((await fresh_databases("orders"))["orders"])
    await db.open()
    yield Shelf(db)
    await db.close()
