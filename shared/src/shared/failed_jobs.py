"""Jobs that were given up (`recorder.GIVE_UP_AFTER`), as an operator sees them, and taken up again when the cause is mended.

A job that is taken up again has the same id, hence the same idempotency key, and its attempts: so what became of the earlier ones is looked
up before the provider is asked once more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.db import Database

_FOUND = """
SELECT id, kind, key, attempts, first_due_at AS since, coalesce(last_error, '') AS reason FROM jobs
WHERE state = 'failed' AND ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR key = $2)
ORDER BY first_due_at LIMIT $3
"""
_RETRY = """
UPDATE jobs SET state = 'due', due_at = now(), first_due_at = now(), lease_until = NULL
WHERE id = ANY($1::uuid[]) AND state = 'failed'
"""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """`key` is the aggregate it is about; due since `since` (UTC), with `reason` as its last attempt's error."""

    id: UUID
    kind: str
    key: str
    attempts: int
    since: datetime
    reason: str


async def find(db: Database, kind: str | None, key: str | None, limit: int) -> Sequence[FailedJob]:
    """The oldest first."""
    async with db.connection() as conn:
        rows = await conn.fetch(_FOUND, kind, key, limit)
    return [FailedJob(**row) for row in rows]


async def retry(db: Database, jobs: Sequence[FailedJob]) -> int:
    """How many are due again, for as long as a new one before they are given up."""
    async with db.connection() as conn:
        status = await conn.execute(_RETRY, [job.id for job in jobs])
    return int(status.rpartition(" ")[2])
