"""The tables as the migration makes them, and as the code believes them to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from payments.domain import Payment, PaymentState
from payments.refunds import Refund, RefundState
from payments.store import PAYMENTS, REFUNDS

if TYPE_CHECKING:
    from support.payments import House


async def test_the_checks_know_every_state(house: House) -> None:
    rows = await house.rows(
        "SELECT conname AS name, pg_get_constraintdef(oid) AS text FROM pg_constraint WHERE conname LIKE '%_status_known'"
    )
    found = {
        row["name"]: {part for part in row["text"].split("'") if part.isupper() or "_" in part}
        for row in rows
    }
    assert {state for state in found["payments_status_known"] if state.isupper()} == set(PaymentState)
    assert {state for state in found["refunds_status_known"] if state.isupper()} == set(RefundState)


def test_every_column_is_a_field() -> None:
    assert set(PAYMENTS.columns) == set(Payment.__dataclass_fields__)
    assert set(REFUNDS.columns) == set(Refund.__dataclass_fields__)
