"""Tax by destination, behind one interface. Pure: amounts in minor units; who computes it elsewhere gives another `Taxes`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol

from orders.checkout.places import state_of
from shared.contracts.money import allocate
from shared.errors import Code, Refusal


@dataclass(frozen=True, slots=True)
class Destination:
    """What tax goes by, as ISO 3166 has it (US, CA); `state` is blank where the country has none that is written so."""

    country: str
    state: str

    @classmethod
    def of(cls, address: Mapping[str, str | None]) -> "Destination":
        country = (address["country"] or "").strip().upper()
        return cls(country, state_of(country, address["state"] or ""))


class Taxes(Protocol):
    def on(
        self, goods: Sequence[int], shipping: int, destination: Destination
    ) -> tuple[tuple[int, ...], int]:
        """The tax of each of the goods (their amounts after discount), and of the shipping. Raises Refusal BAD_INPUT."""


@dataclass(frozen=True, slots=True)
class TaxTable:
    """A rate by `COUNTRY-STATE` or by `COUNTRY`, the former first; what is not listed is not taxed. Where states have rates of
    their own, an address has to be in one that there is: a slip of the pen would be free of tax.

    The whole is rounded half up, once, and split by largest remainder. `shipping_too`: whether shipping is taxed at the same rate.
    """

    rates: Mapping[str, Decimal]
    shipping_too: bool = False

    def on(
        self, goods: Sequence[int], shipping: int, destination: Destination
    ) -> tuple[tuple[int, ...], int]:
        if not destination.state and any(
            region.startswith(f"{destination.country}-") for region in self.rates
        ):
            raise Refusal(
                Code.BAD_INPUT,
                f"{destination.country} has no such state, and tax goes by it: write its name or its code",
                argument="shippingAddress.state",
            )
        by_state = self.rates.get(f"{destination.country}-{destination.state}")
        rate = by_state if by_state is not None else self.rates.get(destination.country, Decimal(0))
        taxable = [*goods, shipping if self.shipping_too else 0]
        tax = int((sum(taxable) * rate).to_integral_value(ROUND_HALF_UP))
        *of_goods, of_shipping = allocate(tax, taxable)
        return tuple(of_goods), of_shipping
