"""What the benches stand on: uvloop, as the services run on it, and a stack of real processes."""

import gc
import os
import tempfile
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterator
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


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """As a service has it when it has started."""
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
