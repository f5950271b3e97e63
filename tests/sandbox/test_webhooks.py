"""Webhooks: signed so that the official verifiers accept them, sent until accepted, across restarts."""

from __future__ import annotations

import hmac
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from pyreqwest.client import Client

import sandbox
from sandbox.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Receiver

    ShopAt = Callable[[sandbox.Box], stripe.StripeClient]


async def pay(shop: stripe.StripeClient, order_id: str, card: str = "pm_card_visa") -> stripe.PaymentIntent:
    params: Any = {"amount": 2_000, "currency": "usd", "metadata": {"order_id": order_id}}
    intent = await shop.v1.payment_intents.create_async(params)
    return await shop.v1.payment_intents.confirm_async(intent.id, {"payment_method": card})


def kinds(receiver: Receiver) -> list[str]:
    return sorted(delivery.json["type"] for delivery in receiver.deliveries)


PAID = ["charge.succeeded", "charge.updated", "payment_intent.created", "payment_intent.succeeded"]


async def test_every_event_of_a_payment_arrives_signed_as_the_official_sdk_verifies(
    box: sandbox.Box, receiver: Receiver, settings: sandbox.Settings, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await pay(shop, order_id)
    await box.settled()
    assert kinds(receiver) == PAID
    secret = settings.stripe_webhook_secret.get_secret_value()
    for delivery in receiver.deliveries:
        event = stripe.Webhook.construct_event(delivery.body, delivery.headers["stripe-signature"], secret)
        assert event.object == "event"
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(delivery.body, delivery.headers["stripe-signature"], f"{secret}x")
    (succeeded,) = receiver.events(object="payment_intent", status="succeeded")
    assert succeeded["data"]["object"]["id"] == intent.id
    assert succeeded["api_version"] == stripe.api_version
    by_kind = {delivery.json["type"]: delivery.json["data"] for delivery in receiver.deliveries}
    assert by_kind["charge.succeeded"]["object"]["balance_transaction"] is None
    assert by_kind["charge.updated"]["object"]["balance_transaction"].startswith("txn_")
    assert by_kind["charge.updated"]["previous_attributes"] == {"balance_transaction": None}


async def test_declines_cancellations_and_refunds_send_their_events(
    box: sandbox.Box, receiver: Receiver, shop: stripe.StripeClient, order_id: str
) -> None:
    with pytest.raises(stripe.CardError):
        await pay(shop, order_id, "pm_card_visa_chargeDeclined")
    await box.settled()
    assert kinds(receiver) == ["charge.failed", "payment_intent.created", "payment_intent.payment_failed"]
    receiver.deliveries.clear()

    (effect, *_) = box.record.effects(order_id=order_id)
    await shop.v1.payment_intents.cancel_async(effect.resource)
    await box.settled()
    assert kinds(receiver) == ["payment_intent.canceled"]

    intent = await pay(shop, order_id)
    await box.settled()
    receiver.deliveries.clear()
    await shop.v1.refunds.create_async({"payment_intent": intent.id, "amount": 500})
    await box.settled()
    assert kinds(receiver) == ["charge.refunded", "refund.created", "refund.updated"]


async def test_a_webhook_is_sent_again_until_it_is_accepted(
    box: sandbox.Box, receiver: Receiver, http: Client, shop: stripe.StripeClient, order_id: str
) -> None:
    receiver.statuses.extend([500, 404, 302] * 100)
    params: Any = {"amount": 2_000, "currency": "usd", "metadata": {"order_id": order_id}}
    await shop.v1.payment_intents.create_async(params)
    await receiver.wait_for(lambda: len(receiver.deliveries) == 2)
    pending = await (await http.get(f"{box.url}/control/pending").build().send()).json()
    waiting = dict.fromkeys(("webhooks", "held", "forgeries", "fees", "refunds"), 0)
    assert pending == {"pending": 1, **waiting, "webhooks": 1}
    receiver.statuses.clear()
    await box.settled()
    assert set(kinds(receiver)) == {"payment_intent.created"}
    assert len(receiver.deliveries) > 2
    assert len({delivery.json["id"] for delivery in receiver.deliveries}) == 1
    pending = await (await http.get(f"{box.url}/control/pending").build().send()).json()
    assert pending["pending"] == 0


async def test_a_restart_resumes_what_was_not_delivered_and_not_booked(
    receiver: Receiver, settings: sandbox.Settings, shop_at: ShopAt, tmp_path: Path
) -> None:
    state = str(tmp_path / "deep" / "sandbox.sqlite")
    nobody = {"stripe_webhook_url": "http://127.0.0.1:9/", "fee_delay_seconds": 3_600, "state": state}
    async with sandbox.running(settings.model_copy(update=nobody)) as box:
        await pay(shop_at(box), "o")
        assert box.jobs.pending() == {
            "webhooks": 3,
            "held": 0,
            "forgeries": 0,
            "fees": 1,
            "refunds": 0,
        }
        box.jobs.add("fees", "ch_other", delay=3_600)
        before = box.record.effects()
    assert not receiver.deliveries

    async with sandbox.running(settings.model_copy(update={"state": state})) as box:
        assert box.record.effects() == before
        await receiver.wait_for(lambda: len(receiver.deliveries) == 3)
        assert kinds(receiver) == ["charge.succeeded", "payment_intent.created", "payment_intent.succeeded"]
        assert box.jobs.pending()["fees"] == 2


async def test_an_effect_that_is_undone_sends_nothing(
    box: sandbox.Box, receiver: Receiver, shop: stripe.StripeClient, order_id: str
) -> None:
    params: Any = {"amount": 2_000, "currency": "usd", "confirm": "maybe", "metadata": {"order_id": order_id}}
    with pytest.raises(stripe.InvalidRequestError):
        await shop.v1.payment_intents.create_async(params)
    await box.settled()
    assert not receiver.deliveries
    assert not box.record.effects(order_id=order_id)


async def test_webhooks_can_be_sent_in_copies_and_again_by_order(
    box: sandbox.Box, receiver: Receiver, http: Client, shop: stripe.StripeClient, order_id: str
) -> None:
    async def control(call: str, **body: object) -> Any:
        return await (
            await http.post(f"{box.url}/control/webhooks/{call}").body_json(body).build().send()
        ).json()

    assert await control("copies", n=2) == {"copies": 2}
    await pay(shop, order_id)
    await box.settled()
    assert Counter(kinds(receiver)) == dict.fromkeys(PAID, 2)
    assert await control("copies", n=1) == {"copies": 1}
    receiver.deliveries.clear()

    await pay(shop, f"{order_id}-other")
    await box.settled()
    receiver.deliveries.clear()
    assert await control("redeliver", order_id=order_id) == {"deliveries": 4}
    await box.settled()
    assert kinds(receiver) == PAID
    assert {delivery.json["data"]["object"]["metadata"]["order_id"] for delivery in receiver.deliveries} == {
        order_id
    }


async def test_the_receiver_can_be_changed_while_running(
    receiver: Receiver, http: Client, shop_at: ShopAt, settings: sandbox.Settings
) -> None:
    unheard = settings.model_copy(update={"stripe_webhook_url": ""})
    async with sandbox.running(unheard) as box:
        shop = shop_at(box)
        params: Any = {"amount": 2_000, "currency": "usd"}
        await shop.v1.payment_intents.create_async(params)
        assert box.jobs.pending()["webhooks"] == 0
        url = f"{box.url}/control/webhooks/receivers"
        for wrong in ({"provider": "paypal", "url": ""}, {"provider": "stripe", "url": "nowhere"}):
            assert (await http.post(url).body_json(wrong).build().send()).status == 400
        change = {"provider": "stripe", "url": receiver.url, "secret": "whsec_new"}
        assert (await http.post(url).body_json(change).build().send()).status == 200
        await shop.v1.payment_intents.create_async(params)
        await box.settled()
    (delivery,) = receiver.deliveries
    stripe.WebhookSignature.verify_header(
        delivery.body, delivery.headers["stripe-signature"], "whsec_new", 300
    )


async def test_shippos_signature_is_the_documented_hmac(
    box: sandbox.Box, receiver: Receiver, settings: sandbox.Settings, order_id: str
) -> None:
    webhooks: Webhooks = box.webhooks
    webhooks.send("shippo", "track_updated", b'{"event":"track_updated"}', order_id=order_id)
    await box.settled()
    (delivery,) = receiver.deliveries
    timestamp, signature = (
        part.split("=")[1] for part in delivery.headers["shippo-auth-signature"].split(",")
    )
    secret = settings.shippo_webhook_secret.get_secret_value().encode()
    assert signature == hmac.new(secret, f"{timestamp}.".encode() + delivery.body, "sha256").hexdigest()


async def test_an_endpoint_hears_what_it_is_subscribed_to(
    receiver: Receiver, shop_at: ShopAt, settings: sandbox.Settings
) -> None:
    heard = frozenset({"payment_intent.succeeded", "charge.updated"})
    async with sandbox.running(settings.model_copy(update={"stripe_webhook_events": heard})) as box:
        await pay(shop_at(box), "o")
        await box.settled()
        assert kinds(receiver) == sorted(heard)
        assert box.webhooks.redeliver("o") == 2


async def test_a_subscription_to_what_stripe_does_not_send_is_refused(settings: sandbox.Settings) -> None:
    odd = settings.model_copy(update={"stripe_webhook_events": frozenset({"charge.fetched"})})
    with pytest.raises(ValueError, match=r"STRIPE_WEBHOOK_EVENTS: stripe sends no charge\.fetched"):
        async with sandbox.running(odd):
            pass


def test_a_webhook_url_without_a_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="STRIPE_WEBHOOK_URL needs STRIPE_WEBHOOK_SECRET"):
        sandbox.Settings(stripe_webhook_url="http://127.0.0.1:9/")
