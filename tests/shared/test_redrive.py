"""Dead letters come back to life once, in their key's order, whoever else is at work on that key meanwhile."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared import letters
from shared.db import Database
from shared.handlers import Handlers
from shared.inbox import MAX_RUN_OF_FAILURES, Inbox, Record
from shared.letters import Filter, Letter
from shared.redrive import Redriver
from support import accounts
from support.accounts import balances, credit, dead_letters, open_accounts, record

BY = "eve"
POISON = frozenset({"poison"})


def redriver(db: Database, handlers: Handlers | None = None) -> Redriver:
    handlers = handlers or accounts.handlers()
    return Redriver(db, Inbox(db, handlers), handlers.consumer)


async def drain(db: Database, handlers: Handlers | None = None) -> int:
    """Run rounds until nothing is due; answers how many letters came to an end."""
    own, ended = redriver(db, handlers), 0
    while (n := await own.round()) > 0:
        ended += n
    return ended


async def found(db: Database, **wanted: Any) -> list[Letter]:
    return await letters.find(db, "orders", Filter(**wanted), 10_000)


async def mark(db: Database, **wanted: Any) -> int:
    return await letters.mark(db, "orders", [letter.id for letter in await found(db, **wanted)], BY)


async def credits_of(db: Database, account: UUID) -> list[str]:
    async with db.connection() as conn:
        found: list[str] = await conn.fetchval("SELECT credits FROM accounts WHERE id = $1", account)
    return found


async def audited(db: Database) -> list[tuple[str, str]]:
    async with db.connection() as conn:
        rows = await conn.fetch("SELECT outcome, asked_by FROM redrives ORDER BY id")
    return [(row["outcome"], row["asked_by"]) for row in rows]


async def test_a_letter_that_now_succeeds_is_followed_by_those_it_held_in_order(db: Database) -> None:
    held, free = await open_accounts(db, 2)
    failing = Inbox(db, accounts.handlers(fail=POISON))
    await failing.receive([record(credit(held, charge)) for charge in ("poison", "b", "c")])
    await failing.receive([record(credit(held, "d")), record(credit(free, "x"))])
    assert await drain(db) == 0, "nobody asked"
    assert await mark(db, reason="refused poison") == 1
    assert await drain(db) == 4
    assert await credits_of(db, held) == ["poison", "b", "c", "d"]
    assert await dead_letters(db) == []
    assert await audited(db) == [("handled", BY)] + [("handled", "follows its predecessor")] * 3
    async with db.connection() as conn:
        said = await conn.fetchval("SELECT count(*) FROM event_log WHERE key = $1", str(held))
    assert said == 4
    await failing.receive([record(credit(held, "e"))])
    assert await credits_of(db, held) == ["poison", "b", "c", "d", "e"]


async def test_a_letter_that_fails_again_stays_with_its_new_reason_and_holds_on(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    await Inbox(db, accounts.handlers(fail=POISON)).receive(
        [record(credit(account, charge)) for charge in ("poison", "b")]
    )
    async with db.connection() as conn:
        await conn.execute("UPDATE dead_letters SET reason = 'of old' WHERE NOT waiting")
    await mark(db)
    assert await drain(db, accounts.handlers(fail=POISON)) == 1
    first, second = await found(db)
    assert (first.reason, first.redrive_at, first.waiting) == ("ValueError: refused poison", None, False)
    assert second.waiting
    assert await balances(db, [account]) == {account: 0}
    assert await audited(db) == [("failed", BY)]


async def test_a_letter_whose_write_the_database_refuses_stays_and_its_neighbours_go_through(
    db: Database,
) -> None:
    ids = await open_accounts(db, 6)
    failing = Inbox(db, accounts.handlers(fail=POISON))
    await failing.receive([record(credit(a, "poison", 10**6 if a == ids[2] else 1)) for a in ids])
    await mark(db)
    await drain(db)
    assert await balances(db, ids) == {a: 0 if a == ids[2] else 1 for a in ids}
    [letter] = await found(db)
    assert (letter.aggregate_key, "CheckViolation" in letter.reason) == (str(ids[2]), True)


async def test_garbage_stays_with_its_reason_and_mended_it_is_handled_and_its_original_kept(
    db: Database,
) -> None:
    [account] = await open_accounts(db, 1)
    good = record(credit(account, "mended"))
    odd = (("\udcff\x00name", b"\xff"), ("null", None))
    garbage = Record(good.topic, 0, 7, good.key, b"\x00{not json", (*good.headers, *odd))
    await Inbox(db, accounts.handlers()).receive([garbage])
    await mark(db)
    assert await drain(db) == 1
    [letter] = await found(db)
    assert letter.record == garbage
    assert letter.reason
    mended = Record(good.topic, 0, 7, good.key, good.value, good.headers)
    assert await letters.mend(db, "orders", letter, mended, BY)
    assert await drain(db) == 1
    assert await credits_of(db, account) == ["mended"]
    failed, handled = reversed(await letters.audit(db, "orders", letter.id))
    assert (failed["outcome"], handled["outcome"], handled["asked_by"]) == ("failed", "handled", BY)
    assert handled["original"] == {
        **letters.kept(garbage),
        "headers": [list(h) for h in garbage.kept_headers()],
    }
    await Inbox(db, accounts.handlers()).receive([good])
    assert await credits_of(db, account) == ["mended"], "the same event is not handled twice"


async def test_mended_garbage_whose_event_was_heard_meanwhile_is_not_handled_again(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    good = record(credit(account, "once"))
    await Inbox(db, accounts.handlers()).receive(
        [Record(good.topic, 0, 7, good.key, b"{", good.headers), good]
    )
    [letter] = await found(db)
    await letters.mend(db, "orders", letter, good, BY)
    await drain(db)
    assert await credits_of(db, account) == ["once"]
    assert (await found(db), await audited(db)) == ([], [("known", BY)])


async def test_mended_garbage_does_not_overtake_a_letter_of_its_key(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    late = record(credit(account, "late"))
    failing = Inbox(db, accounts.handlers(fail=POISON))
    await failing.receive(
        [Record(late.topic, 0, 7, late.key, b"{", late.headers), record(credit(account, "poison"))]
    )
    [garbage, _] = await found(db)
    await letters.mend(db, "orders", garbage, late, BY)
    await drain(db)
    assert "behind" in (await found(db))[0].reason
    await mark(db, reason="poison")
    await drain(db)
    await mark(db)
    await drain(db)
    assert await credits_of(db, account) == ["poison", "late"]
    assert await found(db) == []


async def test_a_letter_that_holds_a_key_cannot_be_mended_into_another_event(db: Database) -> None:
    mine, other = await open_accounts(db, 2)
    await Inbox(db, accounts.handlers(fail=POISON)).receive([record(credit(mine, "poison"))])
    [letter] = await found(db)
    original = record(credit(mine, "poison"), letter.event_id)
    for mended in (record(credit(mine, "x"), uuid4()), record(credit(other, "x"), letter.event_id)):
        await letters.mend(db, "orders", letter, mended, BY)
        await drain(db)
        assert "another event" in (await found(db))[0].reason
    body = record(credit(mine, "better")).value
    await letters.mend(db, "orders", letter, letters.changed(original, body=body), BY)
    await drain(db)
    assert await credits_of(db, mine) == ["better"]
    assert await balances(db, [other]) == {other: 0}


async def test_a_head_that_only_waited_follows_when_its_predecessor_was_removed_by_hand(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    await Inbox(db, accounts.handlers(fail=POISON)).receive(
        [record(credit(account, charge)) for charge in ("poison", "b", "c")]
    )
    async with db.connection() as conn:
        await conn.execute("DELETE FROM dead_letters WHERE NOT waiting")
    await drain(db)
    assert await credits_of(db, account) == ["b", "c"]


class Dies(Exception):
    """The process, at that line."""


@pytest.mark.parametrize("line", ["claim", "settle", "commit"])
async def test_a_redrive_that_dies_anywhere_happens_once(db: Database, line: str) -> None:
    [account] = await open_accounts(db, 1)
    await Inbox(db, accounts.handlers(fail=POISON)).receive(
        [record(credit(account, charge)) for charge in ("poison", "b")]
    )
    await mark(db)

    class Mortal(Redriver):
        async def _claim(self, *given: Any) -> Any:
            return self._at("claim", await super()._claim(*given))

        async def _settle(self, *given: Any) -> None:
            await super()._settle(*given)
            self._at("settle", None)

        async def round(self) -> int:
            return int(self._at("commit", await super().round()))

        def _at(self, where: str, value: Any) -> Any:
            if where == line:
                raise asyncpg.ConnectionDoesNotExistError("died")
            return value

    hearing = accounts.handlers()
    for _ in range(2):
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await Mortal(db, Inbox(db, hearing), "orders").round()
    await drain(db)
    assert await credits_of(db, account) == ["poison", "b"]
    assert await found(db) == []


async def test_new_arrivals_and_redrives_of_the_same_keys_never_overtake_lose_or_double(db: Database) -> None:
    """One consumer, three redrivers and an operator who marks everything, all at once; half the handlers' runs fail."""
    ids, each, chance = await open_accounts(db, 12), 25, random.Random(11)
    hearing = flaky(accounts.handlers(), chance, share=0.3)
    stop = asyncio.Event()

    async def consume() -> None:
        inbox = Inbox(db, hearing)
        for n in range(each):
            inbox._run_of_failures.clear()  # a failing handler is the point here, not a bad deploy
            batch = ids[:]
            chance.shuffle(batch)
            for start in range(0, len(batch), 4):
                await inbox.receive([record(credit(a, f"{n}")) for a in batch[start : start + 4]])

    async def redrive() -> None:
        own = Redriver(db, Inbox(db, hearing), "orders")
        while not stop.is_set():
            await mark(db)
            await own.round()
            await asyncio.sleep(0)

    others = [asyncio.create_task(redrive()) for _ in range(3)]
    await consume()
    stop.set()
    await asyncio.gather(*others)
    await drain_marked(db)
    for account in ids:
        assert await credits_of(db, account) == [f"{n}" for n in range(each)]
    assert await dead_letters(db) == []
    assert {outcome for outcome, _ in await audited(db)} == {"handled", "failed"}


