"""A mutation that waits, bounded, for other services' outcomes to reach its own tables; it holds no connection meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from math import floor
from typing import TypeVar

from shared.db import Committed, Database

T = TypeVar("T")
SLOW_POLL_SECONDS = 0.1
"""Another replica may have handled the fact: then nothing wakes us in process, and this poll finds it.

Each look is later than the last by twice as much, and all fall on multiples of this: those who wait look at the same moment, and
a reader that gathers keys (a DataLoader) makes one query of it. So it does when one commit wakes many.
"""


class Waits:
    """Woken by this process's commits on the aggregate waited for."""

    def __init__(self, db: Database) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        db.committed.append(self._wake)

    async def until(
        self,
        key: str,
        read: Callable[[], Awaitable[T]],
        ready: Callable[[T], bool],
        seconds: float,
        *,
        known: T | None = None,
    ) -> T:
        """Re-read until `ready` or until the time is up; answers the newest reading either way.

        `known` is a reading that the caller has already: then the first look is at what comes after it.
        """
        now = asyncio.get_running_loop().time
        deadline, pause = now() + seconds, SLOW_POLL_SECONDS
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        try:
            reading = await read() if known is None else known
            while not ready(reading) and now() < deadline:
                await _wait(event, min(deadline, _moment(now() + pause)))
                event.clear()
                reading, pause = await read(), pause * 2
            return reading
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def _wake(self, committed: Committed) -> None:
        for key in committed.keys & self._waiting.keys():
            for event in self._waiting[key]:
                event.set()


def _moment(at: float) -> float:
    """The last multiple of the poll's period that is not after it."""
    return floor(at / SLOW_POLL_SECONDS) * SLOW_POLL_SECONDS


async def _wait(event: asyncio.Event, when: float) -> None:
    try:
        async with asyncio.timeout_at(when):
            await event.wait()
    except TimeoutError:
        pass
