"""A mutation is safe to repeat: beside itself, after itself, and with other arguments under the same key."""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from shared.commands import Command, Locking, Once, execute, execute_prepared
from shared.contracts.catalog import SkuListed
from shared.db import Database
from shared.errors import Code, Refusal
from shared.tx import NotLocked, Tx
from support.accounts import ACCOUNTS, Account, balances, credit, open_accounts


def deposit(account: UUID, amount: int) -> Command:
    async def command(tx: Tx) -> str:
        known = tx.get(ACCOUNTS, account)
        if known.balance + amount > 100:
            raise Refusal(Code.BAD_INPUT, "that is too much", balance=known.balance)
        tx.save(ACCOUNTS, replace(known, balance=known.balance + amount))
        return str(account)

    return command


async def pay_in(db: Database, account: UUID, amount: int, key: str | None = None) -> str:
    once = Once("ann", key, "deposit", {"amount": amount}) if key else None
    return await execute(
        db, "test", deposit(account, amount), (ACCOUNTS, [str(account)]), correlation_id="t", once=once
    )


async def test_twenty_twins_under_one_key_have_one_effect_and_one_answer(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    answers = await asyncio.gather(*(pay_in(db, account, 7, "k1") for _ in range(20)))
    assert set(answers) == {str(account)}
    assert await balances(db, [account]) == {account: 7}


async def test_without_a_key_concurrent_commands_wait_for_one_another_and_all_count(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    await asyncio.gather(*(pay_in(db, account, 2) for _ in range(20)))
    assert await balances(db, [account]) == {account: 40}


async def test_other_arguments_under_the_same_key_are_a_conflict(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    await pay_in(db, account, 7, "k1")
    with pytest.raises(Refusal) as refused:
        await pay_in(db, account, 8, "k1")
    assert refused.value.code is Code.IDEMPOTENCY_CONFLICT
    assert await balances(db, [account]) == {account: 7}


async def test_what_a_preparation_names_is_locked_before_its_command_runs(db: Database) -> None:
    [account] = await open_accounts(db, 1)

    async def prepare() -> Locking:
        return Locking(deposit(account, 2), ((ACCOUNTS, [str(account)]),))

    prepared = (execute_prepared(db, "test", prepare, correlation_id="t") for _ in range(20))
    assert set(await asyncio.gather(*prepared)) == {str(account)}
    assert await balances(db, [account]) == {account: 40}


async def test_a_repeat_is_answered_as_before_whatever_its_preparation_finds_now(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    open_for_business = True

    async def prepare() -> Command:
        if not open_for_business:
            raise Refusal(Code.SKU_UNAVAILABLE, "sold out")
        return insert

    async def insert(tx: Tx) -> str:
        tx.add(ACCOUNTS, Account(tx.new_id(), balance=7))
        return str(account)

    async def order(key: str) -> str:
        return await execute_prepared(
            db, "test", prepare, correlation_id="t", once=Once("ann", key, "order", {})
        )

    assert await order("k1") == str(account)
    open_for_business = False
    assert await order("k1") == str(account)
    with pytest.raises(Refusal):
        await order("k2")
    open_for_business = True
    with pytest.raises(Refusal) as remembered:
        await order("k2")
    assert remembered.value.code is Code.SKU_UNAVAILABLE


async def test_a_refusal_is_remembered_with_its_details(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    with pytest.raises(Refusal):
        await pay_in(db, account, 101, "k1")
    await pay_in(db, account, 50)
    with pytest.raises(Refusal) as again:
        await pay_in(db, account, 101, "k1")
    assert (again.value.code, again.value.details) == (Code.BAD_INPUT, {"balance": 0})


async def test_the_same_key_of_another_caller_is_another_key(db: Database) -> None:
    [account] = await open_accounts(db, 1)
    await pay_in(db, account, 7, "k1")
    other = Once("bob", "k1", "deposit", {"amount": 7})
    await execute(db, "test", deposit(account, 7), (ACCOUNTS, [str(account)]), correlation_id="t", once=other)
    assert await balances(db, [account]) == {account: 14}


async def test_a_fact_about_an_aggregate_that_is_not_locked_cannot_be_said(db: Database) -> None:
    [account] = await open_accounts(db, 1)

    async def command(tx: Tx) -> str:
        tx.emit(credit(account, "x"))
        return str(account)

    with pytest.raises(NotLocked):
        await execute(db, "test", command, correlation_id="t")


async def test_a_fact_that_tells_all_of_its_aggregate_is_said_without_a_lock(db: Database) -> None:
    sku = SkuListed(
        sku_id="A", product_id="P", name="A", price=1, shipping_price=0, currency="USD", weight_grams=1
    )

    async def command(tx: Tx) -> str:
        tx.emit(sku)
        return sku.sku_id

    assert await execute(db, "test", command, correlation_id="t") == "A"
