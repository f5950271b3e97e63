"""Reading the record over HTTP."""

from typing import Any

import stripe
from pyreqwest.client import Client

import sandbox


async def get(box: sandbox.Box, http: Client, path: str) -> Any:
    answer = await http.get(f"{box.url}/control/{path}").build().send()
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def test_effects_are_read_page_by_page(
    box: sandbox.Box, http: Client, shop: stripe.StripeClient, order_id: str
) -> None:
    start = (await get(box, http, "effects?limit=500"))["next"]
    for amount in (1_000, 2_000, 3_000):
        params: Any = {"amount": amount, "currency": "usd", "metadata": {"order_id": order_id}}
        await shop.v1.payment_intents.create_async(params, {"idempotency_key": f"{order_id}-{amount}"})
    first = await get(box, http, f"effects?since={start}&limit=2")
    second = await get(box, http, f"effects?since={first['next']}&limit=2")
    effects = first["effects"] + second["effects"]
    assert [effect["amount"] for effect in effects] == [1_000, 2_000, 3_000]
    assert {effect["order_id"] for effect in effects} == {order_id}
    assert {(effect["provider"], effect["kind"], effect["currency"]) for effect in effects} == {
        ("stripe", "stripe.payment_intent.created", "USD")
    }
    assert effects[0]["idempotency_key"] == f"{order_id}-1000"
    assert effects[0]["payload"]["metadata"] == {"order_id": order_id}
    assert await get(box, http, f"effects?since={second['next']}") == {"effects": [], "next": second["next"]}
    by_kind = await get(box, http, f"effects?since={start}&kind=stripe.charge.succeeded")
    assert by_kind["effects"] == []
    assert len((await get(box, http, f"effects?order_id={order_id}"))["effects"]) == 3


async def test_the_summary_counts_effects_and_adds_amounts_by_kind(
    box: sandbox.Box, http: Client, shop: stripe.StripeClient
) -> None:
    before = await get(box, http, "summary")
    params: Any = {"amount": 1_234, "currency": "chf", "payment_method": "pm_card_visa", "confirm": True}
    await shop.v1.payment_intents.create_async(params)
    await box.settled()
    after = await get(box, http, "summary")
    new = {kind: count - before["counts"].get(kind, 0) for kind, count in after["counts"].items()}
    assert {kind: count for kind, count in new.items() if count} == {
        "stripe.payment_intent.created": 1,
        "stripe.charge.succeeded": 1,
        "stripe.balance_transaction.created": 1,
    }
    gained = after["amounts"]["stripe.charge.succeeded"]["CHF"] - before["amounts"].get(
        "stripe.charge.succeeded", {}
    ).get("CHF", 0)
    assert gained == 1_234


async def test_every_request_is_noted_without_its_query(box: sandbox.Box, http: Client) -> None:
    start = (await get(box, http, "requests?limit=500"))["next"]
    while (page := await get(box, http, f"requests?limit=500&since={start}"))["requests"]:
        start = page["next"]
    url = f"{box.url}/stripe/v1/payment_intents"
    await http.get(f"{url}?limit=1").bearer_auth("sk_test_shop").build().send()
    await http.post(url).header("idempotency-key", "k1").build().send()
    noted = (await get(box, http, f"requests?since={start}"))["requests"]
    assert [(row["method"], row["path"], row["status"], row["idempotency_key"]) for row in noted] == [
        ("GET", "/stripe/v1/payment_intents", 200, None),
        ("POST", "/stripe/v1/payment_intents", 401, "k1"),
    ]


async def test_bad_control_calls_are_refused(box: sandbox.Box, http: Client) -> None:
    for path in ("effects?limit=501", "effects?since=x", "effects?sinse=1"):
        assert (await http.get(f"{box.url}/control/{path}").build().send()).status == 400
    for path, body in (("copies", {"n": 0}), ("copies", {}), ("redeliver", {"order": "x"})):
        answer = await http.post(f"{box.url}/control/webhooks/{path}").body_json(body).build().send()
        assert answer.status == 400
    assert (await http.get(f"{box.url}/nowhere").build().send()).status == 404


async def test_health_is_answered(box: sandbox.Box, http: Client) -> None:
    for path in ("live", "ready"):
        assert (await http.get(f"{box.url}/health/{path}").build().send()).status == 200
