"""What is due later: webhooks to deliver, fees to book. Kept in the state, so that a restart resumes it.

Promises: every job runs until its handler says that it is done (at least once), at most 8 at a time, in no promised order.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Awaitable, Callable

from sandbox.state import State

SLOTS = 8
AFTER_A_FAILURE = 5.0
logger = logging.getLogger(__name__)

# Given the job's argument and the number of attempts before this one; answers None when done, else seconds to wait.
Handler = Callable[[str, int], Awaitable[float | None]]


class Jobs:
    def __init__(self, state: State) -> None:
        self._db = state.db
        self._handlers: dict[str, Handler] = {}
        self._due: list[tuple[float, int]] = []
        self._queued: set[int] = set()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        for seq, due in self._db.execute("SELECT seq, due FROM jobs").fetchall():
            self._push(due, seq)

    def handle(self, kind: str, handler: Handler) -> None:
        self._handlers[kind] = handler

    def add(self, kind: str, argument: str, *, delay: float = 0.0) -> None:
        """Due in `delay` seconds. Part of the caller's transaction: undone with it."""
        due = time.time() + delay
        insert = "INSERT INTO jobs (due, kind, argument) VALUES (?, ?, ?) RETURNING seq"
        (seq,) = self._db.execute(insert, (due, kind, argument)).fetchone()
        self._push(due, seq)

    def pending(self) -> dict[str, int]:
        """How many jobs of each kind are not done, whether due or not."""
        counts = dict.fromkeys(self._handlers, 0)
        counts.update(self._db.execute("SELECT kind, count(*) FROM jobs GROUP BY kind").fetchall())
        return counts

    async def settled(self) -> None:
        """Return once nothing is pending."""
        while any(self.pending().values()):
            await self._idle.wait()

    async def run(self) -> None:
        """Run jobs as they fall due, until cancelled; what was running then runs again after the next start."""
        slots = asyncio.Semaphore(SLOTS)
        async with asyncio.TaskGroup() as running:
            while True:
                await self._until_due()
                await slots.acquire()
                _, seq = heapq.heappop(self._due)
                self._queued.discard(seq)
                running.create_task(self._attempt(seq)).add_done_callback(lambda _: slots.release())

    def _push(self, due: float, seq: int) -> None:
        # A seq is handed out again when the transaction that took it was undone; its old entry then serves the new job.
        if seq not in self._queued:
            self._queued.add(seq)
            heapq.heappush(self._due, (due, seq))
            self._changed.set()
        self._idle.clear()

    async def _until_due(self) -> None:
        while not self._due or (wait := self._due[0][0] - time.time()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(wait if self._due else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _attempt(self, seq: int) -> None:
        row = self._db.execute(
            "SELECT due, kind, argument, attempts FROM jobs WHERE seq = ?", (seq,)
        ).fetchone()
        # No row: the transaction that added the job was undone.
        if row is not None:
            due, kind, argument, attempts = row
            if due > time.time():
                self._push(due, seq)
            else:
                await self._run_due(seq, kind, argument, attempts)
        if self._db.execute("SELECT 1 FROM jobs LIMIT 1").fetchone() is None:
            self._idle.set()

    async def _run_due(self, seq: int, kind: str, argument: str, attempts: int) -> None:
        try:
            again = await self._handlers[kind](argument, attempts)
        except Exception:
            logger.exception("job %s of kind %s failed and stays pending", seq, kind)
            again = AFTER_A_FAILURE
        if again is None:
            self._db.execute("DELETE FROM jobs WHERE seq = ?", (seq,))
        else:
            due = time.time() + again
            self._db.execute("UPDATE jobs SET due = ?, attempts = attempts + 1 WHERE seq = ?", (due, seq))
            self._push(due, seq)
