"""Shippo's webhooks: genuine or refused, stored once, applied in whatever order they come."""

import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import SecretStr

from shared.webhooks import MAX_BODY_BYTES
from shipping import events
from shipping.app import Shipping
from shipping.domain import LabelStage, Shipment, ShipmentStatus
from shipping.provider import Unknown
from shipping.settings import Settings
from shipping.webhooks import TOLERANCE_SECONDS, Forged, verify
from shipping.worker import metadata_of
from support.shipments import SECRET, Shop, a_shipment

BODY = b'{"event":"batch_created"}'
NOW = 1_700_000_000


def sign(body: bytes, secret: str = SECRET, at: int | None = None) -> str:
    at = int(time.time()) if at is None else at
    return f"t={at},v1={hmac.digest(secret.encode(), b'%d.%b' % (at, body), 'sha256').hex()}"


def a_track(shipment: Shipment, status: str, date: str = "2026-11-22T10:00:00Z", **more: Any) -> bytes:
    now = {
        "object_id": uuid4().hex,
        "status": status,
        "status_details": "Scanned",
        "status_date": date,
        "location": {"city": "Chicago", "state": "IL", "zip": "60601", "country": "US"},
    }
    data = {
        "carrier": "usps",
        "tracking_number": shipment.tracking_number,
        "transaction": shipment.transaction_id,
        "metadata": metadata_of(shipment),
        "address_to": {"street1": "1 Secret Street", "name": "Ada Lovelace"},
        "tracking_status": now,
        "tracking_history": [now],
    }
    return orjson.dumps({"event": "track_updated", "test": True, "data": data | more})


async def post(shop: Shop, body: bytes, header: str | None = None, query: str = "") -> int:
    request = shop.http.post(f"{shop.url}/webhooks/shippo{query}").body_bytes(body)
    if header is not None:
        request = request.header("Shippo-Auth-Signature", header)
    return (await request.build().send()).status


async def stored(shop: Shop, order_id: UUID) -> list[dict[str, Any]]:
    async with shop.service.db.connection() as conn:
        rows = await conn.fetch(
            "SELECT payload FROM jobs WHERE key = $1 AND kind = $2", str(order_id), events.KIND
        )
    return [row["payload"] for row in rows]


def test_a_signature_by_any_of_the_secrets_is_good() -> None:
    for secret in ("old", "new"):
        verify(["old", "new"], sign(BODY, secret, NOW), None, BODY, NOW)
    both = f"{sign(BODY, 'retired', NOW)},{sign(BODY, 'new', NOW).partition(',')[2]}"
    verify(["new"], both, None, BODY, NOW)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=,v1=",
        "v1=00",
        f"t={NOW}",
        f"t={NOW},v1=",
        f"t={NOW},v1=" + "0" * 64,
        f"t={NOW},v1=é",
        "t=١٢٣,v1=00",
        "t=" + "9" * 4000 + ",v1=00",
        sign(b"another body", SECRET, NOW),
        sign(BODY, "another secret", NOW),
        sign(BODY, SECRET, NOW).replace(f"t={NOW}", f"t={NOW + 1}"),
        sign(BODY, SECRET, NOW - TOLERANCE_SECONDS - 1),
        sign(BODY, SECRET, NOW + TOLERANCE_SECONDS + 1),
    ],
)
def test_anything_else_is_forged(header: str) -> None:
    with pytest.raises(Forged):
        verify([SECRET], header, SECRET, BODY, NOW)


def test_within_the_tolerance_a_signature_is_good() -> None:
    for at in (NOW - TOLERANCE_SECONDS, NOW + TOLERANCE_SECONDS):
        verify([SECRET], sign(BODY, SECRET, at), None, BODY, NOW)


def test_without_a_signature_the_token_decides() -> None:
    verify(["old", SECRET], None, SECRET, BODY, NOW)
    for token in (None, "", "other", SECRET + "x"):
        with pytest.raises(Forged):
            verify([SECRET], None, token, BODY, NOW)


async def test_a_forged_or_malformed_webhook_is_answered_400_and_stores_nothing(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    await shop.settle()  # Shippo's own webhooks about the label are stored
    body = a_track(await shop.shipment(order_id), "TRANSIT")
    before = await stored(shop, order_id)
    assert await post(shop, body) == 400
    assert await post(shop, body, sign(body, "wrong")) == 400
    assert await post(shop, body, sign(body, at=int(time.time()) - 3600)) == 400
    assert await post(shop, body, query="?token=wrong") == 400
    for malformed in (
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"event":"track_updated","data":{}}',
        b'{"event":"track_updated"}',
    ):
        assert await post(shop, malformed, sign(malformed)) == 400
    for text in ({"tracking_number": "9\x00"}, {"tracking_number": "9\x00", "metadata": ""}):
        null = a_track(await shop.shipment(order_id), "TRANSIT", **text)
        assert await post(shop, null, sign(null)) == 400
    assert await stored(shop, order_id) == before


async def test_events_that_say_nothing_to_us_are_answered_200_and_forgotten(shop: Shop) -> None:
    stranger = a_shipment(ShipmentStatus.LABELLED, LabelStage.BOUGHT, tracking_number=uuid4().hex)
    for body in (BODY, a_track(stranger, "TRANSIT", metadata="somebody else's")):
        assert await post(shop, body, sign(body)) == 200
    async with shop.service.db.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM jobs WHERE key = ''") == 0


