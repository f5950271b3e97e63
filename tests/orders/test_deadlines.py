"""Deadlines fire, and let the table decide."""

import pytest

from orders.life import commands
from orders.status import OrderStatus
from support.lifecycle import Desk, Payments
from support.orders import SHOPPER, a_line


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.place((a_line(),))
    return desk


def hear(desk: Desk, *steps: str) -> None:
    payments = Payments(desk, amount=desk.order.total)
    for step in steps:
        getattr(payments, step)()
    for fact in payments.topic:
        desk.hear(fact)


def test_the_deadline_of_a_cancelled_order_is_not_asked_for_again(desk: Desk) -> None:
    hear(desk, "process")
    desk.ask(lambda key, tx: commands.cancel(key, SHOPPER, "no", tx))
    desk.fire()
    assert desk.jobs == []


def test_an_order_expires_when_its_payment_was_closed_while_processing(desk: Desk) -> None:
    hear(desk, "process")
    desk.fire()
    assert (desk.order.status, len(desk.jobs)) == (OrderStatus.PENDING, 1)
    hear(desk, "close")
    desk.fire()
    assert (desk.order.status, desk.jobs) == (OrderStatus.CANCELLED, [])
