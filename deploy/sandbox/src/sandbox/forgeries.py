"""Webhooks that nobody should believe: they say that money came or went, and are not signed by who they claim to be from."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Json = dict[str, Any]
STALE = 3_600  # seconds; Stripe's SDK accepts 300

Sign = Callable[[str, bytes, int], str]


def _wrong(sign: Sign, secret: str, body: bytes) -> str:
    signed = sign(secret, body, int(time.time()))
    return signed[:-1] + ("0" if signed[-1] != "0" else "1")


def _stale(sign: Sign, secret: str, body: bytes) -> str:
    return sign(secret, body, int(time.time()) - STALE)


def _foreign(sign: Sign, _: str, body: bytes) -> str:
    return sign(secrets.token_hex(16), body, int(time.time()))


SIGNATURES: Mapping[str, Callable[[Sign, str, bytes], str]] = {
    "wrong_signature": _wrong,
    "stale_timestamp": _stale,
    "other_secret": _foreign,
}


def _stripe(event: Json, kind: str, subject: Json) -> Json:
    named = {"id": f"evt_forged{secrets.token_hex(8)}", "type": kind}
    return event | named | {"data": {"object": subject}}


def _of_intent(event: Json, intent: Json) -> dict[str, Json]:
    paid = {"status": "succeeded", "amount_received": intent["amount"], "latest_charge": "ch_forged"}
    return {
        "capture": _stripe(event, "payment_intent.succeeded", intent | paid),
        "cancel": _stripe(event, "payment_intent.canceled", intent | {"status": "canceled"}),
    }


def _of_charge(event: Json, charge: Json) -> dict[str, Json]:
    paid = {"paid": True, "captured": True, "amount_captured": charge["amount"] * 2, "status": "succeeded"}
    return {"capture": _stripe(event, "charge.updated", charge | paid)}


def _of_refund(event: Json, refund: Json) -> dict[str, Json]:
    failed = {"status": "failed", "failure_reason": "forged"}
    return {
        "refund": _stripe(event, "refund.updated", refund | {"status": "succeeded"}),
        "fail_refund": _stripe(event, "refund.failed", refund | failed),
    }


def _of_label(event: Json, label: Json) -> dict[str, Json]:
    return {"return_label": event | {"event": "transaction_updated", "data": label | {"status": "REFUNDED"}}}


def _of_track(event: Json, track: Json) -> dict[str, Json]:
    scan = {"status": "DELIVERED", "status_details": "forged", "status_date": "2026-01-01T00:00:00Z"}
    return {"deliver": event | {"data": track | {"tracking_status": scan, "tracking_history": [scan]}}}


MAKERS: Mapping[str, Callable[[Json, Json], dict[str, Json]]] = {
    "payment_intent": _of_intent,
    "charge": _of_charge,
    "refund": _of_refund,
    "transaction_created": _of_label,
    "transaction_updated": _of_label,
    "track_updated": _of_track,
}


def forgeries(body: bytes) -> dict[str, bytes]:
    """What could be made of a genuine event, by what it would do; at least one."""
    event: Json = orjson.loads(body)
    subject = event["data"].get("object")
    named, about = (
        (subject["object"], subject) if isinstance(subject, dict) else (event["event"], event["data"])
    )
    return {deed: orjson.dumps(forged) for deed, forged in MAKERS[named](event, about).items()}
