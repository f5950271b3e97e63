"""Payments through the official SDK: intents, confirmation, charges, fees, lists and search."""

import asyncio
from typing import Any

import pytest
import stripe
from pyreqwest.client import Client

import sandbox
from sandbox.stripe.charges import fee


async def place(shop: stripe.StripeClient, order_id: str, amount: int = 2_000) -> stripe.PaymentIntent:
    return await shop.v1.payment_intents.create_async(
        {
            "amount": amount,
            "currency": "usd",
            "metadata": {"order_id": order_id},
            "automatic_payment_methods": {"enabled": True},
            "receipt_email": "ada@example.test",
        }
    )


async def test_a_paid_intent_has_a_charge_whose_fee_comes_later(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await place(shop, order_id)
    assert (intent.status, intent.amount, intent.currency) == ("requires_payment_method", 2_000, "usd")
    assert intent.client_secret is not None
    assert intent.client_secret.startswith(f"{intent.id}_secret_")

    paid = await shop.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa", "expand": ["latest_charge"]}
    )
    assert (paid.status, paid.amount_received) == ("succeeded", 2_000)
    charge = paid.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert charge.balance_transaction is None
    assert charge.metadata["order_id"] == order_id

    await box.settled()
    booked = await shop.v1.charges.retrieve_async(charge.id, {"expand": ["balance_transaction"]})
    transaction = booked.balance_transaction
    assert isinstance(transaction, stripe.BalanceTransaction)
    assert (transaction.amount, transaction.fee, transaction.net) == (2_000, 88, 1_912)
    assert transaction.status == "pending"
    assert await shop.v1.balance_transactions.retrieve_async(transaction.id) == transaction
    assert (await shop.v1.balance_transactions.list_async({"limit": 1})).data == [transaction]


@pytest.mark.parametrize(
    ("amount", "expected"), [(50, 31), (500, 45), (1_000, 59), (1_050, 60), (99_999_999, 2_900_030)]
)
def test_the_fee_is_2_9_percent_rounded_half_up_plus_30(amount: int, expected: int) -> None:
    assert fee(amount) == expected


async def test_funds_are_available_at_once_with_the_card_that_bypasses_pending(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await place(shop, order_id)
    await shop.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_bypassPending"})
    await box.settled()
    found = await shop.v1.payment_intents.retrieve_async(
        intent.id, {"expand": ["latest_charge.balance_transaction"]}
    )
    assert isinstance(found.latest_charge, stripe.Charge)
    assert isinstance(found.latest_charge.balance_transaction, stripe.BalanceTransaction)
    transaction = found.latest_charge.balance_transaction
    assert transaction.status == "available"
    at = transaction.created
    listed = await shop.v1.balance_transactions.list_async({"created": {"gte": at, "lte": at}})
    assert transaction in listed.data
    later = await shop.v1.balance_transactions.list_async({"created": {"gt": at}})
    assert transaction not in later.data


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
    ],
)
async def test_a_declined_intent_can_be_paid_with_another_card(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str, card: str, decline_code: str
) -> None:
    intent = await place(shop, order_id)
    with pytest.raises(stripe.CardError) as declined:
        await shop.v1.payment_intents.confirm_async(intent.id, {"payment_method": card})
    assert declined.value.http_status == 402
    assert declined.value.error is not None
    assert (declined.value.code, declined.value.error.decline_code) == ("card_declined", decline_code)

    found = await shop.v1.payment_intents.retrieve_async(intent.id)
    assert found.status == "requires_payment_method"
    assert found.payment_method is None
    assert found.last_payment_error is not None
    assert found.last_payment_error.decline_code == decline_code

    paid = await shop.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_mastercard"})
    assert paid.status == "succeeded"
    assert paid.last_payment_error is None
    charges = await shop.v1.charges.list_async({"payment_intent": intent.id})
    assert [charge.status for charge in charges.data] == ["succeeded", "failed"]
    await box.settled()
    kinds = [effect.kind.removeprefix("stripe.") for effect in box.record.effects(order_id=order_id)]
    assert kinds == [
        "payment_intent.created",
        "charge.failed",
        "charge.succeeded",
        "balance_transaction.created",
    ]


