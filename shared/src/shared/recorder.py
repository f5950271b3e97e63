"""What became of provider calls, written down: many that end at about the same time share one transaction.

The lease's token fences every record: a worker that slept through its lease records nothing. An outcome waits for others as
long as its kind has patience. While the database is away, what is known is kept and tried again for as long as the lease lasts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from shared import telemetry
from shared.crash import crash_point
from shared.db import UNAVAILABLE, Connection, Database, describe
from shared.flush import flush, load
from shared.handlers import Delivery, Handler, keys_of, run, transact
from shared.jobs import Call, Job, Recorded
from shared.pace import Pace
from shared.tx import Cause, Tx

log = structlog.get_logger(__name__)

LEASE_SECONDS = 60.0
AWAY_SECONDS = 0.5
BATCH = 200
GIVE_UP_AFTER = timedelta(days=3)
"""As long as Stripe and Shippo repeat their webhooks; a job older than this fails and waits for a person."""

COLUMNS = "id, kind, key, payload, attempts, correlation_id, created_at"
_DONE = """
UPDATE jobs SET state = 'done', finished_at = now(), lease_until = NULL
FROM (
    SELECT j.id FROM unnest($1::uuid[], $2::uuid[]) AS m(id, token) JOIN jobs AS j USING (id)
    WHERE j.lease_token = m.token AND j.state = 'due' ORDER BY j.id FOR UPDATE OF j
) AS mine
WHERE jobs.id = mine.id RETURNING jobs.id
"""
_LATER = """
UPDATE jobs SET attempts = attempts + $4, last_error = $2, lease_until = NULL, finished_at = NULL,
    state = CASE WHEN first_due_at + $3::float * interval '1 second' < now() THEN 'failed' ELSE 'due' END,
    due_at = now() + least(0.5 * 2 ^ least(attempts + $4, 12), 300) * (0.75 + random() / 2) * interval '1 second'
WHERE id = $1 AND state = $6 AND lease_token IS NOT DISTINCT FROM $5 RETURNING state
"""


@dataclass(slots=True, eq=False)
class _Outcome:
    """One job's, on its way into the database; `written` when it is there, or was given up."""

    call: Call
    recorded: Recorded
    token: UUID
    until: float
    written: bool = False

    @property
    def job(self) -> Job:
        return self.recorded.job


