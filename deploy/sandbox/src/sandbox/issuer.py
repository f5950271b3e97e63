"""An OIDC issuer FOR DEVELOPMENT ONLY: it signs whatever it is asked to sign, for whoever asks.

Promises: RS256 tokens that verify against its JWKS; one key for as long as the state lives.
"""

import time
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.state import State

AUDIENCE = "ordermesh"
KEY_ID = "sandbox-1"
KEY_BITS = 2_048
HOUR = 3_600
TEN_YEARS = 315_360_000


class TokenRequest(BaseModel):
    """`scope` is space-separated (support fulfilment finance); `ttl_seconds` may be negative, for an expired token."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["shopper", "staff", "partner"]
    sub: str = Field(min_length=1, max_length=255)
    scope: str | None = None
    email: str | None = None
    name: str | None = None
    ttl_seconds: int = Field(HOUR, ge=-TEN_YEARS, le=TEN_YEARS)


class Issuer:
    """`routes` are served under /issuer."""

    def __init__(self, state: State, url: str) -> None:
        """`url`: the issuer's own, as tokens name it."""
        self.url = url
        self._key = _key(state)
        self.routes: list[BaseRoute] = [
            Route("/.well-known/openid-configuration", self._configuration),
            Route("/jwks.json", self._jwks),
            Route("/token", self._token, methods=["POST"]),
        ]

    def token(self, wanted: TokenRequest) -> str:
        """A signed JWT for audience "ordermesh"."""
        now = int(time.time())
        claims = wanted.model_dump(exclude={"ttl_seconds"}, exclude_none=True)
        claims |= {"iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + wanted.ttl_seconds}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def jwks(self) -> dict[str, Any]:
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    async def _configuration(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks.json",
                "token_endpoint": f"{self.url}/token",
                "response_types_supported": ["token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    async def _jwks(self, _: Request) -> Response:
        return JSONResponse(self.jwks())

    async def _token(self, request: Request) -> Response:
        try:
            wanted = TokenRequest.model_validate_json(await request.body())
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return JSONResponse({"error": "invalid_request", "details": problems}, 400)
        return JSONResponse({"token": self.token(wanted)})


def _key(state: State) -> rsa.RSAPrivateKey:
    """The state's key, made at first use."""
    kept = state.meta("issuer key")
    if kept is None:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        state.set_meta("issuer key", pem)
        return key
    loaded = serialization.load_pem_private_key(kept.encode(), password=None)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise TypeError("the state's issuer key is no RSA key")
    return loaded
