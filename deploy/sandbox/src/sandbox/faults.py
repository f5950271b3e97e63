"""The seam for faults that are scripted in code: every provider call and every webhook passes here, and nothing goes wrong.

What `sandbox.injection` knows (lost, slow, saved, forged...) is set by control call and needs no code. A subclass given to
`sandbox.running` says what no rule can, such as holding a call until the test lets it go. `effect` is atomic (it has happened
whole, its idempotency key saved, or not at all), whatever the subclass does around it.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Faults:
    async def around(self, endpoint: str, effect: Callable[[], T]) -> T:  # noqa: ARG002 - subclasses choose by endpoint
        """Run a provider's `effect`. `endpoint` reads provider.resource.operation, e.g. stripe.refunds.create.

        A ConnectionResetError that is raised here resets the caller's connection instead of an answer.
        """
        return effect()

    async def deliver(self, event: str, send: Callable[[], Awaitable[int]]) -> int:  # noqa: ARG002 - as above
        """Send one webhook and return the HTTP status of the receiver's answer. `event` reads provider.type."""
        return await send()
