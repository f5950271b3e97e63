"""What carriers would ask: a price list by service and weight, the same answer every time."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

CENT = Decimal("0.01")
HEAVIEST = 150  # pounds: what parcel carriers take
POUNDS = {"lb": Decimal(1), "oz": Decimal("0.0625"), "kg": Decimal("2.20462"), "g": Decimal("0.00220462")}


@dataclass(frozen=True, slots=True)
class Service:
    """`base` and `per_pound` in US dollars, `days` in transit."""

    provider: str
    token: str
    name: str
    base: Decimal
    per_pound: Decimal
    days: int


DOMESTIC = (
    Service("USPS", "usps_ground_advantage", "Ground Advantage", Decimal("5.25"), Decimal("0.45"), 4),
    Service("USPS", "usps_priority", "Priority Mail", Decimal("7.90"), Decimal("0.80"), 2),
    Service("USPS", "usps_priority_express", "Priority Mail Express", Decimal("28.40"), Decimal("1.90"), 1),
    Service("UPS", "ups_ground", "Ground", Decimal("9.10"), Decimal("0.60"), 4),
    Service("UPS", "ups_second_day_air", "2nd Day Air®", Decimal("19.75"), Decimal("1.40"), 2),
    Service("UPS", "ups_next_day_air", "Next Day Air®", Decimal("41.30"), Decimal("2.30"), 1),
)
INTERNATIONAL = (
    Service(
        "USPS",
        "usps_priority_mail_international",
        "Priority Mail International",
        Decimal("44.20"),
        Decimal("3.10"),
        8,
    ),
    Service("UPS", "ups_saver", "Saver®", Decimal("61.80"), Decimal("4.40"), 3),
)


def pounds(parcels: list[dict[str, Any]]) -> Decimal:
    """The weight of all parcels. Raises ArithmeticError or KeyError for a weight or unit that is none."""
    weight = sum(
        (Decimal(str(parcel["weight"])) * POUNDS[parcel["mass_unit"]] for parcel in parcels), Decimal(0)
    )
    if not 0 < weight <= HEAVIEST:
        raise ArithmeticError(weight)
    return weight


def quotes(weight: Decimal, *, domestic: bool) -> list[tuple[Service, str, list[str]]]:
    """Service, price in dollars as a decimal string, and Shippo's attributes, cheapest first."""
    services = DOMESTIC if domestic else INTERNATIONAL
    priced = [(service.base + service.per_pound * weight, service) for service in services]
    priced.sort(key=lambda quote: quote[0])
    cheapest = priced[0][1]
    fastest = min(priced, key=lambda quote: (quote[1].days, quote[0]))[1]
    return [
        (
            service,
            str(price.quantize(CENT, ROUND_HALF_UP)),
            (["BESTVALUE", "CHEAPEST"] if service is cheapest else [])
            + (["FASTEST"] if service is fastest else []),
        )
        for price, service in priced
    ]
