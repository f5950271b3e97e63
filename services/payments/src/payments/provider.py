"""Stripe, by its own SDK on the SDK's cheap paths. Nothing else here knows Stripe's words.

A method answers what is definitely so, a refusal included, and raises when the outcome is unknown: time-outs, lost
connections, 409, 429, 5xx, and whatever is wrong with our key. The plumbing then calls again with the same idempotency key;
`in_doubt` says that Stripe may have forgotten the key, so that what an earlier call did is looked up first.
Sources: docs.stripe.com/api/idempotent_requests, /api/errors, /api/payment_intents/object, /api/refunds/object.
"""

import logging
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import ClientTimeout
from pydantic import SecretStr
from stripe import AIOHTTPClient, CardError, InvalidRequestError, StripeClient

from payments.domain import Fee, Intent, News
from payments.refunds import ProviderRefund, RefundNews

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 20
"""For one call, connecting included; well below the worker's lease."""
PAGE = 100
"""The most that one page of a Stripe list holds."""

_INTENT_NEWS = {
    "processing": News.PROCESSING,
    "succeeded": News.SUCCEEDED,
    "canceled": News.CANCELLED,
}
_REFUND_NEWS = {
    "succeeded": RefundNews.SUCCEEDED,
    "failed": RefundNews.FAILED,
    "canceled": RefundNews.FAILED,
}
Json = Mapping[str, Any]

# The SDK logs whole bodies, client secrets among them, at DEBUG, and every request at INFO.
logging.getLogger("stripe").setLevel(logging.WARNING)


class Stripe:
    """One account of Stripe's. The connection pool is made by the first call, in the loop that runs then."""

    def __init__(self, api_key: SecretStr, api_base: str) -> None:
        self._http = AIOHTTPClient(timeout=ClientTimeout(total=TIMEOUT_SECONDS))
        self._client = StripeClient(
            api_key.get_secret_value(),
            base_addresses={"api": api_base.rstrip("/")},
            http_client=self._http,
            max_network_retries=0,
        )

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call] # the SDK leaves it untyped

    async def create_intent(
        self, order_id: str, order_number: str, amount: int, currency: str, *, key: str, in_doubt: bool
    ) -> Intent:
        """An intent over `amount` minor units, or REFUSED."""
        if in_doubt and (known := await self._find_intent(order_id)):
            return known
        try:
            shown = await self._call(
                "post",
                "/v1/payment_intents",
                idempotency_key=key,
                amount=amount,
                currency=currency.lower(),
                automatic_payment_methods={"enabled": True},
                metadata={"order_id": order_id, "order_number": order_number},
            )
        except (CardError, InvalidRequestError) as refusal:
            return Intent(None, News.REFUSED, code=_code(refusal))
        return intent_of(shown)

    async def cancel_intent(self, payment_intent_id: str, *, key: str) -> Intent:
        """Close the intent. One that can no longer be closed answers what became of it instead."""
        path = f"/v1/payment_intents/{payment_intent_id}"
        try:
            return intent_of(await self._call("post", f"{path}/cancel", idempotency_key=key))
        except InvalidRequestError as refusal:
            intent = intent_of(await self._call("get", path))
            if intent.news in {News.OPEN, News.DECLINED}:
                # Refused although it is open: it moved meanwhile, and the key remembers the refusal.
                raise
            log.info("intent not closed", code=refusal.code, news=intent.news)
            return intent

    async def refund(
        self,
        order_id: str,
        refund_id: str,
        payment_intent_id: str,
        amount: int,
        *,
        key: str,
        in_doubt: bool,
    ) -> ProviderRefund:
        """Give back `amount` minor units of what the intent captured."""
        if in_doubt and (known := await self._find_refund(payment_intent_id, refund_id)):
            return known
        try:
            shown = await self._call(
                "post",
                "/v1/refunds",
                idempotency_key=key,
                payment_intent=payment_intent_id,
                amount=amount,
                metadata={"order_id": order_id, "refund_id": refund_id},
            )
        except (CardError, InvalidRequestError) as refusal:
            return ProviderRefund(None, RefundNews.FAILED, _code(refusal))
        return refund_of(shown)

    async def fetch_fee(self, balance_transaction: str) -> Fee:
        shown = await self._call("get", f"/v1/balance_transactions/{balance_transaction}")
        return Fee(amount=shown["fee"], currency=shown["currency"].upper())

    async def _find_intent(self, order_id: str) -> Intent | None:
        found = await self._call(
            "get", "/v1/payment_intents/search", query=f"metadata['order_id']:'{order_id}'"
        )
        return intent_of(found["data"][0]) if found["data"] else None

    async def _find_refund(self, payment_intent_id: str, refund_id: str) -> ProviderRefund | None:
        found = await self._call("get", "/v1/refunds", payment_intent=payment_intent_id, limit=PAGE)
        for shown in found["data"]:
            if shown["metadata"].get("refund_id") == refund_id:
                return refund_of(shown)
        return None

    async def _call(self, method: str, path: str, **params: Any) -> Json:
        """Raises StripeError, and aiohttp's ClientError or TimeoutError for an answer that broke off."""
        response = await self._client.raw_request_async(method, path, **params)
        answer: Json = response.data
        return answer


def intent_of(shown: Json) -> Intent:
    """A payment intent in Stripe's JSON. An intent that waits for a payment method after an error was declined."""
    error = shown.get("last_payment_error")
    waiting = News.DECLINED if error and shown["status"] == "requires_payment_method" else News.OPEN
    return Intent(
        id=shown["id"],
        news=_INTENT_NEWS.get(shown["status"], waiting),
        captured_amount=shown.get("amount_received") or 0,
        charge_id=shown.get("latest_charge"),
        code=error and (error.get("decline_code") or error.get("code")),
        client_secret=shown.get("client_secret"),
    )


def charge_of(shown: Json) -> Intent | None:
    """A captured charge in Stripe's JSON is the news that its intent succeeded; any other charge is no news."""
    if not (shown.get("paid") and shown.get("captured") and shown.get("payment_intent")):
        return None
    return Intent(
        id=shown["payment_intent"],
        news=News.SUCCEEDED,
        captured_amount=shown["amount_captured"],
        charge_id=shown["id"],
        balance_transaction=shown.get("balance_transaction"),
    )


def refund_of(shown: Json) -> ProviderRefund:
    """A refund in Stripe's JSON."""
    news = _REFUND_NEWS.get(shown["status"], RefundNews.PENDING)
    code = (shown.get("failure_reason") or shown["status"]) if news is RefundNews.FAILED else None
    return ProviderRefund(shown["id"], news, code)


def _code(refusal: CardError | InvalidRequestError) -> str:
    """Stripe's code for a definite refusal; its sentence is for the log."""
    log.warning("stripe refused", code=refusal.code, message=str(refusal))
    return refusal.code or "invalid_request"
