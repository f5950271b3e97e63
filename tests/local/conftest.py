"""The launcher as processes of its own, as a user has it."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ordermesh.infrastructure import Infrastructure, take_down
from ordermesh.process import until
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory

Launch = Callable[..., Awaitable[Process]]
_GIVEN = (
    "KAFKA_URL",
    "REQUIRE_KAFKA",
    *(f"{name}_DATABASE_URL" for name in ("ORDERS", "PAYMENTS", "SHIPPING", "NOTIFICATIONS")),
)


@pytest.fixture
def infra(infrastructure: Infrastructure) -> Infrastructure:
    """The server of the whole suite, which no test here stops."""
    return infrastructure


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run").prepare()


@pytest.fixture
def settings(directory: RunDirectory) -> Settings:
    return Settings(ordermesh_home=directory.path, ordermesh_fast=True, ordermesh_kafka="embedded")


@pytest.fixture
async def launch(directory: RunDirectory, settings: Settings) -> AsyncIterator[Launch]:
    """Run Python with these arguments on the test's run directory. What a failed test left is ended afterwards."""
    started: list[Process] = []

    async def start(*arguments: str, **variables: str) -> Process:
        inherited = {name: value for name, value in os.environ.items() if name not in _GIVEN}
        ours = {"ORDERMESH_HOME": str(directory.path), "ORDERMESH_FAST": "1", "ORDERMESH_KAFKA": "embedded"}
        chosen = {name: value for name, value in (ours | variables).items() if value}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=inherited | chosen, stdout=PIPE, stderr=PIPE
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()
    await take_down(settings)


@dataclass(frozen=True)
class Alive:
    """An asyncio process as the launcher's own code sees processes."""

    process: Process

    def is_alive(self) -> bool:
        return self.process.returncode is None


@pytest.fixture
def eventually() -> Callable[[Callable[[], object], Process], Awaitable[None]]:
    """Wait until a condition holds; it must while the process lives."""

    async def wait(condition: Callable[[], object], process: Process) -> None:
        async def holds() -> bool:
            return bool(condition())

        assert await until(holds, process=Alive(process), seconds=120)

    return wait


@pytest.fixture
def processes(directory: RunDirectory) -> Callable[[], list[str]]:
    """The processes that write to a log of the run directory: everything that a launcher starts does."""

    def find() -> list[str]:
        found = []
        for pid in (entry for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            try:
                if (pid / "fd" / "1").readlink().is_relative_to(directory.path):
                    found.append((pid / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    return find
