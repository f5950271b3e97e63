"""Stripe's URLs, and who may call them."""

import base64
import binascii
import re
from collections.abc import Callable

from starlette.requests import Request
from starlette.routing import BaseRoute

from sandbox.endpoint import Answer, Call, Endpoints
from sandbox.injection import Injection
from sandbox.record import Record
from sandbox.stripe.account import Account
from sandbox.stripe.charges import Charges
from sandbox.stripe.errors import Invalid, Unauthorized, error
from sandbox.stripe.forms import decode
from sandbox.stripe.idempotency import Idempotency
from sandbox.stripe.intents import Intents
from sandbox.stripe.refunds import Refunds

PREFIX = "/stripe"
MAX_KEY = 255
TOO_MANY = 429
SECRET_KEYS = ("sk_", "rk_")
# What a browser may do with a publishable key: see and confirm one intent, given its client secret.
PUBLIC = re.compile(r"GET /v1/payment_intents/(?!search$)[^/]+|POST /v1/payment_intents/[^/]+/confirm")


class Stripe:
    """`routes` are served under /stripe; `confirm` and `complete` are what control calls do in a shopper's place."""

    def __init__(self, account: Account, record: Record, faults: Injection) -> None:
        idempotency = Idempotency(account.state)
        self._endpoints = Endpoints(
            "stripe",
            state=account.state,
            record=record,
            faults=faults,
            admit=admit,
            failure=failure,
            guard=idempotency.guard,
            once=idempotency.once,
        )
        charges = Charges(account)
        self._intents = Intents(account, charges)
        self._refunds = Refunds(account)
        self.routes = self._routes(charges)

    async def confirm(self, intent_id: str, payment_method: str) -> Answer:
        call = Call(path="", parts={"id": intent_id}, params={"payment_method": payment_method})
        return await self._endpoints.perform("payment_intents.confirm", self._intents.confirm, call)

    async def complete(self, intent_id: str, outcome: str) -> Answer:
        call = Call(path="", parts={"id": intent_id}, params={"outcome": outcome})
        return await self._endpoints.perform("payment_intents.complete", self._intents.complete, call)

    def _routes(self, charges: Charges) -> list[BaseRoute]:
        intents, refunds = self._intents, self._refunds
        table: list[tuple[str, str, str, Callable[[Call], Answer]]] = [
            ("POST", "/v1/payment_intents", "payment_intents.create", intents.create),
            ("POST", "/v1/payment_intents/{id}/confirm", "payment_intents.confirm", intents.confirm),
            ("GET", "/v1/payment_intents/search", "payment_intents.search", intents.search),
            ("GET", "/v1/payment_intents/{id}", "payment_intents.retrieve", intents.retrieve),
            ("GET", "/v1/payment_intents", "payment_intents.list", intents.page),
            ("POST", "/v1/payment_intents/{id}/cancel", "payment_intents.cancel", intents.cancel),
            ("POST", "/v1/refunds", "refunds.create", refunds.create),
            ("GET", "/v1/refunds/{id}", "refunds.retrieve", refunds.retrieve),
            ("GET", "/v1/refunds", "refunds.list", refunds.page),
            ("GET", "/v1/charges/{id}", "charges.retrieve", charges.retrieve),
            ("GET", "/v1/charges", "charges.list", charges.page),
            (
                "GET",
                "/v1/balance_transactions/{id}",
                "balance_transactions.retrieve",
                charges.retrieve_balance_transaction,
            ),
            (
                "GET",
                "/v1/balance_transactions",
                "balance_transactions.list",
                charges.page_of_balance_transactions,
            ),
            ("GET", "/{rest:path}", "unknown", unknown),
            ("POST", "/{rest:path}", "unknown", unknown),
        ]
        return [self._endpoints.route(*row) for row in table]


def unknown(call: Call) -> Answer:
    raise Invalid(f"Unrecognized request URL ({call.path}).", status=404)


def failure(status: int, message: str) -> Answer:
    if status == TOO_MANY:
        return error(status, "invalid_request_error", message, code="rate_limit")
    return error(status, "api_error", message)


def admit(request: Request, body: bytes) -> Call:
    """Raises Unauthorized without a key, or with a publishable key where a secret one is needed; Invalid for bad forms."""
    try:
        params = decode((body or request.scope["query_string"]).decode())
    except ValueError as problem:
        raise Invalid(f"Invalid request: {problem}") from None
    path = request.scope["path"].removeprefix(PREFIX)
    # Stripe.js puts the publishable key into the form.
    credential = _credential(request.headers.get("authorization", "")) or str(params.get("key", ""))
    _authorize(credential, f"{request.method} {path}")
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    if key is not None and not 0 < len(key) <= MAX_KEY:
        raise Invalid(f"Idempotency keys have 1 to {MAX_KEY} characters")
    return Call(
        path=path, parts=request.path_params, params=params, credential=credential, idempotency_key=key
    )


def _authorize(credential: str, operation: str) -> None:
    if not credential:
        raise Unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header."
        )
    if credential.startswith("pk_"):
        if not PUBLIC.fullmatch(operation):
            message = "This API call cannot be made with a publishable API key. Please use a secret API key."
            raise Unauthorized(message, "secret_key_required")
    elif not credential.startswith(SECRET_KEYS):
        raise Unauthorized(f"Invalid API Key provided: {credential[:3]}***")


def _credential(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""
