"""What a service signs for others to believe: short tokens under a key of its own, which it publishes as a JWKS.

Guests' order tokens (orders) and shipping quotes (shipping). `shared.auth.Verifier` is the other side.
"""

import hashlib
import time
from typing import Any

import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import OKPAlgorithm
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

log = structlog.get_logger(__name__)

JWKS_PATH = "/.well-known/jwks.json"


def new_pem() -> str:
    """A new private Ed25519 key."""
    return (
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    )


class Signer:
    """Signs for `issuer`, its name in tokens and nothing that is called. `pem` is a private Ed25519 key; without one, a key that dies with
    the process (and with it what it signed).
    """

    def __init__(self, issuer: str, pem: str = "") -> None:
        """Raises ValueError for a PEM that holds no private Ed25519 key."""
        if not pem:
            log.warning(
                "signs with a key of its own: it ends with this process, and no other replica has it",
                issuer=issuer,
            )
        key = load_pem_private_key(pem.encode(), password=None) if pem else Ed25519PrivateKey.generate()
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the signing key is no private Ed25519 key")  # noqa: TRY004 - a setting, not a programming error
        self.issuer, self._key = issuer, key
        public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._kid = hashlib.sha256(public["x"].encode()).hexdigest()[:16]
        self._jwks = orjson.dumps({"keys": [public | {"kid": self._kid, "use": "sig", "alg": "EdDSA"}]})
        self.route = Route(JWKS_PATH, self._serve)

    def sign(self, subject: str, audience: str, seconds: float, **claims: Any) -> str:
        """A JWT that expires in `seconds`."""
        now = int(time.time())
        standard = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "iat": now,
            "exp": now + int(seconds),
        }
        return jwt.encode({**claims, **standard}, self._key, algorithm="EdDSA", headers={"kid": self._kid})

    async def _serve(self, _: Request) -> Response:
        return Response(self._jwks, media_type="application/json")
