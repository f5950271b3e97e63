"""Notifications on a real database, its worker running, against a sandbox that really serves; without a broker."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import SecretStr

import sandbox
from notifications.app import build
from notifications.settings import Settings
from sandbox.record import Effect
from shared.contracts import FACTS, Fact
from shared.inbox import Inbox, Record
from shared.service import Service
from shared.settings import Issuer
from support.accounts import record

EXAMPLES = Path(__file__).parents[2] / "shared" / "examples"
PATIENCE_SECONDS = 30

Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
ExampleOf = Callable[..., Fact]
Opened = Callable[..., AbstractAsyncContextManager["House"]]


@pytest.fixture(scope="session")
def example() -> ExampleOf:
    """`example("order.placed", order_id=...)`: the contract's full example, of now, with changes."""

    def of(fact_type: str, **changes: Any) -> Fact:
        raw = json.loads((EXAMPLES / fact_type / "v1" / "full.json").read_text())
        now = {name: datetime.now(UTC).isoformat() for name in raw if name.endswith("_at")}
        return FACTS[fact_type, 1].model_validate_json(orjson.dumps(raw | now | changes))

    return of


@pytest.fixture(scope="session")
async def box() -> AsyncIterator[sandbox.Box]:
    async with sandbox.running(sandbox.Settings(port=0, smtp_port=0)) as running:
        yield running


async def _until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def until() -> Until:
    """Awaits a condition's first true value."""
    return _until


@dataclass
class House:
    """The service under test. `hear` hands it facts as the broker would; `settle` waits for its notifications."""

    service: Service
    order_id: UUID = field(default_factory=uuid4)
    _worker: asyncio.Task[None] | None = None

    async def hear(self, *facts: Fact) -> None:
        await self.deliver([record(fact) for fact in facts])

    async def deliver(self, records: Sequence[Record]) -> None:
        await Inbox(self.service.db, self.service.handlers).receive(records)

    def work(self) -> None:
        self._worker = asyncio.create_task(self.service.worker.run())

    async def rest(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
            self._worker = None

    async def fetch(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        async with self.service.db.connection() as conn:
            return [dict(row) for row in await conn.fetch(sql, *args)]

    async def rows(self, **where: object) -> list[dict[str, Any]]:
        """Notifications, oldest first, that have these values."""
        rows = await self.fetch("SELECT * FROM notifications ORDER BY created_at, id")
        return [row for row in rows if all(row[name] == value for name, value in where.items())]

    async def settle(self) -> list[dict[str, Any]]:
        """Every notification, when none is requested any more. Retries are hurried on: no test waits for a back-off."""

        async def settled() -> list[dict[str, Any]]:
            await self.fetch("UPDATE jobs SET due_at = now() WHERE state = 'due' AND due_at > now()")
            rows = await self.rows()
            return [] if any(row["status"] == "REQUESTED" for row in rows) else rows

        found: list[dict[str, Any]] = await _until(settled)
        return found


def settings_for(box: sandbox.Box, database_url: str, **changes: Any) -> Settings:
    issuer = Issuer(issuer=box.issuer.url, jwks_url=f"{box.issuer.url}/jwks.json")
    return Settings.model_validate(
        {
            "database_url": database_url,
            "kafka_url": "127.0.0.1:1",
            "auth_issuers": (issuer,),
            "shop_name": "Mugs",
            "smtp_url": f"smtp://127.0.0.1:{box.smtp_port}",
            "email_from": "shop@example.test",
            "twilio_account_sid": "AC123",
            "twilio_auth_token": "token",
            "twilio_phone_number": "+15005550006",
            "twilio_api_base": f"{box.url}/twilio",
            "slack_webhook_url": SecretStr(f"{box.url}/slack/services/T000/B000/secret"),
            "slack_every": 0.0,
            **changes,
        }
    )


@pytest.fixture
def opened(fresh_databases: Callable[..., Awaitable[dict[str, str]]]) -> Opened:
    """Opens the service on a database of its own, its worker at rest, with changed settings."""

    @asynccontextmanager
    async def house(box: sandbox.Box, **changes: Any) -> AsyncIterator[House]:
        database_url = (await fresh_databases("notifications"))["notifications"]
        service = build(settings_for(box, database_url, **changes))
        await service.db.open()
        service.started.set()
        running = House(service)
        try:
            yield running
        finally:
            await running.rest()
            for close in service._closing:
                await close()
            await service.authenticator.close()
            await service.db.close()

    return house


@pytest.fixture
async def house(opened: Opened, box: sandbox.Box) -> AsyncIterator[House]:
    """The service at work, against the sandbox."""
    async with opened(box) as running:
        running.work()
        yield running


Effects = Callable[..., Sequence[Effect]]


@pytest.fixture
def effects(box: sandbox.Box) -> Effects:
    """`effects(kind, text)`: what the sandbox's record holds of a kind, where `text` occurs."""

    def found(kind: str, text: str) -> Sequence[Effect]:
        return [one for one in box.record.effects(kind=kind) if text in str(one.payload)]

    return found
