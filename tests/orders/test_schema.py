"""createOrder at the endpoint, on a real database: what it reads and writes beside the order."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from strawberry.dataloader import DataLoader

from orders import store
from orders.checkout.checkout import Checkout
from orders.domain import Order
from orders.handlers import handlers
from orders.schema import schema
from orders.settings import Settings
from orders.store import OrderNumbers
from shared.auth import Principal
from shared.contracts.catalog import SkuListed
from shared.db import Database
from shared.errors import Code, Refusal
from shared.execution import Operations
from shared.graphql import Context
from shared.inbox import Inbox
from shared.waits import Waits
from support.accounts import record
from support.orders import ADDRESS, CUSTOMER, SHOPPER, STAFF

PLACE = "mutation($input: CreateOrderInput!) { createOrder(input: $input) { id status } }"
LAMP = SkuListed(
    sku_id="LAMP", product_id="L", name="Lamp", price=900, shipping_price=0, currency="USD", weight_grams=1
)


def wanted(address: dict[str, str] | None = None, contact: dict[str, str] | None = None) -> dict[str, Any]:
    """An order of one lamp, with these fields of its address instead of the usual."""
    usual = {
        "zipCode": ADDRESS["zip_code"],
        **{n: ADDRESS[n] for n in ("street", "city", "state", "country")},
    }
    return {
        "items": [{"sku": "LAMP", "quantity": 1}],
        "shippingAddress": usual | (address or {}),
        "contact": contact or {},
    }


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
            checkout=Checkout(settings),
            readings=DataLoader(self._look, cache=False),
        )
        self._operations = Operations(schema)

    async def _look(self, ids: list[UUID]) -> list[Order | None]:
        self.looks.append(ids)
        return await store.anybodys_orders(self.db, ids)

    async def place(self, key: str, **contact: str) -> dict[str, Any]:
        result = await self.ask(PLACE, {"input": wanted(contact=contact)}, key=key)
        assert result.data is not None, result.errors
        placed: dict[str, Any] = result.data["createOrder"]
        return placed

    async def refused(
        self, document: str, variables: dict[str, Any] | None = None, caller: Principal = SHOPPER
    ) -> str:
        """What a BAD_INPUT says."""
        result = await self.ask(document, variables or {}, caller)
        [refusal] = [error.original_error for error in result.errors or []]
        assert isinstance(refusal, Refusal), result
        assert refusal.code is Code.BAD_INPUT
        return refusal.message

    async def ask(
        self, document: str, variables: dict[str, Any], caller: Principal = SHOPPER, key: str | None = None
    ) -> Any:
        context = Context(caller, "test", key, self._service)
        return await self._operations.execute(document, variables, None, context)

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


async def test_an_address_with_a_control_character_is_refused_by_its_field(shop: Shop) -> None:
    for field in ("street", "city", "state", "zipCode", "street2", "name", "phone"):
        said = await shop.refused(PLACE, {"input": wanted({field: "A\r\nB: c"})})
        assert said == f"{field} has a control character"


async def test_a_contact_with_a_control_character_is_refused(shop: Shop) -> None:
    for field, named in {"name": "contact.name", "email": "contact.email"}.items():
        said = await shop.refused(PLACE, {"input": wanted(contact={field: "ann\x01lee@example.com"})})
        assert said == f"{named} has a control character"


async def test_a_reason_has_lines_and_no_other_control_characters(shop: Shop) -> None:
    refund = f'mutation($reason: String!) {{ refundOrder(id: "{uuid4()}", reason: $reason) {{ id }} }}'
    assert await shop.refused(refund, {"reason": "one\x1b[2J"}, STAFF) == "reason has a control character"
    result = await shop.ask(refund, {"reason": "one\n\ttwo"}, STAFF)
    assert [error.original_error.code for error in result.errors] == [Code.ORDER_NOT_FOUND]


async def test_staff_are_told_where_a_name_is_looked_for(shop: Shop) -> None:
    staff = replace(STAFF, name="Eve")
    said = await shop.refused(PLACE, {"input": wanted()}, staff)
    assert said == "A name is needed for the parcel: in contact or in shippingAddress"


async def test_a_page_that_is_none_is_refused(shop: Shop) -> None:
    refused = {
        "page is 1 or more": ("page: 0", "page: -1"),
        "limit is 1 to 100": ("limit: 0", "limit: -1", "limit: 101"),
    }
    for says, asking in refused.items():
        for asked in asking:
            said = await shop.refused(f"{{ orders({asked}) {{ nodes {{ id }} }} }}", caller=STAFF)
            assert said.startswith(says)


async def test_skus_have_no_page_of_nothing(shop: Shop) -> None:
    assert await shop.refused("{ skus(limit: 0) { id } }") == "limit is 1 to 100"


async def test_a_page_that_is_not_said_is_the_first_of_ten(shop: Shop) -> None:
    for said in ("", "(page: null, limit: null)"):
        result = await shop.ask(f"{{ orders{said} {{ pageInfo {{ page limit }} }} }}", {}, STAFF)
        assert result.data == {"orders": {"pageInfo": {"page": 1, "limit": 10}}}
