"""The one statement that writes what a batch has changed."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from orders.tables import customers
from shared.db import Database
from shared.flush import ConcurrentUpdate, flush, load
from shared.tx import Cause, Tx
from support.accounts import ACCOUNTS, balances, open_accounts

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def a_tx() -> Tx:
    return Tx("test", NOW, Cause("c", "c"))


async def test_a_row_that_changed_under_our_lock_undoes_all_of_the_batch(db: Database) -> None:
    accounts = await open_accounts(db, 2)
    tx = a_tx()

    async def batch() -> None:
        async with db.transaction() as conn:
            await load(conn, tx, {ACCOUNTS: set(map(str, accounts))})
            for each in accounts:
                tx.save(ACCOUNTS, replace(tx.get(ACCOUNTS, each), balance=5))
            await conn.execute("UPDATE accounts SET version = version + 1 WHERE id = $1", accounts[0])
            await flush(conn, tx)

    with pytest.raises(ConcurrentUpdate, match="updated_accounts: 1 rows, expected 2"):
        await batch()
    assert await balances(db, accounts) == dict.fromkeys(accounts, 0)


async def test_what_a_row_does_not_say_stays_as_it_was(db: Database) -> None:
    """Rows of one table that name other columns, and one of a key that comes twice, in one batch."""
    ann, bob = UUID(int=1), UUID(int=2)
    await written(db, {"id": ann, "name": "Ann", "phone": "+1"}, {"id": bob, "name": "Bob", "phone": "+2"})
    await written(
        db,
        {"id": ann, "name": "Ann Lee"},
        {"id": bob, "name": "Rob", "phone": "+3"},
        {"id": bob, "name": "B"},
    )
    async with db.connection() as conn:
        rows = await conn.fetch("SELECT id, name, phone FROM customers ORDER BY id")
    assert [(row["id"], row["name"], row["phone"]) for row in rows] == [
        (ann, "Ann Lee", "+1"),
        (bob, "B", "+3"),
    ]


AWKWARD = ("null", r"C:\u0000", 'say "hi"', "tab\tand\nline", "\u2028 \U0001f600", "{}", "$1", "\\", "")


@pytest.mark.parametrize("text", AWKWARD)
async def test_any_text_arrives_as_it_was(db: Database, text: str) -> None:
    known = uuid4()
    await written(db, {"id": known, "name": text, "email": None})
    async with db.connection() as conn:
        assert await conn.fetchval("SELECT name FROM customers WHERE id = $1", known) == text
        assert await conn.fetchval("SELECT email IS NULL FROM customers WHERE id = $1", known)


async def written(db: Database, *rows: dict[str, object]) -> None:
    tx = a_tx()
    for row in rows:
        tx.upsert(customers, **row, updated_at=NOW)
    async with db.connection() as conn:
        await flush(conn, tx)
