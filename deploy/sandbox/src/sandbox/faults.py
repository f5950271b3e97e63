"""The seam for faults: every provider call and every webhook passes here, and today nothing goes wrong.

A subclass given to `sandbox.running` may refuse before the effect, lose the answer after it, delay or hang: `effect` is
atomic (it has happened whole, its idempotency key saved, or not at all), whatever the subclass does around it.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Faults:
    async def around(self, endpoint: str, effect: Callable[[], T]) -> T:  # noqa: ARG002 - faults will be chosen by endpoint
        """Run a provider's `effect`. `endpoint` reads provider.resource.operation, e.g. stripe.refunds.create."""
        return effect()

    async def deliver(self, event: str, send: Callable[[], Awaitable[int]]) -> int:  # noqa: ARG002 - as above
        """Send one webhook and return the HTTP status of the receiver's answer. `event` reads provider.type."""
        return await send()
