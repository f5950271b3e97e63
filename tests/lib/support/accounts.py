"""A small aggregate of its own for the plumbing's tests: an account that facts credit, on a table beside the plumbing's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from shared.contracts.envelope import Envelope, Fact
from shared.contracts.payments import PaymentFeeRecorded
from shared.contracts.topics import topic_of
from shared.db import Database
from shared.handlers import Handlers
from shared.inbox import Record
from shared.mapping import Mapping
from shared.tx import Tx

CREATE = """
CREATE TABLE accounts (
    id uuid PRIMARY KEY, version integer NOT NULL, balance integer NOT NULL CHECK (balance < 1000000),
    credits jsonb NOT NULL
)
"""
accounts = Table(
    "accounts",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("balance", Integer, CheckConstraint("balance < 1000000"), nullable=False),
    Column("credits", JSONB, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Account:
    id: UUID
    version: int = 1
    balance: int = 0
    credits: tuple[str, ...] = ()


ACCOUNTS: Mapping[Account] = Mapping(accounts, Account, decode={"credits": tuple})


def handlers(*, fail: frozenset[str] = frozenset()) -> Handlers:
    """Credits accounts; a fact whose charge_id is in `fail` makes the handler raise after it has written."""
    hearing = Handlers("orders")

    @hearing.on(PaymentFeeRecorded, ACCOUNTS)
    async def on_fee(fact: PaymentFeeRecorded, tx: Tx) -> None:
        account = tx.get(ACCOUNTS, fact.order_id)
        credited = replace(
            account, balance=account.balance + fact.amount, credits=(*account.credits, fact.charge_id)
        )
        tx.save(ACCOUNTS, credited)
        tx.emit(fact)
        if fact.charge_id in fail:
            raise ValueError(f"refused {fact.charge_id}")

    return hearing


def credit(account: UUID, charge: str, amount: int = 1) -> PaymentFeeRecorded:
    return PaymentFeeRecorded(order_id=account, currency="USD", amount=amount, charge_id=charge)


_offset = iter(range(10**9))


def record(fact: Fact, event_id: UUID | None = None, topic: str = "") -> Record:
    """The fact as a broker would deliver it."""
    envelope = Envelope(
        event_id or uuid4(), fact.type, fact.version, "payments", fact.key, datetime.now(UTC), "test", ""
    )
    headers = tuple((name, value.encode()) for name, value in envelope.headers().items())
    return Record(
        topic or topic_of(type(fact)).name,
        0,
        next(_offset),
        fact.key.encode(),
        fact.model_dump_json().encode(),
        headers,
    )


async def open_accounts(db: Database, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    async with db.connection() as conn:
        await conn.execute(CREATE)
        await conn.execute(
            "INSERT INTO accounts SELECT id, 1, 0, '[]'::jsonb FROM unnest($1::uuid[]) AS id", ids
        )
    return ids


async def balances(db: Database, ids: Sequence[UUID]) -> dict[UUID, int]:
    async with db.connection() as conn:
        rows = await conn.fetch("SELECT id, balance FROM accounts WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: row["balance"] for row in rows}


async def dead_letters(db: Database) -> list[dict[str, object]]:
    async with db.connection() as conn:
        return [dict(row) for row in await conn.fetch("SELECT * FROM dead_letters ORDER BY id")]
