"""Refunds by item, and those that fail."""

import asyncio
from uuid import uuid4

from orders.domain import RefundStatus
from shared.auth import Scope
from shared.contracts.payments import PaymentRefundFailed
from shared.errors import Code
from support.counter import (
    CANCEL_ITEMS,
    EXPLAIN,
    ITEMS,
    REFUND_ITEMS,
    Counter,
    refund_failed,
    refunded,
    some,
    staff_with,
    taxed,
)
from support.orders import SHOPPER, a_line

SEEN = f"query($id: ID!) {{ order(id: $id) {{ status {ITEMS} }} }}"
FAILED = """query($id: String!) { orders(filter: {customerId: $id, attention: REFUND_FAILED}) { nodes { id } pageInfo { total } } }"""
RETRY = "mutation($id: ID!, $refund: ID!) { retryRefund(id: $id, refundId: $refund) { status } }"


async def test_a_refund_by_item_marks_the_item_once_it_is_done_and_an_amount_marks_none(
    counter: Counter,
) -> None:
    order = await counter.place(*taxed(), come_to="delivered")
    await counter.ask(REFUND_ITEMS, id=str(order.id), items=some(order, _1=2))
    await counter.ask(REFUND_ITEMS, id=str(order.id), amount=1.0)
    by_item, by_amount = (await counter.read(order)).refunds
    assert (by_item.amount, by_amount.amount) == (2000 - 67 + 34, 100)
    await counter.hear(refunded(order, by_amount.id, by_amount.amount))
    assert (await counter.read(order)).lines[0].refunded == 0
    await counter.hear(refunded(order, by_item.id, by_item.amount))
    seen = await counter.ask(SEEN, id=str(order.id))
    assert [item["refunded"] for item in seen["items"]] == [19.67, 0.0]
    refusal = await counter.refusal(REFUND_ITEMS, id=str(order.id), items=some(order, _1=2))
    assert refusal.code is Code.NOT_REFUNDABLE


async def test_a_full_refund_marks_every_item(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="delivered")
    await counter.ask(REFUND_ITEMS, id=str(order.id))
    [refund] = (await counter.read(order)).refunds
    await counter.hear(refunded(order, refund.id, refund.amount))
    seen = await counter.ask(SEEN, id=str(order.id))
    assert (seen["status"], [item["refunded"] for item in seen["items"]]) == ("REFUNDED", [29.5, 5.0])


async def test_pieces_whose_refund_failed_can_be_refunded_again(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="delivered")
    await counter.ask(REFUND_ITEMS, id=str(order.id), items=some(order, _1=3))
    [refund] = (await counter.read(order)).refunds
    failed = PaymentRefundFailed(
        order_id=order.id, currency="USD", amount=refund.amount, refund_id=refund.id, reason="bank"
    )
    await counter.hear(failed)
    await counter.ask(REFUND_ITEMS, id=str(order.id), items=some(order, _1=3))
    assert (await counter.read(order)).refundable == order.total - refund.amount


async def test_pieces_never_cost_more_than_their_line_whichever_refund_of_them_failed(
    counter: Counter,
) -> None:
    order = await counter.place(*taxed(), come_to="delivered")
    for _ in range(2):
        await counter.ask(REFUND_ITEMS, id=str(order.id), items=some(order, _1=1))
    first, second = (await counter.read(order)).refunds
    assert first.amount != second.amount
    await counter.hear(refund_failed(order, first))
    await counter.ask(REFUND_ITEMS, id=str(order.id), items=some(order, _1=2))
    after = await counter.read(order)
    assert order.total - after.refundable == order.lines[0].worth(3)


async def test_a_refund_is_of_an_amount_or_of_items(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="delivered")
    for items, amount in ((some(order, _1=1), 1.0), ([], None)):
        refusal = await counter.refusal(REFUND_ITEMS, id=str(order.id), items=items, amount=amount)
        assert refusal.code is Code.BAD_INPUT
    assert await counter.said(order) == []


async def test_a_refund_of_no_items_is_none_and_not_of_everything(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="delivered")
    refusal = await counter.refusal(REFUND_ITEMS, id=str(order.id), items=[])
    assert refusal.code is Code.BAD_INPUT
    assert (await counter.read(order)).refunds == ()
    await counter.ask(REFUND_ITEMS, id=str(order.id), items=None)
    assert (await counter.read(order)).refundable == 0


async def test_a_refund_that_failed_before_it_was_sent_is_asked_for_again_once(counter: Counter) -> None:
    order = await counter.place(*taxed())
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=1))
    [refund] = (await counter.read(order)).refunds
    pending = await counter.refusal(RETRY, id=str(order.id), refund=str(refund.id))
    assert pending.code is Code.NOT_REFUNDABLE
    await counter.hear(refund_failed(order, refund))
    steps = (await counter.ask(EXPLAIN, id=str(order.id)))["next"]
    assert {"command": "refund again", "to": None, "who": ["staff:support", "staff:finance"]} in steps
    await asyncio.gather(*(counter.ask(RETRY, id=str(order.id), refund=str(refund.id)) for _ in range(3)))
    _, again = (await counter.read(order)).refunds
    assert (again.amount, again.lines, again.reason) == (refund.amount, refund.lines, refund.reason)
    assert await counter.said(order) == ["order.items_cancelled", *["order.refund_requested"] * 2]
    await counter.hear(refunded(order, again.id, again.amount))
    steps = (await counter.ask(EXPLAIN, id=str(order.id)))["next"]
    assert "refund again" not in {step["command"] for step in steps}
    assert (
        await counter.refusal(RETRY, SHOPPER, id=str(order.id), refund=str(refund.id))
    ).code is Code.FORBIDDEN
    for unknown in ("nonsense", str(uuid4())):
        assert (await counter.refusal(RETRY, id=str(order.id), refund=unknown)).code is Code.BAD_INPUT


