"""Those who wait are woken by a commit, find by a slow poll what another replica did, and look together."""

import asyncio
from collections.abc import Awaitable
from uuid import UUID

import pytest
from sqlalchemy import select
from strawberry.dataloader import DataLoader

from shared.db import Database
from shared.statements import one_of
from shared.waits import SLOW_POLL_SECONDS, Waits
from support.accounts import accounts, open_accounts

FOR_EVER, WAITING, APART = 60, 15, 0.02


class Desk:
    """Waits for accounts to have money; `looks` has the keys of each query that was made for it."""

    def __init__(self, db: Database) -> None:
        self.db, self.waits, self.looks = db, Waits(db), list[list[UUID]]()
        self.readings: DataLoader[UUID, int] = DataLoader(self._read, cache=False)

    async def _read(self, ids: list[UUID]) -> list[int]:
        self.looks.append(ids)
        rows = await self.db.fetch(select(accounts).where(one_of(accounts.c.id)), {"ids": ids})
        found = {row.id: row.balance for row in rows}
        return [found[key] for key in ids]

    async def paid(self, account: UUID, known: int | None = None, seconds: float = FOR_EVER) -> int:
        def read() -> Awaitable[int]:
            return self.readings.load(account)

        return await self.waits.until(str(account), read, bool, seconds, known=known)

    async def pay(self, ids: list[UUID]) -> None:
        async with self.db.connection() as conn:
            await conn.execute("UPDATE accounts SET balance = 7 WHERE id = ANY($1::uuid[])", ids)

    async def until_looked(self, times: int) -> None:
        while len(self.looks) < times:
            await asyncio.sleep(0.01)


@pytest.fixture
def desk(db: Database) -> Desk:
    return Desk(db)


async def test_one_commit_wakes_all_who_wait_for_it_and_they_look_once(db: Database, desk: Desk) -> None:
    ids = await open_accounts(db, WAITING)
    waiting = [asyncio.create_task(desk.paid(account, known=0)) for account in ids]
    await desk.pay(ids)
    db.announce(map(str, ids))
    assert await asyncio.gather(*waiting) == [7] * WAITING
    assert list(map(len, desk.looks)) == [WAITING]


async def test_what_another_replica_did_is_found_by_all_at_the_same_moments(db: Database, desk: Desk) -> None:
    ids = await open_accounts(db, WAITING)
    waiting, now = [], asyncio.get_running_loop().time
    first = now()
    for account in ids:
        waiting.append(asyncio.create_task(desk.paid(account, known=0)))
        begun = now()
        while now() < begun + APART:
            await asyncio.sleep(APART)
    await desk.pay(ids)
    assert await asyncio.gather(*waiting) == [7] * WAITING
    moments = now() // SLOW_POLL_SECONDS - first // SLOW_POLL_SECONDS
    assert len(desk.looks) <= moments


async def test_who_has_a_reading_first_looks_when_something_has_come(db: Database, desk: Desk) -> None:
    [account] = await open_accounts(db, 1)
    waiting = asyncio.create_task(desk.paid(account, known=0))
    await desk.pay([account])
    db.announce([str(account)])
    assert await waiting == 7
    assert len(desk.looks) == 1


async def test_a_commit_that_changes_nothing_costs_one_look(db: Database, desk: Desk) -> None:
    [account] = await open_accounts(db, 1)
    waiting = asyncio.create_task(desk.paid(account, known=0))
    await desk.pay([])
    db.announce([str(account)])
    for _ in range(100):
        await desk.pay([])
    assert len(desk.looks) < 10  # that one, and polls on a slow day
    await desk.pay([account])
    assert await waiting == 7


async def test_a_commit_that_is_heard_during_a_look_makes_another(db: Database, desk: Desk) -> None:
    [account] = await open_accounts(db, 1)
    waiting = asyncio.create_task(desk.paid(account))
    await desk.until_looked(1)
    await desk.pay([account])
    db.announce([str(account)])
    assert await waiting == 7


async def test_when_the_time_is_up_the_newest_reading_is_the_answer(db: Database, desk: Desk) -> None:
    [account] = await open_accounts(db, 1)
    assert await desk.paid(account, seconds=0.01) == 0
    assert await desk.paid(account, known=0, seconds=0.01) == 0
