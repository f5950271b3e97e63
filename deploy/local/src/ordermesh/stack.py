"""Runs a table of programs on the infrastructure and takes everything down again, whatever ends it.

A program starts when its own commands (migrations, replay) succeeded and its predecessors are ready; readiness is asked for,
never assumed. One that dies ends the whole stack with its reason. Stopping goes in reverse order, gently, then by force.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from ordermesh import loopback, programs
from ordermesh.errors import LauncherError
from ordermesh.infrastructure import Infrastructure, create_topics, opened
from ordermesh.ports import listens, robbed
from ordermesh.process import Child, Command, Identity, ending, gone, run, start, stop, tail, together, until
from ordermesh.programs import Program, Surroundings, Waves
from ordermesh.settings import Settings
from ordermesh.state import LAUNCHER, RunDirectory, Running

Table = Callable[[Surroundings], Waves]
Say = Callable[[str], None]
Prepare = Callable[[Infrastructure, Settings], Awaitable[None]]

START_SECONDS = 90.0
STOP_SECONDS = 20.0
_REFILLED = "refilled"


class Stack:
    """Programs that run: `urls` by name, `infrastructure` below them."""

    def __init__(
        self, directory: RunDirectory, infrastructure: Infrastructure, waves: Waves, say: Say
    ) -> None:
        self.directory = directory
        self.infrastructure = infrastructure
        self.urls = {program.name: program.url for wave in waves for program in wave}
        self._waves = waves
        self._say = say
        self._children: dict[str, Child] = {}

    async def start(self) -> None:
        """Start wave after wave. Raises LauncherError with the end of the log of the program that did not start."""
        for wave in self._waves:
            await together(*(self._start(program) for program in wave))

    async def stop(self) -> None:
        """Stop the last wave first. At most STOP_SECONDS for each, then by force."""
        for wave in reversed(self._waves):
            await together(*(self._stop(program.name) for program in wave))

    async def watch(self) -> None:
        """Wait until a program or a part of the infrastructure ends by itself, and raise LauncherError saying which."""
        await gone(self)
        for name, child in self._children.items():
            if not child.is_alive():
                raise LauncherError(f"{name} stopped by itself ({ending(child)}).\n{tail(child.command.log)}")
        part = self.infrastructure.dead()
        raise LauncherError(f"{part} stopped by itself.\n{tail(self.directory.log(str(part)))}")

    def child(self, name: str) -> Child:
        """The program's process, running or ended."""
        return self._children[name]

    async def step(self, name: str, step: str) -> None:
        """Run one of the program's own commands (outbox replay). Raises LauncherError with the end of its log if it fails."""
        await run(self._command(self._program(name), *step.split()))

    def start_again(self, name: str, environment: Mapping[str, str]) -> None:
        """Start a program that has ended once more, in another environment; its readiness is the caller's to ask."""
        program = replace(self._program(name), environment=environment)
        child = self._children[name] = start(self._command(program))
        self.directory.record(name, Running(child.identity, program.port, Identity.current()))

    def is_alive(self) -> bool:
        """Whether everything that was started still runs."""
        return self.infrastructure.dead() is None and all(
            child.is_alive() for child in self._children.values()
        )

    def _program(self, name: str) -> Program:
        return next(program for wave in self._waves for program in wave if program.name == name)

    async def _start(self, program: Program) -> None:
        log = self.directory.new_log(program.name)
        for step in program.before:
            await run(self._command(program, *step.split()))
        child = start(self._command(program))
        self._children[program.name] = child
        self.directory.record(program.name, Running(child.identity, program.port, Identity.current()))

        async def says_so_itself() -> bool:
            return listens(child.identity.pid, program.port) and await is_ready(program.url)

        if not await until(says_so_itself, process=child, seconds=START_SECONDS):
            state = f"is not ready after {START_SECONDS:.0f} s" if child.is_alive() else ending(child)
            raise LauncherError(
                f"{program.name} did not start ({state}{robbed(child.identity.pid, program.port)}).\n{tail(log)}"
            )
        self._say(f"{program.name} is ready at {program.url}")

    async def _stop(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and not await stop(child, grace=STOP_SECONDS):
            self._say(f"{name} did not stop in {STOP_SECONDS:.0f} s and was killed")
        self.directory.forget(name)

    def _command(self, program: Program, *step: str) -> Command:
        return Command(
            name=" ".join((program.name, *step)),
            argv=(*program.argv, *step),
            environment=program.environment,
            log=self.directory.log(program.name),
            cwd=self.directory.path,
        )


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    say: Say = print,
    table: Table = programs.ordermesh,
    prepare: Prepare = create_topics,
) -> AsyncIterator[Stack]:
    """The whole stack, ready; it ends with the block, also when that is cancelled while it starts.

    `prepare` is done to the infrastructure before any program starts. `say` gets a line for each step.
    Raises LauncherError if another launcher uses the run directory or if anything does not start.
    """
    directory = RunDirectory(settings.ordermesh_home).prepare()
    with directory.launcher():
        await _stop_orphans(directory)
        if settings.gateway_port is not None:
            # Known, and ours, before everything else has booted.
            directory.port(programs.GATEWAY, asked=settings.gateway_port)
        async with opened(settings) as infrastructure:
            for line in infrastructure.picked():
                say(line)
            await prepare(infrastructure, settings)
            refilled, life = directory.path / _REFILLED, infrastructure.broker.life
            known = refilled.exists() and refilled.read_text() == life
            refill = not known and not infrastructure.is_new
            waves = table(Surroundings(settings, directory, infrastructure, refill=refill))
            stack = Stack(directory, infrastructure, waves, say)
            try:
                await stack.start()
                refilled.write_text(life)
                yield stack
            finally:
                await stack.stop()


async def _stop_orphans(directory: RunDirectory) -> None:
    """End what a launcher left that was killed; Linux has done so already, other systems do not."""
    infrastructure = {"postgres", "kafka", "apache-kafka", "docker-kafka", LAUNCHER}
    for name, running in directory.all_running().items():
        if name not in infrastructure and running.is_orphan():
            await stop(running.identity, grace=STOP_SECONDS)
            directory.forget(name)


async def is_ready(url: str) -> bool:
    """Whether the program there says so itself."""
    try:
        status, _ = await loopback.request("GET", f"{url}/health/ready", seconds=5)
    except (OSError, TimeoutError):
        return False
    return status == 200  # noqa: PLR2004 - HTTP's OK
