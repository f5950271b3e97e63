"""The purchase, end to end, on real parts: each story as the demo tells it, delivered once and everything twice."""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest

from ordermesh.books import Book, violations
from ordermesh.evidence import gather
from ordermesh.stories import STORIES
from support.world import World

EXPECTED = {
    "delivered": ("DELIVERED", "PAID"),
    "declined, then paid": ("DELIVERED", "PAID"),
    "cancelled unpaid": ("CANCELLED", "PENDING"),
    "cancelled and refunded": ("CANCELLED", "REFUNDED"),
    "cancelled with a label": ("CANCELLED", "REFUNDED"),
    "returned and refunded": ("RETURNED", "REFUNDED"),
    "delivered and refunded": ("REFUNDED", "REFUNDED"),
    "dispatched by hand": ("DELIVERED", "PAID"),
}
MESSAGES = {
    "delivered": {"EMAIL": 4, "SMS": 2},
    "cancelled unpaid": {"EMAIL": 2},
    "cancelled and refunded": {"EMAIL": 4},
    "returned and refunded": {"EMAIL": 5, "SMS": 1},
}


@pytest.mark.parametrize("story", STORIES)
async def test_a_story_ends_as_told_and_the_books_agree(world: World, story: str) -> None:
    order = await STORIES[story](world.shop, f"shopper-{uuid4().hex[:8]}")
    await world.network.settle()
    order = await world.shop.read(order["id"])
    if story in EXPECTED:
        assert (order["status"], order["paymentStatus"]) == EXPECTED[story]
    if story in MESSAGES:
        sent = Counter(n["channel"] for n in order["notifications"] if n["channel"] != "SLACK")
        assert sent == MESSAGES[story]
    assert {n["status"] for n in order["notifications"]} == {"SENT"}
    assert violations(Book(await gather(world.databases, world.shop), [order["id"]])) == []


async def test_many_orders_at_once_end_as_told_and_the_books_agree(world: World) -> None:
    names = [name for name in EXPECTED for _ in range(2)]
    ended = await asyncio.gather(*(STORIES[name](world.shop, f"crowd-{uuid4().hex[:8]}") for name in names))
    await world.network.settle()
    orders = [await world.shop.read(order["id"]) for order in ended]
    assert [(order["status"], order["paymentStatus"]) for order in orders] == [
        EXPECTED[name] for name in names
    ]
    evidence = await gather(world.databases, world.shop)
    assert violations(Book(evidence, [order["id"] for order in orders])) == []
