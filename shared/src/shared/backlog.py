"""How far behind a service is, read from its own database: what is not sent, not handled, not done, and since when.

For the metrics (one query a scrape, at most every CACHE_SECONDS, each part bounded by an index) and for the operators' verbs.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from shared import telemetry
from shared.contracts.topics import TOPICS
from shared.db import UNAVAILABLE, Database
from shared.jobs import Jobs

CACHE_SECONDS = 5
MOST = 10_000
"""Where counting ends: this many or more."""
_NEWEST = "SELECT extract(epoch FROM max(received_at))::float FROM inbox"
_LAG = f"""
SELECT (SELECT count(*) FROM (SELECT FROM outbox_pending LIMIT {MOST}) AS p)::int AS pending,
       (SELECT (e.headers ->> 'ce_time')::timestamptz
        FROM (SELECT id, day FROM outbox_pending ORDER BY id LIMIT 1) AS p JOIN event_log AS e USING (day, id)) AS since
"""  # noqa: S608 - constants of this module
# A call that was tried is due again within 375 s (`recorder.postpone`); what of its kind was not may wait for days, uncounted.
_ALL = f"""
SELECT ({_NEWEST}) AS heard, lag.pending, lag.since, now() AS now,
    (SELECT count(*) FROM (SELECT DISTINCT aggregate_key FROM (
        SELECT aggregate_key FROM dead_letters WHERE consumer = $1 AND blocks_key LIMIT {MOST}) AS h) AS k)::int AS held,
    (SELECT json_agg(json_build_array(topic, blocking, (SELECT count(*) FROM (
        SELECT FROM dead_letters WHERE consumer = $1 AND topic = t.topic AND blocks_key = b.blocking LIMIT {MOST}) AS l)))
     FROM unnest($2::text[]) AS t(topic), (VALUES (true), (false)) AS b(blocking))::text AS letters,
    (SELECT json_agg(json_build_array(kind, (SELECT extract(epoch FROM now() - due_at) FROM jobs
        WHERE state = 'due' AND kind = k.kind ORDER BY due_at LIMIT 1)))
     FROM unnest($3::text[]) AS k(kind))::text AS due,
    (SELECT json_agg(json_build_array(kind, (SELECT count(*) FROM (SELECT FROM jobs
        WHERE state = 'due' AND kind = k.kind AND due_at < now() + interval '10 minutes' AND attempts > 0
          AND (lease_until < now() OR lease_until IS NULL AND last_error IS NOT NULL) LIMIT {MOST}) AS j)))
     FROM unnest($4::text[]) AS k(kind))::text AS unknown
FROM ({_LAG}) AS lag
"""  # noqa: S608 - constants of this module
_STUCK = """
(SELECT aggregate_key AS key, 'dead letter ' || id || ' (' || topic || '): ' || reason AS what, failed_at AS since
 FROM dead_letters WHERE consumer = $1 AND blocks_key AND NOT waiting ORDER BY id LIMIT $3)
UNION ALL
(SELECT key, kind || ' was given up: ' || coalesce(last_error, ''), first_due_at FROM jobs
 WHERE state = 'failed' ORDER BY first_due_at LIMIT $3)
UNION ALL
(SELECT j.key, j.kind || ' is overdue after ' || j.attempts || ' attempts: ' || coalesce(j.last_error, ''), j.first_due_at
 FROM jobs AS j WHERE j.state = 'due' AND j.kind = ANY($4::text[]) AND j.due_at < now() + interval '10 minutes'
 AND j.first_due_at < now() - $2::interval ORDER BY j.due_at LIMIT $3)
UNION ALL
(SELECT e.key, e.type || ' is not sent', (e.headers ->> 'ce_time')::timestamptz
 FROM (SELECT id, day FROM outbox_pending ORDER BY id LIMIT $3) AS p JOIN event_log AS e USING (day, id)
 WHERE (e.headers ->> 'ce_time')::timestamptz < now() - $2::interval)
"""
_KINDS = """
WITH RECURSIVE k(kind) AS (
    (SELECT kind FROM jobs WHERE state = 'due' ORDER BY kind LIMIT 1)
    UNION ALL
    SELECT (SELECT j.kind FROM jobs AS j WHERE j.state = 'due' AND j.kind > k.kind ORDER BY j.kind LIMIT 1)
    FROM k WHERE k.kind IS NOT NULL
) SELECT array_agg(kind) FROM k WHERE kind IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Lag:
    """What the relay still has to send: how many (MOST at most), and when the first of them was said (UTC)."""

    pending: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """`key` (an order's id, mostly) waits for `what` since then (UTC)."""

    key: str
    what: str
    since: datetime


class Backlog:
    """Sets the gauges of one service; a scrape within CACHE_SECONDS of the last one costs nothing."""

    def __init__(self, db: Database, service: str, jobs: Jobs) -> None:
        self._db, self._service = db, service
        self._topics = [topic.name for topic in TOPICS if service in topic.consumers]
        self._kinds, self._calls = sorted(jobs.kinds), [*jobs.calls]
        self._read_at = float("-inf")

    async def refresh(self) -> None:
        """Leaves the gauges as they were while the database is away: readiness says that it is."""
        if time.monotonic() - self._read_at < CACHE_SECONDS:
            return
        self._read_at = time.monotonic()
        try:
            async with self._db.connection() as conn:
                row = await conn.fetchrow(_ALL, self._service, self._topics, self._kinds, self._calls)
        except UNAVAILABLE:
            return
        if row is not None:
            self._set(row)

    def _set(self, row: Mapping[str, Any]) -> None:
        name = self._service
        age = (row["now"] - row["since"]).total_seconds() if row["since"] else 0.0
        telemetry.OUTBOX_PENDING.labels(name).set(row["pending"])
        telemetry.OUTBOX_AGE.labels(name).set(max(0.0, age))
        telemetry.INBOX_NEWEST.labels(name).set(row["heard"] or 0)
        telemetry.HELD_KEYS.labels(name).set(row["held"])
        for topic, blocking, count in _rows(row["letters"]):
            telemetry.DEAD_LETTERS_HELD.labels(name, topic, str(blocking).lower()).set(count)
        for kind, seconds in _rows(row["due"]):
            telemetry.JOBS_AGE.labels(name, kind).set(max(0.0, seconds or 0.0))
        for kind, count in _rows(row["unknown"]):
            telemetry.JOBS_UNKNOWN.labels(name, kind).set(count)


async def lag(db: Database) -> Lag:
    async with db.connection() as conn:
        row = await conn.fetchrow(_LAG)
    return Lag(0, None) if row is None else Lag(row["pending"], row["since"])


async def stuck(db: Database, consumer: str, after: timedelta, limit: int) -> Sequence[Stuck]:
    """What holds keys back: dead letters and given-up jobs at once, unsent events and jobs that retry once `after` has passed."""
    async with db.connection() as conn:
        kinds = await conn.fetchval(_KINDS) or []
        rows = await conn.fetch(_STUCK, consumer, after, limit, kinds)
    return [Stuck(row["key"], row["what"], row["since"]) for row in rows]


def _rows(found: str | None) -> Sequence[Sequence[Any]]:
    rows: list[list[Any]] = orjson.loads(found) if found else []
    return rows