async def test_a_browser_confirms_with_a_publishable_key_and_the_client_secret_only(
    box: sandbox.Box, shop: stripe.StripeClient, http: Client, order_id: str
) -> None:
    intent = await place(shop, order_id)
    url = f"{box.url}/stripe/v1/payment_intents/{intent.id}/confirm"
    form = {"payment_method": "pm_card_visa", "key": "pk_test_shop"}
    for secret in ({}, {"client_secret": f"{intent.id}_secret_guess"}):
        refused = await http.post(url).form(form | secret).build().send()
        assert refused.status == 400
        assert (await refused.json())["error"]["param"] == "client_secret"
    browser = http.post(url).bearer_auth("pk_test_shop")
    accepted = await browser.form(form | {"client_secret": str(intent.client_secret)}).build().send()
    assert (accepted.status, (await accepted.json())["status"]) == (200, "succeeded")
    seen = http.get(url.removesuffix("/confirm")).bearer_auth("pk_test_shop")
    answer = await seen.query({"client_secret": str(intent.client_secret)}).build().send()
    assert (await answer.json())["id"] == intent.id


async def test_a_publishable_key_opens_nothing_else(box: sandbox.Box, http: Client) -> None:
    for path in ("payment_intents", "payment_intents/search?query=x", "charges", "refunds"):
        answer = await http.get(f"{box.url}/stripe/v1/{path}").bearer_auth("pk_test_shop").build().send()
        assert answer.status == 401
        assert (await answer.json())["error"]["code"] == "secret_key_required"


async def test_no_key_and_a_key_of_another_kind_are_unauthorized(box: sandbox.Box, http: Client) -> None:
    url = f"{box.url}/stripe/v1/payment_intents"
    for request in (
        http.get(url),
        http.get(url).bearer_auth("nonsense"),
        http.get(url).header("authorization", "Basic %"),
    ):
        answer = await request.build().send()
        assert answer.status == 401
        assert (await answer.json())["error"]["type"] == "invalid_request_error"
    basic = await http.get(url).basic_auth("sk_test_shop", "").build().send()
    assert basic.status == 200


async def test_a_bank_that_asks_for_authentication_is_answered_by_a_control_call(
    box: sandbox.Box, shop: stripe.StripeClient, http: Client, order_id: str
) -> None:
    intent = await place(shop, order_id)
    waiting = await shop.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_authenticationRequired"}
    )
    assert waiting.status == "requires_action"
    assert waiting.next_action is not None
    url = f"{box.url}/control/stripe/payment_intents/{intent.id}/complete"
    failed = await http.post(url).body_json({"outcome": "fail"}).build().send()
    assert failed.status == 402
    assert (await failed.json())["error"]["code"] == "payment_intent_authentication_failure"
    again = await http.post(url).body_json({"outcome": "succeed"}).build().send()
    assert again.status == 400

    await box.stripe.confirm(intent.id, "pm_card_authenticationRequired")
    completed = await http.post(url).body_json({"outcome": "succeed"}).build().send()
    assert (await completed.json())["status"] == "succeeded"


