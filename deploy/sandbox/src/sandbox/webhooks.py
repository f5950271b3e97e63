"""Signed webhooks to the configured URLs.

Promises: each event is sent until the receiver answers 2xx (0.2 s after the first failure, doubling to 5 s, without end),
signed anew each time, across restarts; in no promised order; and may arrive more than once, as with the providers. The rules
of `sandbox.injection` may duplicate, delay, reorder, drop, lose or forge.
"""

import hmac
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from sandbox.forgeries import SIGNATURES, forgeries
from sandbox.injection import WEBHOOKS, Fault, Injection, Kind
from sandbox.jobs import Jobs
from sandbox.settings import Settings
from sandbox.state import State

FIRST_RETRY = 0.2
LAST_RETRY = 5.0
TIMEOUT = timedelta(seconds=10)
UNTIL_LATER = 0.05
# Everything that the sandbox sends: what rules may name.
EVENTS = {
    "stripe": (
        *(
            f"payment_intent.{what}"
            for what in ("created", "succeeded", "payment_failed", "canceled", "processing")
        ),
        "payment_intent.requires_action",
        *(f"charge.{what}" for what in ("succeeded", "failed", "updated", "refunded")),
        *(f"refund.{what}" for what in ("created", "updated", "failed")),
    ),
    "shippo": ("transaction_created", "transaction_updated", "track_updated"),
}
SIGNATURE_HEADERS = {"stripe": "Stripe-Signature", "shippo": "Shippo-Auth-Signature"}

OVERTAKEN = """
SELECT 1 FROM webhooks held JOIN webhooks later
ON later.seq > held.seq AND later.provider = held.provider AND later.order_id IS held.order_id AND later.delivered > 0
WHERE held.seq = ? LIMIT 1
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a provider's events go, and which; an empty `url`: nowhere."""

    url: str
    secret: SecretStr
    events: frozenset[str]

    def hears(self, event: str) -> bool:
        return bool(self.url) and event in self.events


def signature(secret: str, body: bytes, timestamp: int) -> str:
    """`t=..,v1=..`: hex HMAC-SHA256 of "timestamp.body", as Stripe and Shippo both sign. `timestamp`: UTC epoch seconds."""
    signed = b"%d.%b" % (timestamp, body)
    return f"t={timestamp},v1={hmac.digest(secret.encode(), signed, 'sha256').hex()}"


