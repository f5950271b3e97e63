"""Who may call the gateway at all: tokens are verified before anything is planned or forwarded, and again by each service."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gateway.federation import Code, RequestRefused
from shared.auth import Authenticator, Role
from shared.errors import Code as Refused
from shared.errors import Refusal

Authenticate: TypeAlias = Callable[[str | None], Awaitable[bool]]
"""Takes the ``Authorization`` header (None: absent) and says whether its caller has an account, or raises ``RequestRefused``."""

WITHOUT_ACCOUNT = frozenset({Role.ANONYMOUS, Role.GUEST})
"""A guest's token is had by whoever places an order, so it makes nobody better known."""


class Unauthenticated(RequestRefused):
    """A header that does not verify. No header at all is an anonymous caller, which services judge themselves."""

    def __init__(self, message: str = "The token is invalid or has expired") -> None:
        super().__init__(Code.UNAUTHENTICATED, message, status=401)


def by_issuers(authenticator: Authenticator) -> Authenticate:
    """Believe the configured issuers, as the services do."""

    async def authenticate(authorization: str | None) -> bool:
        try:
            return (await authenticator.authenticate(authorization)).role not in WITHOUT_ACCOUNT
        except Refusal as refusal:
            if refusal.code is Refused.SERVICE_UNAVAILABLE:
                raise RequestRefused(Code.SERVICE_UNAVAILABLE, refusal.message, status=503) from refusal
            raise Unauthenticated(refusal.message) from refusal

    return authenticate


async def anyone(authorization: str | None) -> bool:
    """Let every caller through; services verify tokens themselves. An empty header is none."""
    return bool(authorization)
