"""The sandbox as a process of its own."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson
from pyreqwest.client import Client

PORTS = {"PORT": "0", "SMTP_PORT": "0"}


async def start(**environment: str) -> tuple[asyncio.subprocess.Process, dict[str, object]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", env=os.environ | PORTS | environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    addresses: dict[str, object] = orjson.loads(await process.stdout.readline())
    return process, addresses


async def test_it_tells_its_addresses_serves_and_ends_with_0_on_sigterm(http: Client, tmp_path: Path) -> None:
    state = str(tmp_path / "state.sqlite")
    for run in (1, 2):
        process, addresses = await start(STATE=state)
        hook = f"{addresses['url']}/slack/services/T000/B000/secret"
        assert (await http.post(hook).body_json({"text": "hello"}).build().send()).status == 200
        summary = await (await http.get(f"{addresses['url']}/control/summary").build().send()).json()
        assert summary["counts"] == {"slack.message": run}
        _, writer = await asyncio.open_connection("127.0.0.1", int(str(addresses["smtp_port"])))
        writer.close()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
