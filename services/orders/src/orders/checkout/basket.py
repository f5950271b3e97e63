"""What is wanted, and what it would cost: the one way from lines to money, for the preview and for the order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from orders.checkout.discounts import DiscountCode
from orders.checkout.pricing import Fee, Price, price
from orders.checkout.taxes import Destination, Taxes
from orders.domain import Line, OrderType
from shared.contracts.money import to_major
from shared.errors import Code, Refusal

MAX_LINES = 100
MAX_QUANTITY = 10_000
MAX_GOODS = 10**11
"""In minor units, before any discount; amounts in facts end at ten times that."""
MAX_TOTAL = 99_999_999
"""In minor units, eight digits: the most that Stripe takes at once. An order above could only expire."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A carrier's offer that the shopper chose, by the carrier's id for it."""

    rate_id: str
    service: str
    carrier: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """`charge` in minor units: the flat rate of the speed, or what `rate` costs. `days`: what the speed promises, if anything."""

    speed: str
    charge: int
    days: int | None
    rate: Rate | None = None

    def at(self, charge: int, rate: Rate) -> "Delivery":
        """By what a carrier offers: the speed is still what was asked for, and costs nothing by itself."""
        return replace(self, charge=charge, rate=rate)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the shop adds to its prices."""

    taxes: Taxes
    fee: Fee


@dataclass(frozen=True, slots=True)
class Basket:
    """Lines at the catalogue's prices, and where they go. `complete_from`: when the last pre-ordered one can be sent, in UTC."""

    lines: tuple[Line, ...]
    currency: str
    delivery: Delivery
    destination: Destination
    complete_from: datetime | None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the basket costs; its lines have their share of discount and tax."""

    lines: tuple[Line, ...]
    price: Price
    currency: str
    order_type: OrderType
    estimated_fulfillment_date: datetime | None
    delivery_deadline: datetime | None


def lines_of(
    wanted: Sequence[tuple[str, int]], skus: Mapping[str, Any], currency: str, now: datetime
) -> tuple[Line, ...]:
    """In the order wanted, at the catalogue's prices. Raises Refusal: SKU_NOT_FOUND, SKU_UNAVAILABLE, BAD_INPUT."""
    if not 1 <= len(wanted) <= MAX_LINES:
        raise Refusal(Code.BAD_INPUT, f"An order has 1 to {MAX_LINES} items")
    if len({sku for sku, _ in wanted}) != len(wanted):
        raise Refusal(Code.BAD_INPUT, "A SKU is listed twice: add its quantities up")
    lines = tuple(
        _line(number, sku_id, quantity, skus.get(sku_id), currency, now)
        for number, (sku_id, quantity) in enumerate(wanted, 1)
    )
    if sum(line.quantity * line.unit_price for line in lines) > MAX_GOODS:
        raise _too_much(currency)
    return lines


def _line(number: int, sku_id: str, quantity: int, sku: Any, currency: str, now: datetime) -> Line:
    if sku is None:
        raise Refusal(Code.SKU_NOT_FOUND, f"There is no SKU {sku_id}", sku=sku_id)
    if not sku.available:
        raise Refusal(Code.SKU_UNAVAILABLE, f"{sku.name} is not for sale now", sku=sku_id)
    if sku.currency != currency:
        raise Refusal(Code.BAD_INPUT, f"{sku.name} is sold in {sku.currency}, this order is in {currency}")
    if not 1 <= quantity <= MAX_QUANTITY:
        raise Refusal(Code.BAD_INPUT, f"A quantity is 1 to {MAX_QUANTITY}", sku=sku_id)
    return Line(
        number,
        sku_id,
        sku.product_id,
        sku.name,
        quantity,
        sku.price,
        sku.shipping_price,
        sku.weight_grams,
        pre_order=sku.available_from is not None and sku.available_from > now,
    )


def complete_from(lines: Sequence[Line], skus: Mapping[str, Any]) -> datetime | None:
    """When the last of the pre-ordered lines can be sent; None without any."""
    return max((skus[line.sku_id].available_from for line in lines if line.pre_order), default=None)


def offer(basket: Basket, terms: Terms, code: DiscountCode | None, now: datetime) -> Offer:
    """Raises Refusal: INVALID_DISCOUNT, or BAD_INPUT for what is worth more than one order can be."""
    amounts = [line.quantity * line.unit_price for line in basket.lines]
    costs = price(
        amounts,
        basket.delivery.charge,
        discount=code.worth(sum(amounts), basket.currency, now) if code is not None else 0,
        destination=basket.destination,
        taxes=terms.taxes,
        fee=terms.fee,
    )
    if costs.total > MAX_TOTAL:
        raise _too_much(basket.currency)
    shared = zip(basket.lines, costs.discounts, costs.taxes, strict=True)
    days = basket.delivery.days
    return Offer(
        lines=tuple(replace(line, discount=discount, tax=tax) for line, discount, tax in shared),
        price=costs,
        currency=basket.currency,
        order_type=_type_of(basket.lines),
        estimated_fulfillment_date=basket.complete_from,
        delivery_deadline=None if days is None else (basket.complete_from or now) + timedelta(days=days),
    )


def _type_of(lines: Sequence[Line]) -> OrderType:
    kinds = {line.pre_order for line in lines}
    if len(kinds) == 2:  # noqa: PLR2004 - some are, some are not
        return OrderType.MIXED
    return OrderType.PRE_ORDER if kinds == {True} else OrderType.REGULAR


def _too_much(currency: str) -> Refusal:
    return Refusal(
        Code.BAD_INPUT, f"One order costs {to_major(MAX_TOTAL, currency)} {currency} at most: place several"
    )