async def drain_marked(db: Database) -> None:
    while await found(db):
        await mark(db)
        assert await drain(db)


def flaky(hearing: Handlers, chance: random.Random, share: float) -> Handlers:
    own = Handlers(hearing.consumer)
    for fact, handler in hearing.by_fact.items():

        async def handle(message: Any, tx: Any, inner: Any = handler.handle) -> None:
            await inner(message, tx)
            if chance.random() < share:
                raise ValueError("not this time")

        own.on(fact, *handler.loads)(handle)
    return own


async def test_facts_that_arrive_one_by_one_behind_a_dead_letter_do_not_stop_the_consumer(
    db: Database,
) -> None:
    [account] = await open_accounts(db, 1)
    inbox = Inbox(db, accounts.handlers(fail=POISON))
    await inbox.receive([record(credit(account, "poison"))])
    for n in range(MAX_RUN_OF_FAILURES + 5):
        await inbox.receive([record(credit(account, f"{n}"))])
    assert len(await found(db)) == MAX_RUN_OF_FAILURES + 6
    await mark(db)
    await drain(db)
    assert await credits_of(db, account) == ["poison", *(f"{n}" for n in range(MAX_RUN_OF_FAILURES + 5))]


async def test_letters_are_found_by_each_filter(db: Database) -> None:
    mine, other = await open_accounts(db, 2)
    await Inbox(db, accounts.handlers(fail=POISON)).receive(
        [record(credit(a, "poison")) for a in (mine, other)]
    )
    await Inbox(db, accounts.handlers()).receive([Record("shipment-events", 0, 1, b"\xff", b"", ())])
    first, second, garbage = await found(db)
    by: Sequence[tuple[dict[str, Any], list[int]]] = [
        ({"ids": (second.id, 10**9)}, [second.id]),
        ({"topic": "shipment-events"}, [garbage.id]),
        ({"type": "payment.fee_recorded"}, [first.id, second.id]),
        ({"key": str(other)}, [second.id]),
        ({"reason": "REFUSED"}, [first.id, second.id]),
        ({"since": second.failed_at, "key": str(mine)}, [first.id]),
        ({"topic": "payment-events", "type": "order.paid"}, []),
    ]
    for wanted, ids in by:
        assert [letter.id for letter in await found(db, **wanted)] == ids
    assert [letter.id for letter in await letters.find(db, "orders", Filter(), 2)] == [first.id, second.id]
    assert await letters.find(db, "payments", Filter(), 2) == []
