"""A house of payments for each test."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from pyreqwest.client import ClientBuilder

import sandbox
from payments.app import build
from support.payments import House, Trouble, opened, sandbox_settings, serving, settings_of


@pytest.fixture
async def house(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[House]:
    dsn = (await fresh_databases("payments"))["payments"]
    trouble = Trouble()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        http = await stack.enter_async_context(ClientBuilder().build())
        box = await stack.enter_async_context(sandbox.running(sandbox_settings(url), faults=trouble))
        service = build(settings_of(box.url, box.issuer.url, dsn))
        await stack.enter_async_context(opened(service))
        await stack.enter_async_context(serving(service, listener))
        yield House(service, box, trouble, url, http)
