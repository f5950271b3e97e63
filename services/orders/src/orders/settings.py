"""What orders can be told from its environment."""

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.auth import Scope
from shared.contracts.money import Currency, Minor
from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """`shipping_rates`: what each delivery speed costs the shopper, in minor units of `currency`. Times in seconds.

    `refund_limits`: what staff of a scope may refund of one order, in minor units of the order's currency; finance has no limit.
    """

    order_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,8}$")] = "ORD"
    currency: Currency = "USD"
    shipping_rates: dict[str, Minor] = Field(default={"standard": 599, "express": 1499})
    refund_limits: dict[Scope, Minor] = Field(default={Scope.SUPPORT: 10_000})
    unpaid_expiry: Annotated[int, Field(ge=60)] = 24 * 3600
    """After so long an order that nobody paid is cancelled, unless a payment is being processed."""
