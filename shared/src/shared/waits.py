"""A mutation that waits, bounded, for other services' outcomes to reach its own tables; it holds no connection meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.db import Committed, Database

T = TypeVar("T")
SLOW_POLL_SECONDS = 0.5
"""Another replica may have handled the fact: then nothing wakes us in process, and this poll finds it."""


class Waits:
    """Woken by this process's commits on the aggregate waited for."""

    def __init__(self, db: Database) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        db.committed.append(self._wake)

    async def until(
        self, key: str, read: Callable[[], Awaitable[T]], ready: Callable[[T], bool], seconds: float
    ) -> T:
        """Re-read until `ready` or until the time is up; answers the newest reading either way."""
        deadline = asyncio.get_running_loop().time() + seconds
        event = asyncio.Event()
        self._waiting.setdefault(key, set()).add(event)
        try:
            while True:
                event.clear()
                reading = await read()
                left = deadline - asyncio.get_running_loop().time()
                if ready(reading) or left <= 0:
                    return reading
                await _wait(event, min(left, SLOW_POLL_SECONDS))
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def _wake(self, committed: Committed) -> None:
        for key in committed.keys & self._waiting.keys():
            for event in self._waiting[key]:
                event.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
