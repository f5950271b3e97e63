"""Money is integer minor units of one ISO 4217 currency everywhere inside; floats exist only at the edge of a graph.

Source of the exponents: ISO 4217 as Stripe applies it (zero-decimal and three-decimal currencies).
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217 alphabetic code, upper case."""

LARGEST = 10**12
Minor = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
"""An amount in minor units (cents), never negative."""

_ZERO_DECIMAL = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "JPY",
        "KMF",
        "KRW",
        "MGA",
        "PYG",
        "RWF",
        "UGX",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
_THREE_DECIMAL = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])


def exponent(currency: str) -> int:
    """How many decimal digits the currency's minor unit has."""
    if currency in _ZERO_DECIMAL:
        return 0
    return 3 if currency in _THREE_DECIMAL else 2


def to_major(minor: int, currency: str) -> float:
    """Minor units as the graph's Float: the nearest double, which prints the exact cents."""
    digits = exponent(currency)
    return round(minor / 10**digits, digits) if digits else float(minor)


def to_minor(major: float, currency: str) -> int:
    """The graph's Float as minor units. Raises ValueError where it has more decimals than the currency, or is beyond any amount."""
    scaled: float = major * 10 ** exponent(currency)
    if not abs(scaled) <= LARGEST:  # nor is NaN
        raise ValueError("is no amount of money")
    minor: int = round(scaled)
    if abs(scaled - minor) > max(1e-6, 1e-12 * abs(scaled)):  # what binary floats cannot hold, and no more
        raise ValueError(f"has more decimals than {currency}")
    return minor


def allocate(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """`total` split in proportion to `weights` by largest remainder: the parts sum to `total` exactly."""
    whole = sum(weights)
    if whole <= 0:
        return (total, *(0,) * (len(weights) - 1)) if weights else ()
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return tuple(parts)
