"""Webhooks duplicated, delayed, reordered, dropped, lost and forged by control call, as their receiver sees them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from sandbox.forgeries import MAKERS
from sandbox.webhooks import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.conftest import Receiver

    import sandbox

CREATED, CANCELED = "payment_intent.created", "payment_intent.canceled"


@pytest.fixture(autouse=True)
def no_faults_after(box: sandbox.Box) -> Iterator[None]:
    yield
    box.faults.clear()


async def create_and_cancel(shop: stripe.StripeClient, order_id: str) -> None:
    params: Any = {"amount": 2_000, "currency": "usd", "metadata": {"order_id": order_id}}
    intent = await shop.v1.payment_intents.create_async(params)
    await shop.v1.payment_intents.cancel_async(intent.id)


def arrived(receiver: Receiver) -> list[str]:
    return [delivery.json["type"] for delivery in receiver.deliveries]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("duplicated", {CREATED: 2, CANCELED: 1}),
        ("delayed", {CREATED: 1, CANCELED: 1}),
        ("reordered", {CREATED: 1, CANCELED: 1}),
        ("dropped", {CREATED: 1, CANCELED: 1}),
        ("lost", {CANCELED: 1}),
    ],
)
async def test_an_event_arrives_as_often_as_its_fault_says(
    box: sandbox.Box,
    receiver: Receiver,
    shop: stripe.StripeClient,
    order_id: str,
    kind: str,
    expected: dict[str, int],
) -> None:
    box.faults.add(f"webhooks.stripe.{CREATED}", [kind], times=1, seconds=1.0)
    await create_and_cancel(shop, order_id)
    await box.settled()
    events = arrived(receiver)
    assert Counter(events) == expected
    if kind in ("delayed", "reordered", "dropped"):
        assert events == [CANCELED, CREATED]
    [injected] = box.faults.injected(limit=2**31)[-1:]
    assert (injected["kind"], injected["about"]) == (kind, order_id)


async def test_a_reordered_event_without_a_later_one_arrives_in_the_end(
    box: sandbox.Box, receiver: Receiver, shop: stripe.StripeClient, order_id: str
) -> None:
    box.faults.add(f"webhooks.stripe.{CANCELED}", ["reordered"], times=1, seconds=0.2)
    await create_and_cancel(shop, order_id)
    await box.settled()
    assert sorted(arrived(receiver)) == [CANCELED, CREATED]


async def test_a_lost_event_can_be_sent_again_by_hand(
    box: sandbox.Box, receiver: Receiver, shop: stripe.StripeClient, order_id: str
) -> None:
    box.faults.add("webhooks.stripe.*", ["lost"])
    await create_and_cancel(shop, order_id)
    await box.settled()
    assert receiver.deliveries == []
    assert box.webhooks.redeliver(order_id) == 2
    await box.settled()
    assert sorted(arrived(receiver)) == [CANCELED, CREATED]


async def test_no_forgery_passes_the_official_check_and_its_answer_is_in_the_record(
    box: sandbox.Box, receiver: Receiver, settings: sandbox.Settings, shop: stripe.StripeClient, order_id: str
) -> None:
    rule = box.faults.add(f"webhooks.stripe.{CREATED}", ["forged"], times=1)
    await create_and_cancel(shop, order_id)
    await box.settled()
    secret = settings.stripe_webhook_secret.get_secret_value()
    passed, refused = [], []
    for delivery in receiver.deliveries:
        try:
            stripe.WebhookSignature.verify_header(
                delivery.body, delivery.headers["stripe-signature"], secret, 300
            )
            passed.append(delivery.json["type"])
        except stripe.SignatureVerificationError:
            refused.append((delivery.json["type"], delivery.json["data"]["object"]["status"]))
    assert sorted(passed) == [CANCELED, CREATED]
    assert Counter(refused) == {("payment_intent.succeeded", "succeeded"): 3, (CANCELED, "canceled"): 3}
    answers = [fault for fault in box.faults.injected(limit=2**31) if fault["rule"] == rule][1:]
    assert {fault["kind"] for fault in answers} == {"forged.200"}  # this receiver believes everything
    assert sorted(fault["about"] for fault in answers) == [
        f"{deed} {flaw}"
        for deed in ("cancel", "capture")
        for flaw in ("other_secret", "stale_timestamp", "wrong_signature")
    ]


def test_every_event_has_forgeries() -> None:
    stripes = {event.partition(".")[0] for event in EVENTS["stripe"]}
    assert set(MAKERS) == stripes | set(EVENTS["shippo"])
