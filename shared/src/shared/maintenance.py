"""What a service tidies up after itself: partitions of the event log ahead of time, and what is past its retention."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import asyncpg
import structlog

from shared.db import UNAVAILABLE, Connection, Database

log = structlog.get_logger(__name__)

EVERY_SECONDS = 3600
DAYS_AHEAD = 3
_CHUNK = 10_000
_LOCK = 0x746964796964  # one replica at a time
_FORGET = {
    "inbox": "DELETE FROM inbox WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM inbox WHERE received_at < now() - $1::int * interval '1 day' LIMIT $2))",
    "jobs": "DELETE FROM jobs WHERE ctid = ANY(ARRAY(SELECT ctid FROM jobs"
    " WHERE state = 'done' AND finished_at < now() - $1::int * interval '1 day' LIMIT $2))",
    # Who redrove what is asked for longer than the rest is kept.
    "redrives": "DELETE FROM redrives WHERE ctid = ANY(ARRAY(SELECT ctid FROM redrives"
    " WHERE ended_at < now() - greatest($1::int, 365) * interval '1 day' LIMIT $2))",
    "idempotency_keys": "DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(SELECT ctid FROM idempotency_keys"
    " WHERE created_at < now() - $1::int * interval '1 day' LIMIT $2))",
}


async def run(db: Database, *, event_log_days: int, inbox_days: int) -> None:
    """Once now, then every hour, until cancelled."""
    while True:
        try:
            await tidy(db, datetime.now(UTC).date(), event_log_days=event_log_days, inbox_days=inbox_days)
        except (*UNAVAILABLE, asyncpg.PostgresError) as error:
            log.warning("maintenance postponed", reason=f"{type(error).__name__}: {error}")
        await asyncio.sleep(EVERY_SECONDS)


async def tidy(db: Database, today: date, *, event_log_days: int, inbox_days: int) -> None:
    """Raises one of db.UNAVAILABLE or PostgresError; safe to repeat and to run beside itself."""
    async with db.transaction() as conn:
        if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
            return
        await _partitions(conn, today, event_log_days)
    async with db.connection() as conn:
        for statement in _FORGET.values():
            while (await conn.execute(statement, inbox_days, _CHUNK)) == f"DELETE {_CHUNK}":
                await asyncio.sleep(0)


async def _partitions(conn: Connection, today: date, event_log_days: int) -> None:
    """A day that already wrote into the default partition stays there; dropping a day's table is how we forget it."""
    rows = await conn.fetch(
        "SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'event_log'::regclass AND c.relname <> 'event_log_default'"
    )
    existing = {row["name"] for row in rows}
    late = {row["day"] for row in await conn.fetch("SELECT DISTINCT day FROM event_log_default")}
    for ahead in range(DAYS_AHEAD + 1):
        day = today + timedelta(days=ahead)
        if _name(day) not in existing and day not in late:
            await conn.execute(
                f"CREATE TABLE {_name(day)} PARTITION OF event_log"
                f" FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )
    # After a long outage of the broker a day may still wait to be sent: it stays until it was.
    unsent = await conn.fetchval("SELECT min(day) FROM outbox_pending")
    oldest = today - timedelta(days=event_log_days)
    keep_from = min(oldest, unsent or oldest)
    for name in sorted(existing):
        if name < _name(keep_from):
            await conn.execute(f"DROP TABLE {name}")
    await conn.execute("DELETE FROM event_log_default WHERE day < $1::date", keep_from)


def _name(day: date) -> str:
    return f"event_log_{day:%Y%m%d}"
