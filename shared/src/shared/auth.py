"""Who is calling: a JWT of a configured issuer, verified against its JWKS, and what that makes of the caller.

Only asymmetric algorithms; issuer, audience, expiry, issue time and subject are required; the key is found by `kid` at the
configured URL alone. Keys are fetched without blocking the loop and kept; a verified token is remembered until it expires.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
import structlog
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from shared.errors import Code, Refusal
from shared.ids import customer_id_of
from shared.settings import Issuer

log = structlog.get_logger(__name__)

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
LEEWAY_SECONDS = 30
_KEYS_FRESH_SECONDS = 300
_KEYS_STALE_SECONDS = 3600
_KEYS_REFETCH_SECONDS = 6
_KEYS_RETRY_SECONDS = 2
_REMEMBERED_TOKENS = 10_000


class Role(StrEnum):
    ANONYMOUS = "anonymous"
    GUEST = "guest"  # a shopper without an account, by the token of one order
    SHOPPER = "shopper"
    STAFF = "staff"
    PARTNER = "partner"


class Scope(StrEnum):
    """What a member of staff may change; all staff may read."""

    SUPPORT = "support"  # cancels, edits, holds, notes, metadata; refunds up to a limit
    FULFILMENT = "fulfilment"  # labels, tracking, handing over, delivery
    FINANCE = (
        "finance"  # refunds without a limit and outside ones, payments taken offline, discount codes, SKUs
    )


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `id` names it in idempotency keys.

    `customer_id` is set for a shopper, `partner_id` for a partner, `order_id` for a guest, `scopes` for staff.
    """

    role: Role
    id: str
    issuer: str = ""
    subject: str = ""
    customer_id: UUID | None = None
    partner_id: str | None = None
    order_id: UUID | None = None
    scopes: frozenset[Scope] = frozenset()
    email: str | None = None
    name: str | None = None

    @property
    def is_staff(self) -> bool:
        return self.role is Role.STAFF

    def require_signed_in(self) -> None:
        """Raises Refusal UNAUTHENTICATED."""
        if self.role is Role.ANONYMOUS:
            raise Refusal(Code.UNAUTHENTICATED, "Authentication required")

    def require_staff(self, *scopes: Scope) -> None:
        """Staff, with one of `scopes` if any are named. Raises Refusal UNAUTHENTICATED or FORBIDDEN."""
        self.require_signed_in()
        if not self.is_staff:
            raise Refusal(Code.FORBIDDEN, "This is for the shop's staff")
        if scopes and self.scopes.isdisjoint(scopes):
            raise Refusal(Code.FORBIDDEN, f"This takes the scope {' or '.join(scopes)}", scopes=list(scopes))


ANONYMOUS = Principal(Role.ANONYMOUS, "anonymous")


