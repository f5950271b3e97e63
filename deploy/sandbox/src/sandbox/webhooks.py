"""Signed webhooks to the configured URLs.

Promises: each event is sent until the receiver answers 2xx (0.2 s after the first failure, doubling to 5 s, without end),
signed anew each time, across restarts; in no promised order; and may arrive more than once, as with the providers.
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

from sandbox.faults import Faults
from sandbox.jobs import Jobs
from sandbox.settings import Settings
from sandbox.state import State

FIRST_RETRY = 0.2
LAST_RETRY = 5.0
TIMEOUT = timedelta(seconds=10)
SIGNATURE_HEADERS = {"stripe": "Stripe-Signature", "shippo": "Shippo-Auth-Signature"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a provider's events go; an empty `url`: nowhere."""

    url: str
    secret: SecretStr


def signature(secret: str, body: bytes, timestamp: int) -> str:
    """`t=..,v1=..`: hex HMAC-SHA256 of "timestamp.body", as Stripe and Shippo both sign. `timestamp`: UTC epoch seconds."""
    signed = b"%d.%b" % (timestamp, body)
    return f"t={timestamp},v1={hmac.digest(secret.encode(), signed, 'sha256').hex()}"


class Webhooks:
    def __init__(self, settings: Settings, state: State, jobs: Jobs, faults: Faults) -> None:
        self.receivers = {
            "stripe": Receiver(settings.stripe_webhook_url, settings.stripe_webhook_secret),
            "shippo": Receiver(settings.shippo_webhook_url, settings.shippo_webhook_secret),
        }
        self._state = state
        self._db = state.db
        self._jobs = jobs
        self._faults = faults
        self._client: Client | None = None
        jobs.handle("webhooks", self._deliver)

    @property
    def copies(self) -> int:
        """How many times each event is sent from now on; kept across restarts."""
        return int(self._state.meta("webhook copies") or 1)

    @copies.setter
    def copies(self, copies: int) -> None:
        self._state.set_meta("webhook copies", str(copies))

    def send(self, provider: str, event: str, body: bytes, *, order_id: str | None) -> None:
        """Keep the event for redelivery and send it, if the provider has a receiver. Part of the caller's transaction."""
        seq = self._db.execute(
            "INSERT INTO webhooks (provider, event, order_id, body) VALUES (?, ?, ?, ?)",
            (provider, event, order_id, body),
        ).lastrowid
        if self.receivers[provider].url:
            for _ in range(self.copies):
                self._jobs.add("webhooks", str(seq))

    def redeliver(self, order_id: str | None = None) -> int:
        """Send every stored event of an order (of all orders: None) once more; answers how many."""
        found: Iterable[tuple[int, str]] = self._db.execute(
            "SELECT seq, provider FROM webhooks WHERE ?1 IS NULL OR order_id = ?1 ORDER BY seq", (order_id,)
        ).fetchall()
        sendable = [seq for seq, provider in found if self.receivers[provider].url]
        for seq in sendable:
            self._jobs.add("webhooks", str(seq))
        return len(sendable)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _deliver(self, argument: str, attempt: int) -> float | None:
        provider, event, body = self._db.execute(
            "SELECT provider, event, body FROM webhooks WHERE seq = ?", (int(argument),)
        ).fetchone()
        receiver = self.receivers[provider]
        status = 0
        try:
            status = await self._faults.deliver(
                f"{provider}.{event}", lambda: self._post(provider, receiver, body)
            )
        except PyreqwestError as error:
            logger.debug("webhook %s.%s not delivered: %s", provider, event, type(error).__name__)
        accepted = 200 <= status < 300  # noqa: PLR2004 - the class of statuses that means accepted
        self._db.execute(
            "UPDATE webhooks SET attempts = attempts + 1, delivered = delivered + ? WHERE seq = ?",
            (accepted, int(argument)),
        )
        return None if accepted else min(LAST_RETRY, FIRST_RETRY * 2 ** min(attempt, 10))

    async def _post(self, provider: str, receiver: Receiver, body: bytes) -> int:
        signed = signature(receiver.secret.get_secret_value(), body, int(time.time()))
        headers = {"Content-Type": "application/json", SIGNATURE_HEADERS[provider]: signed}
        request = self._open().post(receiver.url).headers(headers).body_bytes(body).build()
        return (await request.send()).status

    def _open(self) -> Client:
        if self._client is None:
            self._client = ClientBuilder().timeout(TIMEOUT).no_proxy().follow_redirects(False).build()
        return self._client
