"""Hearing facts exactly once, on a real database."""

import asyncio
import random
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from shared.contracts.catalog import SkuListed
from shared.db import Database
from shared.handlers import StopConsuming
from shared.inbox import MAX_RUN_OF_FAILURES, Inbox, Record
from shared.tx import Tx
from support import accounts
from support.accounts import balances, credit, dead_letters, open_accounts, record


async def test_a_fact_delivered_again_in_the_batch_or_later_counts_once(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    inbox, once = Inbox(db, accounts.handlers()), record(credit(account, "ch_1", 5))
    await inbox.receive([once, once])
    await inbox.receive([once])
    assert await balances(db, [account]) == {account: 5}


async def test_what_a_batch_says_is_in_the_outbox_in_order(db: Database) -> None:
    ids = await open_accounts(db, 3)
    records = [record(credit(account, f"{n}")) for n in range(5) for account in ids]
    await Inbox(db, accounts.handlers()).receive(records)
    async with db.connection() as conn:
        rows = await conn.fetch(
            "SELECT e.key, convert_from(e.body, 'utf8')::jsonb ->> 'charge_id' AS n"
            " FROM outbox_pending p JOIN event_log e USING (day, id) ORDER BY p.id"
        )
    assert [(row["key"], row["n"]) for row in rows] == [(str(a), f"{n}") for n in range(5) for a in ids]


async def test_a_failing_fact_is_undone_and_holds_only_its_own_key_back(db: Database) -> None:
    good, bad = await open_accounts(db, 2)
    inbox = Inbox(db, accounts.handlers(fail=frozenset({"poison"})))
    await inbox.receive(
        [
            record(credit(bad, "before", 1)),
            record(credit(good, "a", 10)),
            record(credit(bad, "poison", 100)),
            record(credit(bad, "behind", 100)),
            record(credit(good, "b", 10)),
        ]
    )
    await inbox.receive([record(credit(bad, "later", 100)), record(credit(good, "c", 10))])
    assert await balances(db, [good, bad]) == {good: 30, bad: 1}
    letters = await dead_letters(db)
    assert [letter["aggregate_key"] for letter in letters] == [str(bad)] * 3
    assert str(letters[0]["reason"]) == "ValueError: refused poison"
    assert all("behind" in str(letter["reason"]) for letter in letters[1:])
    async with db.connection() as conn:
        said = await conn.fetchval("SELECT count(*) FROM event_log WHERE body LIKE '%poison%'::bytea")
    assert said == 0


async def test_a_row_that_the_database_refuses_is_found_and_the_rest_of_its_batch_goes_through(
    db: Database,
) -> None:
    ids = await open_accounts(db, 20)
    records = [record(credit(account, "x", 10**6 if n == 13 else 7)) for n, account in enumerate(ids)]
    await Inbox(db, accounts.handlers()).receive(records)
    expected = {account: 0 if n == 13 else 7 for n, account in enumerate(ids)}
    assert await balances(db, ids) == expected
    [letter] = await dead_letters(db)
    assert "CheckViolation" in str(letter["reason"])


@pytest.mark.parametrize("charge", [r"a\u0000", r"a\\u0000"])
async def test_a_text_that_spells_a_null_character_is_a_text(db: Database, charge: str) -> None:
    [account] = await open_accounts(db, 1)
    await Inbox(db, accounts.handlers()).receive([record(credit(account, charge, 5))])
    assert await balances(db, [account]) == {account: 5}


@pytest.mark.parametrize("charge", ["a\x00", "a\\\x00"])
async def test_a_null_character_is_garbage(db: Database, charge: str) -> None:
    [account] = await open_accounts(db, 1)
    await Inbox(db, accounts.handlers()).receive([record(credit(account, charge, 5))])
    [letter] = await dead_letters(db)
    assert "null character" in str(letter["reason"])


async def test_a_value_that_fits_no_column_is_its_facts_fault_and_not_the_databases(db: Database) -> None:
    good, bad = await open_accounts(db, 2)
    await Inbox(db, accounts.handlers()).receive(
        [record(credit(bad, "x", 10**12)), record(credit(good, "y", 7))]
    )
    assert await balances(db, [good, bad]) == {good: 7, bad: 0}
    [letter] = await dead_letters(db)
    assert "NumericValueOutOfRange" in str(letter["reason"])


_HEADERS = dict(record(credit(uuid4(), "h")).headers)
_GARBAGE: dict[str, dict[str, Any]] = {
    "a null body": {"value": None},
    "a body that is no JSON": {"value": b"\x00\xff{"},
    "a deep JSON body": {"value": b"[" * 5000 + b"]" * 5000},
    "a body of another shape": {"value": b'{"order_id": 7}'},
    "a null header": {"headers": {**_HEADERS, "ce_id": None}},
    "a header that is not UTF-8": {"headers": {**_HEADERS, "x": b"\xff\xfe"}},
    "no headers": {"headers": {}},
    "an id that is none": {"headers": {**_HEADERS, "ce_id": b"7"}},
    "a null character in a text": {"value": b'{"order_id": "a\\u0000b", "currency": "USD"}'},
    "a fact of another topic's owner": {
        "headers": {**_HEADERS, "ce_type": b"order.paid", "ce_dataschema": b"ordermesh:order.paid/v1"}
    },
    "an unknown type": {"headers": {**_HEADERS, "ce_type": b"payment.dreamt"}},
    "an unknown version": {"headers": {**_HEADERS, "ce_dataschema": b"ordermesh:payment.fee_recorded/v99"}},
}


@pytest.mark.parametrize("what", _GARBAGE)
async def test_garbage_lies_in_the_dead_letters_byte_by_byte_and_blocks_nothing(
    db: Database, what: str
) -> None:
    [account] = await open_accounts(db, 1)
    good = record(credit(account, "good"))
    changed: dict[str, Any] = {"value": good.value, "headers": dict(good.headers), **_GARBAGE[what]}
    headers = tuple(changed["headers"].items())
    garbage = Record(good.topic, 3, 77, b"\xff", changed["value"], headers)
    inbox = Inbox(db, accounts.handlers())
    await inbox.receive([record(credit(account, "1")), garbage, record(credit(account, "2"))])
    await inbox.receive([garbage])
    assert await balances(db, [account]) == {account: 2}
    [letter] = await dead_letters(db)
    assert (letter["key"], letter["body"], letter["offset"]) == (b"\xff", garbage.value, 77)
    assert letter["headers"] == [list(header) for header in garbage.kept_headers()]
    assert letter["blocks_key"] is False
    assert letter["reason"]


async def test_a_fact_that_this_service_does_not_act_on_is_passed_over(db: Database) -> None:
    headers = {**_HEADERS, "ce_type": b"order.delivered", "ce_dataschema": b"ordermesh:order.delivered/v1"}
    await Inbox(db, accounts.handlers()).receive(
        [Record("order-events", 0, 1, b"k", b"{}", tuple(headers.items()))]
    )
    assert await dead_letters(db) == []


async def test_valid_facts_failing_one_after_the_other_stop_the_consumer_and_lose_nothing(
    db: Database,
) -> None:
    ids = await open_accounts(db, MAX_RUN_OF_FAILURES + 5)
    records = [record(credit(account, "poison", 3)) for account in ids]
    with pytest.raises(StopConsuming):
        await Inbox(db, accounts.handlers(fail=frozenset({"poison"}))).receive(records)
    assert await dead_letters(db) == []
    await Inbox(db, accounts.handlers()).receive(records)
    assert set((await balances(db, ids)).values()) == {3}


async def test_good_facts_of_one_topic_do_not_hide_that_all_of_another_fail(db: Database) -> None:
    ids = await open_accounts(db, MAX_RUN_OF_FAILURES)
    hearing = accounts.handlers(fail=frozenset({"poison"}))
    hearing.on(SkuListed)(_noted)
    inbox = Inbox(db, hearing)
    for account in ids[1:]:
        await inbox.receive([record(credit(account, "poison"))])
        await inbox.receive([record(_SKU)])
    with pytest.raises(StopConsuming):
        await inbox.receive([record(credit(ids[0], "poison"))])
    assert len(await dead_letters(db)) == MAX_RUN_OF_FAILURES - 1


_SKU = SkuListed(
    sku_id="a", product_id="a", name="a", price=1, shipping_price=0, currency="USD", weight_grams=1
)


async def _noted(_: SkuListed, __: Tx) -> None:
    pass


async def test_a_fact_under_another_key_is_not_believed(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    good = record(credit(account, "1"))
    await Inbox(db, accounts.handlers()).receive([replace(good, key=b"another")])
    [letter] = await dead_letters(db)
    assert "key" in str(letter["reason"])
    assert await balances(db, [account]) == {account: 0}


async def test_a_schema_that_does_not_fit_stops_the_consumer_and_buries_nothing(db: Database) -> None:
    ids = await open_accounts(db, 3)
    async with db.connection() as conn:
        await conn.execute("ALTER TABLE accounts RENAME credits TO credited")
    with pytest.raises(StopConsuming):
        await Inbox(db, accounts.handlers()).receive([record(credit(account, "1")) for account in ids])
    assert await dead_letters(db) == []


async def test_rows_that_the_database_refuses_one_after_the_other_stop_the_consumer(db: Database) -> None:
    ids = await open_accounts(db, MAX_RUN_OF_FAILURES + 10)
    with pytest.raises(StopConsuming):
        await Inbox(db, accounts.handlers()).receive([record(credit(account, "x", 10**6)) for account in ids])
    assert len(await dead_letters(db)) == MAX_RUN_OF_FAILURES - 1


async def test_a_dead_letters_reason_does_not_quote_the_row(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    await Inbox(db, accounts.handlers()).receive([record(credit(account, "canary", 10**6))])
    [letter] = await dead_letters(db)
    assert "canary" not in str(letter["reason"])
    assert "accounts_balance_check" in str(letter["reason"])


async def test_two_consumers_with_overlapping_accounts_never_deadlock_and_lose_nothing(db: Database) -> None:
    ids = await open_accounts(db, 200)
    shuffle = random.Random(7)

    async def consume(name: str) -> None:
        inbox = Inbox(db, accounts.handlers())
        for batch in range(25):
            mixed = ids[:]
            shuffle.shuffle(mixed)
            await inbox.receive([record(credit(account, f"{name}{batch}")) for account in mixed])

    async with db.connection() as conn:
        before = await conn.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    await asyncio.gather(consume("a"), consume("b"))
    async with db.connection() as conn:
        await conn.execute("SELECT pg_stat_force_next_flush()")
        after = await conn.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    assert set((await balances(db, ids)).values()) == {50}
    assert await dead_letters(db) == []
    assert after == before


async def test_a_batch_locks_its_accounts_in_the_order_of_their_ids(db: Database) -> None:
    """It stands before one that is locked: it holds all before that, and none behind."""
    ids = sorted(await open_accounts(db, 20))
    mixed = random.Random(7).sample(ids, len(ids))
    async with db.transaction() as blocker:
        await blocker.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", ids[10])
        receiving = asyncio.create_task(
            Inbox(db, accounts.handlers()).receive([record(credit(account, "1")) for account in mixed])
        )
        async with asyncio.timeout(30), db.connection() as conn:
            while not await conn.fetchval(_WAITS):
                await asyncio.sleep(0.02)
            rows = await conn.fetch("SELECT id FROM accounts ORDER BY id FOR UPDATE SKIP LOCKED")
    await receiving
    assert [row["id"] for row in rows] == ids[11:]
    assert set((await balances(db, ids)).values()) == {1}


_WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
