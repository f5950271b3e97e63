"""The operators' verbs as they are typed, on a real database."""

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from orders.domain import Refund, RefundStatus
from orders.status import OrderStatus
from orders.store import ORDERS, OVERDUE
from shared import operations
from shared.commands import execute
from shared.db import Database
from shared.inbox import Inbox, Record
from shared.redrive import Redriver
from shared.tx import Tx
from support import accounts
from support.accounts import ACCOUNTS, balances, credit, open_accounts, record
from support.orders import an_order

LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)
CANARY = "ann.canary@example.com"


async def spoken(db: Database, words: str, *more: str) -> str:
    """What `python -m orders <words>` prints. Raises OperatorError."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    commands = parser.add_subparsers()
    operations.add_verbs(commands)
    operations.add_stuck(commands)
    return (await operations.run(parser.parse_args([*words.split(), *more]), "orders", db.url)).decode()


async def two_letters(db: Database) -> UUID:
    """A valid fact that failed, with one behind it, and garbage with something personal in it."""
    [account] = await open_accounts(db, 1)
    inbox = Inbox(db, accounts.handlers(fail=frozenset({"poison"})))
    await inbox.receive([record(credit(account, "poison")), record(credit(account, "behind"))])
    personal = (("ce_type", f"\x1b[31m{CANARY}".encode()), ("x-name", b"Ann Canary"))
    await inbox.receive([Record("payment-events", 2, 9, CANARY.encode(), b"Ann Canary", personal)])
    return account


async def test_letters_are_listed_and_shown_without_what_may_be_personal(db: Database) -> None:
    account = await two_letters(db)
    listed = (await spoken(db, "dlq list")).splitlines()
    assert [line.split("  ")[5] for line in listed] == ["holds its key", "waits", "holds nothing"]
    assert str(account) in listed[0]
    assert "refused poison" in listed[0]
    number = listed[2].split("  ")[0]
    shown = await spoken(db, f"dlq show {number}")
    for text in ("\n".join(listed), shown):
        assert "anary" not in text
        assert "\x1b" not in text
    assert await spoken(db, f"dlq show {number} --body") == "Ann Canary"
    assert "x-name: 10 bytes" in shown
    with pytest.raises(operations.OperatorError, match="no dead letter 999999"):
        await spoken(db, "dlq show 999999")


async def test_a_dry_run_shows_and_does_nothing_and_the_verb_marks(db: Database) -> None:
    account = await two_letters(db)
    dry = await spoken(db, "dlq redrive --reason poison --dry-run")
    assert dry.splitlines()[-1] == "1 would be redriven"
    redriver = Redriver(db, Inbox(db, accounts.handlers()), "orders")
    assert await redriver.round() == 0
    assert await spoken(db, "dlq redrive --reason poison --by eve") == "1 will be redriven\n"
    assert await spoken(db, "dlq redrive --reason poison") == "0 will be redriven, 1 were asked for before\n"
    assert "redrive asked by eve" in await spoken(db, "dlq list --reason poison")
    while await redriver.round():
        pass
    assert await balances(db, [account]) == {account: 2}
    assert len((await spoken(db, "dlq list")).splitlines()) == 1


async def test_a_redrive_of_nothing_in_particular_is_refused_and_all_is_said(db: Database) -> None:
    await two_letters(db)
    with pytest.raises(operations.OperatorError, match="--all"):
        await spoken(db, "dlq redrive")
    assert await spoken(db, "dlq redrive --all --limit 2") == "2 will be redriven\n"


async def test_a_letter_is_mended_from_a_file_and_its_original_shown_with_what_came_of_it(
    db: Database, tmp_path: Path
) -> None:
    [account] = await open_accounts(db, 1)
    good = record(credit(account, "good", 7))
    bad = replace(good, value=b"{", key=b"other", headers=tuple(h for h in good.headers if h[0] != "ce_type"))
    inbox = Inbox(db, accounts.handlers())
    await inbox.receive([bad])
    [line] = (await spoken(db, "dlq list")).splitlines()
    number, file = line.split("  ")[0], tmp_path / "body"
    file.write_bytes(good.value or b"")
    mending = ("--body", str(file), "--new-key", str(account), "--header", "ce_type=payment.fee_recorded")
    with pytest.raises(operations.OperatorError, match="one at a time"):
        await spoken(db, "dlq redrive --all", *mending)
    assert "is mended" in await spoken(db, f"dlq redrive {number} --by eve", *mending)
    assert "mended: " in await spoken(db, f"dlq show {number}")
    await Redriver(db, inbox, "orders").round()
    assert await balances(db, [account]) == {account: 7}
    assert "by eve: handled" in await spoken(db, f"dlq show {number}")


async def test_lag_and_replay(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    assert await spoken(db, "outbox lag") == "0 to send\n"

    async def say(tx: Tx) -> str:
        tx.emit(*(credit(account, f"{n}") for n in range(3)))
        return ""

    await execute(db, "orders", say, (ACCOUNTS, [str(account)]), correlation_id="t")
    assert (await spoken(db, "outbox lag")).startswith("3 to send, the first said 20")
    async with db.connection() as conn:
        await conn.execute("DELETE FROM outbox_pending")
    for days in ("0", "-1", "x"):
        with pytest.raises(SystemExit):
            await spoken(db, f"outbox replay --days={days}")
    assert await spoken(db, "outbox replay --days 1") == "3 events of the last 1 day will be sent again\n"
    assert (await spoken(db, "outbox lag")).startswith("3 to send")


async def test_what_is_stuck_says_what_it_waits_for_and_since_when(db: Database) -> None:
    account = await two_letters(db)
    kinds = [await placed(db, **changes) for changes in WAITING.values()]
    await placed(db, status=OrderStatus.SHIPPED, paid_at=LONG_AGO, payment_intent_id="pi_1")
    async with db.connection() as conn:
        insert = (
            "INSERT INTO jobs (id, kind, key, payload, state, due_at, first_due_at, attempts, last_error, correlation_id)"
            " VALUES ($1, $2, 'o-9', '{}', $3, $4, $5, 7, 'boom', '')"
        )
        await conn.execute(insert, uuid4(), "stripe.refund", "failed", LONG_AGO, LONG_AGO)
        await conn.execute(insert, uuid4(), "stripe.intent", "due", LONG_AGO, LONG_AGO)
        await conn.execute(insert, uuid4(), "orders.unpaid", "due", LONG_AGO + timedelta(days=9999), LONG_AGO)
    told = await spoken(db, "stuck", "--after", "1m")
    lines = told.splitlines()
    assert len(lines) == len(WAITING) + 3
    for what, order_id in zip(WAITING, kinds, strict=True):
        assert [line for line in lines if str(order_id) in line and f"waits for {what}" in line]
    assert [line for line in lines if str(account) in line and "refused poison" in line]
    assert [line for line in lines if "stripe.refund was given up: boom" in line]
    assert [line for line in lines if "stripe.intent is overdue after 7 attempts: boom" in line]
    assert "refused poison" in await spoken(db, "stuck", "--after", "9999d")


async def test_what_was_given_up_is_tried_again_when_an_operator_says_so(db: Database) -> None:
    insert = (
        "INSERT INTO jobs (id, kind, key, payload, state, due_at, first_due_at, attempts, last_error, correlation_id)"
        " VALUES ($1, $2, $3, '{}', $4, $5, $5, 7, 'boom', '')"
    )
    async with db.connection() as conn:
        for kind, key, state in (
            ("a.kind", "o-1", "failed"),
            ("b.kind", "o-2", "failed"),
            ("a.kind", "o-3", "done"),
        ):
            await conn.execute(insert, uuid4(), kind, key, state, LONG_AGO)
    listed = (await spoken(db, "jobs list")).splitlines()
    assert ["a.kind" in listed[0], "o-2" in listed[1], len(listed)] == [True, True, 2]
    assert "7 attempts: boom" in listed[0]
    with pytest.raises(operations.OperatorError, match="say which"):
        await spoken(db, "jobs retry")
    dry = await spoken(db, "jobs retry --kind a.kind --dry-run")
    assert dry.splitlines()[-1] == "1 job would be tried again"
    assert await spoken(db, "jobs retry --kind a.kind") == "1 job will be tried again\n"
    assert await spoken(db, "jobs retry --kind a.kind") == "0 jobs will be tried again\n"
    async with db.connection() as conn:
        [job] = await conn.fetch("SELECT * FROM jobs WHERE state = 'due'")
    assert (job["key"], job["attempts"], job["first_due_at"] > LONG_AGO) == ("o-1", 7, True)
    assert await spoken(db, "jobs retry --all") == "1 job will be tried again\n"
    assert await spoken(db, "jobs list") == "0 jobs were given up\n"


_REFUND = Refund(uuid4(), 100, "broken", RefundStatus.REQUESTED, LONG_AGO)
WAITING: dict[str, dict[str, Any]] = dict(
    zip(
        OVERDUE,
        (
            {},
            {"payment_processing": True, "payment_intent_id": "pi_2"},
            {"status": OrderStatus.PROCESSING, "paid_at": LONG_AGO, "captured": 500},
            {"status": OrderStatus.SHIPPED, "captured": 500, "refunds": (_REFUND,)},
        ),
        strict=True,
    )
)


async def placed(db: Database, **changes: Any) -> UUID:
    """Somebody wrote a note just now, which is nothing that it waits for."""
    order = an_order(created_at=LONG_AGO, updated_at=datetime.now(UTC), **changes)

    async def command(tx: Tx) -> str:
        tx.add(ORDERS, order)
        return str(order.id)

    await execute(db, "orders", command, correlation_id="t")
    return order.id


INDEXES = ("orders_status", "orders_payment_processing", "orders_unshipped", "orders_refund_requested")


@pytest.mark.parametrize(("what", "index"), list(zip(OVERDUE, INDEXES, strict=True)))
async def test_what_waits_is_found_by_its_index(db: Database, what: str, index: str) -> None:
    _, since, condition = OVERDUE[what]
    async with db.connection() as conn, conn.transaction():
        await conn.execute("SET LOCAL enable_seqscan = off")
        query = (
            f"EXPLAIN SELECT id FROM orders WHERE {condition} AND {since} < now() ORDER BY {since} LIMIT 9"  # noqa: S608 - constants of the module under test
        )
        plan = "\n".join(row["QUERY PLAN"] for row in await conn.fetch(query))
    assert f"using {index} " in plan or f"on {index} " in plan


async def test_the_verbs_need_the_database_alone(db: Database) -> None:
    """As an operator types it in a service's container; the service's own settings are not asked for."""
    await two_letters(db)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orders", "dlq", "list"),
        env={**environment, "DATABASE_URL": db.url},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert (process.returncode, len(out.splitlines())) == (0, 3)


async def test_a_database_that_is_away_is_said_in_a_sentence(db: Database) -> None:
    away = Database("postgresql://u:p@127.0.0.1:1/orders")
    with pytest.raises(operations.OperatorError, match="the database of orders cannot be reached"):
        await spoken(away, "outbox lag")
    await away.close()
