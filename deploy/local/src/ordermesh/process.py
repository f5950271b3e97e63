"""Processes of this machine: start them so that none outlives its purpose, and know them again without a doubt.

A pid alone proves nothing, since the system hands it out again; a pid with its start time does.
"""

import asyncio
import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from ordermesh.errors import LauncherError
from ordermesh.unprivileged import Become

LOOK_AGAIN_AFTER = 0.02
_HAS_PROC = Path("/proc/self/stat").exists()
_BEFORE_EXEC = Path(__file__).with_name("before_exec.py")


class Living(Protocol):
    """Something that runs until it ends."""

    def is_alive(self) -> bool: ...


class Process(Living, Protocol):
    """Something that runs and can be signalled."""

    def send(self, signum: signal.Signals) -> None: ...


def _started(pid: int) -> str | None:
    """When the process started, in the system's own notation; None if it does not run (a zombie does not)."""
    if _HAS_PROC:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The second field is the program's name in parentheses and may hold anything, parentheses included.
        state, *rest = stat.rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = shown.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def command_line(pid: int) -> str:
    """The process's program and arguments, blank if it does not run."""
    if _HAS_PROC:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()


def memory(pid: int, *, children: bool = True) -> int | None:
    """Bytes that the process occupies, shared pages in proportion, with its children or without; None if unknown."""
    try:
        offspring = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if children else []
        fields = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    except OSError:
        return None
    own = int(fields[fields.index("Pss:") + 1]) * 1024
    return own + sum(memory(int(child)) or 0 for child in offspring)


@dataclass(frozen=True, slots=True)
class Identity:
    """One process and never a later one that was given the same pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this pid now, if any."""
        started = _started(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def current(cls) -> Self:
        """This process."""
        started = _started(os.getpid())
        return cls(os.getpid(), started or "")

    def is_alive(self) -> bool:
        return _started(self.pid) == self.started

    def send(self, signum: signal.Signals) -> None:
        """Signal it; nothing happens if it is gone."""
        if self.is_alive():
            _send(self.pid, signum)


@dataclass(frozen=True)
class Command:
    """What to run: its output goes to the end of `log`, its input is empty."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    cwd: Path = Path("/")
    become: Become | None = None
    # What the child gets when the launcher is killed without a chance to stop it (Linux).
    orphaned: signal.Signals = signal.SIGKILL


@dataclass(frozen=True)
class Child:
    """A process that this one started and whose end it must collect."""

    command: Command
    identity: Identity
    _popen: subprocess.Popen[bytes] = field(repr=False)

    @property
    def exit_code(self) -> int | None:
        """Negative: the signal that ended it. None while it runs."""
        return self._popen.poll()

    def is_alive(self) -> bool:
        return self.exit_code is None

    def send(self, signum: signal.Signals) -> None:
        """Signal it; nothing happens if it is gone."""
        if self.is_alive():
            _send(self.identity.pid, signum)


def start(command: Command, *, attached: bool = True) -> Child:
    """Start it in a session of its own, out of reach of the terminal's Ctrl-C; attached, it dies with this process.

    Call it from the main thread: Linux ends attached children with the thread that started them. A program that does not
    exist ends at once and says so in its log.
    """
    orphaned = command.orphaned if attached else 0
    user, passes = (command.become.user, command.become.passes) if command.become else ("-", False)
    prepare = (str(int(orphaned)), str(os.getpid()), user, str(int(passes)))
    with command.log.open("ab") as log:
        popen = subprocess.Popen(
            (sys.executable, "-I", "-S", str(_BEFORE_EXEC), *prepare, *command.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(command.environment),
            cwd=command.cwd,
            start_new_session=True,
        )
    # A child that died at once is a zombie until it is collected, so it has no start time any more.
    identity = Identity.of(popen.pid) or Identity(popen.pid, "gone")
    return Child(command, identity, popen)


async def until(condition: Callable[[], Awaitable[bool]], *, process: Living, seconds: float) -> bool:
    """Whether the condition came true while the process lived and the time (seconds) lasted."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if not process.is_alive() or time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_AGAIN_AFTER)
    return True


async def gone(process: Living, *, seconds: float = math.inf) -> bool:
    """Whether the process ended within the time."""
    deadline = time.monotonic() + seconds
    while process.is_alive():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_AGAIN_AFTER)
    return True


async def stop(process: Process, *, grace: float, gently: signal.Signals = signal.SIGTERM) -> bool:
    """End it: gently, and after `grace` seconds by SIGKILL. False if force was needed."""
    process.send(gently)
    if await gone(process, seconds=grace):
        return True
    process.send(signal.SIGKILL)
    await gone(process, seconds=5)
    return False


async def run(command: Command, *, grace: float = 5) -> None:
    """Run to the end; cancelled, it takes the process along. Raises LauncherError with the end of its log if it fails."""
    child = start(command)
    try:
        await gone(child)
    finally:
        await stop(child, grace=grace)
    if child.exit_code != 0:
        raise LauncherError(f"{command.name} failed ({ending(child)}).\n{tail(command.log)}")


def ending(child: Child) -> str:
    """How it ended, in words."""
    code = child.exit_code
    if code is None:
        return "still running"
    return f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, and where the rest is."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        text = ""
    shown = "\n".join(f"  | {line}" for line in text.splitlines()[-lines:])
    return f"{shown}\n  ({log})" if shown else f"  (nothing in {log})"


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Do it side by side until all is done; the first failure cancels the rest and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _send(pid: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        # SIGKILL goes to the whole session, so that a program that ignored its signal leaves no offspring either.
        (os.killpg if signum is signal.SIGKILL else os.kill)(pid, signum)
