"""Jobs: what is due later happens, at least once, and is not lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from sandbox.jobs import SLOTS, Jobs
from sandbox.state import State


@pytest.fixture
def state() -> Iterator[State]:
    with closing(State()) as opened:
        yield opened


@asynccontextmanager
async def at_work(jobs: Jobs) -> AsyncIterator[None]:
    task = asyncio.create_task(jobs.run())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_jobs_run_when_due_and_are_gone_when_done(state: State) -> None:
    done: list[str] = []

    async def handle(argument: str, _: int) -> None:
        done.append(argument)

    jobs = Jobs(state)
    jobs.handle("fees", handle)
    jobs.add("fees", "later", delay=0.05)
    jobs.add("fees", "now")
    assert jobs.pending() == {"fees": 2}
    async with at_work(jobs):
        await jobs.settled()
    assert done == ["now", "later"]
    assert jobs.pending() == {"fees": 0}


async def test_a_job_is_repeated_until_its_handler_is_content(state: State) -> None:
    attempts: list[int] = []

    async def handle(_: str, attempt: int) -> float | None:
        attempts.append(attempt)
        return None if attempt == 2 else 0.0

    jobs = Jobs(state)
    jobs.handle("webhooks", handle)
    jobs.add("webhooks", "1")
    async with at_work(jobs):
        await jobs.settled()
    assert attempts == [0, 1, 2]


async def test_a_job_undone_with_its_transaction_never_runs_though_its_number_is_used_again(
    state: State,
) -> None:
    done: list[str] = []

    async def handle(argument: str, _: int) -> None:
        done.append(argument)

    def undone() -> None:
        with state.transaction():
            jobs.add("fees", "undone")
            raise RuntimeError("halfway")

    jobs = Jobs(state)
    jobs.handle("fees", handle)
    with pytest.raises(RuntimeError, match="halfway"):
        undone()
    jobs.add("fees", "kept", delay=0.05)
    async with at_work(jobs):
        await jobs.settled()
    assert done == ["kept"]


async def test_a_handler_that_raises_keeps_its_job_and_stops_no_other(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    finished = asyncio.Event()

    async def handle(argument: str, _: int) -> None:
        if argument == "bad":
            raise ValueError("no")
        finished.set()

    jobs = Jobs(state)
    jobs.handle("fees", handle)
    jobs.add("fees", "bad")
    jobs.add("fees", "good", delay=0.05)
    async with at_work(jobs):
        await finished.wait()
    assert jobs.pending() == {"fees": 1}
    assert "stays pending" in caplog.text


async def test_no_more_jobs_run_at_once_than_there_are_slots(state: State) -> None:
    running, most = 0, 0
    full, release = asyncio.Event(), asyncio.Event()

    async def handle(_: str, __: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == SLOTS:
            full.set()
        await release.wait()
        running -= 1

    jobs = Jobs(state)
    jobs.handle("webhooks", handle)
    for number in range(3 * SLOTS):
        jobs.add("webhooks", str(number))
    async with at_work(jobs):
        await full.wait()
        release.set()
        await jobs.settled()
    assert most == SLOTS


async def test_a_job_interrupted_by_the_end_runs_again_after_the_start(state: State) -> None:
    started = asyncio.Event()
    attempts = 0

    async def handle(_: str, __: int) -> None:
        nonlocal attempts
        attempts += 1
        started.set()
        if attempts == 1:
            await asyncio.Event().wait()

    for _ in range(2):
        jobs = Jobs(state)
        jobs.handle("webhooks", handle)
        if attempts == 0:
            jobs.add("webhooks", "1")
            async with at_work(jobs):
                await started.wait()
        else:
            async with at_work(jobs):
                await jobs.settled()
    assert attempts == 2
