"""`python -m payments` as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError

if TYPE_CHECKING:
    from ordermesh.infrastructure import Infrastructure


@pytest.mark.parametrize(("secret", "answer", "warnings"), [("whsec_canary", 400, 0), ("", 404, 1)])
async def test_it_becomes_ready_warns_when_it_cannot_hear_stripe_and_stops_gracefully(
    infrastructure: Infrastructure,
    fresh_databases: Callable[..., Awaitable[dict[str, str]]],
    secret: str,
    answer: int,
    warnings: int,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        **infrastructure.kafka_environment(),
        "PORT": str(port),
        "DATABASE_URL": (await fresh_databases("payments"))["payments"],
        "STRIPE_API_KEY": "sk_test_canary",
        "STRIPE_WEBHOOK_SECRET": secret,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "payments", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with ClientBuilder().build() as http:
            while True:
                try:
                    ready = await http.get(f"http://127.0.0.1:{port}/health/ready").build().send()
                except PyreqwestError:
                    await asyncio.sleep(0.1)
                    continue
                if ready.status == 200:
                    break
                await asyncio.sleep(0.1)
            webhook = await http.post(f"http://127.0.0.1:{port}/webhooks/stripe").build().send()
            assert webhook.status == answer
    finally:
        process.send_signal(signal.SIGTERM)
        _, printed = await process.communicate()
    assert process.returncode == 0, printed.decode()
    assert b"canary" not in printed
    assert printed.count(b"captures will not be heard") == warnings