class Keys:
    """An issuer's keys by `kid`: fresh for five minutes, and good for an hour while the issuer cannot be reached.

    One fetch at a time, shared by all who need it; an unknown `kid` asks the issuer again at most every six seconds, every two
    while it gives no answer.
    """

    def __init__(self, issuer: Issuer, client: Client) -> None:
        self._issuer, self._client = issuer, client
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> jwt.PyJWK:
        """A known key is answered at once, and refreshed in the background when it is old.

        Raises Refusal UNAUTHENTICATED for a key that the issuer does not have, SERVICE_UNAVAILABLE where it could not be asked: such
        a token may well be good, and who is told to sign in again for it has lost what was under way.
        """
        key = self._known(kid)
        if (key is None or self._age() > _KEYS_FRESH_SECONDS) and self._may_fetch():
            self._tried_at = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch())
        if key is None and self._fetching is not None:
            await asyncio.wait({self._fetching})
            key = self._known(kid)
        if key is None and self._is_out_of_reach():
            raise Refusal(
                Code.SERVICE_UNAVAILABLE, "The token's issuer cannot be asked for its keys: try again"
            )
        if key is None:
            raise Refusal(Code.UNAUTHENTICATED, "The token's key is unknown")
        return key

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait({self._fetching})

    def _known(self, kid: str) -> jwt.PyJWK | None:
        return self._keys.get(kid) if self._age() <= _KEYS_STALE_SECONDS else None

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    def _is_out_of_reach(self) -> bool:
        """The last fetch brought nothing."""
        return self._fetched_at < self._tried_at

    def _may_fetch(self) -> bool:
        pause = _KEYS_RETRY_SECONDS if self._is_out_of_reach() else _KEYS_REFETCH_SECONDS
        idle = self._fetching is None or self._fetching.done()
        return idle and time.monotonic() - self._tried_at > pause

    async def _fetch(self) -> None:
        try:
            response = (
                await self._client.get(self._issuer.jwks_url).error_for_status(enable=True).build().send()
            )
            self._keys = _usable(await response.json())
        except (PyreqwestError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            log.warning("issuer's keys not fetched", issuer=self._issuer.issuer, reason=reason)
        else:
            self._fetched_at = time.monotonic()


def _usable(document: Any) -> dict[str, jwt.PyJWK]:
    """The keys of a JWKS by `kid`; what we cannot use is skipped (RFC 7517, 5). Raises ValueError for what is no JWKS."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("the document is not a JSON Web Key Set")  # noqa: TRY004 - malformed data, not a programming error
    usable: dict[str, jwt.PyJWK] = {}
    for entry in document["keys"]:
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        kid = entry.get("kid")
        if not isinstance(kid, str):
            continue
        try:
            usable[kid] = jwt.PyJWK(entry)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's key makes the library raise
            log.warning("issuer's key skipped", kid=kid, reason=type(error).__name__)
    return usable


class Verifier:
    """Believes what the configured issuers have signed."""

    def __init__(self, issuers: tuple[Issuer, ...]) -> None:
        self._client = ClientBuilder().timeout(timedelta(seconds=5)).follow_redirects(enable=False).build()
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._keys = {issuer.issuer: Keys(issuer, self._client) for issuer in issuers}

    async def close(self) -> None:
        for keys in self._keys.values():
            await keys.close()
        await self._client.close()

    async def verify(self, token: str) -> tuple[dict[str, Any], Issuer]:
        """The token's claims, and whose they are.

        Raises Refusal UNAUTHENTICATED (`expired` is true of what the issuer did sign, but too long ago), SERVICE_UNAVAILABLE where an
        issuer cannot be asked for the token's key.
        """
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
            issuer = self._issuers[unverified["iss"]]
            key = await self._keys[issuer.issuer].get(header["kid"])
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[name for name in ALGORITHMS if name == key.algorithm_name],
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as expired:
            raise Refusal(
                Code.UNAUTHENTICATED, "The token is invalid or has expired", expired=True
            ) from expired
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as invalid:
            raise Refusal(Code.UNAUTHENTICATED, "The token is invalid or has expired") from invalid
        return claims, issuer


class Authenticator:
    """Turns an Authorization header into a Principal."""

    def __init__(self, issuers: tuple[Issuer, ...]) -> None:
        self._verifier = Verifier(issuers)
        self._verified: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    async def close(self) -> None:
        await self._verifier.close()

    async def authenticate(self, authorization: str | None) -> Principal:
        """No header is an anonymous caller; a header that does not verify raises Refusal UNAUTHENTICATED, or SERVICE_UNAVAILABLE."""
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(Code.UNAUTHENTICATED, "The Authorization header is not a bearer token")
        remembered = self._verified.get(token)
        if remembered is not None and remembered[0] > time.time():
            return remembered[1]
        claims, issuer = await self._verifier.verify(token)
        principal = _principal(claims, issuer)
        self._verified[token] = (claims["exp"], principal)
        if len(self._verified) > _REMEMBERED_TOKENS:
            self._verified.popitem(last=False)
        return principal


def _text(claim: object) -> str | None:
    return claim if isinstance(claim, str) else None


def _principal(claims: dict[str, Any], issuer: Issuer) -> Principal:
    """Raises Refusal UNAUTHENTICATED for a role that we do not know, or that is not this issuer's to give."""
    try:
        role = Role(claims.get(issuer.role_claim, Role.SHOPPER))
        order_id = UUID(claims["order_id"]) if role is Role.GUEST else None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Refusal(Code.UNAUTHENTICATED, "The token's role is unknown") from None
    if role not in issuer.roles:
        raise Refusal(Code.UNAUTHENTICATED, "The token's role is not its issuer's to give")
    subject = str(claims["sub"])
    return Principal(
        role=role,
        id=f"{issuer.issuer}|{subject}",
        issuer=issuer.issuer,
        subject=subject,
        customer_id=customer_id_of(issuer.issuer, subject) if role is Role.SHOPPER else None,
        partner_id=subject if role is Role.PARTNER else None,
        order_id=order_id,
        scopes=_scopes(claims.get(issuer.scope_claim), issuer) if role is Role.STAFF else frozenset(),
        email=_text(claims.get("email")),
        name=_text(claims.get("name")),
    )


def _scopes(claim: object, issuer: Issuer) -> frozenset[Scope]:
    """Scopes that are none of ours (openid) say nothing. Where none of ours is named, `scopes_required` decides between none and all."""
    named = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else ()
    scopes = frozenset(scope for scope in Scope if scope in named)
    return scopes or (frozenset() if issuer.scopes_required else frozenset(Scope))
