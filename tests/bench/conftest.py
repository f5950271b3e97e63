"""What the benches stand on: uvloop, as the services run on it, and a stack of real processes."""

import os
import tempfile
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from ordermesh.settings import Settings
from ordermesh.stack import Stack, serving


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "LOG_LEVEL": "WARNING"}
        settings = Settings.read(environment).model_copy(update={"ordermesh_home": Path(home)})
        async with serving(settings, say=lambda _: None) as running:
            yield running
