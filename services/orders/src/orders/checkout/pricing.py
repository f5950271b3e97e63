"""What an order costs. Pure integers in minor units of one currency; every part is split by largest remainder, so sums are exact."""

from collections.abc import Sequence
from dataclasses import dataclass

from orders.checkout.taxes import Destination, Taxes
from shared.contracts.money import allocate

BASIS_POINTS = 10_000
"""A whole, in hundredths of a percent."""


def share(amount: int, bps: int) -> int:
    """`bps` hundredths of a percent of an amount that is not negative, rounded half up."""
    return (amount * bps * 2 + BASIS_POINTS) // (BASIS_POINTS * 2)


@dataclass(frozen=True, slots=True)
class Fee:
    """What the platform takes on top of what the shop gets: `bps` hundredths of a percent, and `fixed`; of nothing, nothing."""

    bps: int = 0
    fixed: int = 0

    def on(self, amount: int) -> int:
        return share(amount, self.bps) + self.fixed if amount else 0


@dataclass(frozen=True, slots=True)
class Price:
    """All amounts of an order; `amounts`, `discounts` and `taxes` are those of its lines."""

    amounts: tuple[int, ...]
    discounts: tuple[int, ...]
    taxes: tuple[int, ...]
    shipping: int
    shipping_tax: int
    platform_fee: int

    @property
    def subtotal(self) -> int:
        return sum(self.amounts)

    @property
    def discount(self) -> int:
        return sum(self.discounts)

    @property
    def tax(self) -> int:
        return sum(self.taxes) + self.shipping_tax

    @property
    def total(self) -> int:
        return self.subtotal + self.shipping + self.tax - self.discount + self.platform_fee


def price(
    amounts: Sequence[int], shipping: int, *, discount: int, destination: Destination, taxes: Taxes, fee: Fee
) -> Price:
    """`discount` comes off the goods, never off the shipping, and is no more than they cost; tax is on what is left of them."""
    discounts = allocate(min(discount, sum(amounts)), amounts)
    left = [amount - off for amount, off in zip(amounts, discounts, strict=True)]
    of_goods, of_shipping = taxes.on(left, shipping, destination)
    owner = sum(left) + shipping + sum(of_goods) + of_shipping
    return Price(tuple(amounts), discounts, of_goods, shipping, of_shipping, fee.on(owner))
