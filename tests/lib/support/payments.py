"""Payments on real parts: PostgreSQL, its own HTTP endpoint, its worker, and the sandbox's Stripe over HTTP. Only Kafka is absent:
facts go into the inbox, and what was said is read from the event log.
"""

import asyncio
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

import orjson
import uvicorn
from pydantic import SecretStr
from pyreqwest.client import Client

import sandbox
from payments.app import Payments, build
from payments.domain import Payment
from payments.handlers import handlers
from payments.refunds import Refund
from payments.settings import Settings
from payments.store import find_payments, find_refunds
from sandbox.app import HttpServer
from sandbox.endpoint import Answer, Call, Refusal
from sandbox.issuer import TokenRequest
from sandbox.webhooks import Receiver, signature
from shared.auth import Principal, Role
from shared.contracts.envelope import FACTS, Envelope, Fact
from shared.contracts.orders import (
    Address,
    Contact,
    OrderCancelled,
    OrderPaid,
    OrderPlaced,
    OrderRefundRequested,
)
from shared.ids import customer_id_of
from shared.inbox import Inbox, Record
from shared.settings import Issuer

T = TypeVar("T")
API_KEY, WEBHOOK_SECRET = "sk_test_canary", "whsec_canary"
STAFF = Principal(Role.STAFF, "test|eve")
PATIENCE = 60
"""Seconds after which a test gives up; pytest's own limit would leave the loop in pieces."""
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


class Trouble(sandbox.Faults):
    """`before`: refused with this status, no effect; `left`: so many times (else each time). `after`: the effect happens and its answer is lost. `saved`: Stripe keeps a
    500 under the idempotency key and replays it for good; the value says whether the effect happens all the same.
    """

    db: sqlite3.Connection
    """The sandbox's books, which the house lends."""

    def __init__(self) -> None:
        self.before: dict[str, int] = {}
        self.left: dict[str, int] = {}
        self.after: set[str] = set()
        self.saved: dict[str, bool] = {}
        self.calls: list[str] = []

    async def around(self, endpoint: str, effect: Callable[[], T]) -> T:
        self.calls.append(endpoint)
        if endpoint in self.before and (left := self.left.get(endpoint, 1)):
            if endpoint in self.left:
                self.left[endpoint] = left - 1
            raise Refusal(
                Answer.json({"error": {"message": "trouble", "type": "api_error"}}, self.before[endpoint])
            )
        if endpoint in self.saved:
            self._save_failure(effect, happens=self.saved[endpoint])
        answer = effect()
        if endpoint in self.after and getattr(answer, "status", 200) == 200:
            raise Refusal(Answer.json({"error": {"message": "lost", "type": "api_error"}}, 500))
        return answer

    def _save_failure(self, effect: Callable[[], Any], *, happens: bool) -> None:
        """Raises Refusal, having saved a 500; returns when the key has an answer to replay."""
        assert isinstance(effect, partial)
        call: Call = effect.args[1]
        if self.db.execute("SELECT 1 FROM idempotency WHERE key = ?", (call.idempotency_key,)).fetchone():
            return
        failure = Answer.json({"error": {"message": "saved", "type": "api_error"}}, 500)
        if happens:
            effect()
        self.db.execute(
            "INSERT OR REPLACE INTO idempotency (key, path, parameters, status, body, request_id)"
            " VALUES (?, ?, ?, 500, ?, 'req_saved')",
            (
                call.idempotency_key,
                call.path,
                orjson.dumps(call.params, option=orjson.OPT_SORT_KEYS),
                failure.body,
            ),
        )
        raise Refusal(failure)


