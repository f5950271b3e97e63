"""Who may see which notifications, asked as the gateway asks: over the service's own endpoint, with real tokens."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

import sandbox
from notifications.schema import schema
from sandbox.issuer import TokenRequest
from shared.contracts import Fact
from shared.ids import customer_id_of
from support.reads import reads

ExampleOf = Callable[..., Fact]

ENTITIES = """
query ($representations: [_Any!]!) { _entities(representations: $representations) { ... on Order { id notifications {
  id channel template status recipient createdAt sentAt failureReason
} } } }
"""


class Caller:
    """Asks `service` with a token of a role and subject; no role asks without one."""

    def __init__(self, box: sandbox.Box, house: Any) -> None:
        self._box, self._house = box, house

    async def entities(self, ids: list[object], role: str | None = None, sub: str = "ann") -> list[Any]:
        representations = [{"__typename": "Order", "id": str(one)} for one in ids]
        headers = []
        if role is not None:
            token = self._box.issuer.token(TokenRequest.model_validate({"role": role, "sub": sub}))
            headers = [(b"authorization", f"Bearer {token}".encode())]
        body = orjson.dumps({"query": ENTITIES, "variables": {"representations": representations}})
        answer = await self._post(body, headers)
        assert "errors" not in answer, answer
        entities: list[Any] = answer["data"]["_entities"]
        return entities

    async def _post(self, body: bytes, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": headers}
        await self._house.service(scope, receive, send)
        answer: dict[str, Any] = orjson.loads(sent[1]["body"])
        return answer


@pytest.fixture
def caller(box: sandbox.Box, house: Any) -> Caller:
    return Caller(box, house)


@pytest.fixture
async def ann(box: sandbox.Box, house: Any, example: ExampleOf) -> UUID:
    """An order of the shopper Ann and the partner acme, whose messages are sent."""
    customer = str(customer_id_of(box.issuer.url, "ann"))
    order = {"order_id": str(house.order_id), "customer_id": customer, "partner_id": "acme"}
    await house.hear(example("order.placed", **order), example("order.delivered", **order))
    await house.settle()
    found: UUID = house.order_id
    return found


async def test_staff_see_every_message_and_whole_addresses(caller: Caller, ann: UUID) -> None:
    [order] = await caller.entities([ann], "staff")
    assert order["id"] == str(ann)
    assert [(one["template"], one["channel"], one["recipient"]) for one in order["notifications"]] == [
        ("order.placed", "EMAIL", "ann@example.com"),
        ("order.placed", "SLACK", None),
        ("order.delivered", "EMAIL", "ann@example.com"),
        ("order.delivered", "SMS", "+14155550101"),
        ("order.delivered", "SLACK", None),
    ]
    for one in order["notifications"]:
        assert one["status"] == "SENT"
        assert one["createdAt"] <= one["sentAt"]
        assert one["sentAt"].endswith("Z")
        assert one["failureReason"] is None


@pytest.mark.parametrize(("role", "sub"), [("shopper", "ann"), ("partner", "acme")])
async def test_a_customer_sees_its_own_messages_masked_and_no_alerts(
    role: str, sub: str, caller: Caller, ann: UUID
) -> None:
    [order] = await caller.entities([ann], role, sub)
    assert [(one["channel"], one["recipient"]) for one in order["notifications"]] == [
        ("EMAIL", "a***@example.com"),
        ("EMAIL", "a***@example.com"),
        ("SMS", "***01"),
    ]


@pytest.mark.parametrize(
    ("role", "sub"), [("shopper", "bob"), ("partner", "other"), ("partner", "ann"), (None, "")]
)
async def test_anybody_else_finds_no_such_order(
    role: str | None, sub: str, caller: Caller, ann: UUID
) -> None:
    assert await caller.entities([ann], role, sub) == [None]


async def test_each_order_is_judged_by_itself(
    caller: Caller, ann: UUID, house: Any, example: ExampleOf
) -> None:
    other = uuid4()
    await house.hear(example("order.placed", order_id=str(other)))
    found = await caller.entities([other, "no id", ann, uuid4(), ann], "shopper", "ann")
    assert [order and order["id"] for order in found] == [None, None, str(ann), None, str(ann)]


async def test_an_order_without_messages_for_the_customer_has_an_empty_list(
    caller: Caller, house: Any, box: sandbox.Box, example: ExampleOf, ann: UUID
) -> None:
    await house.fetch("DELETE FROM notifications WHERE channel <> 'SLACK'")
    [order] = await caller.entities([ann], "shopper", "ann")
    assert order["notifications"] == []


async def test_fifty_orders_are_one_query(caller: Caller, house: Any, example: ExampleOf) -> None:
    ids = [uuid4() for _ in range(50)]
    await house.hear(*(example("order.placed", order_id=str(order_id)) for order_id in ids))
    with reads(house.service.db) as statements:
        found = await caller.entities(list(ids), "staff")
    assert [order["id"] for order in found] == [str(order_id) for order_id in ids]
    assert all(len(order["notifications"]) == 2 for order in found)
    assert len(statements) == 1


def test_the_subgraph_says_what_was_agreed() -> None:
    result = schema.execute_sync("{ _service { sdl } }")
    assert result.data is not None
    sdl = " ".join(result.data["_service"]["sdl"].split())
    assert 'type Order @key(fields: "id")' in sdl
    assert "id: ID! notifications: [Notification!] }" in sdl
    assert "enum NotificationChannel { EMAIL SMS SLACK }" in sdl
    assert "Mutation" not in sdl
