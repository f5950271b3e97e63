"""The status table is total, reachable, and never refuses a fact."""

from pathlib import Path

import pytest

from orders.status import (
    TABLE,
    TRIGGERS,
    Command,
    Compensate,
    Happened,
    Ignore,
    Move,
    OrderStatus,
    Refuse,
    Remedy,
    diagram,
    next_statuses,
)


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_answers_every_trigger(status: OrderStatus) -> None:
    assert set(TABLE[status]) == set(TRIGGERS)


@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("fact", Happened)
def test_a_fact_is_never_refused(status: OrderStatus, fact: Happened) -> None:
    assert isinstance(TABLE[status][fact], Move | Ignore | Compensate)


def test_every_status_can_be_reached_from_the_first() -> None:
    reached, todo = {OrderStatus.PENDING}, [OrderStatus.PENDING]
    while todo:
        moves = {cell.to for cell in TABLE[todo.pop()].values() if isinstance(cell, Move)}
        todo += moves - reached
        reached |= moves
    assert reached == set(OrderStatus)


def test_no_move_leads_to_the_same_status_or_back_to_pending() -> None:
    moves = [
        (status, cell.to) for status, row in TABLE.items() for cell in row.values() if isinstance(cell, Move)
    ]
    assert all(before is not after and after is not OrderStatus.PENDING for before, after in moves)


def test_a_cancelled_or_refunded_order_never_moves_again() -> None:
    for status in (OrderStatus.CANCELLED, OrderStatus.REFUNDED):
        assert not any(isinstance(cell, Move) for cell in TABLE[status].values())


def test_money_that_comes_in_after_the_cancellation_goes_back() -> None:
    assert TABLE[OrderStatus.CANCELLED][Happened.PAYMENT_CAPTURED] == Compensate(Remedy.REFUND)


def test_cancelling_a_paid_order_pays_back() -> None:
    assert TABLE[OrderStatus.PROCESSING][Command.CANCEL] == Move(OrderStatus.CANCELLED, Remedy.REFUND)


def test_refusals_are_sentences_for_people() -> None:
    refusals = [cell for row in TABLE.values() for cell in row.values() if isinstance(cell, Refuse)]
    assert all(refusal.reason for refusal in refusals)


def test_the_next_statuses_are_what_commands_reach() -> None:
    assert next_statuses(OrderStatus.PENDING) == (OrderStatus.PROCESSING, OrderStatus.CANCELLED)
    assert next_statuses(OrderStatus.SHIPPED) == (
        OrderStatus.DELIVERED,
        OrderStatus.RETURNED,
        OrderStatus.REFUNDED,
    )
    assert next_statuses(OrderStatus.CANCELLED) == ()
    assert next_statuses(OrderStatus.RETURNED) == ()
    assert next_statuses(OrderStatus.REFUNDED) == ()


def test_the_diagram_has_every_move() -> None:
    moves = sum(isinstance(cell, Move) for row in TABLE.values() for cell in row.values())
    assert len(diagram().splitlines()) == moves + 2


def test_the_diagram_in_the_architecture_is_current() -> None:
    """Refresh it with: python -c "from orders.status import diagram; print(diagram())"."""
    document = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    assert f"```mermaid\n{diagram()}\n```" in document