@dataclass
class House:
    """Payments and its surroundings, as a test drives and reads them."""

    service: Payments
    box: sandbox.Box
    trouble: Trouble
    url: str
    http: Client

    def __post_init__(self) -> None:
        self.trouble.db = self.box.record._db

    @property
    def issuer(self) -> str:
        return self.box.issuer.url

    def customer(self, name: str = "ann") -> UUID:
        return customer_id_of(self.issuer, name)

    def token(self, role: str, name: str, scope: str | None = None) -> str:
        wanted = {"role": role, "sub": name, "scope": scope}
        return self.box.issuer.token(TokenRequest.model_validate(wanted))

    async def hear(self, *facts: Fact, event_ids: Sequence[UUID] | None = None) -> None:
        ids = event_ids or [uuid4() for _ in facts]
        records = [_record(fact, event_id) for fact, event_id in zip(facts, ids, strict=True)]
        await Inbox(self.service.db, handlers).receive(records)
        assert await self.rows("SELECT reason FROM dead_letters") == []

    async def rows(self, query: str, *args: Any) -> list[dict[str, Any]]:
        async with self.service.db.connection() as conn:
            return [dict(row) for row in await conn.fetch(query, *args)]

    async def said(self, order_id: UUID) -> list[Fact]:
        rows = await self.rows("SELECT type, body FROM event_log WHERE key = $1 ORDER BY id", str(order_id))
        return [FACTS[row["type"], 1].model_validate_json(row["body"]) for row in rows]

    async def said_types(self, order_id: UUID) -> list[str]:
        return [fact.type for fact in await self.said(order_id)]

    async def payment(self, order_id: UUID) -> Payment:
        [payment] = await find_payments(self.service.db, STAFF, [order_id])
        assert payment is not None
        return payment

    async def refunds(self, order_id: UUID) -> list[Refund]:
        [refunds] = await find_refunds(self.service.db, STAFF, [order_id])
        return refunds

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait for a condition. Jobs that were postponed fall due at once. Raises TimeoutError when nothing can come any more."""
        async with asyncio.timeout(PATIENCE):
            while not await condition():
                await self.rows(
                    "UPDATE jobs SET due_at = now() WHERE state = 'due' AND due_at > now() AND attempts > 0"
                )
                self.service.db.announce(due=self.service.jobs.kinds)
                await asyncio.sleep(0.02)

    async def until_said(self, order_id: UUID, last: str) -> None:
        async def so() -> bool:
            return last in await self.said_types(order_id)

        await self.until(so)

    async def settled(self) -> None:
        """Stripe has delivered its webhooks and booked its fees, and no job is left to do here but what was asked for later."""

        async def so() -> bool:
            idle = not any(self.box.jobs.pending().values())
            return idle and not await self.rows(
                "SELECT 1 FROM jobs WHERE state = 'due' AND (due_at <= now() OR attempts > 0)"
            )

        await self.until(so)

    async def placed(self, total: int = 2599, **changes: Any) -> UUID:
        """An order whose intent is ready."""
        fact = self.order_placed(total, **changes)
        await self.hear(fact)
        await self.settled()
        return fact.order_id

    async def confirm(self, order_id: UUID, method: str = "pm_card_visa") -> None:
        """What the shopper does in the browser."""
        intent = (await self.payment(order_id)).payment_intent_id
        assert intent is not None
        await self.box.stripe.confirm(intent, method)

    async def paid(self, total: int = 2599, method: str = "pm_card_visa") -> UUID:
        order_id = await self.placed(total)
        await self.confirm(order_id, method)
        await self.settled()
        return order_id

    async def graph(
        self, query: str, token: str | None = None, key: str | None = None, **variables: Any
    ) -> dict[str, Any]:
        request = self.http.post(f"{self.url}/graphql").body_json({"query": query, "variables": variables})
        if key is not None:
            request = request.header("idempotency-key", key)
        if token is not None:
            request = request.header("authorization", f"Bearer {token}")
        answer: dict[str, Any] = await (await request.build().send()).json()
        return answer

    async def webhook(self, body: bytes, signature: str | None, *, url: str | None = None) -> int:
        request = self.http.post(f"{url or self.url}/webhooks/stripe").body_bytes(body)
        if signature is not None:
            request = request.header("stripe-signature", signature)
        return (await request.build().send()).status

    async def signed_webhook(self, body: bytes, secret: str = WEBHOOK_SECRET) -> int:
        return await self.webhook(body, signature(secret, body, int(time.time())))

    async def receive_nothing(self) -> None:
        """From now on Stripe keeps its webhooks to itself; `stored_webhooks` has them."""
        self.box.webhooks.receivers["stripe"] = Receiver("", SecretStr(""), frozenset())

    def stored_webhooks(self) -> list[bytes]:
        rows = self.box.record._db.execute("SELECT body FROM webhooks ORDER BY seq")
        return [row[0] for row in rows]

    async def stripe(self, path: str, **params: Any) -> dict[str, Any]:
        """What somebody does at Stripe without us."""
        request = self.http.post(f"{self.box.url}/stripe{path}").bearer_auth(API_KEY).form(params)
        answer: dict[str, Any] = await (await request.build().send()).json()
        return answer

    def forget_keys(self) -> None:
        """What Stripe may do with idempotency keys after a day."""
        self.box.record._db.execute("DELETE FROM idempotency")

    @asynccontextmanager
    async def another(self, **settings: Any) -> AsyncIterator[str]:
        """The URL of a second instance, with other settings, that only answers HTTP."""
        service = build(settings_of(self.box.url, self.issuer, self.service.db.url, **settings))
        service.started.set()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with serving(service, listener):
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        await service.authenticator.close()
        await service.db.close()

    # -- facts about one order

    def order_placed(self, total: int = 2599, **changes: Any) -> OrderPlaced:
        about: dict[str, Any] = {
            **self._about(uuid4()),
            "placed_at": NOW,
            "lines": (),
            "total": total,
            "payment_method": "stripe",
            "contact": Contact(name="Ann Lee", email="ann@example.com"),
            "shipping_address": Address(
                street="1 Main", city="Austin", state="TX", zip_code="73301", country="US"
            ),
        }
        return OrderPlaced.model_validate(about | changes)

    def order_paid(self, order_id: UUID, amount: int = 2599, method: str = "partner") -> OrderPaid:
        about = self._about(order_id)
        return OrderPaid.model_validate(
            about | {"paid_at": NOW, "amount": amount, "method": method, "lines": ()}
        )

    def order_cancelled(self, order_id: UUID) -> OrderCancelled:
        return OrderCancelled.model_validate(
            self._about(order_id) | {"cancelled_at": NOW, "reason": "changed my mind"}
        )

    def refund_requested(
        self, order_id: UUID, amount: int, refund_id: UUID | None = None
    ) -> OrderRefundRequested:
        asked = {
            "refund_id": refund_id or uuid4(),
            "requested_at": NOW,
            "amount": amount,
            "reason": "too small",
        }
        return OrderRefundRequested.model_validate(self._about(order_id) | asked)

    def _about(self, order_id: UUID) -> dict[str, Any]:
        return {
            "order_id": order_id,
            "order_number": "ORD-20261122-00001",
            "customer_id": self.customer(),
            "partner_id": None,
            "currency": "USD",
        }


def _record(fact: Fact, event_id: UUID) -> Record:
    envelope = Envelope(event_id, fact.type, fact.version, "orders", fact.key, NOW, "test", "")
    headers = tuple((name, value.encode()) for name, value in envelope.headers().items())
    return Record("order-events", 0, 0, fact.key.encode(), fact.model_dump_json().encode(), headers)


def settings_of(box_url: str, issuer: str, database_url: str, **changes: Any) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        kafka_url="127.0.0.1:1",
        auth_issuers=(Issuer(issuer=issuer, jwks_url=f"{issuer}/jwks.json"),),
        stripe_api_key=SecretStr(API_KEY),
        stripe_api_base=f"{box_url}/stripe",
        **{"stripe_webhook_secret": SecretStr(WEBHOOK_SECRET)} | changes,
    )


@asynccontextmanager
async def serving(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    server = HttpServer(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    web = asyncio.create_task(server.serve(sockets=[listener]))
    await server.ready.wait()
    try:
        yield
    finally:
        server.should_exit = True
        await web


@asynccontextmanager
async def opened(service: Payments) -> AsyncIterator[None]:
    """The service without its broker: database and worker."""
    await service.db.open()
    service.started.set()
    service.started.set()
    work = asyncio.create_task(service.worker.run())
    try:
        yield
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        for close in service._closing:
            await close()
        await service.authenticator.close()
        await service.db.close()


def sandbox_settings(url: str) -> sandbox.Settings:
    return sandbox.Settings(
        port=0,
        smtp_port=0,
        stripe_webhook_url=f"{url}/webhooks/stripe",
        stripe_webhook_secret=SecretStr(WEBHOOK_SECRET),
        fee_delay_seconds=0.02,
    )
