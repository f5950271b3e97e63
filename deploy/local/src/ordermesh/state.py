"""The run directory: everything that one stack keeps on disk, so that two of them share nothing.

`postgres/` data, `logs/`, `secrets/` (mode 600), `ports/` (chosen once, kept while free) and `pids/` (only what runs now).
Exclusion is a lock of the system on a directory, which vanishes with its process: no lock file can be left behind.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from ordermesh.errors import LauncherError
from ordermesh.ports import Claims
from ordermesh.process import Identity
from shared.signing import new_pem

# Below the range from which systems take the ports of outgoing connections, so that none of those is in the way later.
_CHOICES = range(20_000, 32_000)
LAUNCHER = "launcher"


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs now, where it listens, and with whom it ends (None: it was left running on purpose)."""

    identity: Identity
    port: int
    keeper: Identity | None = None

    def is_orphan(self) -> bool:
        """Whether it outlived the process that should have stopped it."""
        return self.keeper is not None and not self.keeper.is_alive()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, KeyError or TypeError for what `text` below did not write."""
        raw = json.loads(text)
        keeper = Identity(**raw["keeper"]) if raw["keeper"] else None
        return cls(Identity(**raw["identity"]), raw["port"], keeper)

    def text(self) -> str:
        return json.dumps(asdict(self))


class RunDirectory:
    """One stack's place on disk. Made on first use; nothing in it is worth committing."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._claimed: Claims | None = None

    def prepare(self) -> Self:
        """Make the directories. Raises LauncherError if the place cannot be written."""
        try:
            # PostgreSQL started by root runs as another user, who must get through but need not look around.
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            for name in ("logs", "secrets", "ports", "pids"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LauncherError(
                f"The run directory cannot be made: {error}. ORDERMESH_HOME chooses another."
            ) from error
        return self

    def state_of(self, name: str) -> Path:
        """A directory that belongs to one program."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def new_log(self, name: str) -> Path:
        """An empty log; the one of the run before stays beside it."""
        log = self.log(name)
        with contextlib.suppress(FileNotFoundError):
            log.replace(log.with_suffix(".log.before"))
        log.touch(mode=0o600)
        return log

    def secret(self, name: str) -> str:
        """A random secret, made when first asked for."""
        return self._secret(name, lambda: secrets.token_urlsafe(24))

    def signing_key(self, name: str) -> str:
        """A private Ed25519 key (PEM), made when first asked for."""
        return self._secret(name, new_pem)

    def _secret(self, name: str, make: Callable[[], str]) -> str:
        with _locked(self.path / "secrets"):
            path = self.path / "secrets" / name
            if not path.exists():
                _write(path, make())
            return path.read_text()

    def port(self, name: str, *, default: int | None = None, asked: int | None = None) -> int:
        """A free port of the loopback interface: the default, else the one it had before, else any. It is remembered.

        In the block of `launcher` or `infrastructure` no other launcher gets it until that block ends.
        Raises LauncherError if the port that the user asked for is taken, since another would surprise.
        """
        with _locked(self.path / "ports"), self._claims() as claims:
            path = self.path / "ports" / name
            if asked is not None and not claims.take(asked):
                raise LauncherError(
                    f"Port {asked}, asked for {name}, is taken by another program: ask for another,"
                    " or for none and a free one is chosen."
                )
            known = {other.name: int(other.read_text()) for other in path.parent.glob("[!.]*")}
            wanted = (asked, default, known.pop(name, None), *random.sample(_CHOICES, 200))
            others = set(known.values()) - {asked}
            port = next((port for port in wanted if port and port not in others and claims.take(port)), None)
            if port is None:
                raise LauncherError(f"No free port was found for {name}.")
            _write(path, str(port))
            return port

    def running(self, name: str) -> Running | None:
        """What was recorded under this name, if it still runs."""
        try:
            record = Running.parse((self.path / "pids" / f"{name}.json").read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if record.identity.is_alive() else None

    def all_running(self) -> dict[str, Running]:
        names = sorted(path.stem for path in (self.path / "pids").glob("*.json"))
        return {name: record for name in names if (record := self.running(name))}

    def user(self) -> Identity | None:
        """A process that needs what runs here: the launcher, or one that keeps a part of the infrastructure for itself."""
        running = self.all_running()
        if LAUNCHER in running:
            return running[LAUNCHER].identity
        return next((part.keeper for part in running.values() if not part.is_orphan()), None)

    def record(self, name: str, running: Running) -> None:
        _write(self.path / "pids" / f"{name}.json", running.text())

    def forget(self, name: str) -> None:
        (self.path / "pids" / f"{name}.json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def launcher(self) -> Iterator[None]:
        """Be the one launcher of this directory. Raises LauncherError naming the pid of the one that is."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(_locked(self.path, wait=False))
            except BlockingIOError:
                other = self.running(LAUNCHER)
                whose = f" (pid {other.identity.pid})" if other else ""
                raise LauncherError(
                    f"A stack already runs in {self.path}{whose}: stop it, or choose another directory by ORDERMESH_HOME."
                ) from None
            self.record(LAUNCHER, Running(Identity.current(), port=0))
            held.callback(self.forget, LAUNCHER)
            held.enter_context(self._claims())
            yield

    @contextlib.asynccontextmanager
    async def infrastructure(self, seconds: float = 60) -> AsyncIterator[None]:
        """Start or stop the infrastructure alone. Raises LauncherError if another command does so for too long (seconds)."""
        deadline = time.monotonic() + seconds
        with contextlib.ExitStack() as held:
            while True:
                try:
                    held.enter_context(_locked(self.path / "pids", wait=False))
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise LauncherError(
                            f"Another command is busy with the infrastructure in {self.path}."
                        ) from None
                    await asyncio.sleep(0.05)
            held.enter_context(self._claims())
            yield

    @contextlib.contextmanager
    def _claims(self) -> Iterator[Claims]:
        """What is claimed in this block stays claimed until the outermost such block ends."""
        if self._claimed is not None:
            yield self._claimed
            return
        with Claims() as claims:
            self._claimed = claims
            try:
                yield claims
            finally:
                self._claimed = None


def _write(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner alone."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)


@contextlib.contextmanager
def _locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the directory's lock. Raises BlockingIOError if another holds it and we do not wait."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)
