"""Faults by control call, as the official SDKs meet them: what the caller sees, what happened, and what the record says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from pyreqwest.client import Client

import sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Control = Callable[..., Awaitable[Any]]

CREATE, REFUND = "stripe.payment_intents.create", "stripe.refunds.create"


@pytest.fixture
async def control(box: sandbox.Box, http: Client) -> AsyncIterator[Control]:
    """Control calls about faults; none is left after the test."""

    async def call(method: str = "POST", path: str = "", *, status: int | None = None, **body: Any) -> Any:
        request = http.request(method, f"{box.url}/control/faults{path}")
        answer = await (request.body_json(body) if body else request).build().send()
        assert answer.status == (status or {"POST": 201}.get(method, 200)), await answer.text()
        return await answer.json()

    yield call
    await call("DELETE")


def params(order_id: str) -> Any:
    return {"amount": 2_000, "currency": "usd", "metadata": {"order_id": order_id}}


async def create(shop: stripe.StripeClient, order_id: str, key: str | None = None) -> stripe.PaymentIntent:
    return await shop.v1.payment_intents.create_async(
        params(order_id), {"idempotency_key": key} if key else {}
    )


def made(box: sandbox.Box, order_id: str) -> int:
    return len(box.record.effects(order_id=order_id, kind="stripe.payment_intent.created"))


async def test_a_reset_connection_had_no_effect_and_only_the_next_calls_meet_it(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["reset"], times=2)
    for _ in range(2):
        with pytest.raises(stripe.APIConnectionError):
            await create(shop, order_id, order_id)
    assert made(box, order_id) == 0
    assert (await create(shop, order_id, order_id)).amount == 2_000
    assert made(box, order_id) == 1


async def test_a_lost_answer_had_its_effect_and_its_key_finds_it(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["lost_answer"], times=1)
    with pytest.raises(stripe.APIConnectionError):
        await create(shop, order_id, order_id)
    [effect] = box.record.effects(order_id=order_id)
    assert (await create(shop, order_id, order_id)).id == effect.resource
    assert made(box, order_id) == 1


async def test_too_many_requests_say_when_to_come_back(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["rate_limited"], times=1, seconds=1.5)
    with pytest.raises(stripe.RateLimitError) as limited:
        await create(shop, order_id, order_id)
    assert limited.value.headers is not None
    assert (limited.value.http_status, limited.value.headers["Retry-After"]) == (429, "2")
    assert made(box, order_id) == 0
    await create(shop, order_id, order_id)


async def test_an_unavailable_stripe_remembers_nothing(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["unavailable"], times=1)
    with pytest.raises(stripe.APIError) as away:
        await create(shop, order_id, order_id)
    assert away.value.http_status == 503
    await create(shop, order_id, order_id)
    assert made(box, order_id) == 1


@pytest.mark.parametrize(("kind", "happened"), [("error", 0), ("error_after_effect", 1)])
async def test_a_500_is_saved_under_its_key_and_replayed(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control, kind: str, happened: int
) -> None:
    await control(target=CREATE, kinds=[kind], times=2)
    replayed = []
    for _ in range(3):
        with pytest.raises(stripe.APIError) as failed:
            await create(shop, order_id, order_id)
        assert failed.value.http_status == 500
        replayed.append((failed.value.headers or {}).get("Idempotent-Replayed"))
    assert replayed == [None, "true", "true"]
    assert made(box, order_id) == happened
    # A replay meets no fault of its own: the second one of the two is still to come.
    with pytest.raises(stripe.APIError):
        await create(shop, order_id, f"{order_id}-2")
    await create(shop, order_id, f"{order_id}-3")
    assert made(box, order_id) == 2 * happened + 1


async def test_a_slow_effect_happens_though_the_caller_gave_up_and_its_key_is_taken_meanwhile(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["slow"], times=1, seconds=0.5)
    impatient = asyncio.create_task(create(shop, order_id, order_id))
    await injected(control, CREATE)
    impatient.cancel()
    with pytest.raises(stripe.StripeError) as conflict:
        await create(shop, order_id, order_id)
    assert conflict.value.http_status == 409
    async with asyncio.timeout(10):
        while not made(box, order_id):
            await asyncio.sleep(0.02)
    await create(shop, order_id, order_id)
    assert made(box, order_id) == 1


async def test_a_hanging_call_has_no_effect_and_ends_when_the_caller_gives_up(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, control: Control
) -> None:
    await control(target=CREATE, kinds=["hang"], times=1)
    impatient = asyncio.create_task(create(shop, order_id, order_id))
    await injected(control, CREATE)
    assert not impatient.done()
    impatient.cancel()
    async with asyncio.timeout(10):
        while box.record.requests(since=0, limit=2**31)[-1].status != 0:
            await asyncio.sleep(0.02)
    assert made(box, order_id) == 0
    await create(shop, order_id, order_id)


async def injected(control: Control, target: str) -> None:
    """Until the one rule has met a call of `target`."""
    async with asyncio.timeout(10):
        while target not in (await control("GET"))["faults"][0]["injected"]:
            await asyncio.sleep(0.01)
