"""What the tests of orders ask."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from support.counter import Counter, a_counter


@pytest.fixture
async def counter(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[Counter]:
    async with a_counter((await fresh_databases("orders"))["orders"]) as counter:
        yield counter
