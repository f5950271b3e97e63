"""POST /webhooks/shippo: verified, stored once, answered at once; a job applies the stored event later.

Signed by `Shippo-Auth-Signature: t=<unix>,v1=<hex HMAC-SHA256(secret, "t.body")>`, or, where Shippo has not set up signing,
known by a secret in the URL (`?token=`). Source: docs.goshippo.com/tracking/webhook-security.
"""

import hmac
import re
import time
from collections.abc import Sequence
from urllib.parse import parse_qs

import structlog

from shared.db import Database
from shared.ids import uuid7
from shared.webhooks import REFUSED, TAKEN, Arrivals, Event, Request
from shipping import events
from shipping.store import order_of_tracking

log = structlog.get_logger(__name__)

TOLERANCE_SECONDS = 300


class Forged(ValueError):
    """The request is not Shippo's, or is too old to tell."""


def verify(secrets: Sequence[str], header: str | None, token: str | None, body: bytes, now: float) -> None:
    """`now` in Unix seconds. Any of the secrets will do: two are valid while one replaces the other. Raises Forged."""
    if header is None:
        if not any(hmac.compare_digest(secret.encode(), (token or "").encode()) for secret in secrets):
            raise Forged("neither a signature nor the token")
        return
    parts = [part.strip().partition("=") for part in header.split(",")]
    sent = next((value for name, _, value in parts if name == "t"), "")
    if not re.fullmatch(r"[0-9]{1,12}", sent) or abs(now - int(sent)) > TOLERANCE_SECONDS:
        raise Forged("the timestamp is missing or too far from now")
    signed = b"%b.%b" % (sent.encode(), body)
    expected = [hmac.digest(secret.encode(), signed, "sha256").hex().encode() for secret in secrets]
    given = [value.encode() for name, _, value in parts if name == "v1"]
    if not any(hmac.compare_digest(one, other) for one in expected for other in given):
        raise Forged("no signature fits")


async def receive(
    request: Request, db: Database, arrivals: Arrivals, secrets: Sequence[str], *, live: bool
) -> int:
    """200 once the event is stored or is none of ours; 400 when forged or malformed. Raises one of db.UNAVAILABLE.

    `live`: the account is no test account, so test events are not for us.
    """
    token = parse_qs(request.query.decode("latin-1")).get("token", [None])[-1]
    try:
        verify(secrets, request.header("shippo-auth-signature"), token, request.body, time.time())
        event = events.parse(request.body)
    except ValueError as refused:
        # A validation error would quote the body, and with it an address.
        reason = str(refused) if isinstance(refused, Forged) else type(refused).__name__
        log.warning("webhook refused", reason=reason)
        return REFUSED
    if event is not None and not (live and event.test):
        await _store(db, arrivals, event)
    return TAKEN


async def _store(db: Database, arrivals: Arrivals, event: events.Event) -> None:
    """What is none of ours is forgotten: our rows are there before Shippo hears of them."""
    names, number = events.names_of(event), event.data.tracking_number
    order_id = names[1] if names else await order_of_tracking(db, number) if number else None
    if order_id is not None:
        payload, dedupe = event.model_dump(mode="json"), events.dedupe_of(event)
        await arrivals.store(Event(events.KIND, str(order_id), dedupe, payload, correlation_id=str(uuid7())))
