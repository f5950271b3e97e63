"""Work that is due at a time: provider calls by lease, provider events and deadlines by row lock. Each job is done once.

Two sorts. A *local* job (a stored webhook, a deadline) is a message like a fact: claimed by row lock, handled in memory with
its batch, finished in the same transaction. A *call* goes to a provider: it is claimed by a lease in a short transaction,
made with no connection held, and its outcome is recorded (fenced by the lease's token) together with the facts it causes.
A call may run again after a crash: `attempts` tells it to look up what became of the earlier one, and `id` is its
idempotency key for good.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import structlog

from shared import telemetry
from shared.db import UNAVAILABLE, Connection, Database, Record
from shared.flush import flush, load
from shared.handlers import Delivery, Handle, Handler, keys_of, run, transact
from shared.mapping import Mapping
from shared.tx import Cause, Tx

log = structlog.get_logger(__name__)
Outcome = TypeVar("Outcome")

POLL_SECONDS = 0.2
BATCH = 200
CALLS_AT_ONCE = 8
LEASE_SECONDS = 60
GIVE_UP_AFTER = timedelta(days=3)
"""As long as Stripe and Shippo repeat their webhooks; a job older than this fails and waits for a person."""

_COLUMNS = "id, kind, key, payload, attempts, correlation_id, created_at"
_DUE = f"""
SELECT {_COLUMNS} FROM jobs WHERE state = 'due' AND kind = ANY($1::text[]) AND due_at <= now()
ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - a constant of this module
_CLAIM = f"""
UPDATE jobs SET lease_token = $1, lease_until = now() + $2::float * interval '1 second', attempts = attempts + 1
WHERE id IN (
    SELECT id FROM jobs WHERE state = 'due' AND kind = $3 AND due_at <= now()
        AND (lease_until IS NULL OR lease_until < now())
    ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED
)
RETURNING {_COLUMNS}
"""  # noqa: S608 - a constant of this module
_DONE = "UPDATE jobs SET state = 'done', finished_at = now(), lease_until = NULL WHERE id = ANY($1::uuid[])"
_MINE = "SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND lease_token = $2 AND state = 'due' FOR UPDATE"
_LATER = """
UPDATE jobs SET attempts = attempts + $4, last_error = $2, lease_until = NULL,
    state = CASE WHEN created_at + $3::float * interval '1 second' < now() THEN 'failed' ELSE 'due' END,
    due_at = now() + least(0.5 * 2 ^ least(attempts + $4, 12), 300) * (0.75 + random() / 2) * interval '1 second'
WHERE id = $1 RETURNING state
"""
_STORE = """
INSERT INTO jobs (id, kind, key, dedupe, payload, due_at, correlation_id) VALUES ($1, $2, $3, $4, $5, now(), $6)
ON CONFLICT (dedupe) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Job:
    """`key` is the aggregate it is about; `attempts` counts this one; `created_at` is UTC."""

    id: UUID
    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int
    correlation_id: str
    created_at: datetime

    @classmethod
    def of(cls, row: Record) -> "Job":
        return cls(**row)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A job with what became of its call, on its way to `record`."""

    job: Job
    outcome: Any


@dataclass(frozen=True, slots=True)
class Call:
    """How one kind of provider call is made and recorded: `many` jobs at most in one call, `every` seconds at least between two."""

    call: Callable[[Sequence[Job]], Awaitable[Sequence[Any]]]
    record: Handler[Recorded]
    many: int
    every: float


class Jobs:
    """A service's kinds of work. `on` registers a local kind, `call` a provider call."""

    def __init__(self) -> None:
        self.local: dict[str, Handler[Job]] = {}
        self.calls: dict[str, Call] = {}

    def on(self, kind: str, *loads: Mapping[Any]) -> Callable[[Handle[Job]], Handle[Job]]:
        """The decorated `async (job, tx)` handles jobs of this kind, in a transaction, without any provider."""

        def register(handle: Handle[Job]) -> Handle[Job]:
            self.local[kind] = Handler(handle, loads)
            return handle

        return register

    def call(
        self,
        kind: str,
        make: Callable[[Job], Awaitable[Outcome]],
        record: Callable[[Job, Outcome, Tx], Awaitable[None]],
        *loads: Mapping[Any],
    ) -> None:
        """`make` speaks to the provider and answers a definite outcome, or raises when the outcome is unknown."""

        async def one(jobs: Sequence[Job]) -> Sequence[Outcome]:
            return [await make(jobs[0])]

        self.call_many(kind, one, record, *loads, many=1)

    def call_many(
        self,
        kind: str,
        make: Callable[[Sequence[Job]], Awaitable[Sequence[Outcome]]],
        record: Callable[[Job, Outcome, Tx], Awaitable[None]],
        *loads: Mapping[Any],
        many: int,
        every: float = 0,
    ) -> None:
        """Like `call`, for a provider that takes several at once: one outcome per job, in order.

        `every` is for one that limits its callers: the seconds between the beginnings of two calls, in each process.
        """

        async def handle(recorded: Recorded, tx: Tx) -> None:
            await record(recorded.job, recorded.outcome, tx)

        self.calls[kind] = Call(make, Handler(handle, loads), many, every)


async def store(
    db: Database, kind: str, key: str, dedupe: str, payload: dict[str, Any], correlation_id: str
) -> bool:
    """A provider event, stored once by its own id before anything is done about it. False: it was stored before."""
    async with db.connection() as conn:
        done = await conn.execute(_STORE, uuid4(), kind, key, dedupe, payload, correlation_id)
    db.announce([key])
    return done.endswith(" 1")


