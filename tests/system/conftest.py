"""Two worlds for the stories: one in which everything arrives once, one in which everything arrives twice."""

from collections.abc import AsyncIterator

import pytest

from ordermesh.infrastructure import Infrastructure
from support.world import SERVICES, World, a_world


@pytest.fixture(scope="session", params=["once", "twice"])
async def world(
    request: pytest.FixtureRequest, infrastructure: Infrastructure, fresh_databases: object
) -> AsyncIterator[World]:
    databases = await fresh_databases(*SERVICES)  # type: ignore[operator] # a fixture's type
    async with a_world(infrastructure, databases, twice=request.param == "twice") as running:
        yield running
