"""What orders can be told from its environment."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, field_validator

from orders.checkout.places import is_country, state_of
from shared.auth import Scope
from shared.contracts.money import LARGEST, Currency, Minor
from shared.settings import Issuer, ServiceSettings
from shared.signing import Signer


def _known(region: str) -> str:
    """Raises ValueError: nothing would ever be taxed there."""
    country, _, state = region.partition("-")
    if not is_country(country) or (state and state_of(country, state) != state):
        raise ValueError(f"ISO 3166 has no {region}")
    return region


Region = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"), AfterValidator(_known)]
"""A country (DE) or a state (US-CA) of ISO 3166."""
Rate = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)]
Days = Annotated[int, Field(ge=0, le=365)]


class Settings(ServiceSettings):
    """`shipping_rates`: what each delivery speed costs the shopper, in minor units of `currency`. Times in seconds.

    `refund_limits`: what staff of a scope may refund of one order, in minor units of the order's currency; finance has no limit.
    """

    order_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,8}$")] = "ORD"
    currency: Currency = "USD"
    shipping_rates: dict[str, Minor] = Field(default={"standard": 599, "express": 1499})
    delivery_days: dict[str, Days] = Field(default={"standard": 7, "express": 2})
    """How many days after it can be sent an order is there; a speed that is not listed promises none."""
    tax_rates: dict[Region, Rate] = Field(default={})
    tax_shipping: bool = False
    platform_fee_bps: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Of what the shop gets for an order, in hundredths of a percent, on top of it."""
    platform_fee_fixed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    refund_limits: dict[Scope, Minor] = Field(default={Scope.SUPPORT: 10_000})
    unpaid_expiry: Annotated[int, Field(ge=60)] = 24 * 3600
    """After so long an order that nobody paid is cancelled, unless a payment is being processed."""
    guest_key: SecretStr = SecretStr("")
    """The private Ed25519 key (PEM) of guests' order tokens; without one, they die with the process."""
    guest_token_seconds: Annotated[int, Field(ge=60, le=366 * 24 * 3600)] = 30 * 24 * 3600
    guest_orders_per_minute: Annotated[int, Field(ge=0, le=100_000)] = 120
    """Of this process, whoever the guests are; with 0 there are none."""
    quote_issuer: Issuer | None = None
    """Whose signed shipping quotes count; without one, none do."""

    @field_validator("guest_key")
    @classmethod
    def _is_a_key(cls, pem: SecretStr) -> SecretStr:
        """Raises ValueError."""
        try:
            if given := pem.get_secret_value():
                Signer("", given)
        except (ValueError, TypeError):
            raise ValueError("no private Ed25519 key in PEM, without a password") from None
        return pem
