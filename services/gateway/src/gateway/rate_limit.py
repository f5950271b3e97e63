"""How often somebody may ask: a token bucket for each client address, in this process alone.

A bucket is one number, the time at which it is full again (the generic cell rate algorithm): one that is full is nothing
worth remembering, so memory holds the addresses of the last minute, and of those no more than ``MAX_ADDRESSES``.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.federation import Code, RequestRefused

MINUTE = 60.0
MAX_ADDRESSES = 50_000
"""Beyond it the address that was quiet for longest is forgotten: some 10 MB."""
_ROUNDING = 1e-6
"""Seconds, so that who waits as long as was said is not late by a rounding error."""


class RateLimited(RequestRefused):
    """Too many for now; the same is welcome after ``seconds``."""

    def __init__(self, what: str, seconds: int) -> None:
        message = f"Too many {what} without an account: try again in {seconds} s, or sign in"
        headers = [(b"retry-after", str(seconds).encode())]
        super().__init__(Code.RATE_LIMITED, message, status=429, headers=headers)
        self.errors[0]["extensions"]["retryAfter"] = seconds


class RateLimit:
    """``per_minute`` for each address, as many at once after a quiet minute; 0: no limit. ``what`` it limits, in the plural.

    ``now`` in seconds, never going back.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        what: str = "requests",
        max_addresses: int = MAX_ADDRESSES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_minute = per_minute
        self._what = what
        self._max_addresses = max_addresses
        self._now = now
        self._full_at: OrderedDict[str, float] = (
            OrderedDict()
        )  # the address that was quiet for longest comes first

    def take(self, address: str, count: int) -> None:
        """Take ``count`` at once, at most all that a bucket holds. Raises ``RateLimited``, and then takes nothing."""
        if not self._per_minute:
            return
        now = self._now()
        cost = min(count, self._per_minute) * MINUTE / self._per_minute
        full_at = max(self._full_at.get(address, now), now) + cost
        wait = full_at - now - MINUTE
        if wait > _ROUNDING:
            raise RateLimited(self._what, math.ceil(wait - _ROUNDING))
        self._full_at[address] = full_at
        self._full_at.move_to_end(address)
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Two looks for each new address, so that the full ones go sooner than new ones come."""
        for _ in range(2):
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._max_addresses:
                return
            del self._full_at[oldest]

    @property
    def remembered(self) -> int:
        """How many addresses are not full."""
        return len(self._full_at)