class Webhooks:
    def __init__(self, settings: Settings, state: State, jobs: Jobs, faults: Injection) -> None:
        """Raises ValueError for a subscription to what Stripe does not send."""
        if unknown := settings.stripe_webhook_events.difference(EVENTS["stripe"]):
            raise ValueError(f"STRIPE_WEBHOOK_EVENTS: stripe sends no {', '.join(sorted(unknown))}")
        subscribed = settings.stripe_webhook_events or frozenset(EVENTS["stripe"])
        self.receivers = {
            "stripe": Receiver(settings.stripe_webhook_url, settings.stripe_webhook_secret, subscribed),
            "shippo": Receiver(
                settings.shippo_webhook_url, settings.shippo_webhook_secret, frozenset(EVENTS["shippo"])
            ),
        }
        self._state = state
        self._db = state.db
        self._jobs = jobs
        self._faults = faults
        self._client: Client | None = None
        jobs.handle("webhooks", self._deliver)
        jobs.handle("held", self._hold)
        jobs.handle("forgeries", self._forge)
        for provider, events in EVENTS.items():
            for event in events:
                faults.register(f"{WEBHOOKS}.{provider}.{event}")

    @property
    def copies(self) -> int:
        """How many times each event is sent from now on; kept across restarts."""
        return int(self._state.meta("webhook copies") or 1)

    @copies.setter
    def copies(self, copies: int) -> None:
        self._state.set_meta("webhook copies", str(copies))

    def send(self, provider: str, event: str, body: bytes, *, order_id: str | None) -> None:
        """Keep the event for redelivery and send it, if somebody hears it. Part of the caller's transaction.

        Raises ValueError for an event that EVENTS lacks.
        """
        if event not in EVENTS[provider]:
            raise ValueError(f"{provider} sends no {event}")
        seq = self._db.execute(
            "INSERT INTO webhooks (provider, event, order_id, body) VALUES (?, ?, ?, ?)",
            (provider, event, order_id, body),
        ).lastrowid
        if self.receivers[provider].hears(event):
            fault = self._faults.choose(f"{WEBHOOKS}.{provider}.{event}")
            for _ in range(self.copies):
                self._send(str(seq), fault, order_id or "")

    def redeliver(self, order_id: str | None = None) -> int:
        """Send every stored event of an order (of all orders: None) once more; answers how many."""
        found: Iterable[tuple[int, str, str]] = self._db.execute(
            "SELECT seq, provider, event FROM webhooks WHERE ?1 IS NULL OR order_id = ?1 ORDER BY seq",
            (order_id,),
        ).fetchall()
        sendable = [seq for seq, provider, event in found if self.receivers[provider].hears(event)]
        for seq in sendable:
            self._jobs.add("webhooks", str(seq))
        return len(sendable)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _send(self, seq: str, fault: Fault | None, order_id: str) -> None:
        """Put the event on its way, as `fault` has it."""
        if fault is None:
            return self._jobs.add("webhooks", seq)
        self._faults.note(fault, order_id)
        match fault.kind:
            case Kind.REORDERED:
                self._jobs.add("held", f"{seq}:{time.time() + fault.seconds}")
            case Kind.DELAYED:
                self._jobs.add("webhooks", seq, delay=fault.seconds)
            case Kind.DROPPED:
                self._db.execute("UPDATE webhooks SET attempts = attempts + 1 WHERE seq = ?", (seq,))
                self._jobs.add("webhooks", seq, delay=FIRST_RETRY)
            case Kind.DUPLICATED | Kind.FORGED:
                twin = (
                    ("webhooks", seq)
                    if fault.kind is Kind.DUPLICATED
                    else ("forgeries", f"{seq}:{fault.rule}:{fault.nth}")
                )
                self._jobs.add("webhooks", seq)
                self._jobs.add(*twin)
        return None

    async def _hold(self, argument: str, _: int) -> float | None:
        """Let an event go once a later one of its order was accepted, or its time is over."""
        seq, until = argument.split(":")
        if time.time() < float(until) and self._db.execute(OVERTAKEN, (int(seq),)).fetchone() is None:
            return UNTIL_LATER
        self._jobs.add("webhooks", seq)
        return None

    async def _forge(self, argument: str, _: int) -> None:
        """Post every forgery of an event once; the receiver's answers (status 0: none) go into the record of faults, as a
        fault of kind `forged.<status>`.
        """
        seq, rule, nth = map(int, argument.split(":"))
        provider, event, body = self._event(seq)
        receiver = self.receivers[provider]
        secret = receiver.secret.get_secret_value()
        for deed, forged in forgeries(body).items():
            for flaw, sign in SIGNATURES.items():
                try:
                    status = await self._post(provider, receiver, forged, sign(signature, secret, forged))
                except PyreqwestError:
                    status = 0
                target, kind = f"{WEBHOOKS}.{provider}.{event}", f"{Kind.FORGED}.{status}"
                self._faults.append(rule, target, kind, nth, f"{deed} {flaw}")

    def _event(self, seq: int) -> tuple[str, str, bytes]:
        found: tuple[str, str, bytes] = self._db.execute(
            "SELECT provider, event, body FROM webhooks WHERE seq = ?", (seq,)
        ).fetchone()
        return found

    async def _deliver(self, argument: str, attempt: int) -> float | None:
        provider, event, body = self._event(int(argument))
        receiver = self.receivers[provider]
        status = 0
        try:
            signed = signature(receiver.secret.get_secret_value(), body, int(time.time()))
            status = await self._faults.scripted.deliver(
                f"{provider}.{event}", lambda: self._post(provider, receiver, body, signed)
            )
        except PyreqwestError as error:
            logger.debug("webhook %s.%s not delivered: %s", provider, event, type(error).__name__)
        accepted = 200 <= status < 300  # noqa: PLR2004 - the class of statuses that means accepted
        self._db.execute(
            "UPDATE webhooks SET attempts = attempts + 1, delivered = delivered + ? WHERE seq = ?",
            (accepted, int(argument)),
        )
        return None if accepted else min(LAST_RETRY, FIRST_RETRY * 2 ** min(attempt, 10))

    async def _post(self, provider: str, receiver: Receiver, body: bytes, signed: str) -> int:
        headers = {"Content-Type": "application/json", SIGNATURE_HEADERS[provider]: signed}
        request = self._open().post(receiver.url).headers(headers).body_bytes(body).build()
        return (await request.send()).status

    def _open(self) -> Client:
        if self._client is None:
            self._client = ClientBuilder().timeout(TIMEOUT).no_proxy().follow_redirects(False).build()
        return self._client
