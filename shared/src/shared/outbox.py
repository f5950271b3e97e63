"""From the event log to the broker: one relay per service, rows in id order, each key's events never overtaking one another.

A writer holds its aggregate's row lock before it inserts its event (unless that `is_whole`), so id order is commit order per
key. The relay holds a session lock on a connection of its own; when that connection drops, the wave in hand is its last, and
since a wave has one event of a key at most, what its successor sends again can only repeat it, never overtake it. An event is
sent at least once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from shared import telemetry
from shared.crash import crash_point
from shared.db import Committed, Connection, Database, Record

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
LOOK_SECONDS = 1
"""How often a replica that does not lead tries to."""
NUDGE_PAUSE_SECONDS = 0.005
"""What is committed meanwhile is one nudge."""
CHUNK = 500
CLOSE_SECONDS = 5
"""A database that vanished does not answer a farewell either."""
_RELAY_LOCK = 0x6F726465726D6573  # "ordermes": any constant, the database is the service's own
_NUDGE = "relay_nudge"
_NEXT = """
WITH sent AS (DELETE FROM outbox_pending WHERE id = ANY($2::bigint[]))
SELECT p.id, e.topic, e.key, e.headers, e.body
FROM (SELECT id, day FROM outbox_pending WHERE id <> ALL($2::bigint[]) ORDER BY id LIMIT $1) AS p
JOIN event_log AS e USING (day, id)
ORDER BY p.id
"""
"""Takes away what was sent and reads what comes next, in one statement: its reading part still sees the rows that it deletes."""
_REPLAY = """
INSERT INTO outbox_pending (id, day)
SELECT id, day FROM event_log WHERE day >= $1::timestamptz::date AND (headers ->> 'ce_time')::timestamptz >= $1
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    topic: str
    key: str
    headers: dict[str, str]
    body: bytes


Publish = Callable[[Sequence[Outgoing]], Awaitable[None]]
"""Sends all and returns when the broker has acknowledged every one; raises when any was not."""


class Relay:
    """Sends what is pending while it holds the service's relay lock; any number may run, one at a time sends."""

    def __init__(self, db: Database, publish: Publish) -> None:
        self._db, self.publish = db, publish
        self._wake = asyncio.Event()
        self._pause = POLL_SECONDS
        self.leading = False
        db.committed.append(self._hear)

    async def run(self) -> None:
        """Until cancelled. A lost database or broker is waited for, with a growing pause (0.2 s to 5 s)."""
        while True:
            try:
                await self._lead()
            except Exception as error:  # noqa: BLE001 - the relay outlives whatever the broker or the database raise
                log.warning(
                    "relay interrupted", reason=f"{type(error).__name__}: {error}", retry_in=self._pause
                )
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, 5)

    def _hear(self, committed: Committed) -> None:
        if committed.said:
            self._wake.set()

    async def _lead(self) -> None:
        conn = await self._db.direct()
        try:
            # What a crash of the server forgets to have taken away is sent again: no wave has to wait for the disk.
            await conn.execute("SET synchronous_commit = off")
            while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", _RELAY_LOCK):
                await self._follow(conn)
            await conn.add_listener(_NUDGE, self._nudged)
            self.leading = True
            await self._send_all(conn)
        finally:
            self.leading = False
            await asyncio.shield(conn.close(timeout=CLOSE_SECONDS))

    async def _follow(self, conn: Connection) -> None:
        """For LOOK_SECONDS: what is committed here is the leader's to send, and only its poll would tell it."""
        now = asyncio.get_running_loop().time
        until = now() + LOOK_SECONDS
        while (left := until - now()) > 0:
            await _wait(self._wake, left)
            if self._wake.is_set():
                self._wake.clear()
                # By itself and not in the writers' transactions: those who notify commit one after the other.
                await conn.execute(f"NOTIFY {_NUDGE}")
                await asyncio.sleep(NUDGE_PAUSE_SECONDS)

    def _nudged(self, *_: object) -> None:
        self._wake.set()

    async def _send_all(self, conn: Connection) -> None:
        """Wave after wave until the connection drops; the statement that reads the next takes away what was sent."""
        sent: list[int] = []
        while not conn.is_closed():
            self._wake.clear()
            rows = await conn.fetch(_NEXT, CHUNK, sent)
            if sent:
                crash_point("outbox_deleted")
            wave = _first_of_each_key(rows)
            if wave:
                crash_point("outbox_read")
                await self.publish([_outgoing(row) for row in wave])
                crash_point("events_published")
            sent = [row["id"] for row in wave]
            self._pause = POLL_SECONDS
            telemetry.RELAYED.inc(len(wave))
            if len(wave) == len(rows) < CHUNK:
                await _wait(self._wake, POLL_SECONDS)


def _first_of_each_key(rows: Sequence[Record]) -> list[Record]:
    """What is sent together: a key's second event goes in a later wave, so that no failure lets it overtake the first."""
    first: dict[str, Record] = {}
    for row in rows:
        first.setdefault(row["key"], row)
    return [*first.values()]


def _outgoing(row: Record) -> Outgoing:
    return Outgoing(row["topic"], row["key"], row["headers"], row["body"])


async def replay(db: Database, since: datetime) -> int:
    """Mark everything said since `since` (UTC) as pending again; the one relay sends it in order. Answers how many."""
    async with db.connection() as conn:
        done = await conn.execute(_REPLAY, since)
    return int(done.rpartition(" ")[2])


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