async def test_a_bank_debit_is_processing_until_it_completes(
    box: sandbox.Box, shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await place(shop, order_id)
    waiting = await shop.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_usBankAccount"})
    assert waiting.status == "processing"
    await box.stripe.complete(intent.id, "succeed")
    assert (await shop.v1.payment_intents.retrieve_async(intent.id)).status == "succeeded"


async def test_a_cancelled_intent_cannot_be_confirmed_and_a_paid_one_not_cancelled(
    shop: stripe.StripeClient, order_id: str
) -> None:
    intent = await place(shop, order_id)
    cancelled = await shop.v1.payment_intents.cancel_async(intent.id, {"cancellation_reason": "abandoned"})
    assert (cancelled.status, cancelled.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert refused.value.code == "payment_intent_unexpected_state"

    other = await place(shop, order_id)
    await shop.v1.payment_intents.confirm_async(other.id, {"payment_method": "pm_card_visa"})
    for repeat in (
        shop.v1.payment_intents.cancel_async(other.id),
        shop.v1.payment_intents.confirm_async(other.id, {"payment_method": "pm_card_visa"}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await repeat
        assert refused.value.code == "payment_intent_unexpected_state"
    assert len((await shop.v1.charges.list_async({"payment_intent": other.id})).data) == 1


async def test_an_intent_can_be_created_and_confirmed_in_one_call(
    shop: stripe.StripeClient, order_id: str
) -> None:
    params: stripe.params.PaymentIntentCreateParams = {
        "amount": 700,
        "currency": "eur",
        "confirm": True,
        "payment_method": "pm_card_visa",
        "metadata": {"order_id": order_id},
    }
    assert (await shop.v1.payment_intents.create_async(params)).status == "succeeded"


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"currency": "usd"}, "parameter_missing", "amount"),
        ({"amount": 2_000}, "parameter_missing", "currency"),
        ({"amount": "ten", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": 49, "currency": "usd"}, "amount_too_small", "amount"),
        ({"amount": 100_000_000, "currency": "usd"}, "amount_too_large", "amount"),
        ({"amount": 2_000, "currency": "dollars"}, None, "currency"),
        ({"amount": 2_000, "currency": "usd", "ammount": 1}, "parameter_unknown", "ammount"),
        ({"amount": 2_000, "currency": "usd", "capture_method": "manual"}, None, "capture_method"),
        ({"amount": 2_000, "currency": "usd", "description": {"a": "b"}}, None, "description"),
        ({"amount": 2_000, "currency": "usd", "metadata": "x"}, None, "metadata"),
        (
            {"amount": 2_000, "currency": "usd", "automatic_payment_methods": "x"},
            None,
            "automatic_payment_methods",
        ),
        ({"amount": 2_000, "currency": "usd", "metadata": {"k" * 41: "v"}}, None, f"metadata[{'k' * 41}]"),
        (
            {"amount": 2_000, "currency": "usd", "confirm": True, "payment_method": "pm_x"},
            "resource_missing",
            "payment_method",
        ),
    ],
)
async def test_bad_parameters_are_refused_with_stripes_codes(
    box: sandbox.Box, shop: stripe.StripeClient, params: dict[str, object], code: str | None, param: str
) -> None:
    before = box.record.counts()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.raw_request_async("post", "/v1/payment_intents", **params)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert box.record.counts() == before


async def test_unknown_objects_and_paths_are_not_found(shop: stripe.StripeClient) -> None:
    for request in (
        shop.v1.payment_intents.retrieve_async("pi_none"),
        shop.v1.charges.retrieve_async("ch_none"),
        shop.v1.refunds.retrieve_async("re_none"),
        shop.v1.balance_transactions.retrieve_async("txn_none"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as missing:
            await request
        assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await shop.v1.disputes.list_async()
    assert missing.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await shop.v1.refunds.list_async({"starting_after": "re_none"})
    assert (missing.value.code, missing.value.param) == ("resource_missing", "starting_after")


async def test_lists_page_newest_first_and_filter_by_creation_time(
    shop: stripe.StripeClient, order_id: str
) -> None:
    placed = [await place(shop, order_id) for _ in range(5)]
    newest = [intent.id for intent in reversed(placed)]
    first = await shop.v1.payment_intents.list_async({"limit": 2})
    assert ([intent.id for intent in first.data], first.has_more) == (newest[:2], True)
    second = await shop.v1.payment_intents.list_async({"limit": 3, "starting_after": first.data[-1].id})
    assert [intent.id for intent in second.data] == newest[2:]

    latest = placed[-1].created
    filters: list[tuple[Any, bool]] = [
        ({"gte": latest}, True),
        ({"gt": latest}, False),
        ({"lt": latest + 1}, True),
    ]
    for created, expected in [*filters, (latest, True)]:
        page = await shop.v1.payment_intents.list_async({"created": created, "limit": 100})
        assert (placed[-1].id in [intent.id for intent in page.data]) is expected


async def test_search_finds_intents_by_their_metadata(shop: stripe.StripeClient, order_id: str) -> None:
    first, second = await asyncio.gather(place(shop, order_id), place(shop, order_id))
    await place(shop, f"{order_id}-other")
    found = await shop.v1.payment_intents.search_async({"query": f"metadata['order_id']:'{order_id}'"})
    assert {intent.id for intent in found.data} == {first.id, second.id}
    await shop.v1.payment_intents.cancel_async(first.id)
    query = f'metadata["order_id"]:"{order_id}" AND status:\'canceled\''
    found = await shop.v1.payment_intents.search_async({"query": query})
    assert [intent.id for intent in found.data] == [first.id]
    page = await shop.v1.payment_intents.search_async(
        {"query": f"metadata['order_id']:'{order_id}'", "limit": 1}
    )
    assert page.has_more
    assert page.next_page is not None
    rest = await shop.v1.payment_intents.search_async(
        {
            "query": f"metadata['order_id']:'{order_id}'",
            "page": page.next_page,
        }
    )
    assert {intent.id for intent in [*page.data, *rest.data]} == {first.id, second.id}
    for query in ("nonsense", "status:'canceled'", "metadata['order_id']:'x' OR status:'canceled'"):
        with pytest.raises(stripe.InvalidRequestError):
            await shop.v1.payment_intents.search_async({"query": query})