class Worker:
    """Runs a service's due jobs until cancelled; any number may run side by side."""

    def __init__(self, db: Database, service: str, jobs: Jobs) -> None:
        self._db, self._service, self._jobs = db, service, jobs
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._not_before: dict[str, float] = {}
        db.committed.append(lambda _: self._wake.set())

    async def run(self) -> None:
        """Until cancelled; calls under way then finish and are recorded."""
        try:
            while True:
                self._wake.clear()
                try:
                    busy = await self._run_local() + sum(
                        [await self._start_calls(kind) for kind in self._jobs.calls]
                    )
                except UNAVAILABLE as away:
                    log.warning("jobs wait for the database", reason=f"{type(away).__name__}: {away}")
                    await asyncio.sleep(1)
                    continue
                if not busy:
                    await self._rest()
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=LEASE_SECONDS)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    # -- local jobs: claimed by row lock, handled like a batch of facts

    async def _run_local(self) -> int:
        """One batch of due local jobs; answers how many there were."""
        if not self._jobs.local:
            return 0
        found = 0

        async def attempt(limits: Sequence[int]) -> None:
            nonlocal found
            found = await self._local_batch(sum(limits))

        async def reject(_: int, error: Exception) -> None:
            raise error

        await transact([1] * BATCH, attempt, reject)
        return found

    async def _local_batch(self, limit: int) -> int:
        tx = Tx(self._service, datetime.now(UTC), Cause("", ""))
        async with self._db.transaction() as conn:
            due = [Job.of(row) for row in await conn.fetch(_DUE, list(self._jobs.local), limit)]
            deliveries = [self._delivery(job, job, self._jobs.local[job.kind]) for job in due]
            failed = await self._handle(conn, tx, deliveries)
            await conn.execute(_DONE, [d.id for d in deliveries if d.id not in failed])
            for delivery_id, error in failed.items():
                await self._postpone(conn, delivery_id, error, attempts=1)
        if due:
            self._db.announce(job.key for job in due)
        return len(due) - len(failed)

    # -- calls: claimed by lease, made without a connection, recorded in one transaction

    async def _start_calls(self, kind: str) -> int:
        call, token = self._jobs.calls[kind], uuid4()
        now = asyncio.get_running_loop().time()
        if self._slots.locked() or now < self._not_before.get(kind, 0):
            return 0
        limit = call.many if call.many > 1 or call.every else CALLS_AT_ONCE - len(self._running)
        async with self._db.connection() as conn:
            claimed = [
                Job.of(row) for row in await conn.fetch(_CLAIM, token, LEASE_SECONDS, kind, max(limit, 1))
            ]
        if claimed and call.every:
            self._not_before[kind] = now + call.every
        for first in range(0, len(claimed), call.many):
            await self._slots.acquire()
            task = asyncio.create_task(self._make(call, claimed[first : first + call.many], token))
            self._running.add(task)
            task.add_done_callback(self._finished)
        return len(claimed)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()
        self._wake.set()

    async def _make(self, call: Call, jobs: Sequence[Job], token: UUID) -> None:
        try:
            async with asyncio.timeout(LEASE_SECONDS * 0.8):
                outcomes = await call.call(jobs)
            recorded = [Recorded(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]
            await self._record(call, recorded, token)
        except Exception as error:  # noqa: BLE001 - an unknown outcome of any kind: look it up at the next attempt
            telemetry.UNKNOWN_OUTCOMES.labels(jobs[0].kind).inc(len(jobs))
            await self._release(jobs, error)

    async def _record(self, call: Call, recorded: Sequence[Recorded], token: UUID) -> None:
        async def attempt(batch: Sequence[Recorded]) -> None:
            tx = Tx(self._service, datetime.now(UTC), Cause("", ""))
            async with self._db.transaction() as conn:
                mine = {row["id"] for row in await conn.fetch(_MINE, sorted(r.job.id for r in batch), token)}
                deliveries = [self._delivery(r.job, r, call.record) for r in batch if r.job.id in mine]
                failed = await self._handle(conn, tx, deliveries)
                await conn.execute(_DONE, [d.id for d in deliveries if d.id not in failed])
                for job_id, error in failed.items():
                    await self._postpone(conn, job_id, error, attempts=0)
            self._db.announce(r.job.key for r in batch)

        async def reject(one: Recorded, error: Exception) -> None:
            await self._release([one.job], error)

        await transact(recorded, attempt, reject)

    async def _release(self, jobs: Sequence[Job], error: Exception) -> None:
        """Hand the jobs back for a later attempt; if even that fails, the lease runs out by itself."""
        try:
            async with self._db.transaction() as conn:
                for job in jobs:
                    await self._postpone(conn, job.id, error, attempts=0)
        except UNAVAILABLE as away:
            log.warning("a lease is left to run out", kind=jobs[0].kind, reason=str(away))

    # -- both

    async def _handle(
        self, conn: Connection, tx: Tx, deliveries: Sequence[Delivery]
    ) -> dict[UUID, Exception]:
        await load(conn, tx, keys_of(deliveries))
        failed = await run(tx, deliveries)
        await flush(conn, tx)
        return {delivery.id: error for delivery, error in failed}

    def _delivery(self, job: Job, message: object, handler: Handler[Any]) -> Delivery:
        return Delivery(job.id, job.key, message, handler, Cause(job.correlation_id, str(job.id)), job)

    async def _postpone(self, conn: Connection, job_id: UUID, error: Exception, *, attempts: int) -> None:
        reason = f"{type(error).__name__}: {error}"[:2000]
        state = await conn.fetchval(_LATER, job_id, reason, GIVE_UP_AFTER.total_seconds(), attempts)
        log.warning("job postponed" if state == "due" else "job failed", job_id=str(job_id), reason=reason)
