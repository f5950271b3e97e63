"""Single items, decided: nothing here needs a database."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from orders.domain import ItemStatus
from orders.life.addresses import change_address
from orders.life.items import cancel_items, edition, worth
from orders.status import OrderStatus
from shared.contracts.money import allocate
from support.orders import ACT, ADDRESS, TERMS, a_line, an_order


@given(st.integers(1, 60), st.integers(0, 500), st.integers(0, 500))
def test_pieces_take_what_the_largest_remainder_gives_them(quantity: int, discount: int, tax: int) -> None:
    line = replace(a_line(1, quantity, 1000), discount=discount, tax=tax)
    off, on = (allocate(amount, [1] * quantity) for amount in (discount, tax))
    for pieces in range(quantity + 1):
        assert line.worth(pieces) == pieces * 1000 - sum(off[:pieces]) + sum(on[:pieces])


def test_the_items_of_an_order_for_nothing_are_paid_as_it_is() -> None:
    order = an_order(status=OrderStatus.PROCESSING, total=0)
    assert {order.item_status(line) for line in order.lines} == {ItemStatus.PAID}


def test_an_edit_comes_to_what_its_preview_told_while_nothing_that_it_is_reckoned_from_has_changed() -> None:
    order = an_order(status=OrderStatus.PROCESSING, captured=3599)
    previewed = edition(order)
    assert edition(replace(order, stripe_fee=30, version=order.version + 1)) == previewed
    fewer_pieces = cancel_items(order, {1: 1}, ACT).order
    elsewhere = change_address(order, {**ADDRESS, "street": "2 Elm Street"}, TERMS.taxes, ACT).order
    assert len({previewed, edition(fewer_pieces), edition(elsewhere)}) == 3


def test_what_waits_for_no_pre_ordered_piece_any_more_can_be_sent_now() -> None:
    until = ACT.now + timedelta(days=90)
    lines = (a_line(1, 2), replace(a_line(2, 2), pre_order=True))
    dates = {"estimated_fulfillment_date": until, "delivery_deadline": until + timedelta(days=7)}
    order = an_order(*lines, status=OrderStatus.PROCESSING, captured=10_000, **dates)
    for pieces in ({1: 2}, {2: 1}):
        waits = cancel_items(order, pieces, ACT).order
        assert (waits.estimated_fulfillment_date, waits.delivery_deadline) == tuple(dates.values())
    freed = cancel_items(order, {2: 2}, ACT).order
    assert (freed.estimated_fulfillment_date, freed.delivery_deadline) == (None, ACT.now + timedelta(days=7))


@given(st.integers(1, 3599), st.permutations([(1, 1), (1, 1), (2, 1)]), st.integers(1, 2))
def test_of_an_order_that_staff_let_go_underpaid_what_goes_on_is_paid_first(
    captured: int, pieces: list[tuple[int, int]], cancels: int
) -> None:
    """However little was paid, and whichever pieces come off in which order."""
    order = an_order(status=OrderStatus.PROCESSING, captured=captured)
    for line, count in pieces[:cancels]:
        before = order.refundable
        order = cancel_items(order, {line: count}, ACT).order
        given_back = before - order.refundable
        assert given_back == max(0, before - worth(order))
        assert (
            sum(part.amount for refund in order.refunds for part in refund.lines)
            == captured - order.refundable
        )
