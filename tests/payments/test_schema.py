"""The subgraph: who may see which payment, and what of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from payments.schema import Payment
from payments.store import find_payments
from shared.auth import Principal, Role
from shared.graphql import iso
from support.reads import reads

if TYPE_CHECKING:
    from support.payments import House

ENTITIES = """
query ($ids: [_Any!]!) {
  _entities(representations: $ids) {
    ... on Order {
      id
      payment {
        id status method amount currency capturedAmount externalAmount refundedAmount fee feeCurrency clientSecret paymentIntentId
        failureCode createdAt capturedAt settledAt refunds { id amount reason status createdAt }
      }
    }
  }
}
"""
ONLY_AMOUNTS = (
    "query ($ids: [_Any!]!) { _entities(representations: $ids) { ... on Order { payment { amount } } } }"
)


async def entities(house: House, token: str | None, *order_ids: object, query: str = ENTITIES) -> list[Any]:
    ids = [{"__typename": "Order", "id": str(order_id)} for order_id in order_ids]
    answer = await house.graph(query, token, ids=ids)
    assert "errors" not in answer
    found: list[Any] = answer["data"]["_entities"]
    return found


async def test_the_payment_shows_what_became_of_it(house: House) -> None:
    order_id = await house.paid(2599)
    fact = house.refund_requested(order_id, 1050)
    await house.hear(fact)
    await house.settled()
    [order] = await entities(house, house.token("staff", "eve"), order_id)
    payment = await house.payment(order_id)
    [refund] = await house.refunds(order_id)
    assert payment.captured_at is not None
    assert order == {
        "id": str(order_id),
        "payment": {
            "id": str(order_id),
            "status": "CAPTURED",
            "method": "stripe",
            "amount": 25.99,
            "currency": "USD",
            "capturedAmount": 25.99,
            "externalAmount": 0.0,
            "refundedAmount": 10.5,
            "fee": 1.05,
            "feeCurrency": "USD",
            "clientSecret": None,
            "paymentIntentId": payment.payment_intent_id,
            "failureCode": None,
            "createdAt": iso(payment.created_at),
            "capturedAt": iso(payment.captured_at),
            "settledAt": None,
            "refunds": [
                {
                    "id": str(fact.refund_id),
                    "amount": 10.5,
                    "reason": "too small",
                    "status": "SUCCEEDED",
                    "createdAt": iso(refund.created_at),
                }
            ],
        },
    }
    assert iso(payment.created_at).endswith("Z")


WHO = [
    ("shopper", "ann", True),
    ("shopper", "bob", False),
    ("staff", "eve", True),
    ("partner", "acme", True),
    ("partner", "other", False),
]


@pytest.mark.parametrize(("role", "name", "may"), WHO)
async def test_only_its_own_people_see_a_payment(house: House, role: str, name: str, may: bool) -> None:  # noqa: FBT001 - a table's column
    order_id = await house.placed(partner_id="acme")
    [order] = await entities(house, house.token(role, name), order_id)
    assert (order is not None) == may


async def test_nobody_in_particular_sees_nothing(house: House) -> None:
    order_id = await house.placed()
    assert await entities(house, None, order_id) == [None]


async def test_a_token_that_does_not_verify_is_told_so(house: House) -> None:
    answer = await house.graph("{ _service { sdl } }", "nonsense")
    assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("role", "name", "may"), [("shopper", "ann", True), ("staff", "eve", True), ("partner", "acme", False)]
)
async def test_the_client_secret_is_for_who_may_pay(house: House, role: str, name: str, may: bool) -> None:  # noqa: FBT001 - a table's column
    order_id = await house.placed(partner_id="acme")
    secret = (await house.payment(order_id)).client_secret
    assert secret is not None
    [order] = await entities(house, house.token(role, name), order_id)
    assert order["payment"]["clientSecret"] == (secret if may else None)


@pytest.mark.parametrize(
    ("role", "name", "may"), [("shopper", "ann", False), ("staff", "eve", True), ("partner", "acme", False)]
)
async def test_what_the_provider_takes_is_for_staff(
    house: House,
    role: str,
    name: str,
    may: bool,  # noqa: FBT001 - a table's column
) -> None:
    order_id = await house.placed(2599, partner_id="acme")
    await house.confirm(order_id, "pm_card_bypassPending")
    await house.settled()
    settled_at = (await house.payment(order_id)).settled_at
    assert settled_at is not None
    [order] = await entities(house, house.token(role, name), order_id)
    shown = tuple(order["payment"][name] for name in ("fee", "feeCurrency"))
    assert shown == ((1.05, "USD") if may else (None, None))
    assert order["payment"]["settledAt"] == iso(settled_at)


async def test_an_unknown_order_and_what_is_no_id_are_not_there(house: House) -> None:
    order_id = await house.placed()
    found = await entities(house, house.token("staff", "eve"), uuid4(), "4711", order_id)
    assert [order and order["id"] for order in found] == [None, None, str(order_id)]


async def test_fifty_orders_are_one_query_and_one_more_with_their_refunds(house: House) -> None:
    facts = [house.order_placed(1000 + n) for n in range(50)]
    await house.hear(*facts)
    await house.settled()
    ids, token = [fact.order_id for fact in facts], house.token("shopper", "ann")
    with reads(house.service.db) as seen:
        found = await entities(house, token, *ids, query=ONLY_AMOUNTS)
    assert [order["payment"]["amount"] for order in found] == [fact.total / 100 for fact in facts]
    assert len(seen) == 1
    with reads(house.service.db) as seen:
        await entities(house, token, *ids)
    assert len(seen) == 2


async def test_a_guest_may_pay_the_one_order(house: House) -> None:
    order_id, other = await house.placed(), await house.placed()
    guest = Principal(Role.GUEST, "guest", order_id=order_id)
    found, hidden = await find_payments(house.service.db, guest, [order_id, other])
    assert hidden is None
    assert found is not None
    assert Payment.of(found, guest).client_secret == found.client_secret
    assert found.client_secret is not None


CONFIRM = "mutation($id: ID!) { it: confirmExternalRefund(refundId: $id) { id amount status } }"


async def test_finance_confirms_once_that_money_was_handed_back(house: House) -> None:
    order_id = await house.placed(2599)
    asked = house.refund_requested(order_id, 1050)
    await house.hear(house.order_paid(order_id, 2599, "offline"), asked)
    await house.settled()
    token = house.token("staff", "eve", "finance")
    for key in (None, "once", "once"):
        answer = await house.graph(CONFIRM, token, key, id=str(asked.refund_id))
        assert answer["data"]["it"] == {"id": str(asked.refund_id), "amount": 10.5, "status": "SUCCEEDED"}
    assert (await house.said_types(order_id)).count("payment.refunded") == 1
    assert (await house.payment(order_id)).refunded_amount == 1050


async def test_only_finance_confirms_and_only_what_is_due(house: House) -> None:
    order_id = await house.paid(2599)
    by_card = house.refund_requested(order_id, 1050)
    await house.hear(by_card)
    await house.settled()
    finance = house.token("staff", "eve", "finance")
    for token, refund_id, code in (
        (None, by_card.refund_id, "UNAUTHENTICATED"),
        (house.token("shopper", "ann"), by_card.refund_id, "FORBIDDEN"),
        (house.token("staff", "eve", "support fulfilment"), by_card.refund_id, "FORBIDDEN"),
        (finance, by_card.refund_id, "INVALID_TRANSITION"),
        (finance, uuid4(), "BAD_INPUT"),
        (finance, "4711", "BAD_INPUT"),
    ):
        answer = await house.graph(CONFIRM, token, id=str(refund_id))
        assert answer["errors"][0]["extensions"]["code"] == code
    assert (await house.payment(order_id)).refunded_amount == 1050


async def test_the_subgraph_needs_no_field_of_its_own_on_query(house: House) -> None:
    answer = await house.graph("{ _service { sdl } }")
    sdl = answer["data"]["_service"]["sdl"]
    assert 'type Order @key(fields: "id")' in sdl
    fields = sdl.partition("type Query {")[2].partition("}")[0].split("\n")
    assert {field.strip()[:1] for field in fields} <= {"", "_"}
    assert "PaymentStatus" not in sdl
