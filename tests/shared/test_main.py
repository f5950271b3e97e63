"""`python -m <service>` while it loads."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

LOADS_FOR_EVER = "import sys\nprint('loading', flush=True)\nsys.stdin.read()\n"
SERVING = ("orders", "payments", "shipping", "notifications", "gateway")


async def loading(directory: Path, *words: str) -> Process:
    """Started, and kept where it loads the first of the libraries, which all of them need for their settings."""
    (directory / "pydantic.py").write_text(LOADS_FOR_EVER)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        env={**os.environ, "PYTHONPATH": str(directory)},
        stdin=PIPE,
        stdout=PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"loading\n"
    return process


async def ended(process: Process) -> int | None:
    """Its input is closed as well: one that does not hear the signal goes on, and fails for want of the library."""
    await process.communicate()
    return process.returncode


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", SERVING)
async def test_a_service_that_is_told_to_stop_while_it_loads_has_stopped_gracefully(
    tmp_path: Path, name: str, signum: signal.Signals
) -> None:
    process = await loading(tmp_path, name)
    process.send_signal(signum)
    assert await ended(process) == 0


async def test_a_migration_that_was_told_to_stop_does_not_claim_to_have_succeeded(tmp_path: Path) -> None:
    process = await loading(tmp_path, "orders", "migrate")
    process.send_signal(signal.SIGTERM)
    assert await ended(process) == -signal.SIGTERM
