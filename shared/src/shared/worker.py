"""Runs a service's due jobs. Any number of workers may run side by side: a job is done by one of them, once.

Local jobs are claimed by row lock and handled like a batch of facts. Calls are claimed by a lease and made with no connection
held; `shared.recorder` writes down what became of them.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from shared.crash import crash_point
from shared.db import HOPELESS, UNAVAILABLE, Committed, Database, describe
from shared.handlers import transact
from shared.jobs import Call, Job, Jobs
from shared.pace import Pace
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
_DUE = f"SELECT id FROM jobs WHERE {_WAITING} AND kind = ANY($1::text[]) ORDER BY due_at, id LIMIT {BATCH}"  # noqa: S608 - constants of this module
_TAKE = """
WITH taken AS (
    UPDATE jobs SET state = 'done', finished_at = now() WHERE id IN ({which} FOR UPDATE SKIP LOCKED)
    RETURNING {columns}, due_at
) SELECT {columns} FROM taken ORDER BY due_at, id
"""
_TAKE_DUE = _TAKE.format(which=_DUE, columns=COLUMNS)
_TAKE_THESE = _TAKE.format(
    which=f"SELECT id FROM jobs WHERE {_WAITING} AND id = ANY($1::uuid[])",  # noqa: S608 - constants of this module
    columns=COLUMNS,
)
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
        self._look_at, self._wants_slots = 0.0, False
        self._wake, self._pace = asyncio.Event(), Pace()
        self._calls: set[asyncio.Task[None]] = set()
        self._not_before: dict[str, float] = {}
        db.committed.append(self._hear)

    async def run(self) -> None:
        """Until cancelled; calls under way then have STOP_SECONDS to finish and be recorded."""
        recording = asyncio.create_task(self._recorder.run(), name="recorder")
        try:
            while True:
                try:
                    with self._pace.round():
                        busy = await self._round()
                except UNAVAILABLE as away:
                    log.warning("jobs wait for the database", reason=describe(away))
                    busy = False
                except Exception as fault:  # noqa: BLE001 - whatever it is, the next look must come: money waits here
                    log.error("a round of jobs failed", reason=describe(fault))  # noqa: TRY400 - it may quote a row
                    await asyncio.sleep(PAUSE_SECONDS)
                    busy = False
                if not busy:
                    await self._rest()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    while self._calls:
                        await asyncio.wait(self._calls)
                    await self._recorder.settle()
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)

    def _hear(self, committed: Committed) -> None:
        if news := committed.due & self._jobs.kinds:
            self._due |= news
            asyncio.get_running_loop().call_later(self._jobs.patience_of(news), self._wake.set)

    async def _round(self) -> bool:
        """One look at what may be due; answers whether there was more than one batch of it."""
        self._wake.clear()
        if (now := asyncio.get_running_loop().time()) >= self._look_at:
            self._due |= await self._look()
            self._look_at = now + POLL_SECONDS
        local = sorted(self._due & self._jobs.local.keys())
        more = await self._run_local(local) if local else False
        return await self._start_calls() or more

    async def _rest(self) -> None:
        """Until a commit brings work or a call ends; else the next round asks the table."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
                await self._pace.rest()

    async def _look(self) -> set[str]:
        """The kinds of which a job is due. Asks the table."""
        if not self._jobs.kinds:
            return set()
        async with self._db.connection() as conn:
            return {row["kind"] for row in await conn.fetch(_KINDS, sorted(self._jobs.kinds))}

    # -- local jobs

    async def _run_local(self, kinds: Sequence[str]) -> bool:
        """One batch of due local jobs; answers whether it was full."""
        self._due.difference_update(kinds)
        try:
            taken = await self._local_batch(_TAKE_DUE, kinds)
        except (*UNAVAILABLE, *HOPELESS):
            raise
        except Exception:  # noqa: BLE001 - a write that fails, or a lost race: job by job if need be
            taken = await self._halve(kinds)
        if taken == BATCH:
            self._due.update(kinds)
        return taken == BATCH

    async def _halve(self, kinds: Sequence[str]) -> int:
        async def attempt(ids: Sequence[UUID]) -> None:
            await self._local_batch(_TAKE_THESE, ids)

        async def reject(job_id: UUID, error: Exception) -> None:
            async with self._db.transaction() as conn:
                await postpone(conn, job_id, error, attempts=1)

        async with self._db.connection() as conn:
            due = [row["id"] for row in await conn.fetch(_DUE, kinds)]
        if due:
            await transact(due, attempt, reject)
        return len(due)

    async def _local_batch(self, take: str, which: Sequence[object]) -> int:
        tx = Tx(self._service, datetime.now(UTC), Cause("", ""))
        async with self._db.transaction() as conn:
            jobs = [Job.of(row) for row in await conn.fetch(take, list(which))]
            deliveries = [delivery_of(job, job, self._jobs.local[job.kind]) for job in jobs]
            failed = await finish(conn, tx, deliveries)
            for job_id, error in failed.items():
                await postpone(conn, job_id, error, attempts=1, state="done")
        self._db.announce((job.key for job in jobs), said=bool(tx.said), due=tx.due)
        return len(jobs)

    # -- calls

    async def _start_calls(self) -> bool:
        """Calls of one job each share a claim; a kind that takes many, or is spaced, has a claim of its own.

        Answers whether there is more to be claimed, and a slot for it.
        """
        now = asyncio.get_running_loop().time()
        due = [
            kind for kind in self._jobs.calls if kind in self._due and now >= self._not_before.get(kind, 0)
        ]
        more = False
        for kind in due:
            call = self._jobs.calls[kind]
            if not call.is_single and self._free > 0:
                claimed, token = await self._claim([kind], call.many)
                if claimed:
                    self._not_before[kind] = now + call.every
                    self._start(call, claimed, token)
                more = more or (len(claimed) == call.many and not call.every)
        single = [kind for kind in due if self._jobs.calls[kind].is_single]
        if single and (free := self._free) > 0:
            claimed, token = await self._claim(single, free)
            for job in claimed:
                self._start(self._jobs.calls[job.kind], [job], token)
        self._wants_slots = bool(due) and self._free <= 0
        return more and self._free > 0

    @property
    def _free(self) -> int:
        return CALLS_AT_ONCE - len(self._calls)

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
        if self._wants_slots:
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
            self._recorder.record(call, jobs, outcomes, token)
