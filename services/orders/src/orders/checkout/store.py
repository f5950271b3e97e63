"""What checkout reads and locks beside the catalogue: discount codes."""

from collections.abc import Sequence

from sqlalchemy import select

from orders.checkout.discounts import DiscountCode, DiscountKind
from orders.tables import discount_codes
from shared.db import Database
from shared.mapping import Mapping
from shared.statements import Statement, one_of

DISCOUNTS: Mapping[DiscountCode] = Mapping(
    discount_codes, DiscountCode, key="code", decode={"kind": DiscountKind}
)
_BY_CODE = Statement(select(discount_codes).where(one_of(discount_codes.c.code)))


async def discount_code(db: Database, code: str) -> DiscountCode | None:
    rows = await db.fetch(_BY_CODE, {"ids": [code]})
    return DISCOUNTS.entity_of_values(rows[0]) if rows else None


async def discount_codes_page(db: Database, *, after: str, limit: int) -> Sequence[DiscountCode]:
    """In the order of the codes."""
    page = select(discount_codes).where(discount_codes.c.code > after).order_by(discount_codes.c.code)
    return [DISCOUNTS.entity_of_values(row) for row in await db.fetch(page.limit(limit))]
