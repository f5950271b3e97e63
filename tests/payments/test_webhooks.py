"""The endpoint of Stripe's webhooks: whom it believes, what it keeps, how it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import pytest
from stripe import WebhookSignature

from sandbox.webhooks import signature

if TYPE_CHECKING:
    from support.payments import House

SECRET = "whsec_canary"


def event(kind: str = "payment_intent.succeeded", **shown: Any) -> bytes:
    about = {"id": "pi_1", "object": "payment_intent", "status": "succeeded", "metadata": {}} | shown
    body = {"id": f"evt_{uuid4().hex}", "type": kind, "created": int(time.time()), "data": {"object": about}}
    return orjson.dumps(body)


def now() -> int:
    return int(time.time())


async def jobs(house: House) -> list[tuple[str, str, str]]:
    rows = await house.rows(
        "SELECT kind, key, state FROM jobs WHERE kind LIKE 'stripe.%seen' OR kind = 'stripe.not_ours'"
    )
    return [(row["kind"], row["key"], row["state"]) for row in rows]


def redated(body: bytes) -> str:
    """A good signature under another time than the one that was signed."""
    signed = signature(SECRET, body, now() - 100)
    return f"t={now()},{signed.partition(',')[2]}"


FORGERIES: dict[str, Callable[[bytes], str | None]] = {
    "no signature": lambda _: None,
    "an empty one": lambda _: "",
    "no scheme that we know": lambda body: signature(SECRET, body, now()).replace("v1=", "v0="),
    "garbage": lambda _: "t=soon,v1=???",
    "not ASCII": lambda _: f"t={now()},v1=\N{LATIN SMALL LETTER E WITH ACUTE}",
    "another secret": lambda body: signature("whsec_other", body, now()),
    "another body": lambda body: signature(SECRET, body + b" ", now()),
    "another time": redated,
    "one too old": lambda body: signature(SECRET, body, now() - 301),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_what_stripe_did_not_sign_is_refused_and_not_kept(house: House, forgery: str) -> None:
    body = event(metadata={"order_id": str(uuid4())})
    assert await house.webhook(body, FORGERIES[forgery](body)) == 400
    assert await jobs(house) == []


async def test_a_signature_of_a_few_minutes_ago_is_good(house: House) -> None:
    body = event()
    assert await house.webhook(body, signature(SECRET, body, now() - 250)) == 200


async def test_what_the_official_sdk_signs_is_believed(house: House) -> None:
    body = event()
    header = WebhookSignature.generate_signature_header(body.decode(), SECRET)
    assert await house.webhook(body, header) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"no json",
        b"[]",
        b"{}",
        b'{"type": "refund.updated", "data": {}}',
        b'{"id": "evt_1", "type": "refund.updated", "data": {"object": "re_1"}}',
        b'{"type": "charge.refunded", "data": {"object": {"id": "ch_1"}}, "created": 1}',
    ],
)
async def test_what_is_no_event_is_refused(house: House, body: bytes) -> None:
    assert await house.signed_webhook(body) == 400
    assert await jobs(house) == []


async def test_an_event_with_a_null_character_is_refused_for_good(house: House) -> None:
    named = {"refund_id": str(uuid4()), "order_id": str(uuid4())}
    for kind, shown in (
        ("payment_intent.succeeded", {"id": "pi_\x00"}),
        ("payment_intent.succeeded", {"id": "pi_\x00", "metadata": named}),
        ("refund.updated", {"id": "re_\x00", "metadata": named}),
    ):
        assert await house.signed_webhook(event(kind, **shown)) == 400
    assert await jobs(house) == []


async def test_a_body_larger_than_any_event_is_refused(house: House) -> None:
    assert await house.signed_webhook(event(filler="x" * 1024 * 1024)) == 413


async def test_without_a_secret_there_is_no_endpoint(house: House) -> None:
    body = event()
    async with house.another(stripe_webhook_secret="") as url:
        assert await house.webhook(body, signature("", body, now()), url=url) == 404


async def test_while_secrets_are_rotated_both_are_believed(house: House) -> None:
    body = event("customer.created")
    async with house.another(stripe_webhook_secret="whsec_old, whsec_new") as url:
        for secret, status in (("whsec_old", 200), ("whsec_new", 200), ("whsec_canary", 400), ("", 400)):
            assert await house.webhook(body, signature(secret, body, now()), url=url) == status


async def test_an_event_is_kept_once_however_often_it_comes(house: House) -> None:
    order_id = uuid4()
    body = event(metadata={"order_id": str(order_id).upper()})
    assert [await house.signed_webhook(body) for _ in range(3)] == [200, 200, 200]
    assert await jobs(house) == [("stripe.intent_seen", str(order_id), "due")]


async def test_an_event_that_names_no_order_is_matched_by_its_intent(house: House) -> None:
    await house.receive_nothing()
    order_id = await house.placed()
    intent = (await house.payment(order_id)).payment_intent_id
    assert intent is not None
    assert await house.signed_webhook(event(id=intent, amount_received=2599, latest_charge="ch_9")) == 200
    await house.settled()
    assert (await house.payment(order_id)).charge_id == "ch_9"


@pytest.mark.parametrize("metadata", [{}, {"order_id": "4711"}])
async def test_what_is_not_ours_is_kept_as_evidence_and_ignored(
    house: House, metadata: dict[str, str]
) -> None:
    assert await house.signed_webhook(event(metadata=metadata)) == 200
    await house.settled()
    assert await jobs(house) == [("stripe.not_ours", "", "done")]


async def test_events_that_tell_payments_nothing_are_acknowledged_and_forgotten(house: House) -> None:
    for kind in ("payment_intent.created", "charge.succeeded", "customer.created", "v2.core.event"):
        assert await house.signed_webhook(event(kind)) == 200
    failed = event("charge.updated", id="ch_1", object="charge", paid=False, captured=False, created=now())
    assert await house.signed_webhook(failed) == 200
    assert await jobs(house) == []


async def test_only_what_is_needed_of_an_event_is_kept(house: House) -> None:
    error = {"code": "card_declined", "payment_method": {"billing_details": {"email": "ann@example.com"}}}
    shown: dict[str, Any] = {
        "client_secret": "pi_1_secret_canary",
        "receipt_email": "ann@example.com",
        "last_payment_error": error,
    }
    assert await house.signed_webhook(event(metadata={"order_id": str(uuid4())}, **shown)) == 200
    [row] = await house.rows("SELECT payload::text AS payload FROM jobs")
    assert "pi_1" in row["payload"]
    assert "canary" not in row["payload"]
    assert "ann@" not in row["payload"]


async def test_stripe_is_asked_to_come_again_while_the_database_is_away(house: House) -> None:
    house.service.db._pool.terminate()
    assert await house.signed_webhook(event(metadata={"order_id": str(uuid4())})) == 503
