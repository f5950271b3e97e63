"""Shoppers without an account: the token of their one order, how many may order at once, and how they repeat a request."""

import hashlib
from collections import deque
from dataclasses import replace
from uuid import UUID

from shared.auth import Principal, Role
from shared.commands import Once
from shared.errors import Code, Refusal
from shared.signing import Signer

ISSUER = "ordermesh-orders"
AUDIENCE = "ordermesh"
MIN_KEY = 16
"""Characters of a guest's Idempotency-Key: who knows the key and all that was ordered is answered the order and its token."""
MINUTE = 60.0


class Guests:
    """Signs order tokens for guests, `seconds` long, and admits `per_minute` of them in this process."""

    def __init__(self, pem: str, seconds: int, per_minute: int) -> None:
        self.signer = Signer(ISSUER, pem)
        self._seconds, self._per_minute = seconds, per_minute
        self._admitted: deque[float] = deque()

    def token(self, order_id: str) -> str:
        claims = {"role": str(Role.GUEST), "order_id": order_id}
        return self.signer.sign(order_id, AUDIENCE, self._seconds, **claims)

    def admit(self, now: float) -> None:
        """`now` in seconds of a clock that only goes forward. Raises Refusal UNAUTHENTICATED where guests may not order, RATE_LIMITED."""
        if not self._per_minute:
            raise Refusal(Code.UNAUTHENTICATED, "Authentication required")
        while self._admitted and self._admitted[0] <= now - MINUTE:
            self._admitted.popleft()
        if len(self._admitted) >= self._per_minute:
            wait = int(self._admitted[0] + MINUTE - now) + 1
            raise Refusal(
                Code.RATE_LIMITED, f"Too many orders at once: try again in {wait} s", retryAfter=wait
            )
        self._admitted.append(now)


def guest_of(order_id: str) -> Principal:
    """Who the order's token stands for."""
    subject = f"{ISSUER}|{order_id}"
    return Principal(Role.GUEST, subject, ISSUER, order_id, order_id=UUID(order_id))


def once_of(once: Once, email: str) -> Once:
    """Guests share no keys: theirs count together with the email address, which is kept as a hash. Raises Refusal BAD_INPUT."""
    if len(once.key) < MIN_KEY:
        raise Refusal(Code.BAD_INPUT, f"A guest's Idempotency-Key has {MIN_KEY} characters or more")
    who = hashlib.sha256(f"{once.key}|{email.lower()}".encode()).hexdigest()
    return replace(once, principal=f"{once.principal}|{who}")
