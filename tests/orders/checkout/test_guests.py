"""Guests: an order without an account, its token, and what keeps one guest from another's order."""

import asyncio
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette

from orders.checkout.guests import Guests, guest_of
from shared.auth import ANONYMOUS, Authenticator, Role
from shared.errors import Refusal
from shared.settings import Issuer
from shared.signing import JWKS_PATH
from shared.testing import free_socket, serving
from support.orders import SHOPPER, STAFF
from support.till import GUEST, Till, refused

KEY = "0123456789abcdef"
READ = "query($id: ID!) { order(id: $id) { id status guestToken channel } }"
CANCEL = "mutation($id: ID!) { cancelOrder(id: $id) { status guestToken } }"


def a_key() -> str:
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def by_guest(till: Till, key: str | None = None, **more: Any) -> Any:
    return await till.place(caller=ANONYMOUS, key=key, **{"contact": GUEST, **more})


async def test_a_guest_orders_with_an_email_address_and_gets_a_token(till: Till) -> None:
    order = await by_guest(till)
    assert (order["channel"], order["timeline"]) == ("GUEST", [{"actor": "guest"}])
    assert order["customer"] == {"firstName": "Gus", "email": "gus@example.com"}
    claims = jwt.decode(order["guestToken"], options={"verify_signature": False})
    assert (claims["role"], claims["order_id"]) == ("guest", order["id"])
    assert claims["exp"] - claims["iat"] == 30 * 24 * 3600
    other = await by_guest(till)
    assert other["customerId"] != order["customerId"]


async def test_the_token_is_believed_by_the_published_key_and_opens_the_one_order(open_till: Any) -> None:
    till = await open_till(guest_key=a_key(), guest_token_seconds=600)
    order, other = await by_guest(till), await by_guest(till)
    async with serving(Starlette(routes=[till.service.checkout.guests.signer.route]), free_socket()) as url:
        issuer = Issuer(issuer="ordermesh-orders", jwks_url=f"{url}{JWKS_PATH}", roles=frozenset({"guest"}))
        authenticator = Authenticator((issuer,))
        caller = await authenticator.authenticate(f"Bearer {order['guestToken']}")
        await authenticator.close()
    assert (caller.role, str(caller.order_id)) == (Role.GUEST, order["id"])
    assert caller == guest_of(order["id"])
    read = await till.ask(READ, caller, id=order["id"])
    assert read == {"id": order["id"], "status": "PENDING", "guestToken": None, "channel": "GUEST"}
    assert await till.ask(READ, caller, id=other["id"]) is None
    assert (await refused(till.ask(CANCEL, caller, id=other["id"])))[0] == "ORDER_NOT_FOUND"
    assert await till.ask(CANCEL, caller, id=order["id"]) == {"status": "CANCELLED", "guestToken": None}
    assert (await refused(till.place(caller=caller, contact=GUEST)))[0] == "FORBIDDEN"


async def test_the_service_publishes_the_key(till: Till) -> None:
    assert JWKS_PATH in {getattr(route, "path", None) for route in till.service._rest.routes}


async def test_nobody_but_who_placed_it_is_told_the_token(till: Till) -> None:
    order = await by_guest(till)
    assert (await till.ask(READ, STAFF, id=order["id"]))["guestToken"] is None
    for caller, contact in ((SHOPPER, None), (STAFF, GUEST)):
        assert (await till.place(caller=caller, contact=contact))["guestToken"] is None


async def test_without_an_email_address_there_is_no_guest(till: Till) -> None:
    for contact in (None, {}, {"name": "Gus"}, {"email": ""}):
        assert (await refused(by_guest(till, contact=contact)))[0] == "UNAUTHENTICATED"
    assert (await refused(by_guest(till, contact={"email": "nope"})))[0] == "BAD_INPUT"
    arabic = {**GUEST, "phone": "+1\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0662\u0663"}
    assert (await refused(by_guest(till, contact=arabic)))[0] == "BAD_INPUT"


async def test_a_guests_repeat_is_the_same_order_and_its_token_again(till: Till) -> None:
    answers = await asyncio.gather(*(by_guest(till, KEY) for _ in range(5)))
    assert len({answer["id"] for answer in answers}) == 1
    assert all(answer["guestToken"] for answer in answers)
    conflict = by_guest(till, KEY, deliverySpeed="express")
    assert (await refused(conflict))[0] == "IDEMPOTENCY_CONFLICT"


async def test_a_guests_key_is_long_and_nobody_elses(till: Till) -> None:
    assert (await refused(by_guest(till, KEY[:-1])))[0] == "BAD_INPUT"
    mine = await by_guest(till, KEY)
    other = await by_guest(till, KEY, contact={**GUEST, "email": "eve@example.com"})
    assert other["id"] != mine["id"]
    shouted = by_guest(till, KEY, contact={**GUEST, "email": "GUS@example.com"})
    assert (await refused(shouted))[0] == "IDEMPOTENCY_CONFLICT"


async def test_a_shop_takes_so_many_guests_a_minute_and_no_more(open_till: Any) -> None:
    till = await open_till(guest_orders_per_minute=2)
    await by_guest(till, KEY)
    await by_guest(till)
    with pytest.raises(Refusal) as limited:
        await by_guest(till, f"{KEY}-2")
    assert limited.value.code == "RATE_LIMITED"
    assert limited.value.details["retryAfter"] in range(55, 62)
    assert (await till.place())["guestToken"] is None


def test_a_guest_is_let_in_again_when_its_turn_has_come() -> None:
    guests = Guests("", 60, 2)
    guests.admit(0.0)
    guests.admit(30.0)
    with pytest.raises(Refusal) as limited:
        guests.admit(31.5)
    assert limited.value.details["retryAfter"] == 29
    guests.admit(31.5 + 29)
    with pytest.raises(Refusal):
        guests.admit(89.9)
    guests.admit(90.0)


async def test_what_is_limited_is_not_remembered_under_the_key(open_till: Any) -> None:
    till = await open_till(guest_orders_per_minute=1)
    await by_guest(till)
    assert (await refused(by_guest(till, KEY)))[0] == "RATE_LIMITED"
    till.service.checkout.guests._admitted.clear()
    assert (await by_guest(till, KEY))["guestToken"]


async def test_a_shop_may_have_no_guests(open_till: Any) -> None:
    till = await open_till(guest_orders_per_minute=0)
    assert (await refused(by_guest(till)))[0] == "UNAUTHENTICATED"
    assert (await till.place())["channel"] == "STOREFRONT"
