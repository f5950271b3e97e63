"""Both ways of asking who may see a row answer the same."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid, select

from shared.auth import ANONYMOUS, Principal, Role
from shared.db import Database
from shared.visibility import may_see, visible_to

ANN, BOB = uuid4(), uuid4()
ROWS = Table("rows", MetaData(), Column("customer_id", Uuid), Column("partner_id", Text))


@dataclass(frozen=True)
class Row:
    customer_id: UUID
    partner_id: str | None


OWNED = [Row(ANN, None), Row(BOB, None), Row(ANN, "acme"), Row(BOB, "globex")]
SEES = {
    Principal(Role.STAFF, "staff"): {0, 1, 2, 3},
    Principal(Role.SHOPPER, "ann", customer_id=ANN): {0, 2},
    Principal(Role.SHOPPER, "without a customer"): set(),
    Principal(Role.PARTNER, "acme", partner_id="acme"): {2},
    Principal(Role.PARTNER, "without a partner"): set(),
    ANONYMOUS: set(),
}


@pytest.mark.parametrize("principal", SEES, ids=lambda principal: principal.id)
async def test_a_row_is_seen_by_whom_it_concerns(db: Database, principal: Principal) -> None:
    assert {n for n, row in enumerate(OWNED) if may_see(principal, row)} == SEES[principal]
    async with db.connection() as conn:
        await conn.execute("CREATE TABLE rows (customer_id uuid, partner_id text)")
        for row in OWNED:
            await conn.execute("INSERT INTO rows VALUES ($1, $2)", row.customer_id, row.partner_id)
    found = await db.fetch(select(ROWS).where(visible_to(principal, ROWS)))
    assert {OWNED.index(Row(row.customer_id, row.partner_id)) for row in found} == SEES[principal]