class Recorder:
    """One worker's: takes outcomes as they come and writes those that wait together."""

    def __init__(self, db: Database, service: str, lease: float) -> None:
        self._db, self._service, self._lease = db, service, lease
        self._waiting: list[_Outcome] = []
        self._pace = Pace()
        self._wake, self._nothing_waits = asyncio.Event(), asyncio.Event()
        self._nothing_waits.set()

    async def run(self) -> None:
        """Until cancelled: what is not written by then is left to its lease."""
        try:
            while True:
                await self._wake.wait()
                await self._pace.rest()
                self._wake.clear()
                with self._pace.round():
                    await self._write_all()
        except asyncio.CancelledError:
            self._give_up(self._waiting)
            raise

    def record(self, call: Call, jobs: Sequence[Job], outcomes: Sequence[Any], token: UUID) -> None:
        """Written together with what else waits then, when the kind's patience is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._lease
        self._waiting += (
            _Outcome(call, Recorded(job, outcome), token, until)
            for job, outcome in zip(jobs, outcomes, strict=True)
        )
        self._nothing_waits.clear()
        loop.call_later(call.patience, self._wake.set)

    async def settle(self) -> None:
        """Returns when everything is written, or was left to its lease."""
        self._wake.set()
        await self._nothing_waits.wait()

    async def release(self, jobs: Sequence[Job], token: UUID, error: Exception) -> None:
        """An unknown outcome: hand the jobs back for a later attempt; if even that fails, the lease runs out by itself."""
        telemetry.UNKNOWN_OUTCOMES.labels(jobs[0].kind).inc(len(jobs))
        try:
            async with self._db.transaction() as conn:
                for job in jobs:
                    await postpone(conn, job.id, error, token=token)
        except UNAVAILABLE as away:
            log.warning("a lease is left to run out", kind=jobs[0].kind, reason=describe(away))

    async def _write_all(self) -> None:
        """All that waits now: what comes meanwhile has a patience of its own."""
        left = len(self._waiting)
        while left > 0:
            batch = self._waiting[: min(left, BATCH)]
            await self._write(batch)
            del self._waiting[: len(batch)]
            left -= len(batch)
        if not self._waiting:
            self._nothing_waits.set()

    async def _write(self, batch: Sequence[_Outcome]) -> None:
        while batch:
            try:
                await transact(batch, self._attempt, self._reject)
            except UNAVAILABLE as away:
                log.warning("outcomes wait for the database", count=len(batch), reason=describe(away))
                await asyncio.sleep(AWAY_SECONDS)
                batch = self._still_leased([each for each in batch if not each.written])
            except Exception as fault:  # noqa: BLE001 - it belongs to none of them: each is looked up at its next attempt
                log.error("outcomes were not recorded", reason=describe(fault))  # noqa: TRY400 - it may quote a row
                self._give_up(batch)
                return
            else:
                return

    def _still_leased(self, batch: Sequence[_Outcome]) -> list[_Outcome]:
        now = asyncio.get_running_loop().time()
        self._give_up([each for each in batch if each.until <= now])
        return [each for each in batch if each.until > now]

    def _give_up(self, outcomes: Sequence[_Outcome]) -> None:
        for each in outcomes:
            if not each.written:
                log.warning("a lease is left to run out", kind=each.job.kind)
                each.written = True

    async def _attempt(self, batch: Sequence[_Outcome]) -> None:
        tx = Tx(self._service, datetime.now(UTC), Cause("", ""))
        async with self._db.transaction() as conn:
            rows = await conn.fetch(_DONE, [each.job.id for each in batch], [each.token for each in batch])
            mine = {row["id"] for row in rows}
            live = [each for each in batch if each.job.id in mine]
            tokens = {each.job.id: each.token for each in live}
            deliveries = [delivery_of(each.job, each.recorded, each.call.record) for each in live]
            for job_id, error in (await finish(conn, tx, deliveries)).items():
                await postpone(conn, job_id, error, token=tokens[job_id], state="done")
        crash_point("outcome_recorded")
        for each in batch:
            each.written = True
        self._db.announce((each.job.key for each in batch), said=bool(tx.said), due=tx.due)

    async def _reject(self, outcome: _Outcome, error: Exception) -> None:
        await self.release([outcome.job], outcome.token, error)
        outcome.written = True


async def finish(conn: Connection, tx: Tx, deliveries: Sequence[Delivery]) -> dict[UUID, Exception]:
    """Run the handlers and write what they changed. Their jobs are marked as done already; answers which are not, and why."""
    await load(conn, tx, keys_of(deliveries))
    failed = {delivery.id: error for delivery, error in await run(tx, deliveries)}
    await flush(conn, tx)
    crash_point("outcome_flushed")
    return failed


async def postpone(
    conn: Connection,
    job_id: UUID,
    error: Exception,
    *,
    attempts: int = 0,
    token: UUID | None = None,
    state: str = "due",
) -> None:
    """Later, with a growing pause. A lease that another worker holds by now is left alone.

    `state`: "done" in the very transaction that marked the job so.
    """
    reason = describe(error).replace("\x00", "\ufffd")[:2000]
    given_up_after = GIVE_UP_AFTER.total_seconds()
    after = await conn.fetchval(_LATER, job_id, reason, given_up_after, attempts, token, state)
    what = {"due": "job postponed", "failed": "job failed"}.get(after, "lease lost")
    if after == "failed":
        telemetry.JOBS_FAILED.inc()
    log.warning(what, job_id=str(job_id), reason=reason)


def delivery_of(job: Job, message: object, handler: Handler[Any]) -> Delivery:
    return Delivery(job.id, job.key, message, handler, Cause(job.correlation_id, str(job.id)), job)
