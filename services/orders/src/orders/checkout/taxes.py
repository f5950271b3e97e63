"""Tax by destination, behind one interface. Pure: amounts in minor units; who computes it elsewhere gives another `Taxes`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol

from shared.contracts.money import allocate
from shared.errors import Code, Refusal

_CODE = re.compile(r"[A-Z0-9]{1,3}")
"""Of a state: the second part of ISO 3166-2."""


@dataclass(frozen=True, slots=True)
class Destination:
    """What tax goes by: `country` is ISO 3166-1 alpha-2, `state` as the address has it (CA), both in upper case."""

    country: str
    state: str

    @classmethod
    def of(cls, address: Mapping[str, str | None]) -> "Destination":
        country, state = ((address[name] or "").strip().upper() for name in ("country", "state"))
        return cls(country, state)


class Taxes(Protocol):
    def on(
        self, goods: Sequence[int], shipping: int, destination: Destination
    ) -> tuple[tuple[int, ...], int]:
        """The tax of each of the goods (their amounts after discount), and of the shipping.

        Raises Refusal BAD_INPUT for a destination that does not tell it.
        """


@dataclass(frozen=True, slots=True)
class TaxTable:
    """A rate by `COUNTRY-STATE` or by `COUNTRY`, the former first; what is not listed is not taxed.

    The whole is rounded half up, once, and split by largest remainder. `shipping_too`: whether shipping is taxed at the same rate.
    Where a country has a rate by state, a state is told by its code: California is not without tax because it is no CA.
    """

    rates: Mapping[str, Decimal]
    shipping_too: bool = False

    def on(
        self, goods: Sequence[int], shipping: int, destination: Destination
    ) -> tuple[tuple[int, ...], int]:
        self._require_code(destination)
        by_state = self.rates.get(f"{destination.country}-{destination.state}")
        rate = by_state if by_state is not None else self.rates.get(destination.country, Decimal(0))
        taxable = [*goods, shipping if self.shipping_too else 0]
        tax = int((sum(taxable) * rate).to_integral_value(ROUND_HALF_UP))
        *of_goods, of_shipping = allocate(tax, taxable)
        return tuple(of_goods), of_shipping

    def _require_code(self, destination: Destination) -> None:
        """Raises Refusal BAD_INPUT."""
        by_state = [region for region in self.rates if region.startswith(f"{destination.country}-")]
        if by_state and not _CODE.fullmatch(destination.state):
            example = by_state[0].partition("-")[2]
            raise Refusal(
                Code.BAD_INPUT,
                f"state is its code in {destination.country}, such as {example}: tax goes by it",
                argument="shippingAddress",
            )
