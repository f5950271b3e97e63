"""Orders hearing facts on a real database: what it then says and keeps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from orders.deadlines import UNPAID, deadlines
from orders.domain import Order
from orders.handlers import handlers
from orders.life import commands
from orders.store import ORDERS, orders_by_id, skus_for, timelines
from shared.commands import execute
from shared.contracts.catalog import SkuListed
from shared.contracts.payments import PaymentCaptured, PaymentProcessing, PaymentRefunded, PaymentSettled
from shared.db import Database
from shared.inbox import Inbox
from shared.tx import Tx
from shared.worker import Worker
from support.accounts import record
from support.orders import NOW, SHOPPER, STAFF, an_order


@pytest.fixture
async def db(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[Database]:
    database = Database((await fresh_databases("orders"))["orders"])
    await database.open()
    yield database
    await database.close()


async def placed(db: Database) -> Order:
    order = an_order()

    async def command(tx: Tx) -> str:
        tx.add(ORDERS, order)
        tx.request(UNPAID, order.id)
        return str(order.id)

    await execute(db, "orders", command, correlation_id="t")
    return order


async def cancel(db: Database, order: Order) -> None:
    await execute(
        db,
        "orders",
        lambda tx: commands.cancel(str(order.id), SHOPPER, "changed my mind", tx),
        (ORDERS, [str(order.id)]),
        correlation_id="t",
    )


async def said(db: Database) -> list[str]:
    return [row.type for row in await db.fetch(text("SELECT type FROM event_log ORDER BY id"))]


async def read(db: Database, order_id: UUID) -> Order:
    order = (await orders_by_id(db, STAFF, [order_id])).get(order_id)
    assert order is not None
    return order


def captured(order: Order) -> PaymentCaptured:
    return PaymentCaptured(
        order_id=order.id,
        currency="USD",
        amount=order.total,
        payment_intent_id="pi_1",
        charge_id="ch_1",
        captured_at=NOW,
    )


async def test_a_capture_after_the_cancellation_ends_refunded(db: Database) -> None:
    order, inbox = await placed(db), Inbox(db, handlers)
    await cancel(db, order)
    await inbox.receive([record(captured(order))])
    assert await said(db) == ["order.cancelled", "order.refund_requested"]
    promised = (await read(db, order.id)).refunds[0]
    done = PaymentRefunded(
        order_id=order.id, currency="USD", amount=order.total, refund_id=promised.id, refunded_at=NOW
    )
    await inbox.receive([record(done), record(done)])
    after = await read(db, order.id)
    assert (after.status, after.payment_status) == ("CANCELLED", "REFUNDED")
    assert (after.captured, after.refunded, after.refundable) == (order.total, order.total, 0)
    assert await said(db) == ["order.cancelled", "order.refund_requested", "order.refunded"]
    entries = (await timelines(db, [order.id]))[order.id]
    assert [entry.what for entry in entries] == ["cancel", "refund requested", "refunded"]


async def test_money_that_becomes_available_completes_the_order_once(db: Database) -> None:
    order, inbox = await placed(db), Inbox(db, handlers)
    settled = PaymentSettled(
        order_id=order.id, currency="USD", amount=order.total, charge_id="ch_1", settled_at=NOW
    )
    await inbox.receive([record(captured(order)), record(settled), record(settled)])
    after = await read(db, order.id)
    assert (after.status, after.payment_status, after.settled_at) == ("PROCESSING", "COMPLETED", NOW)
    assert await said(db) == ["order.paid"]
    entries = (await timelines(db, [order.id]))[order.id]
    assert [entry.what for entry in entries] == ["payment captured", "settled"]


async def test_cancel_and_capture_at_once_never_keep_the_money(db: Database) -> None:
    for _ in range(10):
        order = await placed(db)
        await asyncio.gather(cancel(db, order), Inbox(db, handlers).receive([record(captured(order))]))
        after = await read(db, order.id)
        assert after.status == "CANCELLED"
        assert [refund.amount for refund in after.refunds] == [order.total]


async def test_the_newest_listing_of_a_sku_wins(db: Database) -> None:
    sku = SkuListed(
        sku_id="A", product_id="P", name="A", price=1, shipping_price=0, currency="USD", weight_grams=1
    )
    newer = [sku.model_copy(update={"price": price}) for price in (2, 3, 4)]
    await Inbox(db, handlers).receive([record(fact, topic="catalog-skus") for fact in (sku, *newer)])
    assert (await skus_for(db, ["A"], uuid4()))["A"].price == 4


async def test_an_order_does_not_expire_while_its_payment_is_being_processed(db: Database) -> None:
    waiting, unpaid = await placed(db), await placed(db)
    processing = PaymentProcessing(
        order_id=waiting.id, currency="USD", amount=waiting.total, payment_intent_id="pi_1", since=NOW
    )
    await Inbox(db, handlers).receive([record(processing)])
    work = asyncio.create_task(Worker(db, "orders", deadlines).run())
    async with asyncio.timeout(30):
        while (await read(db, unpaid.id)).status == "PENDING" or not await asked_again(db, waiting.id):
            await asyncio.sleep(0.02)
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    assert (await read(db, unpaid.id)).cancel_reason == "expired"
    assert (await read(db, waiting.id)).status == "PENDING"


async def asked_again(db: Database, order_id: UUID) -> bool:
    rows = await db.fetch(
        text(
            "SELECT 1 FROM jobs WHERE key = :key AND state = 'due' AND due_at > now() + interval '50 minutes'"
        ),
        {"key": str(order_id)},
    )
    return bool(rows)


async def test_a_fact_about_an_order_that_is_not_ours_is_kept_and_stops_nobody(db: Database) -> None:
    order = await placed(db)
    stranger = captured(order).model_copy(update={"order_id": uuid4()})
    await Inbox(db, handlers).receive([record(stranger), record(captured(order))])
    assert (await read(db, order.id)).status == "PROCESSING"
    assert (await db.fetch(text("SELECT count(*) FROM dead_letters")))[0][0] == 1
