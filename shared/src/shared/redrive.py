"""Runs dead letters that an operator marked, and those that only waited behind one of them: by the same handlers as any fact.

A letter is handled and removed in one transaction, so it is the letter itself that makes a redrive happen once; wherever the
process dies, it is either still there or done. A key's letters run in the order in which they came, the head alone: while a
letter is there the consumer puts new arrivals of its key behind it, so nothing overtakes. A head that never failed itself
needs no mark: when its predecessor is gone, by redrive or by hand, it follows by itself.
Order of locks: letters, inbox, aggregates, inserts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from shared import letters, telemetry
from shared.contracts.envelope import InvalidFact
from shared.db import UNAVAILABLE, Connection, Database, describe
from shared.flush import flush, load
from shared.handlers import Delivery, HeldBehind, keys_of, run, transact
from shared.inbox import Inbox, sentence
from shared.letters import Letter
from shared.tx import Cause, Tx

log = structlog.get_logger(__name__)

POLL_SECONDS = 1
BATCH = 100
_DUE = """
SELECT l.id FROM dead_letters AS l
WHERE l.consumer = $1 AND (l.waiting OR l.redrive_at IS NOT NULL) AND NOT EXISTS (
    SELECT FROM dead_letters AS earlier
    WHERE earlier.consumer = $1 AND earlier.blocks_key AND earlier.aggregate_key = l.aggregate_key AND earlier.id < l.id)
ORDER BY l.id LIMIT $2
"""
_LOCK = f"""
SELECT {letters.COLUMNS} FROM dead_letters
WHERE consumer = $1 AND id = ANY($2::bigint[]) AND (waiting OR redrive_at IS NOT NULL) ORDER BY id FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants of this module
_HEARD = """
INSERT INTO inbox (event_id, consumer) SELECT id, $2 FROM unnest($1::uuid[]) AS id ORDER BY id
ON CONFLICT DO NOTHING RETURNING event_id
"""
_UNHEARD = "DELETE FROM inbox WHERE consumer = $2 AND event_id = ANY($1::uuid[])"
_HELD = """
SELECT DISTINCT aggregate_key AS key FROM dead_letters
WHERE consumer = $1 AND blocks_key AND aggregate_key = ANY($2::text[])
"""
_NOTE = """
INSERT INTO redrives
    (letter_id, consumer, topic, partition, "offset", event_id, asked_by, asked_at, outcome, reason, original, mended)
SELECT l.id, l.consumer, l.topic, l.partition, l."offset", l.event_id, coalesce(l.redrive_by, 'follows its predecessor'),
       coalesce(l.redrive_at, now()), e.outcome, e.reason, e.original::jsonb, l.mended
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS e(id, outcome, reason, original)
    JOIN dead_letters AS l USING (id)
ORDER BY l.id
"""
_FAILED = """
UPDATE dead_letters AS l SET reason = e.reason, waiting = false, redrive_by = NULL, redrive_at = NULL
FROM unnest($1::bigint[], $2::text[]) AS e(id, reason) WHERE l.id = e.id
"""
HANDLED, KNOWN, IGNORED, FAILED = "handled", "known", "ignored", "failed"


@dataclass(frozen=True, slots=True)
class End:
    """What came of a letter's redrive."""

    letter: Letter
    outcome: str
    reason: str


