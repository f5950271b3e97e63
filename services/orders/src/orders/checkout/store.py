"""What checkout reads and locks: discount codes, and a SKU that was said to be listed."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text

from orders.checkout.discounts import DiscountCode, DiscountKind
from orders.tables import discount_codes
from shared.db import Database
from shared.mapping import Mapping
from shared.statements import Row, Statement, one_of

DISCOUNTS: Mapping[DiscountCode] = Mapping(
    discount_codes, DiscountCode, key="code", decode={"kind": DiscountKind}
)
_HEARD = text(
    "SELECT * FROM skus WHERE id = :sku_id AND EXISTS"
    " (SELECT FROM inbox WHERE event_id = :event_id AND consumer = 'orders')"
)
_BY_CODE = Statement(select(discount_codes).where(one_of(discount_codes.c.code)))


async def discount_code(db: Database, code: str) -> DiscountCode | None:
    rows = await db.fetch(_BY_CODE, {"ids": [code]})
    return DISCOUNTS.entity_of_values(rows[0]) if rows else None


async def discount_codes_page(db: Database, *, after: str, limit: int) -> Sequence[DiscountCode]:
    """In the order of the codes."""
    page = select(discount_codes).where(discount_codes.c.code > after).order_by(discount_codes.c.code)
    return [DISCOUNTS.entity_of_values(row) for row in await db.fetch(page.limit(limit))]


async def sku_heard(db: Database, sku_id: str, event_id: UUID) -> Row | None:
    """The SKU as it stands, once orders has heard this event; None until then."""
    rows = await db.fetch(_HEARD, {"sku_id": sku_id, "event_id": event_id})
    return rows[0] if rows else None