async def test_an_event_about_an_order_of_another_installation_changes_nothing(shop: Shop) -> None:
    stranger = a_shipment(ShipmentStatus.LABELLED, LabelStage.BOUGHT)
    body = a_track(stranger, "TRANSIT")
    assert await post(shop, body, sign(body)) == 200
    await shop.settle()
    assert await shop.shipments(stranger.order_id) == []
    assert await shop.said(stranger.order_id) == []


async def test_a_webhook_sent_twice_is_stored_once_without_anybodys_address(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    await shop.settle()
    body = a_track(await shop.shipment(order_id), "TRANSIT")
    for query in ("", f"?token={SECRET}"):
        for _ in range(2):
            assert await post(shop, body, None if query else sign(body), query) == 200
    await shop.settle()
    tracks = [payload for payload in await stored(shop, order_id) if payload["event"] == "track_updated"]
    assert len(tracks) == 1
    assert b"Secret" not in orjson.dumps(tracks)
    assert b"Lovelace" not in orjson.dumps(tracks)
    assert await shop.types(order_id) == ["prepared", "labelled", "dispatched"]


async def test_webhooks_out_of_order_say_each_step_once(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    shipment = await shop.shipment(order_id)
    for minute, status in (
        (30, "DELIVERED"),
        (10, "TRANSIT"),
        (0, "PRE_TRANSIT"),
        (20, "TRANSIT"),
        (30, "DELIVERED"),
    ):
        body = a_track(shipment, status, f"2026-11-20T10:{minute:02}:00Z")
        assert await post(shop, body, sign(body)) == 200
        await shop.settle()
    after = await shop.shipment(order_id)
    assert after.status is ShipmentStatus.DELIVERED
    assert [checkpoint.time.minute for checkpoint in after.checkpoints] == [0, 10, 20, 30]
    assert after.checkpoints[0].location == "Chicago, IL, US"
    assert await shop.types(order_id) == ["prepared", "labelled", "dispatched", "delivered"]


async def test_a_parcel_without_our_metadata_is_known_by_its_number(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    body = a_track(await shop.shipment(order_id), "RETURNED", metadata=None, transaction=None)
    assert await post(shop, body, sign(body)) == 200
    await shop.settle()
    assert await shop.types(order_id) == ["prepared", "labelled", "dispatched", "returned"]


@pytest.mark.parametrize(
    "other", [{"transaction": "another one"}, {"transaction": None, "tracking_number": "9405"}]
)
async def test_a_scan_of_a_surplus_label_does_not_move_the_shipment(
    shop: Shop, other: dict[str, str]
) -> None:
    order_id = await shop.labelled_order()
    body = a_track(await shop.shipment(order_id), "TRANSIT", **other)
    assert await post(shop, body, sign(body)) == 200
    await shop.settle()
    assert (await shop.shipment(order_id)).status is ShipmentStatus.LABELLED


def test_a_scan_that_precedes_the_record_of_its_label_is_tried_again_later() -> None:
    rated = a_shipment(ShipmentStatus.PREPARED, LabelStage.RATED)
    event = events.parse(a_track(rated, "TRANSIT", tracking_number="9405"))
    assert event is not None
    with pytest.raises(Unknown):
        event.decide(rated, rated.prepared_at, cancelled=False)


async def test_a_parcel_that_shippo_knows_nothing_of_yet_moves_nothing(shop: Shop) -> None:
    order_id = await shop.labelled_order()
    shipment = await shop.shipment(order_id)
    body = a_track(shipment, "TRANSIT", tracking_status=None, tracking_history=[])
    assert await post(shop, body, sign(body)) == 200
    await shop.settle()
    assert await shop.shipment(order_id) == shipment


async def test_a_body_that_is_too_large_is_not_read_to_its_end(shop: Shop) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)
    assert await post(shop, body, sign(body)) == 413


@asynccontextmanager
async def serving(service: Shipping) -> AsyncIterator[Any]:
    """The service's ASGI app, asked without a socket."""
    service.started.set()

    async def ask(body: bytes, header: str) -> int:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/webhooks/shippo",
            "query_string": b"",
            "headers": [(b"shippo-auth-signature", header.encode())],
        }
        await service(scope, receive, send)
        status: int = sent[0]["status"]
        return status

    yield ask
    await service._closing[0]()
    await service.authenticator.close()
    await service.db.close()


async def test_an_empty_secret_switches_the_endpoint_off(settings_for: Any) -> None:
    for secret in ("", " , "):
        settings = await settings_for(shippo_webhook_secret=SecretStr(secret))
        async with serving(Shipping(settings)) as ask:
            assert await ask(BODY, sign(BODY, "")) == 404


async def test_while_the_database_is_away_shippo_is_told_to_come_again(settings_for: Any) -> None:
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:1/none")
    stranger = a_shipment(ShipmentStatus.LABELLED, LabelStage.BOUGHT)
    body = a_track(stranger, "TRANSIT", metadata=None)
    async with serving(Shipping((await settings_for()).model_copy(update={"database_url": nowhere}))) as ask:
        assert await ask(body, sign(body)) == 503


async def test_a_live_account_ignores_test_events(settings_for: Any, shop: Shop) -> None:
    settings: Settings = await settings_for(shippo_api_key=SecretStr("shippo_live_key"))
    stranger = a_shipment(ShipmentStatus.LABELLED, LabelStage.BOUGHT)
    service = Shipping(settings)
    await service.db.open()
    service.started.set()
    async with serving(service) as ask:
        for test in (b"true", b"false"):
            body = a_track(stranger, "TRANSIT").replace(b'"test":true', b'"test":' + test)
            assert await ask(body, sign(body)) == 200
        async with service.db.connection() as conn:
            assert await conn.fetchval("SELECT count(*) FROM jobs") == 1
