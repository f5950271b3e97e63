"""The till: orders' real service on a real database, asked in its graph as whoever one likes. Nobody prepares payments."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from orders.app import Orders
from orders.deadlines import deadlines
from orders.domain import Order
from orders.handlers import handlers
from orders.schema import schema
from orders.settings import Settings
from orders.store import ORDERS
from shared.auth import Principal
from shared.contracts.catalog import SkuListed
from shared.contracts.envelope import FACTS, Fact
from shared.errors import Refusal
from shared.execution import Operations
from shared.graphql import Context
from shared.inbox import Inbox
from shared.worker import Worker
from support.accounts import record
from support.orders import SHOPPER

MONEY = "subtotal shipping tax discount platformFee total currency orderType estimatedFulfillmentDate"
PRICE = f"""query($input: CreateOrderInput!) {{ priceOrder(input: $input) {{
    {MONEY} deliveryDeadline items {{ sku quantity price subtotal discount tax preOrder }}
}} }}"""
PLACE = f"""mutation($input: CreateOrderInput!) {{ createOrder(input: $input) {{
    id {MONEY} deliveryDeadline siteOwnerAmount channel customerId discountCode guestToken isPreOrder
    usedFlatRate flatRateCharged shippingService shippingCarrier deliverySpeedSelected
    items {{ productSku }} preOrderItems {{ productSku quantity }} timeline {{ actor }} customer {{ firstName email }}
}} }}"""
SAVE = """mutation($input: SaveDiscountCodeInput!) { saveDiscountCode(input: $input) {
    code kind value currency minimumSubtotal startsAt endsAt maxUses uses active
} }"""
SAVE_SKU = """mutation($input: SaveSkuInput!) { saveSku(input: $input) {
    id productId name price shippingPrice currency weightGrams available availableFrom
} }"""
ADDRESS = {
    "name": "Ann Lee",
    "street": "1 Market Street",
    "city": "San Francisco",
    "state": "CA",
    "zipCode": "94105",
    "country": "US",
}
GUEST = {"email": "gus@example.com", "name": "Gus"}


def a_sku(sku_id: str, price: int = 1000, **more: Any) -> SkuListed:
    usual = {"product_id": f"P-{sku_id}", "name": sku_id.title(), "currency": "USD"}
    return SkuListed(sku_id=sku_id, price=price, **{"shipping_price": 0, "weight_grams": 1, **usual, **more})


def wanted(*items: tuple[str, int], **more: Any) -> dict[str, Any]:
    listed = [{"sku": sku, "quantity": quantity} for sku, quantity in items or [("MUG", 1)]]
    return {"items": listed, "shippingAddress": ADDRESS, **more}


class Till:
    def __init__(self, url: str, **settings: Any) -> None:
        settings = {"outcome_wait": 0, "kafka_url": "nowhere:9", "database_pool_size": 20, **settings}
        self.service = Orders(Settings(database_url=url, **settings))
        self.db = self.service.db
        self._operations = Operations(schema)

    async def offer(self, *skus: SkuListed) -> None:
        await Inbox(self.db, handlers).receive([record(sku, topic="catalog-skus") for sku in skus])

    async def hear(self, *said: Fact) -> None:
        await Inbox(self.db, handlers).receive([record(fact) for fact in said])

    async def ask(
        self, document: str, caller: Principal = SHOPPER, key: str | None = None, **variables: Any
    ) -> Any:
        """The one field's answer. Raises Refusal."""
        result = await self._operations.execute(
            document, variables, None, Context(caller, "test", key, self.service)
        )
        for error in result.errors or ():
            raise error.original_error or error
        assert result.data is not None
        [answer] = result.data.values()
        return answer

    async def price(self, *items: tuple[str, int], caller: Principal = SHOPPER, **more: Any) -> Any:
        return await self.ask(PRICE, caller, input=wanted(*items, **more))

    async def place(
        self, *items: tuple[str, int], caller: Principal = SHOPPER, key: str | None = None, **more: Any
    ) -> Any:
        return await self.ask(PLACE, caller, key, input=wanted(*items, **more))

    async def order(self, order_id: str) -> Order:
        query = text("SELECT * FROM orders WHERE id = :id").bindparams(id=UUID(order_id))
        [row] = await self.db.fetch(query)
        return ORDERS.entity_of(row._asdict())

    async def said(self, order_id: str) -> list[Fact]:
        query = text(
            "SELECT type, convert_from(body, 'UTF8') AS body FROM event_log WHERE key = :key ORDER BY id"
        )
        rows = await self.db.fetch(query.bindparams(key=order_id))
        return [FACTS[row.type, 1].model_validate_json(row.body) for row in rows]

    async def work(self) -> None:
        """Do the jobs that are due."""
        due = text("SELECT 1 FROM jobs WHERE state = 'due' AND due_at <= now() LIMIT 1")
        working = asyncio.create_task(Worker(self.db, "orders", deadlines).run())
        async with asyncio.timeout(30):
            while await self.db.fetch(due):
                await asyncio.sleep(0.02)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """What goes to the database meanwhile: each read, each writing statement, each transaction."""
        seen: list[str] = []
        read, connection, transaction = self.db.fetch, self.db.connection, self.db.transaction

        async def reading(statement: Any, parameters: Any = None) -> Any:
            seen.append("read")
            return await read(statement, parameters)

        def connecting() -> Any:
            seen.append("write")
            return connection()

        def beginning() -> Any:
            seen.append("transaction")
            return transaction()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.db, "fetch", reading)
            patch.setattr(self.db, "connection", connecting)
            patch.setattr(self.db, "transaction", beginning)
            yield seen


@asynccontextmanager
async def a_till(url: str, **settings: Any) -> AsyncIterator[Till]:
    """It sells mugs (10.00) and bowls (3.33)."""
    till = Till(url, **settings)
    await till.db.open()
    await till.offer(a_sku("MUG"), a_sku("BOWL", 333))
    yield till
    await till.service.checkout.close()
    await till.db.close()


async def refused(asking: Any) -> tuple[str, Any]:
    """The code, and the details' reason or else the message."""
    try:
        answer = await asking
    except Refusal as refusal:
        return str(refusal.code), refusal.details.get("reason", refusal.message)
    raise AssertionError(f"not refused: {answer}")


def now() -> datetime:
    return datetime.now(UTC)
