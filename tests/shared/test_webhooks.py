"""A provider's webhooks: stored once, in lots, each answered after its commit; and what is answered to what is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from shared.db import Committed, Connection, Database
from shared.webhooks import BATCH, Arrivals, Event, Request, answer


def event(name: str, **payload: Any) -> Event:
    return Event("credit", "key", name, payload, "corr")


async def stored(db: Database) -> list[str]:
    async with db.connection() as conn:
        return [row["dedupe"] for row in await conn.fetch("SELECT dedupe FROM jobs ORDER BY due_at, id")]


async def test_a_provider_event_is_stored_once_by_its_own_id(db: Database) -> None:
    arrivals = Arrivals(db)
    await arrivals.store(event("evt_1", told="first"))
    await arrivals.store(event("evt_1", told="again"))
    assert await stored(db) == ["evt_1"]
    async with db.connection() as conn:
        assert await conn.fetchval("SELECT payload FROM jobs") == {"told": "first"}


async def test_what_arrives_at_the_same_time_shares_a_commit_and_keeps_its_order(db: Database) -> None:
    commits: list[Committed] = []
    db.committed.append(commits.append)
    arrivals = Arrivals(db)
    names = [f"evt_{n:02}" for n in reversed(range(30))]
    await asyncio.gather(*(arrivals.store(event(name)) for name in [*names, names[0]]))
    assert len(commits) == 1
    assert commits[0].due == {"credit"}
    assert await stored(db) == names


async def test_an_event_that_no_column_can_hold_fails_alone(db: Database) -> None:
    arrivals = Arrivals(db)
    bad, good = await asyncio.gather(
        arrivals.store(event("evt_bad", text="\x00")),
        arrivals.store(event("evt_good")),
        return_exceptions=True,
    )
    assert isinstance(bad, asyncpg.DataError)
    assert good is None
    assert await stored(db) == ["evt_good"]


async def test_nobody_is_answered_before_the_commit(db: Database) -> None:
    arrivals = Arrivals(db)
    async with db.transaction() as conn:
        await conn.execute("LOCK TABLE jobs IN SHARE MODE")
        storing = [asyncio.create_task(arrivals.store(event(f"evt_{n}"))) for n in range(2)]
        async with asyncio.timeout(20):
            while not await conn.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        assert not any(task.done() for task in storing)
    await asyncio.gather(*storing)
    assert await stored(db) == ["evt_0", "evt_1"]


async def test_all_of_a_lot_are_told_that_the_database_is_away() -> None:
    arrivals = Arrivals(Database("postgresql://nobody@127.0.0.1:1/none"))
    told = await asyncio.gather(
        arrivals.store(event("evt_1")), arrivals.store(event("evt_2")), return_exceptions=True
    )
    assert [type(error) for error in told] == [ConnectionError, ConnectionError]


class Hanging(Database):
    """Says that it is away, as often as it is asked, once it is `found_out`."""

    def __init__(self) -> None:
        super().__init__("postgresql://nobody@127.0.0.1:1/none")
        self.found_out, self.asked = asyncio.Event(), 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self.asked += 1
        await self.found_out.wait()
        async with super().connection() as conn:
            yield conn


async def test_who_comes_while_the_database_hangs_does_not_wait_for_it_once_more() -> None:
    db = Hanging()
    arrivals = Arrivals(db)
    first = asyncio.create_task(arrivals.store(event("evt_0")))
    while not db.asked:
        await asyncio.sleep(0)
    others = [asyncio.create_task(arrivals.store(event(f"evt_{n}"))) for n in range(1, 2 * BATCH)]
    while len(arrivals._waiting) < len(others):
        await asyncio.sleep(0)
    db.found_out.set()
    told = await asyncio.gather(first, *others, return_exceptions=True)
    assert {type(error) for error in told} == {ConnectionError}
    assert db.asked == 1


async def asked(method: str, *messages: dict[str, Any]) -> tuple[list[int], list[bytes]]:
    """The statuses that were answered, and the bodies that the hook saw."""
    sent: list[int] = []
    seen: list[bytes] = []
    incoming = iter(messages)

    async def hook(request: Request) -> int:
        seen.append(request.body)
        return 200

    async def receive() -> dict[str, Any]:
        return next(incoming)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    scope = {"type": "http", "method": method, "query_string": b"", "headers": []}
    await answer(hook, scope, receive, send)
    return sent, seen


async def test_a_body_in_parts_is_put_together() -> None:
    parts = ({"type": "http.request", "body": part, "more_body": part == b"a"} for part in (b"a", b"b"))
    assert await asked("POST", *parts) == ([200], [b"ab"])


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_another_method_than_post_is_refused(method: str) -> None:
    assert await asked(method) == ([405], [])


async def test_a_provider_that_hangs_up_halfway_is_not_believed() -> None:
    half = {"type": "http.request", "body": b"a", "more_body": True}
    assert await asked("POST", half, {"type": "http.disconnect"}) == ([], [])