async def test_a_failed_refund_is_listed_until_it_is_asked_for_again_or_nothing_is_left(
    counter: Counter,
) -> None:
    order = await counter.place(*taxed(), come_to="delivered")

    async def listed() -> bool:
        page = await counter.ask(FAILED, id=str(order.customer_id))
        return str(order.id) in {node["id"] for node in page["nodes"]}

    await counter.ask(REFUND_ITEMS, id=str(order.id), amount=1.0)
    await counter.ask(REFUND_ITEMS, id=str(order.id), amount=2.0)
    first, second = (await counter.read(order)).refunds
    assert not await listed()
    await counter.hear(refund_failed(order, second))
    await counter.hear(refund_failed(order, first))
    await counter.ask(RETRY, id=str(order.id), refund=str(first.id))
    assert await listed()
    await counter.ask(RETRY, id=str(order.id), refund=str(second.id))
    assert not await listed()
    again = (await counter.read(order)).refunds[-1]
    await counter.hear(refund_failed(order, again))
    assert await listed()
    await counter.ask(REFUND_ITEMS, id=str(order.id))
    assert not await listed()


async def test_a_refund_whose_pieces_went_back_otherwise_is_not_asked_for_again(counter: Counter) -> None:
    order = await counter.place(*taxed(), come_to="delivered")
    await counter.ask(REFUND_ITEMS, id=str(order.id), items=some(order, _2=1))
    [refund] = (await counter.read(order)).refunds
    await counter.hear(refund_failed(order, refund))
    await counter.ask(REFUND_ITEMS, id=str(order.id), items=some(order, _2=1))
    refusal = await counter.refusal(RETRY, id=str(order.id), refund=str(refund.id))
    assert refusal.code is Code.NOT_REFUNDABLE
    steps = (await counter.ask(EXPLAIN, id=str(order.id)))["next"]
    assert "refund again" not in {step["command"] for step in steps}


async def test_a_second_try_that_failed_too_is_tried_again_under_the_id_of_either(counter: Counter) -> None:
    order = await counter.place(*taxed())
    await counter.ask(CANCEL_ITEMS, SHOPPER, id=str(order.id), items=some(order, _1=1))
    [first] = (await counter.read(order)).refunds
    await counter.hear(refund_failed(order, first))
    for tries in (2, 3):
        await counter.ask(RETRY, id=str(order.id), refund=str(first.id))
        refunds = (await counter.read(order)).refunds
        assert len(refunds) == tries
        await counter.hear(refund_failed(order, refunds[-1]))
    second = (await counter.read(order)).refunds[1]
    await counter.ask(RETRY, id=str(order.id), refund=str(second.id))
    refunds = (await counter.read(order)).refunds
    assert [refund.status for refund in refunds] == [RefundStatus.FAILED] * 3 + [RefundStatus.REQUESTED]
    assert {refund.amount for refund in refunds} == {first.amount}


async def test_what_failed_after_the_order_was_refunded_is_said(counter: Counter) -> None:
    order = await counter.place(a_line(1, 1, 1000), come_to="delivered", total=1000)
    await counter.ask(REFUND_ITEMS, id=str(order.id))
    [refund] = (await counter.read(order)).refunds
    await counter.hear(refunded(order, refund.id, refund.amount))
    explained = await counter.ask(EXPLAIN, SHOPPER, id=str(order.id))
    assert (explained["sentence"][:22], explained["waits"]) == ("All of its money went ", [])
    await counter.hear(refund_failed(order, refund))
    explained = await counter.ask(EXPLAIN, SHOPPER, id=str(order.id))
    assert "but that failed: 0.00 USD of 10.00 USD went back" in explained["sentence"]
    [wait] = explained["waits"]
    assert wait["what"] == "staff to ask again for a refund of 10.00 USD, which failed"
    await counter.ask(RETRY, id=str(order.id), refund=str(refund.id))
    [wait] = (await counter.ask(EXPLAIN, SHOPPER, id=str(order.id)))["waits"]
    assert wait["what"] == "a refund of 10.00 USD"


async def test_who_asked_for_other_money_since_is_within_the_limit_with_both(counter: Counter) -> None:
    order = await counter.place(a_line(1, 4, 10_000), come_to="delivered")
    support, finance = staff_with(Scope.SUPPORT), staff_with(Scope.FINANCE)
    await counter.ask(REFUND_ITEMS, support, id=str(order.id), amount=100.0)
    [failed] = (await counter.read(order)).refunds
    await counter.hear(refund_failed(order, failed))
    await counter.ask(REFUND_ITEMS, support, id=str(order.id), amount=0.01)
    asked = {"id": str(order.id), "refund": str(failed.id)}
    refusal = await counter.refusal(RETRY, support, **asked)
    assert (refusal.code, refusal.details["limit"]) == (Code.FORBIDDEN, 100.0)
    await counter.ask(RETRY, finance, **asked)
    await counter.ask(RETRY, support, **asked)
    assert [refund.amount for refund in (await counter.read(order)).refunds] == [10_000, 1, 10_000]


async def test_support_asks_again_for_what_finance_asked_for(counter: Counter) -> None:
    order = await counter.place(a_line(1, 4, 10_000), come_to="delivered")
    await counter.ask(REFUND_ITEMS, staff_with(Scope.FINANCE), id=str(order.id))
    [failed] = (await counter.read(order)).refunds
    await counter.hear(refund_failed(order, failed))
    for _ in range(2):
        await counter.ask(RETRY, staff_with(Scope.SUPPORT), id=str(order.id), refund=str(failed.id))
    assert (await counter.read(order)).refundable == 0
