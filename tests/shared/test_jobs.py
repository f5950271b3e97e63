"""Provider calls by lease and local work by row lock: done once, never lost, whatever dies in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from structlog.testing import capture_logs

from shared import failed_jobs
from shared.commands import execute
from shared.db import Database
from shared.jobs import Job, Jobs
from shared.mapping import Mapping
from shared.recorder import Recorder
from shared.tx import Tx
from shared.webhooks import Arrivals, Event
from shared.worker import Worker
from support.accounts import ACCOUNTS, balances, open_accounts


@asynccontextmanager
async def working(db: Database, jobs: Jobs, workers: int = 1, lease: float = 60) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(Worker(db, "test", jobs, lease=lease).run()) for _ in range(workers)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def request(db: Database, account: Any, kind: str = "pay", **options: Any) -> None:
    async def command(tx: Tx) -> str:
        tx.request(kind, account, {"amount": 1}, **options)
        return str(account)

    await execute(db, "test", command, (ACCOUNTS, [str(account)]), correlation_id="t")


async def states(db: Database) -> dict[str, int]:
    async with db.connection() as conn:
        rows = await conn.fetch("SELECT state, count(*) AS n FROM jobs GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def until_done(db: Database, count: int) -> None:
    async with asyncio.timeout(30):
        while (await states(db)).get("done", 0) < count:
            await asyncio.sleep(0.02)


async def record(job: Job, outcome: int, tx: Tx) -> None:
    account = tx.get(ACCOUNTS, job.key)
    tx.save(ACCOUNTS, replace(account, balance=account.balance + outcome))


def paying(make: Any, *loads: Mapping[Any]) -> Jobs:
    jobs = Jobs()
    jobs.call("pay", make, record, *(loads or (ACCOUNTS,)))
    return jobs


async def test_many_workers_make_each_call_once(db: Database) -> None:
    ids = await open_accounts(db, 40)
    made: list[str] = []

    async def make(job: Job) -> int:
        made.append(job.key)
        await asyncio.sleep(0)
        return 1

    for account in ids:
        await request(db, account)
    async with working(db, paying(make), workers=4):
        await until_done(db, len(ids))
    assert sorted(made) == sorted(map(str, ids))
    assert set((await balances(db, ids)).values()) == {1}


async def test_an_unknown_outcome_is_tried_again_under_the_same_id_and_recorded_once(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    seen: list[tuple[str, int]] = []

    async def make(job: Job) -> int:
        seen.append((str(job.id), job.attempts))
        if job.attempts < 3:
            raise TimeoutError("no answer")
        return 1

    await request(db, account)
    async with working(db, paying(make)):
        await until_done(db, 1)
    assert [attempt for _, attempt in seen] == [1, 2, 3]
    assert len({job_id for job_id, _ in seen}) == 1
    assert await balances(db, [account]) == {account: 1}


async def test_a_call_that_was_given_up_is_made_again_under_the_same_id_when_an_operator_says_so(
    db: Database,
) -> None:
    [account] = await open_accounts(db, 1)
    seen: list[tuple[str, int]] = []
    is_mended = False

    async def make(job: Job) -> int:
        seen.append((str(job.id), job.attempts))
        if not is_mended:
            raise TimeoutError("no answer")
        return 1

    await request(db, account)
    async with db.connection() as conn:
        await conn.execute("UPDATE jobs SET first_due_at = first_due_at - interval '4 days'")
    async with working(db, paying(make)):
        async with asyncio.timeout(30):
            while not (given_up := await failed_jobs.find(db, "pay", str(account), 10)):
                await asyncio.sleep(0.02)
        is_mended = True
        assert await failed_jobs.retry(db, given_up) == 1
        await until_done(db, 1)
    assert [attempt for _, attempt in seen] == [1, 2]
    assert {job_id for job_id, _ in seen} == {str(job.id) for job in given_up}
    assert await balances(db, [account]) == {account: 1}


async def test_a_call_whose_lease_was_taken_over_records_nothing(db: Database) -> None:
    """The first worker sleeps through its lease (SIGSTOP); the second calls again; only the second's outcome counts."""
    [account] = await open_accounts(db, 1)
    frozen, second_done = asyncio.Event(), asyncio.Event()

    async def make(job: Job) -> int:
        if job.attempts > 1:
            return 10
        frozen.set()
        with suppress(asyncio.CancelledError):  # asleep: even its own timeout does not reach it
            await second_done.wait()
        await second_done.wait()
        return 1

    await request(db, account)
    async with working(db, paying(make), workers=2, lease=0.2):
        await frozen.wait()
        await until_done(db, 1)
        second_done.set()
    assert await balances(db, [account]) == {account: 10}


