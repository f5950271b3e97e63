"""Discount codes: what one takes off, and whether it is good for an order. Pure; amounts in minor units, times in UTC."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from orders.checkout.pricing import share
from shared.contracts.money import to_major
from shared.errors import Code, Refusal


class DiscountKind(StrEnum):
    PERCENT = "PERCENT"
    AMOUNT = "AMOUNT"


@dataclass(frozen=True, slots=True)
class DiscountCode:
    """`value`: hundredths of a percent, or minor units of `currency`, which is `minimum`'s too (of the goods' subtotal).

    Good from `starts_at` and before `ends_at`. `uses` counts only while there is a limit, `max_uses`.
    """

    code: str
    version: int
    kind: DiscountKind
    value: int
    currency: str
    minimum: int
    starts_at: datetime | None
    ends_at: datetime | None
    max_uses: int | None
    uses: int
    active: bool
    updated_at: datetime

    @property
    def is_limited(self) -> bool:
        return self.max_uses is not None

    def worth(self, subtotal: int, currency: str, now: datetime) -> int:
        """What it takes off. Raises Refusal INVALID_DISCOUNT with the `reason`."""
        if not self.active:
            raise invalid("inactive", "This discount code is not in use")
        if self.starts_at is not None and now < self.starts_at:
            raise invalid("not_started", "This discount code is not valid yet")
        if self.ends_at is not None and now >= self.ends_at:
            raise invalid("ended", "This discount code is not valid any more")
        if self.max_uses is not None and self.uses >= self.max_uses:
            raise invalid("used_up", "This discount code is used up")
        if self.currency != currency:
            raise invalid("currency", f"This discount code is for orders in {self.currency}")
        if subtotal < self.minimum:
            least = to_major(self.minimum, currency)
            raise invalid(
                "minimum", f"This discount code is for orders of {least} {currency} or more", minimum=least
            )
        return min(subtotal, share(subtotal, self.value) if self.kind is DiscountKind.PERCENT else self.value)

    def used(self, now: datetime) -> "DiscountCode":
        return replace(self, uses=self.uses + 1, updated_at=now)

    def given_back(self, now: datetime) -> "DiscountCode":
        return replace(self, uses=max(0, self.uses - 1), updated_at=now)


def invalid(reason: str, message: str, **details: Any) -> Refusal:
    """`reason` is one of: unknown, inactive, not_started, ended, used_up, currency, minimum."""
    return Refusal(Code.INVALID_DISCOUNT, message, reason=reason, **details)


def code_of(written: str) -> str:
    """The one way to write a code."""
    return written.strip().upper()
