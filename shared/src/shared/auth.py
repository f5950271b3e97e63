"""Who is calling: a JWT of a configured issuer, verified against its JWKS, and what that makes of the caller.

Only asymmetric algorithms; issuer, audience, expiry, issue time and subject are required; the key is found by `kid` at the
configured URL alone. Keys are fetched without blocking the loop and kept; a verified token is remembered until it expires.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from shared.errors import Code, Refusal
from shared.ids import customer_id_of
from shared.settings import Issuer

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LEEWAY_SECONDS = 30
_KEYS_FRESH_SECONDS = 300
_KEYS_REFETCH_SECONDS = 30
_REMEMBERED_TOKENS = 10_000


class Role(StrEnum):
    ANONYMOUS = "anonymous"
    SHOPPER = "shopper"
    STAFF = "staff"
    PARTNER = "partner"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `id` names it in idempotency keys; `customer_id` is set for a shopper, `partner_id` for a partner."""

    role: Role
    id: str
    issuer: str = ""
    subject: str = ""
    customer_id: UUID | None = None
    partner_id: str | None = None
    scopes: frozenset[str] = frozenset()
    email: str | None = None
    name: str | None = None

    @property
    def is_staff(self) -> bool:
        return self.role is Role.STAFF

    def require_signed_in(self) -> None:
        """Raises Refusal UNAUTHENTICATED."""
        if self.role is Role.ANONYMOUS:
            raise Refusal(Code.UNAUTHENTICATED, "Authentication required")

    def require_staff(self) -> None:
        """Raises Refusal UNAUTHENTICATED or FORBIDDEN."""
        self.require_signed_in()
        if not self.is_staff:
            raise Refusal(Code.FORBIDDEN, "This is for the shop's staff")


ANONYMOUS = Principal(Role.ANONYMOUS, "anonymous")


class Keys:
    """An issuer's keys by `kid`: fresh for five minutes, refetched for an unknown one at most every thirty seconds."""

    def __init__(self, issuer: Issuer, client: Client) -> None:
        self._issuer, self._client = issuer, client
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")

    async def get(self, kid: str) -> jwt.PyJWK | None:
        """None for an unknown key. While the issuer cannot be reached, the keys we have go on serving."""
        age = time.monotonic() - self._fetched_at
        if age > _KEYS_FRESH_SECONDS or (kid not in self._keys and age > _KEYS_REFETCH_SECONDS):
            await self._fetch()
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        try:
            response = await self._client.get(self._issuer.jwks_url).build().send()
            document: dict[str, Any] = await response.json()
        except (PyreqwestError, ValueError):
            return
        self._keys = {
            key["kid"]: jwt.PyJWK(key)
            for key in document.get("keys", ())
            if "kid" in key and key.get("kty") in {"RSA", "EC", "OKP"}
        }
        self._fetched_at = time.monotonic()


class Authenticator:
    """Turns an Authorization header into a Principal."""

    def __init__(self, issuers: tuple[Issuer, ...]) -> None:
        self._client = ClientBuilder().timeout(timedelta(seconds=5)).follow_redirects(enable=False).build()
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._keys = {issuer.issuer: Keys(issuer, self._client) for issuer in issuers}
        self._verified: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    async def close(self) -> None:
        await self._client.close()

    async def authenticate(self, authorization: str | None) -> Principal:
        """No header is an anonymous caller; a header that does not verify raises Refusal UNAUTHENTICATED."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(Code.UNAUTHENTICATED, "The Authorization header is not a bearer token")
        remembered = self._verified.get(token)
        if remembered is not None and remembered[0] > time.time():
            return remembered[1]
        claims, issuer = await self._verify(token)
        principal = _principal(claims, issuer)
        self._verified[token] = (claims["exp"], principal)
        if len(self._verified) > _REMEMBERED_TOKENS:
            self._verified.popitem(last=False)
        return principal

    async def _verify(self, token: str) -> tuple[dict[str, Any], Issuer]:
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
            issuer = self._issuers[unverified["iss"]]
            key = await self._keys[issuer.issuer].get(header["kid"])
            if key is None:
                raise Refusal(Code.UNAUTHENTICATED, "The token's key is unknown")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[name for name in ALGORITHMS if name == key.algorithm_name],
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as invalid:
            raise Refusal(Code.UNAUTHENTICATED, "The token is invalid or has expired") from invalid
        return claims, issuer


def _principal(claims: dict[str, Any], issuer: Issuer) -> Principal:
    try:
        role = Role(claims.get(issuer.role_claim, Role.SHOPPER))
    except ValueError:
        raise Refusal(Code.UNAUTHENTICATED, "The token's role is unknown") from None
    subject = str(claims["sub"])
    scope = claims.get("scope", "")
    return Principal(
        role=role,
        id=f"{issuer.issuer}|{subject}",
        issuer=issuer.issuer,
        subject=subject,
        customer_id=customer_id_of(issuer.issuer, subject) if role is Role.SHOPPER else None,
        partner_id=subject if role is Role.PARTNER else None,
        scopes=frozenset(scope.split() if isinstance(scope, str) else scope),
        email=claims.get("email"),
        name=claims.get("name"),
    )
