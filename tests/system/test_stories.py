"""The purchase, end to end, on real parts: each story as the demo tells it, however its facts arrive.

Once, and everything twice; shuffled across topics and keys; and with processes that die between a commit and what follows it.
A failing run names its mode with its seed.
"""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from ordermesh.books import Book, Violation, violations
from ordermesh.evidence import gather
from ordermesh.shop import Reading
from ordermesh.stories import STORIES
from support.world import World

SHUFFLES, CRASHES = (1, 2, 3), (1, 2)
"""Seeds."""
EXPECTED = {
    "delivered": ("DELIVERED", "PAID"),
    "declined, then paid": ("DELIVERED", "PAID"),
    "cancelled unpaid": ("CANCELLED", "PENDING"),
    "cancelled and refunded": ("CANCELLED", "REFUNDED"),
    "cancelled with a label": ("CANCELLED", "REFUNDED"),
    "returned and refunded": ("RETURNED", "REFUNDED"),
    "delivered and refunded": ("REFUNDED", "REFUNDED"),
    "dispatched by hand": ("DELIVERED", "PAID"),
    "in two parcels": ("DELIVERED", "PAID"),
    "partly cancelled": ("DELIVERED", "REFUNDED"),
    "edited before packing": ("DELIVERED", "REFUNDED"),
    "held and released": ("DELIVERED", "PAID"),
    "handed over by hand": ("DELIVERED", "PAID"),
    "paid offline": ("DELIVERED", "PAID"),
    "guest with a discount": ("CANCELLED", "REFUNDED"),
    "ordered ahead": ("DELIVERED", "PAID"),
    "by a live quote": ("DELIVERED", "PAID"),
    "last use of a code": ("DELIVERED", "PAID"),
    "newly listed": ("DELIVERED", "PAID"),
    "settled at once": ("DELIVERED", "COMPLETED"),
}
MESSAGES = {
    "delivered": {"EMAIL": 4, "SMS": 2},
    "in two parcels": {"EMAIL": 4, "SMS": 2},
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
    orders = await told_at_once(world, names)
    assert await wrong_with(world, orders) == []


@pytest.mark.parametrize("world", [f"shuffled {seed}" for seed in SHUFFLES], indirect=True, scope="session")
async def test_every_story_ends_as_told_however_facts_of_different_topics_overtake_one_another(
    world: World,
) -> None:
    orders = await told_at_once(world, list(STORIES))
    assert await wrong_with(world, orders) == [], world.mode
    assert world.happened.count > 0


@pytest.mark.parametrize("world", [f"crashing {seed}" for seed in CRASHES], indirect=True, scope="session")
async def test_every_story_ends_as_told_when_consumers_and_workers_die_after_their_work_was_done(
    world: World,
) -> None:
    """An email whose sender died goes out again: under its old Message-ID, by which a mailbox drops the copy."""
    orders = await told_at_once(world, list(STORIES))
    assert await wrong_with(world, orders, repeats=True) == [], world.mode
    assert world.happened.count > 0


async def wrong_with(world: World, orders: list[Reading], *, repeats: bool = False) -> list[Violation]:
    evidence = await gather(world.databases, world.shop)
    return violations(Book(evidence, [order["id"] for order in orders], repeats=repeats))


async def told_at_once(world: World, names: list[str]) -> list[Reading]:
    """The orders of these stories, told side by side, when everything has settled and each ended as expected.

    Every fact was handled once: handlers are harmless to repeat, so only this sees an inbox that lets one through twice.
    """
    before = await handled_too_often(world)
    telling = (STORIES[name](world.shop, f"crowd-{uuid4().hex[:8]}") for name in names)
    ended = await asyncio.gather(*telling, return_exceptions=True)
    failed = {name: end for name, end in zip(names, ended, strict=True) if isinstance(end, BaseException)}
    assert failed == {}, world.mode
    await world.network.settle()
    orders = [await world.shop.read(end["id"]) for end in ended if not isinstance(end, BaseException)]
    told = list(zip(names, orders, strict=True))
    wrong = {
        name: (order["status"], order["paymentStatus"])
        for name, order in told
        if name in EXPECTED and (order["status"], order["paymentStatus"]) != EXPECTED[name]
    }
    assert wrong == {}, world.mode
    unsent = {n["status"] for order in orders for n in order["notifications"]} - {"SENT"}
    assert unsent == set(), world.mode
    assert await handled_too_often(world) == before, world.mode
    return orders


async def handled_too_often(world: World) -> dict[str, float]:
    """By service: how often a fact was handled, less the facts that its inbox knows."""
    found = {}
    for name, service in world.network.services.items():
        handled = REGISTRY.get_sample_value("ordermesh_messages_handled_total", {"consumer": name}) or 0
        async with service.db.connection() as conn:
            found[name] = handled - await conn.fetchval("SELECT count(*) FROM inbox")
    return found
