"""Runs a service's due jobs. Any number of workers may run side by side: a job is done by one of them, once.

Local jobs are claimed by row lock and handled like a batch of facts. Calls are claimed by a lease, made with no connection
held, and recorded in one transaction that the lease's token fences: a worker that slept through its lease records nothing.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog

from shared import telemetry
from shared.crash import crash_point
from shared.db import UNAVAILABLE, Connection, Database, describe
from shared.flush import flush, load
from shared.handlers import Delivery, Handler, keys_of, run, transact
from shared.jobs import Call, Job, Jobs, Recorded
from shared.tx import Cause, Tx

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
PAUSE_SECONDS = 1
BATCH = 200
CALLS_AT_ONCE = 8
LEASE_SECONDS = 60
STOP_SECONDS = 7
"""A call that takes longer to end is left to its lease, and looked up by whoever takes it over."""
GIVE_UP_AFTER = timedelta(days=3)
"""As long as Stripe and Shippo repeat their webhooks; a job older than this fails and waits for a person."""

_WAITING = "state = 'due' AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())"
_COLUMNS = "id, kind, key, payload, attempts, correlation_id, created_at"
_KINDS = f"SELECT DISTINCT kind FROM jobs WHERE {_WAITING} AND kind = ANY($1::text[])"  # noqa: S608 - constants of this module
_DUE = f"SELECT id FROM jobs WHERE {_WAITING} AND kind = ANY($1::text[]) ORDER BY due_at, id LIMIT $2"  # noqa: S608 - constants of this module
_LOCK = f"""
SELECT {_COLUMNS} FROM jobs WHERE {_WAITING} AND id = ANY($1::uuid[]) ORDER BY due_at, id FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants of this module
_CLAIM = f"""
UPDATE jobs SET lease_token = $1, lease_until = now() + $2::float * interval '1 second', attempts = attempts + 1
WHERE id IN (
    SELECT id FROM jobs WHERE {_WAITING} AND kind = ANY($3::text[]) ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED
)
RETURNING {_COLUMNS}
"""  # noqa: S608 - constants of this module
_MINE = "SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'due' FOR UPDATE"
_DONE = "UPDATE jobs SET state = 'done', finished_at = now(), lease_until = NULL WHERE id = ANY($1::uuid[])"
_LATER = """
UPDATE jobs SET attempts = attempts + $4, last_error = $2, lease_until = NULL,
    state = CASE WHEN first_due_at + $3::float * interval '1 second' < now() THEN 'failed' ELSE 'due' END,
    due_at = now() + least(0.5 * 2 ^ least(attempts + $4, 12), 300) * (0.75 + random() / 2) * interval '1 second'
WHERE id = $1 AND state = 'due' AND lease_token IS NOT DISTINCT FROM $5 RETURNING state
"""


