"""Runs a service's due jobs. Any number of workers may run side by side: a job is done by one of them, once.

Local jobs are claimed by row lock and handled like a batch of facts. Calls are claimed by a lease and made with no connection
held; `shared.recorder` writes down what became of them.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from shared.crash import crash_point
from shared.db import UNAVAILABLE, Committed, Database, describe
from shared.handlers import transact
from shared.jobs import Call, Job, Jobs
from shared.recorder import COLUMNS, LEASE_SECONDS, Recorder, delivery_of, finish, postpone
from shared.tx import Cause, Tx

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.5
"""How often it looks for what no commit of this process has told: a time that has come, another replica's leftovers."""
PAUSE_SECONDS = 1
BATCH = 200
CALLS_AT_ONCE = 32
STOP_SECONDS = 7
"""A call that takes longer to end is left to its lease, and looked up by whoever takes it over."""

_WAITING = "state = 'due' AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())"
_KINDS = f"SELECT DISTINCT kind FROM jobs WHERE {_WAITING} AND kind = ANY($1::text[])"  # noqa: S608 - constants of this module
_DUE = f"SELECT id FROM jobs WHERE {_WAITING} AND kind = ANY($1::text[]) ORDER BY due_at, id LIMIT $2"  # noqa: S608 - constants of this module
_LOCK = f"""
SELECT {COLUMNS} FROM jobs WHERE {_WAITING} AND id = ANY($1::uuid[]) ORDER BY due_at, id FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants of this module
_CLAIM = f"""
UPDATE jobs SET lease_token = $1, lease_until = now() + $2::float * interval '1 second', attempts = attempts + 1
WHERE id IN (
    SELECT id FROM jobs WHERE {_WAITING} AND kind = ANY($3::text[]) ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED
)
RETURNING {COLUMNS}
"""  # noqa: S608 - constants of this module


class Worker:
    """Looks for due work when a commit has brought some, and every POLL_SECONDS."""

    def __init__(self, db: Database, service: str, jobs: Jobs, *, lease: float = LEASE_SECONDS) -> None:
        self._db, self._service, self._jobs, self._lease = db, service, jobs, lease
        self._recorder = Recorder(db, service, lease)
        self._due: set[str] = set()
        self._looks = True
        self._wake = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._not_before: dict[str, float] = {}
        db.committed.append(self._hear)

    async def run(self) -> None:
        """Until cancelled; calls under way then have STOP_SECONDS to finish and be recorded."""
        recording = asyncio.create_task(self._recorder.run(), name="recorder")
        try:
            while True:
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
            if self._calls:
                await asyncio.wait(self._calls, timeout=STOP_SECONDS)
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)

    def _hear(self, committed: Committed) -> None:
        if news := committed.due & self._jobs.kinds:
            self._due |= news
            self._wake.set()

    async def _round(self) -> int:
        """One look at what may be due; answers how much of it was taken."""
        self._wake.clear()
        if self._looks:
            self._due |= await self._look()
            self._looks = False
        local = sorted(self._due & self._jobs.local.keys())
        taken = await self._run_local(local) if local else 0
        return taken + await self._start_calls()

    async def _rest(self) -> None:
        """Until a commit brings work or a call ends; else the next round asks the table."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            self._looks = True

    async def _look(self) -> set[str]:
        """The kinds of which a job is due. Asks the table."""
        if not self._jobs.kinds:
            return set()
        async with self._db.connection() as conn:
            return {row["kind"] for row in await conn.fetch(_KINDS, sorted(self._jobs.kinds))}

    # -- local jobs

    async def _run_local(self, kinds: Sequence[str]) -> int:
        """One batch of due local jobs; answers how many were done."""
        done = 0

        async def attempt(ids: Sequence[UUID]) -> None:
            nonlocal done
            done += await self._local_batch(ids)

        async def reject(job_id: UUID, error: Exception) -> None:
            async with self._db.transaction() as conn:
                await postpone(conn, job_id, error, attempts=1)

        self._due.difference_update(kinds)
        async with self._db.connection() as conn:
            due = [row["id"] for row in await conn.fetch(_DUE, kinds, BATCH)]
        if len(due) == BATCH:
            self._due.update(kinds)
        if due:
            await transact(due, attempt, reject)
        return done

    async def _local_batch(self, ids: Sequence[UUID]) -> int:
        tx = Tx(self._service, datetime.now(UTC), Cause("", ""))
        async with self._db.transaction() as conn:
            jobs = [Job.of(row) for row in await conn.fetch(_LOCK, list(ids))]
            deliveries = [delivery_of(job, job, self._jobs.local[job.kind]) for job in jobs]
            failed = await finish(conn, tx, deliveries)
            for job_id, error in failed.items():
                await postpone(conn, job_id, error, attempts=1)
        self._db.announce((job.key for job in jobs), said=bool(tx.said), due=tx.due)
        return len(jobs) - len(failed)

    # -- calls

    async def _start_calls(self) -> int:
        """Calls of one job each share a claim; a kind that takes many, or is spaced, has a claim of its own."""
        now = asyncio.get_running_loop().time()
        due = [
            kind for kind in self._jobs.calls if kind in self._due and now >= self._not_before.get(kind, 0)
        ]
        started = 0
        for kind in due:
            call = self._jobs.calls[kind]
            if not call.is_single and len(self._calls) < CALLS_AT_ONCE:
                claimed, token = await self._claim([kind], call.many)
                if claimed:
                    self._not_before[kind] = now + call.every
                    self._start(call, claimed, token)
                started += len(claimed)
        single = [kind for kind in due if self._jobs.calls[kind].is_single]
        if single and (free := CALLS_AT_ONCE - len(self._calls)) > 0:
            claimed, token = await self._claim(single, free)
            for job in claimed:
                self._start(self._jobs.calls[job.kind], [job], token)
            started += len(claimed)
        return started

    async def _claim(self, kinds: Sequence[str], limit: int) -> tuple[list[Job], UUID]:
        token = uuid4()
        self._due.difference_update(kinds)
        async with self._db.connection() as conn:
            rows = await conn.fetch(_CLAIM, token, self._lease, kinds, limit)
        if len(rows) == limit:
            self._due.update(kinds)
        if rows:
            crash_point("jobs_claimed")
        return [Job.of(row) for row in rows], token

    def _start(self, call: Call, jobs: Sequence[Job], token: UUID) -> None:
        self._calls.add(task := asyncio.create_task(self._make(call, jobs, token)))
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if self._due:
            self._wake.set()

    async def _make(self, call: Call, jobs: Sequence[Job], token: UUID) -> None:
        try:
            async with asyncio.timeout(self._lease * 0.8):
                outcomes = await call.call(jobs)
            if len(outcomes) != len(jobs):
                raise RuntimeError(f"{len(outcomes)} outcomes of {len(jobs)} calls")  # noqa: TRY301 - as unknown as any
        except Exception as error:  # noqa: BLE001 - an unknown outcome of any kind: look it up at the next attempt
            await self._recorder.release(jobs, token, error)
        else:
            crash_point("provider_called")
            await self._recorder.record(call, jobs, outcomes, token)
