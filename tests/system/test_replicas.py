"""Two replicas of orders and of payments, on one database and in one group each: whichever is asked, the books are right."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from gateway.app import build as build_gateway
from gateway.settings import Settings as GatewaySettings
from ordermesh.books import Book, violations
from ordermesh.evidence import gather
from ordermesh.shop import (
    ADDRESS,
    CANCEL,
    CHECKOUT,
    REFUND,
    SAVE_CODE,
    UPDATE_STATUS,
    Places,
    Reading,
    Refused,
    Shop,
    is_refunded,
    is_status,
)
from ordermesh.stories import MUG, STORIES
from orders.app import build as build_orders
from payments.app import build as build_payments
from shared.inbox import Record
from shared.service import Service
from shared.testing import free_socket, serving
from support.world import World

ROUNDS = 6
TOLD = ("delivered", "cancelled and refunded", "delivered and refunded", "paid while cancelled")
KEPT = "query Kept($id: ID!) { order(id: $id) { metadata } }"
METADATA = """mutation Keep($id: ID!, $metadata: Metadata!) {
    updateOrderMetadata(id: $id, metadata: $metadata) { metadata }
}"""


@dataclass
class Pair:
    """The world's shop at either replica: each has a gateway of its own. `heard` counts the records of each service's replicas."""

    world: World
    shops: tuple[Shop, Shop]
    heard: dict[str, Counter[int]]

    async def at_once(self, query: str, *variables: Reading, **who: str) -> list[Any]:
        """The same asked at both replicas, with these variables (or the same at both): what the root field was, or the refusal."""
        asked = [shop.ask(query, variables[n % len(variables)], **who) for n, shop in enumerate(self.shops)]
        ends = await asyncio.gather(*asked, return_exceptions=True)
        return [end.codes if isinstance(end, Refused) else _root(end) for end in ends]


def _root(answer: Any) -> Any:
    """Raises what kept the request from being answered at all."""
    if isinstance(answer, BaseException):
        raise answer
    [value] = answer.values()
    return value


@pytest.fixture(scope="module")
async def pair(running: World) -> AsyncIterator[Pair]:
    first = running.network.services
    second = {"orders": build_orders(first["orders"].settings)}  # type: ignore[arg-type] # orders' own settings
    second["payments"] = build_payments(first["payments"].settings)  # type: ignore[arg-type,assignment] # likewise
    heard = {name: Counter[int]() for name in second}
    async with AsyncExitStack() as stack:
        urls = dict(running.urls)
        for name, service in second.items():
            _count(first[name], heard[name], 0)
            _count(service, heard[name], 1)
            urls[name] = await stack.enter_async_context(serving(service, free_socket()))
        settings = GatewaySettings(
            subgraphs={name: f"{urls[name]}/graphql" for name in first},
            auth_issuers=first["orders"].settings.auth_issuers,
        )
        gateway = await stack.enter_async_context(serving(build_gateway(settings), free_socket()))
        shop = await stack.enter_async_context(Shop(Places(gateway, running.places.sandbox)))
        yield Pair(running, (running.shop, shop), heard)


def _count(service: Service, heard: Counter[int], replica: int) -> None:
    receive = service.inbox.receive

    async def counted(records: Sequence[Record]) -> None:
        await receive(records)
        heard[replica] += len(records)

    service.inbox.receive = counted  # type: ignore[method-assign] # what is counted is what the consumer hands over


async def test_stories_told_at_either_replica_end_as_told_while_both_hear(pair: Pair) -> None:
    orders: list[Reading] = []
    while not orders or not all(heard[0] and heard[1] for heard in pair.heard.values()):
        telling = [STORIES[name](shop, _somebody()) for name in TOLD for shop in pair.shops]
        orders += await asyncio.gather(*telling)
        assert len(orders) < 100 * len(TOLD), pair.heard
    await _settled_in_the_books(pair, orders)


async def test_a_key_that_is_used_at_both_replicas_at_once_is_one_order(pair: Pair) -> None:
    wanted = {"items": [{"sku": MUG, "quantity": 1}], "shippingAddress": ADDRESS}
    body = {"query": CHECKOUT, "variables": {"input": wanted}}
    for _ in range(ROUNDS):
        token = await pair.world.shop.token("shopper", _somebody())
        headers = {"authorization": f"Bearer {token}", "idempotency-key": str(uuid4())}
        asking = (shop._post(f"{shop.places.gateway}/graphql", body, headers) for shop in pair.shops)
        one, other = await asyncio.gather(*asking)
        assert one == other
        assert one["data"]["createOrder"]["payment"]["clientSecret"]


async def test_of_two_refunds_of_most_of_it_at_two_replicas_one_is_refused(pair: Pair) -> None:
    orders = await asyncio.gather(*(_paid(pair) for _ in range(ROUNDS)))
    for order in orders:
        await pair.world.shop.ask(UPDATE_STATUS, {"id": order["id"], "status": "SHIPPED"})
        most = round(order["total"] * 0.6, 2)
        ends = await pair.at_once(REFUND, {"id": order["id"], "amount": most})
        assert [end for end in ends if isinstance(end, list)] == [["REFUND_EXCEEDS_CAPTURED"]]
        seen = await pair.shops[1].until(
            order["id"], lambda seen: bool(seen["payment"]["refundedAmount"] > 0)
        )
        assert seen["payment"]["refundedAmount"] == most
    await _settled_in_the_books(pair, orders)


async def test_money_that_comes_while_the_other_replica_cancels_goes_back(pair: Pair) -> None:
    async def race(shop: Shop) -> Reading:
        order = await shop.place(_somebody(), {MUG: 1})
        await asyncio.gather(shop.pay(order), shop.ask(CANCEL, {"id": order["id"]}))
        return await shop.until(order["id"], _is_over)

    orders = await asyncio.gather(*(race(pair.shops[n % 2]) for n in range(2 * ROUNDS)))
    await _settled_in_the_books(pair, orders)


async def test_the_last_use_of_a_code_is_one_orders_whichever_replica_is_asked(pair: Pair) -> None:
    wanted = {"items": [{"sku": MUG, "quantity": 1}], "shippingAddress": ADDRESS}
    for _ in range(ROUNDS):
        once = {"code": f"LAST-{uuid4().hex[:12]}", "maxUses": 1}
        code = _root(await pair.world.shop.ask(SAVE_CODE, once))["code"]
        variables = {"input": {**wanted, "discountCode": code}}
        ends = await pair.at_once(CHECKOUT, variables, role="shopper", subject=_somebody())
        assert [end for end in ends if isinstance(end, list)] == [["INVALID_DISCOUNT"]]


async def test_what_is_kept_with_an_order_at_both_replicas_at_once_is_all_kept(pair: Pair) -> None:
    order = await pair.world.shop.place(_somebody(), {MUG: 1})
    for n in range(ROUNDS):
        names = ({"id": order["id"], "metadata": {f"{side}{n}": n}} for side in "ab")
        await pair.at_once(METADATA, *names)
    kept = _root(await pair.shops[1].ask(KEPT, {"id": order["id"]}))["metadata"]
    assert len(kept) == 2 * ROUNDS


async def _paid(pair: Pair) -> Reading:
    shop = pair.shops[1]
    order = await shop.place(_somebody(), {MUG: 2}, phone="+14155550123")
    await shop.pay(order)
    return await shop.until(order["id"], is_status("PROCESSING"))


def _is_over(seen: Reading) -> bool:
    closed = seen["payment"]["status"] == "CANCELLED" and not seen["payment"]["capturedAmount"]
    return bool(seen["status"] == "CANCELLED" and (closed or is_refunded(seen)))


async def _settled_in_the_books(pair: Pair, orders: Sequence[Reading]) -> None:
    await pair.world.network.settle()
    evidence = await gather(pair.world.databases, pair.world.shop)
    assert violations(Book(evidence, [order["id"] for order in orders])) == []


def _somebody() -> str:
    return f"replica-{uuid4().hex[:8]}"
