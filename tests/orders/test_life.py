"""What people do with an order, as they ask it of the storefront graph, on a real database."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from orders.status import OrderStatus
from shared.auth import ANONYMOUS, Principal, Scope
from shared.errors import Code, Refusal
from support.counter import Counter, a_guest, captured, dispatched, staff_with
from support.orders import OTHER, SHOPPER, a_line

UPDATE_STATUS = "mutation($id: ID!, $input: UpdateOrderStatusInput!) { updateOrderStatus(id: $id, input: $input) { status notes nextStatuses } }"
UPDATE_SHIPPING = (
    "mutation($id: ID!, $input: UpdateOrderShippingInput!) { updateOrderShipping(id: $id, input: $input)"
    " { status shippingCarrier shippingService tracking trackingUrl } }"
)
ADD_TRACKING = "mutation($id: ID!, $n: String!) { addOrderTracking(id: $id, tracking: $n) { status tracking shippedAt } }"
CANCEL = "mutation($id: ID!) { cancelOrder(id: $id) { status cancelledAt } }"
REFUND = (
    "mutation($id: ID!, $amount: Float, $reason: String) { refundOrder(id: $id, amount: $amount, reason: $reason)"
    " { paymentStatus } }"
)
DELIVERED = "mutation($id: ID!) { markOrderDelivered(id: $id) { status deliveredAt items { status } } }"
NOTES = "mutation($id: ID!, $notes: String!) { updateOrderNotes(id: $id, notes: $notes) { notes } }"
CANCEL_ITEMS = "mutation($id: ID!) { cancelOrderItems(id: $id, items: []) { id } }"
EDIT = 'mutation($id: ID!) { editOrder(id: $id, input: {}, version: "0") { id } }'
PREVIEW = "query($id: ID!) { previewOrderEdit(id: $id, input: {}) { version } }"
HOLD = 'mutation($id: ID!) { holdOrder(id: $id, reason: "fraud?") { id } }'
RELEASE = 'mutation($id: ID!) { releaseHold(id: $id, holdId: "none") { id } }'
MANY = (
    "mutation($ids: [ID!]!, $status: OrderStatus!, $notes: String) { updateOrdersStatus(ids: $ids, status: $status, notes: $notes)"
    " { id order { status notes } error { code message } } }"
)
SUPPORT, FULFILMENT, FINANCE = Scope.SUPPORT, Scope.FULFILMENT, Scope.FINANCE


def to(status: str, **more: str) -> dict[str, str]:
    return {"status": status, **more}


async def test_staff_take_an_offline_payment_and_a_card_payment_that_comes_all_the_same_goes_back_once(
    counter: Counter,
) -> None:
    order = await counter.place(come_to="placed")
    answer = await counter.ask(
        UPDATE_STATUS, id=str(order.id), input=to("PROCESSING", notes="paid in the shop")
    )
    assert (answer["status"], answer["notes"]) == ("PROCESSING", "paid in the shop")
    await counter.hear(captured(order))
    await counter.hear(captured(order))
    after = await counter.read(order)
    assert (after.payment_method, after.captured, after.refundable) == (
        "offline",
        2 * order.total,
        order.total,
    )
    assert [refund.amount for refund in after.refunds] == [order.total]
    assert await counter.said(order) == ["order.paid", "order.refund_requested"]


async def test_a_second_intent_that_is_captured_goes_back(counter: Counter) -> None:
    order = await counter.place()
    await counter.hear(captured(order, "pi_1"), captured(order, "pi_2", 700), captured(order, "pi_2", 700))
    after = await counter.read(order)
    assert (after.captured, after.refundable) == (order.total + 700, order.total)
    assert [refund.amount for refund in after.refunds] == [700]


async def test_an_order_handed_over_by_hand_is_shipped_at_once_and_shipping_is_told(counter: Counter) -> None:
    order = await counter.place()
    assert (await counter.ask(UPDATE_STATUS, id=str(order.id), input=to("SHIPPED")))["status"] == "SHIPPED"
    assert await counter.said(order) == ["order.handed_over", "order.shipped"]
    after = await counter.read(order)
    assert [line.shipped for line in after.lines] == [2, 1]
    answer = await counter.ask(DELIVERED, id=str(order.id))
    assert {item["status"] for item in answer["items"]} == {"DELIVERED"}


async def test_by_hand_goes_only_what_has_not_left_yet(counter: Counter) -> None:
    order = await counter.place()
    await counter.hear(dispatched(order, uuid4(), {1: 1}))
    await counter.ask(UPDATE_STATUS, id=str(order.id), input=to("SHIPPED"))
    by_hand = [s.lines for s in (await counter.read(order)).shipments if s.by_hand]
    assert by_hand == [{1: 1, 2: 1}]


async def test_an_illegal_move_is_refused_and_told_the_legal_ones(counter: Counter) -> None:
    order = await counter.place(come_to="placed")
    for status in ("SHIPPED", "DELIVERED", "RETURNED", "REFUNDED"):
        refusal = await counter.refusal(UPDATE_STATUS, id=str(order.id), input=to(status, notes="x"))
        assert refusal.code is Code.INVALID_TRANSITION
        assert refusal.details["allowed"] == ["PROCESSING", "CANCELLED"]
    paid = await counter.place()
    refusal = await counter.refusal(UPDATE_STATUS, id=str(paid.id), input=to("PENDING"))
    assert refusal.details["allowed"] == ["SHIPPED", "CANCELLED"]
    assert (await counter.read(order)).notes is None


async def test_what_is_partly_out_cannot_be_cancelled_and_says_so_before(counter: Counter) -> None:
    order = await counter.place()
    await counter.hear(dispatched(order, uuid4(), {1: 1}))
    refusal = await counter.refusal(UPDATE_STATUS, id=str(order.id), input=to("CANCELLED"))
    assert refusal.details["allowed"] == ["SHIPPED"]
    assert (await counter.refusal(CANCEL, id=str(order.id))).code is Code.NOT_CANCELLABLE


async def test_a_status_that_is_there_already_stays_and_is_not_said_again(counter: Counter) -> None:
    order = await counter.place(come_to="out")
    answer = await counter.ask(UPDATE_STATUS, id=str(order.id), input=to("SHIPPED", notes="looked again"))
    assert (answer["status"], answer["notes"]) == ("SHIPPED", "looked again")
    assert await counter.said(order) == []


async def test_the_status_refunded_refunds_all_of_it_once(counter: Counter) -> None:
    order = await counter.place(come_to="delivered")
    for _ in range(2):
        await counter.ask(UPDATE_STATUS, id=str(order.id), input=to("REFUNDED"))
    assert [r.amount for r in (await counter.read(order)).refunds] == [order.total]


async def test_shipping_is_written_down_without_a_move_and_a_new_number_has_no_old_link(
    counter: Counter,
) -> None:
    order = await counter.place()
    given = {"carrier": "DHL", "service": "express", "trackingNumber": "1", "trackingUrl": "https://d.hl/1"}
    answer = await counter.ask(UPDATE_SHIPPING, id=str(order.id), input=given)
    assert (answer["status"], answer["trackingUrl"]) == ("PROCESSING", "https://d.hl/1")
    assert (answer["shippingCarrier"], answer["shippingService"]) == ("DHL", "express")
    given = {"carrier": "DHL", "service": "express"}
    assert (await counter.ask(UPDATE_SHIPPING, id=str(order.id), input=given))["tracking"] == "1"
    given = {"carrier": "DHL", "service": "express", "trackingNumber": "2"}
    answer = await counter.ask(UPDATE_SHIPPING, id=str(order.id), input=given)
    assert (answer["tracking"], answer["trackingUrl"]) == ("2", None)
    assert len(await counter.told(order)) == 2


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://d.hl/1",
        "d.hl/1",
        "https://",
        "http://[x",
        "https://d.hl/a b",
        "https://ups.com@d.hl/1",
        "https://d.hl/<b>",
    ],
)
async def test_a_tracking_link_is_a_web_address(counter: Counter, url: str) -> None:
    order = await counter.place()
    given = {"carrier": "DHL", "service": "express", "trackingUrl": url}
    assert (await counter.refusal(UPDATE_SHIPPING, id=str(order.id), input=given)).code is Code.BAD_INPUT


async def test_tracking_on_an_unpaid_order_is_remembered_and_on_a_paid_one_it_has_left(
    counter: Counter,
) -> None:
    unpaid, paid = await counter.place(come_to="placed"), await counter.place()
    answer = await counter.ask(ADD_TRACKING, id=str(unpaid.id), n="1Z")
    assert (answer["status"], answer["tracking"], answer["shippedAt"]) == ("PENDING", "1Z", None)
    answer = await counter.ask(ADD_TRACKING, id=str(paid.id), n="1Z")
    assert (answer["status"], answer["tracking"]) == ("SHIPPED", "1Z")
    assert await counter.said(paid) == ["order.handed_over", "order.shipped"]
    await counter.ask(CANCEL, id=str(unpaid.id))
    assert (await counter.refusal(ADD_TRACKING, id=str(unpaid.id), n="2")).code is Code.INVALID_TRANSITION


async def test_notes_are_for_staff(counter: Counter) -> None:
    order = await counter.place()
    assert await counter.ask(NOTES, id=str(order.id), notes="call\nfirst") == {"notes": "call\nfirst"}
    seen = await counter.ask("query($id: ID!) { order(id: $id) { notes } }", SHOPPER, id=str(order.id))
    assert seen == {"notes": None}


async def test_notes_take_their_scope_also_beside_a_status_that_is_nobodys_to_set(counter: Counter) -> None:
    order = await counter.place(come_to="placed")
    given: dict[str, Any] = {"id": str(order.id), "input": to("PENDING", notes="x")}
    assert (await counter.refusal(UPDATE_STATUS, staff_with(FULFILMENT), **given)).code is Code.FORBIDDEN
    many: dict[str, Any] = {"ids": [str(order.id)], "status": "PENDING", "notes": "x"}
    [result] = await counter.ask(MANY, staff_with(FULFILMENT), **many)
    assert result["error"]["code"] == Code.FORBIDDEN
    assert (await counter.read(order)).notes is None
    assert (await counter.ask(UPDATE_STATUS, staff_with(SUPPORT), **given))["notes"] == "x"


async def test_what_asks_no_refund_does_not_wait_for_one_and_none_is_waited_for_that_goes_back_by_hand(
    counter: Counter,
) -> None:
    by_card, by_hand = await counter.place(come_to="delivered"), await counter.place(come_to="placed")
    await counter.ask(REFUND, id=str(by_card.id), amount=1.0)
    for status in ("PROCESSING", "SHIPPED"):
        await counter.ask(UPDATE_STATUS, id=str(by_hand.id), input=to(status))
    counter.outcome_wait(3600)
    async with asyncio.timeout(30):
        await counter.ask(NOTES, id=str(by_card.id), notes="called")
        await counter.ask(UPDATE_SHIPPING, id=str(by_card.id), input={"carrier": "D", "service": "x"})
        await counter.ask(UPDATE_STATUS, id=str(by_card.id), input=to("RETURNED"))
        await counter.ask(REFUND, id=str(by_hand.id), amount=1.0)


MUTATIONS: dict[str, tuple[str, dict[str, Any], set[Scope], bool]] = {
    "to PROCESSING": (UPDATE_STATUS, {"input": to("PROCESSING")}, {FINANCE}, False),
    "to SHIPPED": (UPDATE_STATUS, {"input": to("SHIPPED")}, {FULFILMENT}, False),
    "to DELIVERED": (UPDATE_STATUS, {"input": to("DELIVERED")}, {FULFILMENT}, False),
    "to RETURNED": (UPDATE_STATUS, {"input": to("RETURNED")}, {FULFILMENT}, False),
    "to CANCELLED": (UPDATE_STATUS, {"input": to("CANCELLED")}, {SUPPORT}, False),
    "to REFUNDED": (UPDATE_STATUS, {"input": to("REFUNDED")}, {SUPPORT, FINANCE}, False),
    "shipping": (UPDATE_SHIPPING, {"input": {"carrier": "D", "service": "x"}}, {FULFILMENT}, False),
    "tracking": (ADD_TRACKING, {"n": "1"}, {FULFILMENT}, False),
    "refund": (REFUND, {"amount": 1.0}, {SUPPORT, FINANCE}, False),
    "delivered": (DELIVERED, {}, {FULFILMENT}, False),
    "notes": (NOTES, {"notes": "x"}, {SUPPORT}, False),
    "hold": (HOLD, {}, {SUPPORT}, False),
    "release": (RELEASE, {}, {SUPPORT}, False),
    "cancel items": (CANCEL_ITEMS, {}, {SUPPORT}, True),
    "preview": (PREVIEW, {}, {SUPPORT}, True),
    "edit": (EDIT, {}, {SUPPORT}, True),
    "cancel": (CANCEL, {}, {SUPPORT}, True),
}
DENIED = {Code.FORBIDDEN, Code.UNAUTHENTICATED, Code.ORDER_NOT_FOUND}


@pytest.mark.parametrize("what", MUTATIONS)
async def test_a_mutation_takes_its_scope(counter: Counter, what: str) -> None:
    document, arguments, scopes, is_owners = MUTATIONS[what]
    order, others = await counter.place(), await counter.place()

    async def code(caller: Principal) -> Code | None:
        try:
            await counter.ask(document, caller, id=str(order.id), **arguments)
        except Refusal as refusal:
            return refusal.code
        return None

    assert await code(ANONYMOUS) is Code.UNAUTHENTICATED
    for scope in set(Scope) - scopes:
        assert await code(staff_with(scope)) is Code.FORBIDDEN
    strangers = Code.ORDER_NOT_FOUND if is_owners else Code.FORBIDDEN
    if what != "cancel items":  # an empty list is refused before the order is looked at
        assert await code(OTHER) is strangers
        assert await code(a_guest(others)) is strangers
    for caller in (SHOPPER, a_guest(order)):
        assert (await code(caller) in DENIED) is not is_owners
    for scope in scopes:
        assert await code(staff_with(scope)) not in DENIED


async def test_a_shopper_cannot_take_items_out_of_anothers_order(counter: Counter) -> None:
    order = await counter.place()
    document = "mutation($id: ID!, $items: [ItemQuantityInput!]!) { cancelOrderItems(id: $id, items: $items) { id } }"
    items = [{"itemId": f"{order.id}:1", "quantity": 1}]
    for caller in (OTHER, a_guest(await counter.place())):
        refusal = await counter.refusal(document, caller, id=str(order.id), items=items)
        assert refusal.code is Code.ORDER_NOT_FOUND


async def test_support_refunds_up_to_its_limit_in_all_and_finance_without_one(counter: Counter) -> None:
    order = await counter.place(a_line(1, 4, 10_000), come_to="delivered")
    support = staff_with(SUPPORT)
    refusal = await counter.refusal(REFUND, support, id=str(order.id))
    assert (refusal.code, refusal.details["limit"]) == (Code.FORBIDDEN, 100.0)
    await counter.ask(REFUND, support, id=str(order.id), amount=99.99)
    assert (await counter.refusal(REFUND, support, id=str(order.id), amount=0.02)).code is Code.FORBIDDEN
    await counter.ask(REFUND, support, id=str(order.id), amount=0.01)
    refusal = await counter.refusal(UPDATE_STATUS, support, id=str(order.id), input=to("REFUNDED"))
    assert refusal.code is Code.FORBIDDEN
    await counter.ask(REFUND, staff_with(FINANCE), id=str(order.id))
    assert (await counter.read(order)).refundable == 0


async def test_many_orders_are_decided_each_on_its_own(counter: Counter) -> None:
    paid, unpaid, held = await counter.place(), await counter.place(come_to="placed"), await counter.place()
    await counter.ask(HOLD, id=str(held.id))
    ids = [str(paid.id), str(unpaid.id), str(held.id), str(uuid4()), "nonsense", str(paid.id)]
    results = await counter.ask(MANY, ids=ids, status="SHIPPED", notes="by van")
    assert [result["id"] for result in results] == ids[:5]
    codes = [result["error"] and result["error"]["code"] for result in results]
    assert codes == [None, "INVALID_TRANSITION", "ON_HOLD", "ORDER_NOT_FOUND", "ORDER_NOT_FOUND"]
    seen = [result["order"] and result["order"]["status"] for result in results]
    assert seen == ["SHIPPED", "PENDING", "PROCESSING", None, None]
    assert [result["order"]["notes"] for result in results[:3]] == ["by van", None, None]
    assert await counter.said(unpaid) == []


async def test_many_orders_under_one_key_are_answered_as_the_first_time(counter: Counter) -> None:
    paid, unpaid = await counter.place(), await counter.place(come_to="placed")
    ids = [str(paid.id), str(unpaid.id)]
    first = await counter.ask(MANY, key="k", ids=ids, status="SHIPPED")
    await counter.hear(captured(unpaid))
    again = await counter.ask(MANY, key="k", ids=ids, status="SHIPPED")
    assert [result["error"] for result in again] == [result["error"] for result in first]
    assert await counter.said(paid) == ["order.handed_over", "order.shipped"]
    assert (await counter.read(unpaid)).status is OrderStatus.PROCESSING


async def test_many_orders_are_one_transaction(counter: Counter) -> None:
    ids = [str((await counter.place()).id) for _ in range(5)]
    await counter.ask(MANY, ids=ids, status="SHIPPED")
    [row] = await counter.db.fetch(
        text("SELECT count(DISTINCT xmin::text) AS n FROM orders WHERE status = 'SHIPPED'")
    )
    assert row.n == 1


@pytest.mark.parametrize("count", [0, 101])
async def test_many_are_1_to_100(counter: Counter, count: int) -> None:
    ids = [str(uuid4()) for _ in range(count)]
    assert (await counter.refusal(MANY, ids=ids, status="SHIPPED")).code is Code.BAD_INPUT


async def test_a_cancellation_tells_the_reason_that_was_given(counter: Counter) -> None:
    order = await counter.place()
    document = (
        'mutation($id: ID!) { cancelOrder(id: $id, reason: "too slow") { status timeline { what why } } }'
    )
    answer = await counter.ask(document, SHOPPER, id=str(order.id))
    assert answer["timeline"][0] == {"what": "cancel", "why": "too slow"}
    assert await counter.said(order) == ["order.cancelled", "order.refund_requested"]
