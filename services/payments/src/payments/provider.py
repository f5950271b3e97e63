"""Stripe, by its own SDK on the SDK's cheap paths. Nothing else here knows Stripe's words.

A method answers what is definitely so, a refusal included, and raises when the outcome is unknown: time-outs, lost
connections, 409, 429, 5xx, and whatever is wrong with our key. The plumbing then calls again: what an earlier call did is
looked up first, and only what is not there is asked for again, under the keys that `attempts` allows.
Sources: docs.stripe.com/api/idempotent_requests, /api/errors, /api/payment_intents/object, /api/refunds/object.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from aiohttp import ClientTimeout
from pydantic import SecretStr
from stripe import (
    AIOHTTPClient,
    APIConnectionError,
    CardError,
    InvalidRequestError,
    StripeClient,
    StripeError,
)

from payments.attempts import Attempt
from payments.domain import Booking, Intent, News
from payments.refunds import ProviderRefund, RefundNews

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 20
"""For one call, connecting included; well below the worker's lease."""
PAGE = 100
"""The most that one page of a Stripe list holds."""
PAGES = 3
"""How many pages of recent intents are read before Stripe's index, which runs late, is asked."""
READS = 3
"""How often a look asks for one page before the look has failed. Reading again does no harm, and a job that fails rests for
minutes in the end: with many pages to be read, and each in danger, it would hardly ever get through.
"""
WORTH_A_LIST = 3
"""From so many bookings on, a list costs less than asking for each."""
SKEW = timedelta(minutes=5)
"""How far Stripe's clock may differ from ours."""
SERVER_ERROR = 500

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


