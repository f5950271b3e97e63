"""Who may call the gateway at all: tokens are verified before anything is planned or forwarded, and again by each service."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gateway.federation import Code, RequestRefused
from shared.auth import Authenticator
from shared.errors import Refusal

Authenticate: TypeAlias = Callable[[str | None], Awaitable[object]]
"""Takes the ``Authorization`` header (None: absent) and returns the principal, or raises ``Unauthenticated``."""


class Unauthenticated(RequestRefused):
    """A header that does not verify. No header at all is an anonymous caller, which services judge themselves."""

    def __init__(self, message: str = "The token is invalid or has expired") -> None:
        super().__init__(Code.UNAUTHENTICATED, message, status=401)


def by_issuers(authenticator: Authenticator) -> Authenticate:
    """Believe the configured issuers, as the services do."""

    async def authenticate(authorization: str | None) -> object:
        try:
            return await authenticator.authenticate(authorization)
        except Refusal as refusal:
            raise Unauthenticated(refusal.message) from refusal

    return authenticate


async def anyone(authorization: str | None) -> object:  # noqa: ARG001 - it has the shape of an Authenticate
    """Let every caller through; services verify tokens themselves."""
    return None