class Redriver:
    """One service's; any number may run side by side."""

    def __init__(self, db: Database, inbox: Inbox, consumer: str) -> None:
        self._db, self._inbox, self._consumer = db, inbox, consumer

    async def run(self) -> None:
        """Until cancelled. A lost database is waited for; code that does not fit the schema leaves all marks as they are."""
        while True:
            try:
                busy = await self.round()
            except UNAVAILABLE as away:
                log.warning("redrive waits for the database", reason=describe(away))
                busy = 0
            except Exception as fault:  # noqa: BLE001 - whatever it is, the marks are there and the next look comes
                log.error("a round of redrives failed", reason=describe(fault))  # noqa: TRY400 - it may quote a row
                busy = 0
            if not busy:
                await asyncio.sleep(POLL_SECONDS)

    async def round(self) -> int:
        """Run the letters at the heads of their keys; answers how many came to an end. Raises one of UNAVAILABLE, HOPELESS."""
        ended = 0

        async def attempt(ids: Sequence[int]) -> None:
            nonlocal ended
            ended += await self._attempt(ids)

        async with self._db.connection() as conn:
            due = [row["id"] for row in await conn.fetch(_DUE, self._consumer, BATCH)]
        if due:
            await transact(due, attempt, self._reject)
        return ended

    async def _attempt(self, ids: Sequence[int]) -> int:
        tx = Tx(self._consumer, datetime.now(UTC), Cause("", ""))
        async with self._db.transaction() as conn:
            found = await self._lock(conn, ids)
            deliveries, ends = self._read(found)
            live, more = await self._claim(conn, deliveries)
            await load(conn, tx, keys_of(live))
            failed = {id(delivery): error for delivery, error in await run(tx, live)}
            await flush(conn, tx)
            ends += more
            ends += filter(None, (_end(delivery, failed.get(id(delivery))) for delivery in live))
            await self._settle(conn, ends, deliveries)
        self._db.announce((delivery.key for delivery in live), said=bool(tx.said), due=tx.due)
        return len(ends)

    async def _lock(self, conn: Connection, ids: Sequence[int]) -> list[Letter]:
        return [Letter.of(row) for row in await conn.fetch(_LOCK, self._consumer, list(ids))]

    def _read(self, found: Sequence[Letter]) -> tuple[list[Delivery], list[End]]:
        """Each event once: a second letter of the same one has its turn in the next round."""
        deliveries: dict[Any, Delivery] = {}
        ends: list[End] = []
        for letter in found:
            try:
                delivery = self._parse(letter)
            except InvalidFact as invalid:
                ends.append(End(letter, FAILED, str(invalid)))
            else:
                if delivery is None:
                    ends.append(End(letter, IGNORED, "this service does not act on it"))
                else:
                    deliveries.setdefault(delivery.id, replace(delivery, origin=letter))
        return list(deliveries.values()), ends

    def _parse(self, letter: Letter) -> Delivery | None:
        """Raises InvalidFact, also when mending made it another event: what waits behind it waits for that one."""
        delivery = self._inbox.parse(letter.mended or letter.record)
        known = letter.event_id, letter.aggregate_key
        if letter.blocks_key and (delivery is None or (delivery.id, delivery.key) != known):
            raise InvalidFact("mended, it is another event, or about something else")
        return delivery

    async def _claim(
        self, conn: Connection, deliveries: Sequence[Delivery]
    ) -> tuple[list[Delivery], list[End]]:
        """What may run. A letter that blocks its key was heard already; one that could not be read counts as heard only now."""
        if not deliveries:
            return [], []
        rows = await conn.fetch(_HEARD, sorted(delivery.id for delivery in deliveries), self._consumer)
        fresh = {row["event_id"] for row in rows}
        late = [delivery for delivery in deliveries if not delivery.origin.blocks_key]
        rows = await conn.fetch(_HELD, self._consumer, sorted({delivery.key for delivery in late}))
        held = {row["key"] for row in rows}
        ends: dict[int, End] = {}
        for delivery in late:
            if delivery.id not in fresh:
                ends[id(delivery)] = End(delivery.origin, KNOWN, "its event was heard before")
            elif delivery.key in held:
                ends[id(delivery)] = End(delivery.origin, FAILED, "behind a dead letter of its key")
        return [delivery for delivery in deliveries if id(delivery) not in ends], list(ends.values())

    async def _reject(self, letter_id: int, error: Exception) -> None:
        """The write of this one fails: it stays, with the reason."""
        async with self._db.transaction() as conn:
            found = await self._lock(conn, [letter_id])
            await self._settle(conn, [End(letter, FAILED, describe(error)) for letter in found], [])

    async def _settle(self, conn: Connection, ends: Sequence[End], deliveries: Sequence[Delivery]) -> None:
        """Audit, then remove what came through and write the new reason on what did not."""
        if not ends:
            return
        failed = [end for end in ends if end.outcome == FAILED]
        await conn.execute(_NOTE, *map(list, zip(*map(_row, ends), strict=True)))
        reasons = [sentence(end.reason) for end in failed]
        await conn.execute(_FAILED, [end.letter.id for end in failed], reasons)
        stays = {end.letter.id for end in failed}
        unread = [d.id for d in deliveries if d.origin.id in stays and not d.origin.blocks_key]
        await conn.execute(_UNHEARD, unread, self._consumer)
        gone = [end.letter.id for end in ends if end.outcome != FAILED]
        await conn.execute("DELETE FROM dead_letters WHERE id = ANY($1::bigint[])", gone)
        for end in ends:
            telemetry.REDRIVEN.labels(self._consumer, end.outcome).inc()
            log.info("redriven", letter=end.letter.id, outcome=end.outcome, by=end.letter.redrive_by)


def _end(delivery: Delivery, error: Exception | None) -> End | None:
    """None for one whose turn has not come: another letter of its key failed before it in this very batch."""
    letter: Letter = delivery.origin
    if error is None:
        return End(letter, HANDLED, letter.reason)
    if isinstance(error, HeldBehind) and letter.blocks_key:
        return None
    return End(letter, FAILED, describe(error))


def _row(end: End) -> tuple[int, str, str, str | None]:
    original = None if end.letter.mended is None else letters.dumped(end.letter.record)
    return end.letter.id, end.outcome, sentence(end.reason), original