class Worker:
    """Looks for due work when a commit wakes it, and every POLL_SECONDS."""

    def __init__(self, db: Database, service: str, jobs: Jobs) -> None:
        self._db, self._service, self._jobs = db, service, jobs
        self._kinds = [*jobs.local, *jobs.calls]
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._not_before: dict[str, float] = {}
        db.committed.append(lambda _: self._wake.set())

    async def run(self) -> None:
        """Until cancelled; calls under way then have STOP_SECONDS to finish and be recorded."""
        try:
            while True:
                self._wake.clear()
                try:
                    busy = await self._round()
                except UNAVAILABLE as away:
                    log.warning("jobs wait for the database", reason=describe(away))
                    busy = 0
                except Exception as fault:  # noqa: BLE001 - whatever it is, the next look must come: money waits here
                    log.error("a round of jobs failed", reason=describe(fault))  # noqa: TRY400 - it may quote a row
                    await asyncio.sleep(PAUSE_SECONDS)
                    busy = 0
                if not busy:
                    await self._rest()
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=STOP_SECONDS)

    async def _round(self) -> int:
        """One look at what is due; answers how much of it was taken."""
        if not self._kinds:
            return 0
        async with self._db.connection() as conn:
            due = {row["kind"] for row in await conn.fetch(_KINDS, self._kinds)}
        local = sorted(due & self._jobs.local.keys())
        taken = await self._run_local(local) if local else 0
        return taken + await self._start_calls(due & self._jobs.calls.keys())

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    # -- local jobs

    async def _run_local(self, kinds: Sequence[str]) -> int:
        """One batch of due local jobs; answers how many were done."""
        done = 0

        async def attempt(ids: Sequence[UUID]) -> None:
            nonlocal done
            done += await self._local_batch(ids)

        async def reject(job_id: UUID, error: Exception) -> None:
            async with self._db.transaction() as conn:
                await self._postpone(conn, job_id, error, attempts=1)

        async with self._db.connection() as conn:
            due = [row["id"] for row in await conn.fetch(_DUE, kinds, BATCH)]
        if due:
            await transact(due, attempt, reject)
        return done

    async def _local_batch(self, ids: Sequence[UUID]) -> int:
        tx = Tx(self._service, datetime.now(UTC), Cause("", ""))
        async with self._db.transaction() as conn:
            jobs = [Job.of(row) for row in await conn.fetch(_LOCK, list(ids))]
            deliveries = [_delivery(job, job, self._jobs.local[job.kind]) for job in jobs]
            failed = await _handle(conn, tx, deliveries)
            for job_id, error in failed.items():
                await self._postpone(conn, job_id, error, attempts=1)
        self._db.announce(job.key for job in jobs)
        return len(jobs) - len(failed)

    # -- calls

    async def _start_calls(self, due: set[str]) -> int:
        """Calls of one job each share a claim; a kind that takes many, or is spaced, has a claim of its own."""
        now = asyncio.get_running_loop().time()
        ready = [kind for kind in self._jobs.calls if kind in due and now >= self._not_before.get(kind, 0)]
        single = [kind for kind in ready if self._jobs.calls[kind].is_single]
        started = 0
        for kind in ready:
            call = self._jobs.calls[kind]
            if not call.is_single and len(self._running) < CALLS_AT_ONCE:
                claimed = await self._claim([kind], call.many)
                if claimed:
                    self._not_before[kind] = now + call.every
                    self._start(call, claimed)
                started += len(claimed)
        free = CALLS_AT_ONCE - len(self._running)
        if single and free > 0:
            for job, token in await self._claim(single, free):
                self._start(self._jobs.calls[job.kind], [(job, token)])
                started += 1
        return started

    async def _claim(self, kinds: Sequence[str], limit: int) -> list[tuple[Job, UUID]]:
        token = uuid4()
        async with self._db.connection() as conn:
            rows = await conn.fetch(_CLAIM, token, float(LEASE_SECONDS), kinds, limit)
        if rows:
            crash_point("jobs_claimed")
        return [(Job.of(row), token) for row in rows]

    def _start(self, call: Call, claimed: Sequence[tuple[Job, UUID]]) -> None:
        work = self._make(call, [job for job, _ in claimed], claimed[0][1])
        self._running.add(task := asyncio.create_task(work))
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _make(self, call: Call, jobs: Sequence[Job], token: UUID) -> None:
        try:
            async with asyncio.timeout(LEASE_SECONDS * 0.8):
                outcomes = await call.call(jobs)
            crash_point("provider_called")
            recorded = [Recorded(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
            await self._record(call, recorded, token)
        except Exception as error:  # noqa: BLE001 - an unknown outcome of any kind: look it up at the next attempt
            telemetry.UNKNOWN_OUTCOMES.labels(jobs[0].kind).inc(len(jobs))
            await self._release(jobs, token, error)

    async def _record(self, call: Call, recorded: Sequence[Recorded], token: UUID) -> None:
        async def attempt(batch: Sequence[Recorded]) -> None:
            tx = Tx(self._service, datetime.now(UTC), Cause("", ""))
            async with self._db.transaction() as conn:
                mine = {row["id"] for row in await conn.fetch(_MINE, sorted(r.job.id for r in batch), token)}
                deliveries = [_delivery(r.job, r, call.record) for r in batch if r.job.id in mine]
                for job_id, error in (await _handle(conn, tx, deliveries)).items():
                    await self._postpone(conn, job_id, error, token=token)
            crash_point("outcome_recorded")
            self._db.announce(r.job.key for r in batch)

        async def reject(one: Recorded, error: Exception) -> None:
            await self._release([one.job], token, error)

        await transact(recorded, attempt, reject)

    async def _release(self, jobs: Sequence[Job], token: UUID, error: Exception) -> None:
        """Hand the jobs back for a later attempt; if even that fails, the lease runs out by itself."""
        try:
            async with self._db.transaction() as conn:
                for job in jobs:
                    await self._postpone(conn, job.id, error, token=token)
        except UNAVAILABLE as away:
            log.warning("a lease is left to run out", kind=jobs[0].kind, reason=str(away))

    async def _postpone(
        self,
        conn: Connection,
        job_id: UUID,
        error: Exception,
        *,
        attempts: int = 0,
        token: UUID | None = None,
    ) -> None:
        """Later, with a growing pause. A lease that another worker holds by now is left alone."""
        reason = describe(error).replace("\x00", "\ufffd")[:2000]
        state = await conn.fetchval(_LATER, job_id, reason, GIVE_UP_AFTER.total_seconds(), attempts, token)
        what = {"due": "job postponed", "failed": "job failed"}.get(state, "lease lost")
        if state == "failed":
            telemetry.JOBS_FAILED.inc()
        log.warning(what, job_id=str(job_id), reason=reason)


async def _handle(conn: Connection, tx: Tx, deliveries: Sequence[Delivery]) -> dict[UUID, Exception]:
    """Run the handlers, write what they changed, finish their jobs; answers what failed."""
    await load(conn, tx, keys_of(deliveries))
    failed = {delivery.id: error for delivery, error in await run(tx, deliveries)}
    await flush(conn, tx)
    await conn.execute(_DONE, [delivery.id for delivery in deliveries if delivery.id not in failed])
    crash_point("outcome_flushed")
    return failed


def _delivery(job: Job, message: object, handler: Handler[Any]) -> Delivery:
    return Delivery(job.id, job.key, message, handler, Cause(job.correlation_id, str(job.id)), job)