async def test_a_job_is_leased_to_one_worker_at_a_time_and_only_the_holders_outcome_counts(
    db: Database,
) -> None:
    [account] = await open_accounts(db, 1)

    async def make(_: Job) -> int:
        return 0

    jobs = paying(make)
    await request(db, account)
    slow, quick = (Worker(db, "test", jobs) for _ in range(2))
    held, stale = await slow._claim(["pay"], 1)
    assert len(held) == 1
    assert (await quick._claim(["pay"], 1))[0] == []
    async with db.connection() as conn:
        await conn.execute("UPDATE jobs SET lease_until = now() - interval '1 second'")
    taken_over, token = await quick._claim(["pay"], 1)
    assert [job.id for job in taken_over] == [job.id for job in held]
    recorder = Recorder(db, "test", 60)
    recording = asyncio.create_task(recorder.run())
    recorder.record(jobs.calls["pay"], held, [1], stale)
    await recorder.settle()
    assert await states(db) == {"due": 1}
    recorder.record(jobs.calls["pay"], taken_over, [10], token)
    await recorder.settle()
    recording.cancel()
    assert await states(db) == {"done": 1}
    assert await balances(db, [account]) == {account: 10}


async def test_a_recording_that_fails_is_repeated_without_losing_the_job(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    calls: list[int] = []

    async def make(job: Job) -> int:
        calls.append(job.attempts)
        return 10**6 if job.attempts == 1 else 5  # the first breaks the table's CHECK

    await request(db, account)
    async with working(db, paying(make)):
        await until_done(db, 1)
    assert await balances(db, [account]) == {account: 5}
    assert calls == [1, 2]


async def test_an_outcome_that_its_handler_cannot_place_yet_is_tried_again_alone(db: Database) -> None:
    early, other = await open_accounts(db, 2)

    async def make(_: Job) -> int:
        return 1

    async def place(job: Job, outcome: int, tx: Tx) -> None:
        if job.key == str(early) and job.attempts == 1:
            raise LookupError("its row is not there yet")
        await record(job, outcome, tx)

    jobs = Jobs()
    jobs.call("pay", make, place, ACCOUNTS)
    for account in (early, other):
        await request(db, account)
    async with working(db, jobs):
        await until_done(db, 2)
    assert await balances(db, [early, other]) == {early: 1, other: 1}
    async with db.connection() as conn:
        attempts = {row["key"]: row["attempts"] for row in await conn.fetch("SELECT key, attempts FROM jobs")}
    assert attempts == {str(early): 2, str(other): 1}


async def test_local_work_is_done_in_its_batch_and_a_failing_one_waits_alone(db: Database) -> None:
    ids = await open_accounts(db, 3)
    jobs = Jobs()

    @jobs.on("credit", ACCOUNTS)
    async def on_credit(job: Job, tx: Tx) -> None:
        if job.key == str(ids[1]) and job.attempts < 1:
            raise LookupError("its row is not there yet")
        await record(job, 1, tx)

    for account in ids:
        await Arrivals(db).store(Event("credit", str(account), f"evt_{account}", {"n": 1}, "corr"))
    async with working(db, jobs, workers=2):
        await until_done(db, 3)
    assert set((await balances(db, ids)).values()) == {1}


async def test_a_deadline_fires_when_it_is_due_and_not_before(db: Database) -> None:
    soon, far = await open_accounts(db, 2)
    jobs = Jobs()

    @jobs.on("pay", ACCOUNTS)
    async def on_deadline(job: Job, tx: Tx) -> None:
        await record(job, 1, tx)

    async with db.connection() as conn:
        now = await conn.fetchval("SELECT now()")
    await request(db, far, due_at=now + timedelta(hours=1))
    await request(db, soon, due_at=now + timedelta(milliseconds=300))
    async with working(db, jobs):
        await until_done(db, 1)
    assert await balances(db, [soon, far]) == {soon: 1, far: 0}


async def test_jobs_that_may_share_a_call_do(db: Database) -> None:
    ids = await open_accounts(db, 30)
    sizes: list[int] = []

    async def make(batch: Sequence[Job]) -> Sequence[int]:
        sizes.append(len(batch))
        return [1] * len(batch)

    jobs = Jobs()
    jobs.call_many("pay", make, record, ACCOUNTS, many=20)
    for account in ids:
        await request(db, account)
    async with working(db, jobs):
        await until_done(db, 30)
    assert sizes == [20, 10]
    assert set((await balances(db, ids)).values()) == {1}


async def test_a_patient_job_waits_for_a_second_one_and_shares_its_claim(db: Database) -> None:
    """Five tries: a worker's poll, which asks for whatever is due, may fall between the two."""
    [account] = await open_accounts(db, 1)
    sizes: list[int] = []

    async def make(batch: Sequence[Job]) -> Sequence[int]:
        sizes.append(len(batch))
        return [1] * len(batch)

    async def at_once(_: Job) -> int:
        return 1

    patient = Jobs()
    patient.call_many("patient", make, record, ACCOUNTS, many=9, patience=0.3)
    async with working(db, patient), working(db, paying(at_once)):
        for done in range(0, 15, 3):
            await request(db, account, "patient")
            await request(db, account)
            await until_done(db, done + 1)  # what is asked for later, without patience, is done meanwhile
            await request(db, account, "patient")
            await until_done(db, done + 3)
            if 2 in sizes:
                break
    assert 2 in sizes


async def test_a_patient_outcome_waits_for_another_and_shares_its_transaction(db: Database) -> None:
    ids = await open_accounts(db, 2)
    for account in ids:
        await request(db, account)
    async with db.connection() as conn:
        token = uuid4()
        lease = """UPDATE jobs SET lease_token = $1, lease_until = now() + interval '1 hour'
            RETURNING id, kind, key, payload, attempts, correlation_id, created_at"""
        first, second = [Job.of(row) for row in await conn.fetch(lease, token)]

    async def make(_: Job) -> int:
        return 1

    jobs, told = Jobs(), list[frozenset[str]]()
    jobs.call("patient", make, record, ACCOUNTS, patience=3600)
    jobs.call("pay", make, record, ACCOUNTS)
    db.committed.append(lambda committed: told.append(frozenset(committed.keys)))
    recorder = Recorder(db, "test", 3600)
    running = asyncio.create_task(recorder.run())
    try:
        recorder.record(jobs.calls["patient"], [first], [1], token)
        for _ in range(50):
            assert (await states(db)) == {"due": 2}
        recorder.record(jobs.calls["pay"], [second], [1], token)
        await until_done(db, 2)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert told == [{str(account) for account in ids}]


async def test_a_job_about_nothing_of_ours_or_with_a_key_that_is_none_stops_nobody(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    jobs = Jobs()

    @jobs.on("credit", ACCOUNTS)
    async def on_credit(job: Job, tx: Tx) -> None:
        if job.key:
            await record(job, 1, tx)

    arrivals = Arrivals(db)
    for key, event in (("", "evt_foreign"), ("no uuid", "evt_odd"), (str(account), "evt_good")):
        await arrivals.store(Event("credit", key, event, {}, "corr"))
    async with working(db, jobs):
        await until_done(db, 2)
    assert await balances(db, [account]) == {account: 1}
    async with db.connection() as conn:
        odd = await conn.fetchrow("SELECT state, attempts, last_error FROM jobs WHERE key = 'no uuid'")
    assert odd is not None
    assert odd["state"] == "due"
    assert odd["attempts"] >= 1
    assert "no uuid" in odd["last_error"] or "DataError" in odd["last_error"]


async def test_a_job_whose_time_comes_is_found_while_others_keep_the_worker_awake(db: Database) -> None:
    jobs, awake, found = Jobs(), asyncio.Event(), asyncio.Event()

    @jobs.on("often")
    async def on_often(job: Job, tx: Tx) -> None:
        tx.request(job.kind, job.key)
        awake.set()

    @jobs.on("rare")
    async def on_rare(_: Job, __: Tx) -> None:
        found.set()

    [account] = await open_accounts(db, 1)
    await request(db, account, "often")
    async with working(db, jobs), asyncio.timeout(30):
        await awake.wait()
        async with db.connection() as conn:  # as another replica would: nobody here hears of it
            await conn.execute(
                "INSERT INTO jobs (id, kind, key, payload, due_at, first_due_at, correlation_id)"
                " VALUES (gen_random_uuid(), 'rare', '', '{}', now(), now(), 't')"
            )
        await found.wait()


async def test_a_fault_that_nobody_foresaw_does_not_end_the_worker(db: Database) -> None:
    [account] = await open_accounts(db, 1)

    async def make(_: Job) -> int:
        return 1

    async with db.connection() as conn:
        await conn.execute("ALTER TABLE jobs RENAME TO hidden")
    with capture_logs() as lines:
        async with working(db, paying(make)), asyncio.timeout(30):
            while not any(line["event"] == "a round of jobs failed" for line in lines):
                await asyncio.sleep(0.02)
            async with db.connection() as conn:
                await conn.execute("ALTER TABLE hidden RENAME TO jobs")
            await request(db, account)
            await until_done(db, 1)
    assert await balances(db, [account]) == {account: 1}


async def test_a_deadline_of_many_days_is_not_too_old_at_its_first_failure(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    jobs = Jobs()

    @jobs.on("pay", ACCOUNTS)
    async def on_deadline(job: Job, tx: Tx) -> None:
        if job.attempts == 0:
            raise LookupError("a hiccup")
        await record(job, 1, tx)

    await request(db, account)
    async with db.connection() as conn:
        await conn.execute("UPDATE jobs SET created_at = now() - interval '30 days'")
    async with working(db, jobs):
        await until_done(db, 1)
    assert await balances(db, [account]) == {account: 1}
