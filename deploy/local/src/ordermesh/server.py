"""An embedded server: one process of a run directory, found again by its record and on its port of before."""

import signal
from collections.abc import Awaitable, Callable

from ordermesh.errors import LauncherError
from ordermesh.ports import listens, robbed
from ordermesh.process import Child, Command, Identity, ending, start, stop, tail, until
from ordermesh.state import RunDirectory, Running


class EmbeddedServer:
    """What PostgreSQL and the broker have in common; each adds how it is started."""

    name: str
    description: str
    stop_signal = signal.SIGTERM
    stop_seconds = 5.0
    start_seconds = 60.0
    listens_itself = True
    """Whether the process that is started here is the one that listens."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.port = 0
        self._process: Child | Identity | None = None

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def leave_running(self) -> None:
        """From now on it ends with no process; whoever comes next may use it."""
        running = self.directory.running(self.name)
        if running is not None:
            self.directory.record(self.name, Running(running.identity, running.port, keeper=None))

    async def attach(self) -> bool:
        """Use the one that runs already, if one does; one whose keeper was killed is stopped instead."""
        running = self.directory.running(self.name)
        if running is None:
            return False
        self.port, self._process = running.port, running.identity
        if running.is_orphan():
            await self.stop()
            return False
        return True

    async def stop(self) -> None:
        """Stop it, by force if need be; of the process nothing remains."""
        if self._process is not None:
            await stop(self._process, grace=self.stop_seconds, gently=self.stop_signal)
        self._process = None
        self.directory.forget(self.name)

    async def launch(
        self, command: Command, answers: Callable[[], Awaitable[bool]], *, attached: bool
    ) -> None:
        """Start it on `port` and wait until it answers. Raises LauncherError with the end of its log if it does not."""
        child = start(command, attached=attached)
        self._process = child
        # Whoever starts it keeps it, at first: if this process is killed now, the next one replaces a half-made server.
        self.directory.record(self.name, Running(child.identity, self.port, Identity.current()))

        async def answers_itself() -> bool:
            return (not self.listens_itself or listens(child.identity.pid, self.port)) and await answers()

        if not await until(answers_itself, process=child, seconds=self.start_seconds):
            state = f"{ending(child)}{robbed(child.identity.pid, self.port)}"
            raise LauncherError(f"{self.description} did not start ({state}).\n{tail(command.log)}")
