"""The sandbox as a process of its own."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson
import pytest
from pyreqwest.client import Client

import sandbox

PORTS = {"PORT": "0", "SMTP_PORT": "0"}


async def test_it_tells_its_addresses_serves_and_ends_with_0_on_sigterm(
    http: Client, settings: sandbox.Settings, tmp_path: Path
) -> None:
    state = {"STATE": str(tmp_path / "state.sqlite")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", env=os.environ | PORTS | state, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    addresses = orjson.loads(await process.stdout.readline())
    hook = f"{addresses['url']}/slack/services/T000/B000/secret"
    assert (await http.post(hook).body_json({"text": "hello"}).build().send()).status == 200
    _, writer = await asyncio.open_connection("127.0.0.1", addresses["smtp_port"])
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    writer.close()

    async with sandbox.running(settings.model_copy(update={"state": state["STATE"]})) as box:
        assert box.record.counts() == {"slack.message": 1}


async def test_a_taken_port_is_an_error(box: sandbox.Box, settings: sandbox.Settings) -> None:
    taken = settings.model_copy(update={"port": int(box.url.rpartition(":")[2])})
    with pytest.raises(OSError, match="in use"):
        async with sandbox.running(taken):
            pass
