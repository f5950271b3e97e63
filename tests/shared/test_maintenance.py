"""Tidying up forgets what is past its retention, and nothing that still has to be sent."""

from datetime import date, timedelta

from shared.db import Database
from shared.maintenance import tidy

TODAY = date(2026, 11, 22)


async def partitions(db: Database) -> list[str]:
    async with db.connection() as conn:
        rows = await conn.fetch(
            "SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'event_log'::regclass AND c.relname <> 'event_log_default' ORDER BY 1"
        )
    return [row["name"] for row in rows]


async def tidied(db: Database, today: date) -> list[str]:
    await tidy(db, today, event_log_days=14, inbox_days=30)
    return await partitions(db)


async def test_days_are_ready_before_they_begin_and_tidying_again_changes_nothing(db: Database) -> None:
    ready = [f"event_log_202611{day}" for day in (22, 23, 24, 25)]
    assert await tidied(db, TODAY) == ready
    assert await tidied(db, TODAY) == ready


async def test_a_day_past_its_retention_is_dropped_unless_it_still_has_to_be_sent(db: Database) -> None:
    await tidied(db, TODAY)
    async with db.connection() as conn:
        await conn.execute("INSERT INTO outbox_pending (id, day) VALUES (1, $1)", TODAY + timedelta(days=1))
    later = TODAY + timedelta(days=40)
    kept = await tidied(db, later)
    assert "event_log_20261122" not in kept
    assert "event_log_20261123" in kept
    async with db.connection() as conn:
        await conn.execute("DELETE FROM outbox_pending")
    assert "event_log_20261123" not in await tidied(db, later)


async def test_the_inbox_forgets_after_its_retention_and_not_before(db: Database) -> None:
    async with db.connection() as conn:
        await conn.execute(
            "INSERT INTO inbox (event_id, consumer, received_at) VALUES"
            " (gen_random_uuid(), 'old', now() - interval '31 days'), (gen_random_uuid(), 'new', now() - interval '29 days')"
        )
    await tidied(db, TODAY)
    async with db.connection() as conn:
        assert await conn.fetchval("SELECT array_agg(consumer) FROM inbox") == ["new"]
