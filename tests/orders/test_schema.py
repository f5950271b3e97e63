"""createOrder at the endpoint, on a real database: what it reads and writes beside the order."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from strawberry.dataloader import DataLoader

from orders import store
from orders.domain import Order
from orders.handlers import handlers
from orders.schema import schema
from orders.settings import Settings
from orders.store import OrderNumbers
from shared.contracts.catalog import SkuListed
from shared.db import Database
from shared.execution import Operations
from shared.graphql import Context
from shared.inbox import Inbox
from shared.waits import Waits
from support.accounts import record
from support.orders import ADDRESS, CUSTOMER, SHOPPER

PLACE = "mutation($input: CreateOrderInput!) { createOrder(input: $input) { id status } }"
LAMP = SkuListed(
    sku_id="LAMP", product_id="L", name="Lamp", price=900, shipping_price=0, currency="USD", weight_grams=1
)


class Shop:
    """Places orders as Ann; `looks` has what those who wait for an order have read. Nobody prepares a payment."""

    def __init__(self, db: Database) -> None:
        self.db, self.looks = db, list[list[UUID]]()
        settings = Settings(database_url=db.url, kafka_url="nowhere:9", outcome_wait=0)
        self._service = SimpleNamespace(
            db=db,
            settings=settings,
            waits=Waits(db),
            order_numbers=OrderNumbers(db, "ORD"),
            readings=DataLoader(self._look, cache=False),
        )
        self._operations = Operations(schema)

    async def _look(self, ids: list[UUID]) -> list[Order | None]:
        self.looks.append(ids)
        return await store.anybodys_orders(self.db, ids)

    async def place(self, key: str, **contact: str) -> dict[str, Any]:
        address = {
            "zipCode": ADDRESS["zip_code"],
            **{n: ADDRESS[n] for n in ("street", "city", "state", "country")},
        }
        wanted = {"items": [{"sku": "LAMP", "quantity": 1}], "shippingAddress": address, "contact": contact}
        context = Context(SHOPPER, "test", key, self._service)
        result = await self._operations.execute(PLACE, {"input": wanted}, None, context)
        assert result.data is not None, result.errors
        placed: dict[str, Any] = result.data["createOrder"]
        return placed

    async def customer(self) -> tuple[str | None, datetime]:
        query = text("SELECT phone, updated_at FROM customers WHERE id = :id")
        [row] = await self.db.fetch(query.bindparams(id=CUSTOMER))
        return row.phone, row.updated_at


@pytest.fixture
async def shop(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> AsyncIterator[Shop]:
    database = Database((await fresh_databases("orders"))["orders"])
    await database.open()
    await Inbox(database, handlers).receive([record(LAMP, topic="catalog-skus")])
    yield Shop(database)
    await database.close()


async def test_a_customer_is_written_when_an_order_says_something_new_of_it(shop: Shop) -> None:
    await shop.place("k1", phone="+14155550123")
    phone, first = await shop.customer()
    await shop.place("k2")
    assert await shop.customer() == (phone, first) == ("+14155550123", first)
    await shop.place("k3", phone="+14155550199")
    phone, third = await shop.customer()
    assert phone == "+14155550199"
    assert third > first


async def test_an_order_that_was_placed_just_now_is_not_read_before_something_has_come(shop: Shop) -> None:
    placed = await shop.place("k1")
    assert placed["status"] == "PENDING"
    assert shop.looks == []


async def test_a_repeat_reads_the_order_of_its_key(shop: Shop) -> None:
    placed = await shop.place("k1")
    assert await shop.place("k1") == placed
    assert shop.looks == [[UUID(placed["id"])]]
