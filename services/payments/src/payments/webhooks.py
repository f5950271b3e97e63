"""Stripe's webhooks: verified over the raw body, stored once by event id, answered at once, acted on later by the worker.

Only what payments needs of an event is stored: no client secret, nobody's billing details.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any
from uuid import UUID

import orjson
import structlog
from pydantic import SecretStr
from stripe import SignatureVerificationError, WebhookSignature

from payments.domain import Intent
from payments.provider import charge_of, intent_of, refund_of
from payments.store import order_of_intent
from payments.worker import INTENT_SEEN, NOT_OURS, REFUND_SEEN
from shared.db import Database
from shared.webhooks import REFUSED, TAKEN, Arrivals, Event, Request

log = structlog.get_logger(__name__)

TOLERANCE_SECONDS = 300
"""How old a signature may be; Stripe signs every attempt anew."""

INTENT_EVENTS = frozenset(
    f"payment_intent.{what}" for what in ("succeeded", "payment_failed", "canceled", "processing")
)
CHARGE_EVENTS = frozenset({"charge.updated", "charge.refunded"})
REFUND_EVENTS = frozenset({"refund.created", "refund.updated", "refund.failed"})


async def receive(request: Request, db: Database, arrivals: Arrivals, secrets: Sequence[SecretStr]) -> int:
    """200 once the event is stored or concerns nobody here; 400 when it is not Stripe's. Raises one of db.UNAVAILABLE."""
    if not _is_signed(request.body, request.header("stripe-signature"), secrets):
        log.warning("webhook refused")
        return REFUSED
    try:
        event = orjson.loads(request.body)
        event_id, seen = str(event["id"]), _seen(event)
    except (AttributeError, KeyError, TypeError, ValueError) as malformed:
        log.warning("webhook malformed", reason=f"{type(malformed).__name__}: {malformed}")
        return REFUSED
    if seen is not None:
        kind, payload = seen
        order_id = await _order_of(db, event["data"]["object"])
        if order_id is None:
            kind, payload = NOT_OURS, {}
        payload = payload | {"type": event["type"]}
        await arrivals.store(Event(kind, str(order_id or ""), event_id, payload, correlation_id=event_id))
    return TAKEN


def _is_signed(body: bytes, header: str | None, secrets: Sequence[SecretStr]) -> bool:
    for secret in secrets:
        # ValueError: the body is not UTF-8; TypeError: the signature is not ASCII.
        with suppress(SignatureVerificationError, ValueError, TypeError):
            WebhookSignature.verify_header(body, header, secret.get_secret_value(), TOLERANCE_SECONDS)
            return True
    return False


def _seen(event: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The kind of job that the event makes, and its payload; None for an event that tells payments nothing."""
    if event["type"] in REFUND_EVENTS:
        shown = event["data"]["object"]
        refund_id = (shown.get("metadata") or {}).get("refund_id")
        if not _is_uuid(refund_id):
            # It was made in Stripe's dashboard: orders never asked for it.
            return NOT_OURS, {}
        return REFUND_SEEN, {
            "refund": asdict(refund_of(shown)),
            "refund_id": refund_id,
            "at": event["created"],
        }
    if event["type"] in INTENT_EVENTS:
        return _intent_seen(intent_of(event["data"]["object"]), event["created"])
    if event["type"] in CHARGE_EVENTS:
        charge = event["data"]["object"]
        return _intent_seen(charge_of(charge), charge["created"])
    return None


def _intent_seen(intent: Intent | None, at: int) -> tuple[str, dict[str, Any]] | None:
    if intent is None:
        return None
    shown = asdict(intent)
    del shown["client_secret"]
    return INTENT_SEEN, {"intent": shown, "at": at}


async def _order_of(db: Database, shown: dict[str, Any]) -> UUID | None:
    """The order that the object's metadata names; else that of its intent, if the intent is ours."""
    order_id = (shown.get("metadata") or {}).get("order_id")
    if _is_uuid(order_id):
        return UUID(order_id)
    intent_id = shown["id"] if shown.get("object") == "payment_intent" else shown.get("payment_intent")
    return await order_of_intent(db, intent_id) if intent_id else None


def _is_uuid(value: object) -> bool:
    try:
        UUID(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True
