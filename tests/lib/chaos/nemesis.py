"""Does what the schedule says, when its time has come, and puts back on its feet whatever fell. Everything is noted with its time."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from chaos.schedule import PROCESSES, SERVICES, Fault, Kind, Schedule
from chaos.system import System
from ordermesh.process import ending, until
from ordermesh.stack import is_ready

READY_SECONDS = 90
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault that happened, times in UTC: `over` when what it took away was given back. `affected`: the services it hit."""

    kind: Kind
    what: str
    at: datetime
    over: datetime
    affected: tuple[str, ...]


class Nemesis:
    """`begun` tells how many orders have begun. `defects` are ends that nobody ordered, and stops that were not graceful."""

    def __init__(self, system: System, begun: Callable[[], int], say: Say) -> None:
        self._system, self._begun, self._say = system, begun, say
        self._down: set[str] = set()
        self._lasting: set[asyncio.Task[None]] = set()
        self.injected: list[Injected] = []
        self.defects: list[str] = []

    async def run(self, schedule: Schedule) -> None:
        for fault in schedule.faults:
            while self._begun() < fault.at:
                await asyncio.sleep(0.1)
            await self._inject(fault)
        await asyncio.gather(*self._lasting)

    async def watch(self) -> None:
        """Until cancelled: what ends is started again, as an orchestrator does."""
        while True:
            for name in PROCESSES:
                if name not in self._down and not self._system.stack.child(name).is_alive():
                    self._revive(name)
            await asyncio.sleep(0.1)

    async def calm(self) -> None:
        """Nothing goes wrong from now on, and everything runs; what was told to die and has not yet is started anew.

        Raises TimeoutError for a service that does not get ready.
        """
        for proxy in self._system.proxies.values():
            proxy.heal()
        doomed = list(self._system.armed)
        self._system.disarm()
        for name in doomed:
            await self._restart(name, signal.SIGTERM)
        await self._ready(PROCESSES)

    def _revive(self, name: str) -> None:
        child, now = self._system.stack.child(name), datetime.now(UTC)
        place = self._system.armed.get(name, "")
        if self._system.has_died_at_its_crash_point(name):
            self._note(Kind.CRASH, f"{name} at {place}", now, (name,))
        else:
            self.defects.append(f"{name} ended by itself: {ending(child)}")
            self._say(self.defects[-1])
        self._system.start(name)

    async def _inject(self, fault: Fault) -> None:
        began, system = datetime.now(UTC), self._system
        affected = tuple(s for s in SERVICES if fault.target.startswith(s)) or SERVICES
        match fault.kind:
            case Kind.KILL:
                await self._restart(fault.target, signal.SIGKILL)
            case Kind.ROLL:
                for name in PROCESSES:
                    await self._restart(name, signal.SIGTERM)
                    await self._ready([name])
            case Kind.EMPTY_BROKER:
                await self._lose_broker()
            case Kind.POSTGRES:
                await system.postgres_again()
            case Kind.CUT:
                system.proxies[fault.target].cut()
            case _:
                task = asyncio.create_task(self._last(fault, began, affected))
                self._lasting.add(task)
                return
        self._note(fault.kind, fault.target, began, affected)

    async def _last(self, fault: Fault, began: datetime, affected: tuple[str, ...]) -> None:
        if fault.kind is Kind.FREEZE:
            child = self._system.stack.child(fault.target)
            child.send(signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            child.send(signal.SIGCONT)
        else:
            proxy = self._system.proxies[fault.target]
            if fault.kind is Kind.HOLD:
                proxy.hold()
            else:
                proxy.slow(fault.delay)
            await asyncio.sleep(fault.seconds)
            proxy.heal()
        self._note(fault.kind, f"{fault.target} for {fault.seconds} s", began, affected)

    async def _restart(self, name: str, signum: signal.Signals) -> None:
        self._down.add(name)
        place = self._system.armed.get(name, "")
        if signum is signal.SIGTERM:
            # Told before Python runs the first line of ours, it could only end by the signal.
            await until(
                lambda: is_ready(self._system.urls[name]),
                process=self._system.stack.child(name),
                seconds=READY_SECONDS,
            )
        began = datetime.now(UTC)
        await self._system.end(name, signum)
        if self._system.has_died_at_its_crash_point(name):
            self._note(Kind.CRASH, f"{name} at {place}", began, (name,))
        elif signum is signal.SIGTERM and self._system.stack.child(name).exit_code != 0:
            self.defects.append(f"{name} did not stop gracefully: {ending(self._system.stack.child(name))}")
            self._say(self.defects[-1])
        self._system.start(name)
        self._down.discard(name)

    async def _lose_broker(self) -> None:
        self._down.update(SERVICES)
        for name in SERVICES:
            await self._system.end(name, signal.SIGKILL)
        await self._system.empty_broker()
        for name in SERVICES:
            self._system.start(name)
        self._down.difference_update(SERVICES)

    async def _ready(self, names: Sequence[str]) -> None:
        async with asyncio.timeout(READY_SECONDS):
            for name in names:
                while not await is_ready(self._system.urls[name]):
                    await asyncio.sleep(0.2)

    def _note(self, kind: Kind, what: str, began: datetime, affected: tuple[str, ...]) -> None:
        self.injected.append(Injected(kind, what, began, datetime.now(UTC), affected))
        self._say(f"{began:%H:%M:%S}  order {self._begun():>4}  {kind}  {what}")
