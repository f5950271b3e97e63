"""The list of 50 orders: requests per CPU second, against stock Strawberry over the same types, resolvers and rows.

Both run in this process and only its CPU time counts. Stock is a plain Strawberry schema with default settings, served by
Strawberry's own ASGI app. Three measures: execution alone; the endpoint, its orders at hand; and all of it, with the orders read
from PostgreSQL and made into the graph's objects, which costs both sides the same. Rounds alternate.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import strawberry
from strawberry.asgi import GraphQL

from orders.graph import OrderNode
from orders.lists import store
from orders.lists.filters import Wanted
from orders.lists.pages import PaginatedOrders
from orders.schema import schema
from orders.store import ORDERS
from orders.tables import orders
from shared.auth import Authenticator, Principal
from shared.db import Database
from shared.execution import Operations
from shared.graphql import Context, GraphQLEndpoint
from shared.mapping import insert_sql, recordset
from support.orders import NOW, STAFF, an_order

FIELDS = """id orderNumber status paymentStatus currency subtotal shipping tax discount platformFee total paymentMethod
 tracking shippingCarrier orderType usedFlatRate createdAt updatedAt shippedAt itemCount isShippable isCancellable isRefundable
 siteOwnerAmount"""
ITEMS = "items { id productId productName quantity price }"
QUERIES = {
    "24 fields": f"{{ orders(limit: 50) {{ nodes {{ {FIELDS} }} }} }}",
    "24 fields and items": f"{{ orders(limit: 50) {{ nodes {{ {FIELDS} {ITEMS} }} }} }}",
}
ROUNDS, PER_ROUND = 10, 10
Run = Callable[[], Awaitable[object]]


class Staff(Authenticator):
    """Everybody is staff: what a token costs is not what is measured."""

    async def authenticate(self, _: str | None) -> Principal:
        return STAFF


class Stock(GraphQL[Context, None]):
    """Strawberry's ASGI app, with the context that our resolvers ask for."""

    service: Any

    async def get_context(self, *_: object, **__: object) -> Context:
        return Context(STAFF, "bench", None, self.service)


@pytest.fixture
async def service(fresh_databases: Any) -> AsyncIterator[Any]:
    db = Database((await fresh_databases("orders"))["orders"])
    await db.open()
    rows = [an_order(created_at=NOW + timedelta(seconds=n)) for n in range(50)]
    async with db.connection() as conn:
        await conn.execute(insert_sql(orders, ORDERS.columns), recordset(rows))
    yield SimpleNamespace(db=db)
    await db.close()


@pytest.mark.parametrize("what", QUERIES)
async def test_list_of_50_orders_against_stock_strawberry(service: Any, what: str) -> None:
    query = QUERIES[what]
    at_hand = await orders_at_hand(service)
    operations, plain = Operations(at_hand), strawberry.federation.Schema(at_hand.query, types=[OrderNode])
    execution = await compare(
        f"{what}, execution alone",
        lambda: operations.execute(query, None, None, None),
        lambda: plain.execute(query),
    )
    endpoint = await compare_endpoints(f"{what}, endpoint", at_hand, service, query)
    whole = await compare_endpoints(f"{what}, with PostgreSQL", schema, service, query)
    assert execution >= 5
    assert endpoint >= 5
    assert whole >= 2


async def orders_at_hand(service: Any) -> strawberry.Schema:
    """The same graph, whose orders were read and made before."""
    found = await store.listed(service.db, STAFF, Wanted(), store.Slice(50))
    nodes = [OrderNode.of(order, for_staff=True) for order in found]

    @strawberry.type
    class Ready:
        @strawberry.field
        async def orders(self, limit: int) -> PaginatedOrders:  # noqa: ARG002 - the query gives it
            return PaginatedOrders(nodes=nodes, page_info=None)  # type: ignore[arg-type] # nobody asks for it

    return strawberry.federation.Schema(Ready, types=[OrderNode])


async def compare_endpoints(what: str, schema: strawberry.Schema, service: Any, query: str) -> float:
    ours, stock = GraphQLEndpoint(schema, Staff(()), service), Stock(schema)
    stock.service = service
    body = orjson.dumps({"query": query})
    assert orjson.loads(await post(ours, body)) == orjson.loads(await post(stock, body))
    return await compare(what, lambda: post(ours, body), lambda: post(stock, body))


async def compare(what: str, ours: Run, stock: Run) -> float:
    """How many times more often ours runs in a CPU second."""
    rates = await per_cpu_second({"ours": ours, "stock": stock})
    ratio = rates["ours"] / rates["stock"]
    print(
        f"\n50 orders x {what}: {rates['ours']:.0f} per CPU second, stock {rates['stock']:.0f}, {ratio:.1f} x",
        end="",
    )
    return ratio


async def per_cpu_second(rivals: dict[str, Run]) -> dict[str, float]:
    """How often each runs in a second of this process' CPU time: its best round, since neighbours only ever cost."""
    best = dict.fromkeys(rivals, float("inf"))
    for _ in range(ROUNDS):
        for name, run in rivals.items():
            before = time.process_time()
            for _ in range(PER_ROUND):
                await run()
            best[name] = min(best[name], time.process_time() - before)
    return {name: PER_ROUND / seconds for name, seconds in best.items()}


async def post(app: Any, body: bytes) -> bytes:
    sent: list[Any] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"authorization", b"Bearer bench")],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return b"".join(message.get("body", b"") for message in sent)
