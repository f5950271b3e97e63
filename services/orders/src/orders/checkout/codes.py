"""Discount codes as staff keep them: saving one, and the list."""

import re
from typing import Any

import strawberry
from strawberry import UNSET

from orders.answering import text, time_of
from orders.checkout import store
from orders.checkout.discounts import DiscountKind, code_of
from orders.checkout.inputs import amount_of, bad
from orders.checkout.nodes import DiscountCodeNode
from orders.checkout.pricing import BASIS_POINTS
from orders.tables import discount_codes
from shared.auth import Scope
from shared.commands import execute
from shared.errors import Code, Refusal
from shared.graphql import Info
from shared.tx import Tx

MAX_PAGE = 100
_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,39}")


@strawberry.input(
    description="`value` is in percent (12.5), or an amount in the shop's currency; `minimumSubtotal` too. Times are ISO 8601."
)
class SaveDiscountCodeInput:
    code: str
    kind: DiscountKind
    value: float
    minimum_subtotal: float | None = UNSET
    starts_at: str | None = UNSET
    ends_at: str | None = UNSET
    max_uses: int | None = UNSET
    active: bool | None = UNSET


@strawberry.type
class Mutation:
    @strawberry.mutation(
        description="A new code, or new terms for one that there is; what orders have used of it stays counted. Staff: finance."
    )
    async def save_discount_code(self, info: Info, input: SaveDiscountCodeInput) -> DiscountCodeNode:  # noqa: A002 - the habit of GraphQL
        info.context.principal.require_staff(Scope.FINANCE)
        db = info.context.service.db
        saved = _checked(input, info.context.service.settings.currency)

        async def save(tx: Tx) -> str:
            tx.upsert(discount_codes, **saved, updated_at=tx.now)
            return str(saved["code"])

        code = await execute(
            db,
            "orders",
            save,
            correlation_id=info.context.correlation_id,
            once=info.context.once("saveDiscountCode", saved),
        )
        found = await store.discount_code(db, code)
        if found is None:
            raise RuntimeError("a discount code is never deleted")
        return DiscountCodeNode.of(found)


@strawberry.type
class Query:
    @strawberry.field(description="In the order of the codes, beginning after one of them. Staff.")
    async def discount_codes(
        self, info: Info, after: str | None = UNSET, limit: int | None = UNSET
    ) -> list[DiscountCodeNode]:
        info.context.principal.require_staff()
        limit = 50 if limit is None or limit is UNSET else limit
        if not 1 <= limit <= MAX_PAGE:
            raise Refusal(Code.BAD_INPUT, f"limit is 1 to {MAX_PAGE}")
        beginning = text("after", after or "")
        found = await store.discount_codes_page(info.context.service.db, after=beginning, limit=limit)
        return [DiscountCodeNode.of(code) for code in found]


def _checked(given: SaveDiscountCodeInput, currency: str) -> dict[str, Any]:
    """The row. Raises Refusal BAD_INPUT, naming the argument."""
    code = code_of(given.code)
    if not _CODE.fullmatch(code):
        raise bad("code", "has 1 to 40 letters, digits, - and _")
    starts_at, ends_at = time_of("startsAt", given.starts_at), time_of("endsAt", given.ends_at)
    if starts_at is not None and ends_at is not None and starts_at >= ends_at:
        raise bad("endsAt", "is after startsAt")
    if given.max_uses is not None and given.max_uses is not UNSET and given.max_uses < 1:
        raise bad("maxUses", "is 1 or more")
    return {
        "code": code,
        "kind": given.kind,
        "value": _value(given, currency),
        "currency": currency,
        "minimum": amount_of("minimumSubtotal", given.minimum_subtotal or 0, currency),
        "starts_at": starts_at,
        "ends_at": ends_at,
        "max_uses": given.max_uses or None,
        "active": given.active is not False,
    }


def _value(given: SaveDiscountCodeInput, currency: str) -> int:
    """In hundredths of a percent, or in minor units."""
    if given.kind is DiscountKind.AMOUNT:
        amount = amount_of("value", given.value, currency)
        if amount == 0:
            raise bad("value", "is more than nothing")
        return amount
    bps = round(given.value * 100) if 0 < given.value <= 100 else 0  # noqa: PLR2004 - percent; infinity has no integer
    if not 1 <= bps <= BASIS_POINTS or abs(given.value * 100 - bps) > 1e-6:  # noqa: PLR2004 - what binary floats cannot hold
        raise bad("value", "is a percentage above 0, of at most 100, with two decimals at most")
    return bps
