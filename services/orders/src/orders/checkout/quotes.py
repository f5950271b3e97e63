"""Shipping quotes, signed by shipping: believed for the address, the items and the currency that they were made for."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, Field, ValidationError

from orders.checkout.basket import Rate
from shared.auth import Verifier
from shared.contracts.money import Minor
from shared.contracts.quotes import destination_hash, items_hash
from shared.errors import Code, Refusal
from shared.settings import Issuer

MAX_TOKEN = 4096


class Quote(BaseModel):
    """The claims; `destination` and `items` are hashes (`shared.contracts.quotes`), `amount` in minor units of `currency`."""

    destination: str
    items: str
    amount: Minor
    currency: str
    rate_id: str = Field(max_length=200)
    service: str = Field(max_length=200)
    carrier: str = Field(max_length=200)

    @property
    def rate(self) -> Rate:
        return Rate(self.rate_id, self.service, self.carrier)


class Quotes:
    """Reads the quotes of `issuer`; without one, every quote is refused."""

    def __init__(self, issuer: Issuer | None) -> None:
        self._verifier = Verifier((issuer,)) if issuer is not None else None

    async def close(self) -> None:
        if self._verifier is not None:
            await self._verifier.close()

    async def read(self, token: str) -> Quote:
        """Raises Refusal INVALID_QUOTE (`reason` is refused, expired or signature), SERVICE_UNAVAILABLE where shipping cannot be asked for its key."""
        if self._verifier is None:
            raise _invalid("refused", "This shop takes no shipping quotes")
        try:
            claims, _ = await self._verifier.verify(token)
            return Quote.model_validate(claims)
        except Refusal as refusal:
            if refusal.code is Code.SERVICE_UNAVAILABLE:
                raise
            if refusal.details.get("expired"):
                raise _invalid("expired", "The shipping quote has expired: ask for another") from None
            raise _invalid("signature", "The shipping quote is not ours") from None
        except ValidationError:
            raise _invalid("signature", "The token is no shipping quote") from None


def require_fit(
    quote: Quote, address: Mapping[str, str | None], items: Iterable[tuple[str, int]], currency: str
) -> None:
    """Raises Refusal INVALID_QUOTE: `reason` is destination, items or currency."""
    if quote.destination != destination_hash(address):
        raise _invalid("destination", "The shipping quote is for another address")
    if quote.items != items_hash(items):
        raise _invalid("items", "The shipping quote is for other items")
    if quote.currency != currency:
        raise _invalid("currency", f"The shipping quote is in {quote.currency}, this order is in {currency}")


def _invalid(reason: str, message: str) -> Refusal:
    return Refusal(Code.INVALID_QUOTE, message, reason=reason)
