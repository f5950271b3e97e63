"""The pause before a round of work whose cost is mostly the round itself: what comes meanwhile shares the round."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

LEAST_SECONDS = 0.005
MOST_SECONDS = 0.1


class Pace:
    """Rests for as long as the last round took, within LEAST_SECONDS and MOST_SECONDS.

    So work that is rare hardly waits, and a machine that is busy does fewer and larger rounds instead of falling behind.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.pause = LEAST_SECONDS

    async def rest(self) -> None:
        await asyncio.sleep(self.pause)

    @contextmanager
    def round(self) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            self.pause = min(max(self._clock() - began, LEAST_SECONDS), MOST_SECONDS)
