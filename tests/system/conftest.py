"""One world for the stories, and how things arrive in it: once, twice, shuffled, or again after a crash."""

from collections.abc import AsyncIterator

import pytest

from ordermesh.infrastructure import Infrastructure
from support.world import SERVICES, World, a_world, in_mode


@pytest.fixture(scope="session")
async def running(infrastructure: Infrastructure, fresh_databases: object) -> AsyncIterator[World]:
    databases = await fresh_databases(*SERVICES)  # type: ignore[operator] # a fixture's type
    async with a_world(infrastructure, databases) as world:
        yield world


@pytest.fixture(scope="session", params=["once", "twice"])
async def world(request: pytest.FixtureRequest, running: World) -> AsyncIterator[World]:
    """By default once and twice; a test may name other modes (see `in_mode`) with `indirect` parameters."""
    async with in_mode(running, request.param) as world:
        yield world
