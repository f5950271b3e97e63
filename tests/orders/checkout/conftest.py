"""A till of its own for each test, with the settings that it asks for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.till import Till, a_till

OpenTill = Callable[..., Awaitable[Till]]


@pytest.fixture
async def open_till(
    fresh_databases: Callable[..., Awaitable[dict[str, str]]],
) -> AsyncIterator[OpenTill]:
    """Call it with settings."""
    async with AsyncExitStack() as stack:
        url = (await fresh_databases("orders"))["orders"]

        async def opened(**settings: Any) -> Till:
            return await stack.enter_async_context(a_till(url, **settings))

        yield opened


@pytest.fixture
async def till(open_till: OpenTill) -> Till:
    return await open_till()
