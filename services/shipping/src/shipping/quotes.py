"""What carriers ask for a parcel before there is an order, signed, so that orders can charge it and shipping can buy it.

A quote is one call to Shippo, and nothing is kept of it: all that the order needs is in its token. It holds for an address and
for items, by the two hashes of `shared.contracts.quotes`.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.contracts.orders import Address
from shared.contracts.quotes import destination_hash, items_hash
from shared.errors import Code, Refusal
from shared.signing import Signer
from shipping.labels import Rate, Refused
from shipping.provider import Shippo, Unknown
from shipping.settings import Settings

AUDIENCE = "ordermesh"
WAIT_SECONDS = 10
"""How long carriers may take; the gateway waits longer."""
AT_ONCE = 8
"""Calls of a process: whoever asks for quotes must not keep labels from being bought."""
NOBODY = "Recipient"
"""Shippo asks for a name, carriers do not price by it: a rate that was quoted to nobody buys nobody's label."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A rate, and the token that holds us to it until `expires_at` (UTC)."""

    rate: Rate
    token: str
    expires_at: datetime


class Quotes:
    """Asks Shippo, and signs what it says."""

    def __init__(self, provider: Shippo, signer: Signer, settings: Settings) -> None:
        self._provider, self._signer, self._settings = provider, signer, settings
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def ask(self, pieces: Counter[str], destination: Address, grams: int) -> Sequence[Quote]:
        """Raises Refusal BAD_INPUT, naming what Shippo does not accept, or SERVICE_UNAVAILABLE."""
        settings = self._settings
        asked = destination.model_copy(update={"name": destination.name or NOBODY})
        try:
            async with asyncio.timeout(WAIT_SECONDS), self._turns:
                rates = await self._provider.rates(
                    sender=settings.ship_from, destination=asked, parcel=settings.parcel, grams=grams
                )
        except (Unknown, TimeoutError):
            raise Refusal(Code.SERVICE_UNAVAILABLE, "The carriers do not answer: try again") from None
        if isinstance(rates, Refused):
            raise Refusal(Code.BAD_INPUT, rates.reason)
        expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=settings.quote_seconds)
        held = {
            "destination": destination_hash(destination.model_dump()),
            "items": items_hash(pieces.items()),
        }
        return [Quote(rate, self._token(rate, held), expires_at) for rate in rates]

    def _token(self, rate: Rate, held: dict[str, str]) -> str:
        return self._signer.sign(
            "quote",
            AUDIENCE,
            self._settings.quote_seconds,
            **held,
            amount=rate.cost,
            currency=rate.currency,
            rate_id=rate.rate_id,
            service=rate.service,
            carrier=rate.carrier,
        )
