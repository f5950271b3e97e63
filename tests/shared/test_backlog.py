"""The gauges say what is in the database, cheaply."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from prometheus_client import REGISTRY

from shared import backlog
from shared.backlog import Backlog
from shared.commands import execute
from shared.db import Database
from shared.inbox import Inbox, Record
from shared.jobs import Job, Jobs
from shared.tx import Tx
from support import accounts
from support.accounts import ACCOUNTS, credit, open_accounts, record


def gauge(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(f"ordermesh_{name}", {"service": "orders", **labels})
    assert value is not None, name
    return value


async def nothing(_: Job) -> None:
    return None


async def record_nothing(_: Job, __: None, ___: Tx) -> None:
    pass


def jobs() -> Jobs:
    known = Jobs()
    known.call("a.call", nothing, record_nothing)
    known.call("b.call", nothing, record_nothing)
    return known


async def test_every_gauge_says_what_waits(db: Database) -> None:
    held, other = await open_accounts(db, 2)

    async def say(tx: Tx) -> str:
        tx.emit(credit(other, "1"), credit(other, "2"))
        return ""

    await execute(db, "orders", say, (ACCOUNTS, [str(other)]), correlation_id="t")
    before = datetime.now(UTC).timestamp()
    failing = Inbox(db, accounts.handlers(fail=frozenset({"poison"})))
    await failing.receive(
        [record(credit(held, "poison")), record(credit(held, "b")), record(credit(other, "c"))]
    )
    await failing.receive([Record("payment-events", 0, n, None, b"", ()) for n in range(3)])
    due = datetime.now(UTC) - timedelta(minutes=5)
    async with db.connection() as conn:
        insert = (
            "INSERT INTO jobs (id, kind, key, payload, due_at, first_due_at, attempts, last_error, lease_until, correlation_id)"
            " VALUES ($1, $2, 'k', '{}', $3, $3, $4, $5, $6, '')"
        )
        await conn.execute(insert, uuid4(), "a.call", due, 0, None, None)
        await conn.execute(insert, uuid4(), "a.call", due, 1, "no answer", None)
        await conn.execute(insert, uuid4(), "a.call", due, 1, None, due)
        await conn.execute(insert, uuid4(), "a.call", due, 1, None, datetime.now(UTC) + timedelta(minutes=1))
    await Backlog(db, "orders", jobs()).refresh()
    assert gauge("outbox_pending") == 3
    assert 0 <= gauge("outbox_age_seconds") < 60
    assert gauge("inbox_newest_timestamp_seconds") >= before - 1
    assert gauge("held_keys") == 1
    assert gauge("dead_letters_held", topic="payment-events", blocking="true") == 2
    assert gauge("dead_letters_held", topic="payment-events", blocking="false") == 3
    assert gauge("dead_letters_held", topic="catalog-skus", blocking="false") == 0
    assert 300 <= gauge("jobs_due_age_seconds", kind="a.call") < 400
    assert gauge("jobs_due_age_seconds", kind="b.call") == 0
    assert gauge("jobs_unknown", kind="a.call") == 2
    handled = REGISTRY.get_sample_value(
        "ordermesh_last_handled_timestamp_seconds", {"consumer": "orders", "topic": "payment-events"}
    )
    assert handled is not None
    assert handled >= before


async def test_a_scrape_right_after_another_asks_nothing_and_one_without_a_database_changes_nothing(
    db: Database,
) -> None:
    [account] = await open_accounts(db, 1)
    shown = Backlog(db, "orders", jobs())
    await shown.refresh()
    assert gauge("held_keys") == 0
    await Inbox(db, accounts.handlers(fail=frozenset({"poison"}))).receive(
        [record(credit(account, "poison"))]
    )
    await shown.refresh()
    assert gauge("held_keys") == 0
    shown._read_at -= backlog.CACHE_SECONDS
    await shown.refresh()
    assert gauge("held_keys") == 1
    away = Backlog(Database("postgresql://u:p@127.0.0.1:1/orders"), "orders", jobs())
    await away.refresh()
    assert gauge("held_keys") == 1
