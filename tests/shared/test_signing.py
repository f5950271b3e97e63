"""What one service signs, another believes: over HTTP, for the audience and the time it was signed for, and from nobody else."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette

from shared.auth import Authenticator, Role, Verifier
from shared.errors import Refusal
from shared.settings import Issuer
from shared.signing import JWKS_PATH, Signer
from shared.testing import free_socket, serving, url_of


@pytest.fixture
async def published() -> AsyncIterator[tuple[Signer, Issuer]]:
    signer, sock = Signer("orders"), free_socket()
    async with serving(Starlette(routes=[signer.route]), sock):
        url = f"{url_of(sock)}{JWKS_PATH}"
        yield signer, Issuer(issuer="orders", jwks_url=url, roles=frozenset({"guest"}))


async def refused(verifier: Verifier, token: str) -> bool:
    try:
        await verifier.verify(token)
    except Refusal:
        return True
    return False


async def test_what_was_signed_is_believed_and_nothing_else(published: tuple[Signer, Issuer]) -> None:
    signer, issuer = published
    verifier = Verifier((issuer,))
    claims, _ = await verifier.verify(signer.sign("quote", "ordermesh", 60, amount=599))
    assert (claims["sub"], claims["amount"]) == ("quote", 599)
    assert await refused(verifier, signer.sign("quote", "somebody else", 60))
    assert await refused(verifier, signer.sign("quote", "ordermesh", -60))
    assert await refused(verifier, Signer("orders").sign("quote", "ordermesh", 60))
    await verifier.close()


async def test_a_guest_is_a_guest_of_one_order_and_of_the_issuer_that_may_say_so(
    published: tuple[Signer, Issuer],
) -> None:
    signer, issuer = published
    order_id = uuid4()
    token = signer.sign("guest", "ordermesh", 60, role="guest", order_id=str(order_id))
    authenticator = Authenticator((issuer,))
    guest = await authenticator.authenticate(f"Bearer {token}")
    assert (guest.role, guest.order_id, guest.customer_id) == (Role.GUEST, order_id, None)
    for claims in ({"role": "staff"}, {"role": "guest"}, {"role": "guest", "order_id": "7"}, {}):
        wrong = signer.sign("guest", "ordermesh", 60, **claims)
        with pytest.raises(Refusal):
            await authenticator.authenticate(f"Bearer {wrong}")
    anybody = Authenticator((issuer.model_copy(update={"roles": Issuer.model_fields["roles"].default}),))
    with pytest.raises(Refusal):
        await anybody.authenticate(f"Bearer {token}")
    await authenticator.close()
    await anybody.close()


def test_a_key_of_another_kind_is_refused_at_start() -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="Ed25519"):
        Signer("orders", pem.decode())
