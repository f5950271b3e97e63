"""What is noted and asked for when a fact is heard, on a real database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from notifications.handlers import handlers
from notifications.messages import OCCASIONS
from shared.contracts import Fact
from shared.contracts.orders import OrderPlaced
from shared.contracts.topics import TOPICS

ExampleOf = Callable[..., Fact]
Opened = Any


def test_every_fact_of_the_table_is_heard_and_nothing_else() -> None:
    assert handlers.by_fact.keys() == OCCASIONS.keys()
    carried = {fact for topic in TOPICS if "notifications" in topic.consumers for fact in topic.facts}
    assert handlers.by_fact.keys() <= carried


async def test_a_placed_order_leaves_its_contact_and_asks_for_its_messages(
    house: Any, example: ExampleOf
) -> None:
    placed = example("order.placed", order_id=str(house.order_id), partner_id="acme")
    assert isinstance(placed, OrderPlaced)
    await house.hear(placed)
    [contact] = await house.fetch("SELECT * FROM contacts")
    assert contact == {
        "order_id": house.order_id,
        "version": 1,
        "order_number": placed.order_number,
        "customer_id": placed.customer_id,
        "partner_id": "acme",
        "currency": "USD",
        "name": "Ann Lee",
        "email": "ann@example.com",
        "phone": "+14155550101",
    }
    rows = await house.rows()
    assert [(row["template"], row["channel"], row["recipient"]) for row in rows] == [
        ("order.placed", "EMAIL", "ann@example.com"),
        ("order.placed", "SLACK", None),
    ]


async def test_a_fact_replayed_after_the_inbox_forgot_it_asks_for_nothing_again(
    house: Any, example: ExampleOf
) -> None:
    order = {"order_id": str(house.order_id)}
    facts = [example(fact_type, **order) for fact_type in ("order.placed", "order.paid", "order.shipped")]
    await house.hear(*facts)
    before = await house.fetch("SELECT id FROM notifications ORDER BY id")
    await house.hear(*facts)  # under new event ids, as an inbox sees them that has forgotten the old ones
    assert await house.fetch("SELECT id FROM notifications ORDER BY id") == before
    assert len(before) == 2 + 2 + 3
    assert await house.fetch("SELECT count(*) AS n FROM jobs") == [{"n": len(before)}]
    assert await house.fetch("SELECT count(*) AS n FROM dead_letters") == [{"n": 0}]


async def test_facts_of_an_order_that_was_never_placed_here_are_noted_and_held_by_nothing(
    house: Any, example: ExampleOf
) -> None:
    order = {"order_id": str(house.order_id)}
    await house.hear(example("order.delivered", **order), example("payment.refund_failed", **order))
    rows = await house.settle()
    assert [(row["channel"], row["status"]) for row in rows] == [
        ("EMAIL", "SKIPPED"),
        ("SMS", "SKIPPED"),
        ("SLACK", "SENT"),
        ("SLACK", "SENT"),
    ]
    assert await house.fetch("SELECT count(*) AS n FROM dead_letters") == [{"n": 0}]


async def test_two_refunds_of_an_order_are_two_messages(house: Any, example: ExampleOf) -> None:
    order = {"order_id": str(house.order_id)}
    refunds = [example("order.refunded", **order, refund_id=str(uuid4())) for _ in range(2)]
    await house.hear(example("order.placed", **order), *refunds)
    assert len(await house.rows(template="order.refunded", channel="EMAIL")) == 2


async def test_last_months_facts_are_noted_as_skipped_and_ask_for_nothing(
    house: Any, example: ExampleOf
) -> None:
    last_month = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    order = {"order_id": str(house.order_id)}
    await house.hear(
        example("order.placed", **order, placed_at=last_month),
        example("order.delivered", **order, delivered_at=last_month),
    )
    rows = await house.rows()
    assert len(rows) == 5
    assert {row["status"] for row in rows} == {"SKIPPED"}
    assert await house.fetch("SELECT * FROM jobs") == []
