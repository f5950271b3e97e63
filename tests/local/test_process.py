"""Processes: known without a doubt, and gone when they should be."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from ordermesh.errors import LauncherError
from ordermesh.process import Command, Identity, gone, run, start, stop, together, until

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
PARENT = (
    "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {child!r}]).pid, flush=True); "
    + STUBBORN
)
WELL = "import time; print('ready', flush=True); time.sleep(600)"


def python(tmp_path: Path, script: str) -> Command:
    return Command(name="script", argv=(sys.executable, "-c", script), environment={}, log=tmp_path / "log")


def said(command: Command, text: str) -> bool:
    return command.log.exists() and text in command.log.read_text()


async def ready(command: Command) -> bool:
    return said(command, "ready")


def test_a_later_process_of_the_same_pid_is_another_one() -> None:
    here = Identity.current()
    assert here.is_alive()
    assert not Identity(here.pid, "another start").is_alive()


async def test_a_signal_for_a_process_that_is_gone_reaches_nobody_else() -> None:
    stale = Identity(Identity.current().pid, "another start")
    stale.send(signal.SIGKILL)
    assert await stop(stale, grace=0)


async def test_what_ends_on_a_gentle_signal_needs_no_force(tmp_path: Path) -> None:
    command = python(tmp_path, WELL)
    child = start(command)
    assert await until(lambda: ready(command), process=child, seconds=30)
    assert await stop(child, grace=30)
    assert child.exit_code == -signal.SIGTERM


async def test_what_ignores_a_gentle_signal_is_killed_with_its_offspring(tmp_path: Path) -> None:
    command = python(tmp_path, PARENT.format(child=WELL))
    child = start(command)
    assert await until(lambda: ready(command), process=child, seconds=30)
    offspring = Identity.of(int(command.log.read_text().split()[0]))
    assert offspring is not None
    assert not await stop(child, grace=0.1)
    assert child.exit_code == -signal.SIGKILL
    assert await gone(offspring, seconds=30)


async def test_waiting_ends_when_the_process_does(tmp_path: Path) -> None:
    command = python(tmp_path, "raise SystemExit(3)")
    child = start(command)
    assert not await until(lambda: ready(command), process=child, seconds=600)
    assert child.exit_code == 3


async def test_what_a_program_writes_is_for_its_user_alone(tmp_path: Path) -> None:
    script = f"import os, pathlib; os.chdir({str(tmp_path)!r}); pathlib.Path('file').touch(); os.mkdir('directory')"
    await run(python(tmp_path, script))
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "directory")]
    assert modes == [0o600, 0o700]


async def test_a_failed_command_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match=r"(?s)script failed \(exit code 1\).*the reason is this"):
        await run(python(tmp_path, "raise SystemExit('the reason is this')"))


async def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = Command(name="it", argv=("/does/not/exist",), environment={}, log=tmp_path / "log")
    with pytest.raises(LauncherError, match=r"(?s)it failed.*/does/not/exist: No such file"):
        await run(missing)


async def test_a_cancelled_command_takes_its_process_along(tmp_path: Path) -> None:
    command = python(tmp_path, f"import os; print(os.getpid(), flush=True); {WELL}")
    task = asyncio.create_task(run(command))
    assert await until(lambda: ready(command), process=Identity.current(), seconds=60)
    process = Identity.of(int(command.log.read_text().split()[0]))
    assert process is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not process.is_alive()


async def test_an_attached_process_dies_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    command = python(tmp_path, WELL)
    script = (
        "import pathlib, signal, os, sys; from ordermesh.process import Command, start; "
        f"child = start(Command('it', {command.argv!r}, {{}}, pathlib.Path({str(command.log)!r})), "
        "attached=sys.argv[1] == 'attached'); print(child.identity.pid, flush=True); "
        "signal.sigwait({signal.SIGUSR1}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for how in ("attached", "detached"):
        command.log.write_text("")
        launcher = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, how, stdout=asyncio.subprocess.PIPE
        )
        assert launcher.stdout is not None
        child = Identity.of(int(await launcher.stdout.readline()))
        assert child is not None
        assert await until(lambda: ready(command), process=child, seconds=30)
        launcher.send_signal(signal.SIGUSR1)
        await launcher.communicate()
        if how == "attached":
            assert await gone(child, seconds=30)
        else:
            assert child.is_alive()
            await stop(child, grace=30)


async def test_the_first_failure_cancels_what_goes_on_beside_it() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise LauncherError("no")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    with pytest.raises(LauncherError, match="no"):
        await together(wait(), fail())
    assert ended == ["cancelled"]
