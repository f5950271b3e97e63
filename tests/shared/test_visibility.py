"""Both ways of asking who may see a row answer the same."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid, select

from shared.auth import ANONYMOUS, Principal, Role
from shared.db import Database
from shared.visibility import may_see, visible_to

ANN, BOB = uuid4(), uuid4()
ROWS = Table("rows", MetaData(), Column("id", Uuid), Column("customer_id", Uuid), Column("partner_id", Text))


@dataclass(frozen=True)
class Row:
    id: UUID
    customer_id: UUID
    partner_id: str | None


OWNED = [
    Row(uuid4(), ANN, None),
    Row(uuid4(), BOB, None),
    Row(uuid4(), ANN, "acme"),
    Row(uuid4(), BOB, "globex"),
]
SEES = {
    Principal(Role.STAFF, "staff"): {0, 1, 2, 3},
    Principal(Role.SHOPPER, "ann", customer_id=ANN): {0, 2},
    Principal(Role.SHOPPER, "without a customer"): set(),
    Principal(Role.PARTNER, "acme", partner_id="acme"): {2},
    Principal(Role.PARTNER, "without a partner"): set(),
    Principal(Role.GUEST, "guest", order_id=OWNED[1].id): {1},
    Principal(Role.GUEST, "guest of another order", order_id=uuid4()): set(),
    Principal(Role.GUEST, "without an order"): set(),
    ANONYMOUS: set(),
}


@pytest.mark.parametrize("principal", SEES, ids=lambda principal: principal.id)
async def test_a_row_is_seen_by_whom_it_concerns(db: Database, principal: Principal) -> None:
    assert {n for n, row in enumerate(OWNED) if may_see(principal, row)} == SEES[principal]
    async with db.connection() as conn:
        await conn.execute("CREATE TABLE rows (id uuid, customer_id uuid, partner_id text)")
        for row in OWNED:
            await conn.execute(
                "INSERT INTO rows VALUES ($1, $2, $3)", row.id, row.customer_id, row.partner_id
            )
    found = await db.fetch(select(ROWS).where(visible_to(principal, ROWS)))
    assert {[owned.id for owned in OWNED].index(row.id) for row in found} == SEES[principal]


def test_a_table_that_knows_the_order_by_its_key_alone_is_a_guests_as_well() -> None:
    order_id = uuid4()
    guest = Principal(Role.GUEST, "guest", order_id=order_id)
    keyed = Table("keyed", MetaData(), Column("order_id", Uuid))
    child = Table("child", MetaData(), Column("id", Uuid), Column("order_id", Uuid))
    assert str(visible_to(guest, keyed)) == "keyed.order_id = :caller"
    assert str(visible_to(guest, child)) == "child.order_id = :caller"