class UnsettledError(Exception):
    """Nothing was found at Stripe, and this attempt may not ask for it (again): a later one may."""


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
        self, order_id: str, order_number: str, amount: int, currency: str, *, attempt: Attempt
    ) -> Intent:
        """An intent over `amount` minor units, or REFUSED."""
        try:
            shown = await self._make_once(
                "/v1/payment_intents",
                attempt,
                lambda: self._find_intent(order_id, attempt),
                amount=amount,
                currency=currency.lower(),
                automatic_payment_methods={"enabled": True},
                metadata={"order_id": order_id, "order_number": order_number},
            )
        except (CardError, InvalidRequestError) as refusal:
            return Intent(None, News.REFUSED, code=_code(refusal))
        return intent_of(shown)

    async def cancel_intent(self, payment_intent_id: str) -> Intent:
        """Close the intent. One that can no longer be closed answers what became of it instead.

        Closing twice does no harm, so there is no idempotency key: one would replay a saved failure for a day.
        """
        path = f"/v1/payment_intents/{payment_intent_id}"
        try:
            return intent_of(await self._call("post", f"{path}/cancel"))
        except InvalidRequestError as refusal:
            intent = intent_of(await self._call("get", path))
            if intent.news in {News.OPEN, News.DECLINED}:
                # Refused although it is open: it moved meanwhile.
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
        attempt: Attempt,
    ) -> ProviderRefund:
        """Give back `amount` minor units of what the intent captured."""
        try:
            shown = await self._make_once(
                "/v1/refunds",
                attempt,
                lambda: self._find_refund(payment_intent_id, refund_id),
                payment_intent=payment_intent_id,
                amount=amount,
                metadata={"order_id": order_id, "refund_id": refund_id},
            )
        except (CardError, InvalidRequestError) as refusal:
            return ProviderRefund(None, RefundNews.FAILED, _code(refusal))
        return refund_of(shown)

    async def fetch_bookings(
        self, balance_transactions: Sequence[str], *, booked: Sequence[int] = ()
    ) -> list[Booking | None]:
        """In the order of the ids; None where Stripe did not answer. `booked`: when each was (epoch seconds); blank: just now.

        What was booked just now stands among the newest of the account, and what came in together was booked together: so one
        list shows most of a lot; the rest is asked for one by one. Stripe has no list by `available_on`.
        """
        wanted, path = list(balance_transactions), "/v1/balance_transactions"
        seen: dict[str, Booking | None] = {}
        if len(wanted) >= WORTH_A_LIST:
            between = {"created": {"gte": min(booked), "lte": max(booked)}} if booked else {}
            listed = await self._call("get", path, limit=min(PAGE, 3 * len(wanted)), **between)
            seen = {shown["id"]: booking_of(shown) for shown in listed["data"]}
        missing = [each for each in wanted if each not in seen]
        calls = (self._call("get", f"{path}/{each}") for each in missing)
        for each, answer in zip(missing, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            if isinstance(answer, BaseException):
                log.warning("booking not fetched", balance_transaction=each, reason=type(answer).__name__)
            seen[each] = None if isinstance(answer, BaseException) else booking_of(answer)
        return [seen[each] for each in wanted]

    async def _make_once(
        self, path: str, attempt: Attempt, find: Callable[[], Awaitable[Json | None]], **params: Any
    ) -> Json:
        """What `find` sees of an earlier attempt, else what is made now; `attempts` says why never twice.

        Raises UnsettledError when the keys are used up, and whatever `_call` raises but for a replayed 5xx.
        """
        if attempt.is_repeat and (known := await find()):
            return known
        for key in attempt.keys:
            try:
                return await self._call("post", path, idempotency_key=key, **params)
            except StripeError as error:
                if not _is_replayed_failure(error):
                    raise
            # The order matters: only a look that follows the replay has seen all that this key did.
            if known := await find():
                return known
            log.warning("stripe replays a failure that made nothing", path=path, key=key)
        raise UnsettledError(f"{path}: nothing found, and no key left to ask with")

    async def _find_intent(self, order_id: str, attempt: Attempt) -> Json | None:
        """Lists are exact but hold every order's intents; the index finds one among any number, a minute late or more.

        An intent that is missed here all the same is left open and unpaid: only one client secret is ever handed out.
        """
        since = int((attempt.since - SKEW).timestamp())
        pages = 0
        async for page in self._pages("/v1/payment_intents", created={"gte": since}):
            for shown in page:
                if shown["metadata"].get("order_id") == order_id:
                    return shown
            pages += 1
            if pages == PAGES:
                break
        else:
            return None
        query = f"metadata['order_id']:'{order_id}'"
        found = await self._read("/v1/payment_intents/search", query=query)
        return found["data"][0] if found["data"] else None

    async def _find_refund(self, payment_intent_id: str, refund_id: str) -> Json | None:
        """Exact: every refund of the intent is looked at."""
        async for page in self._pages("/v1/refunds", payment_intent=payment_intent_id):
            for shown in page:
                if shown["metadata"].get("refund_id") == refund_id:
                    return shown
        return None

    async def _pages(self, path: str, **params: Any) -> AsyncIterator[list[Json]]:
        """A list, newest first, to its end."""
        more = True
        while more:
            listed = await self._read(path, limit=PAGE, **params)
            yield listed["data"]
            more = listed["has_more"]
            if more:
                params["starting_after"] = listed["data"][-1]["id"]

    async def _read(self, path: str, **params: Any) -> Json:
        """Asked for again where Stripe failed or was cut off, not where it was slow or wants less. Raises as `_call` does."""
        for _ in range(READS - 1):
            try:
                return await self._call("get", path, **params)
            except StripeError as error:
                if not _failed_at_once(error):
                    raise
        return await self._call("get", path, **params)

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


def booking_of(shown: Json) -> Booking:
    """A balance transaction in Stripe's JSON."""
    return Booking(
        id=shown["id"],
        fee=shown["fee"],
        currency=shown["currency"].upper(),
        is_available=shown["status"] == "available",
        available_on=datetime.fromtimestamp(shown["available_on"], UTC),
        booked_at=datetime.fromtimestamp(shown["created"], UTC),
    )


def refund_of(shown: Json) -> ProviderRefund:
    """A refund in Stripe's JSON."""
    news = _REFUND_NEWS.get(shown["status"], RefundNews.PENDING)
    code = (shown.get("failure_reason") or shown["status"]) if news is RefundNews.FAILED else None
    return ProviderRefund(shown["id"], news, code)


def _failed_at_once(error: StripeError) -> bool:
    """Stripe's 5xx, or a connection that was lost: not a time-out, which has used up what a job may take."""
    if isinstance(error, APIConnectionError):
        return not isinstance(error.__cause__, TimeoutError)
    return (error.http_status or 0) >= SERVER_ERROR


def _is_replayed_failure(error: StripeError) -> bool:
    """The answer is a saved 5xx: the request that caused it has ended, and asking again under its key is in vain."""
    replayed = (error.headers or {}).get("Idempotent-Replayed") == "true"
    return replayed and (error.http_status or 0) >= SERVER_ERROR


def _code(refusal: CardError | InvalidRequestError) -> str:
    """Stripe's code for a definite refusal; its sentence is for the log."""
    log.warning("stripe refused", code=refusal.code, message=str(refusal))
    return refusal.code or "invalid_request"
