"""A sandbox on real sockets, and a receiver for its webhooks, shared by all tests of the package."""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import stripe
from pydantic import SecretStr
from pyreqwest.client import Client, ClientBuilder

import sandbox

STRIPE_SECRET = "whsec_test"
SHIPPO_SECRET = "shippo_test"


@dataclass(frozen=True)
class Delivery:
    """One webhook as it arrived."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed


@dataclass
class Receiver:
    """An HTTP server that keeps what it is sent; `statuses` are its next answers, 200 when there are none."""

    url: str = ""
    deliveries: list[Delivery] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections[task] = writer
        task.add_done_callback(self.connections.pop)
        with closing(writer):
            while head := await self._head(reader):
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head[1:])
                }
                body = await reader.readexactly(int(headers["content-length"]))
                status = self.statuses.popleft() if self.statuses else 200
                async with self.arrived:
                    self.deliveries.append(Delivery(headers, body))
                    self.arrived.notify_all()
                writer.write(b"HTTP/1.1 %d Answer\r\ncontent-length: 0\r\n\r\n" % status)

    async def wait_for(self, wanted: Callable[[], bool]) -> None:
        async with self.arrived:
            await self.arrived.wait_for(wanted)

    async def close(self) -> None:
        for writer in self.connections.values():
            writer.close()
        await asyncio.gather(*self.connections)

    def events(self, **subject: str) -> list[dict[str, Any]]:
        """The Stripe events whose object has these fields."""
        found = [delivery.json for delivery in self.deliveries if "stripe-signature" in delivery.headers]
        return [event for event in found if subject.items() <= event["data"]["object"].items()]

    async def _head(self, reader: asyncio.StreamReader) -> list[str]:
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        except asyncio.IncompleteReadError:
            return []


@pytest.fixture(scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    kept = Receiver()
    server = await asyncio.start_server(kept.serve, "127.0.0.1", 0)
    kept.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks"
    yield kept
    server.close()
    await kept.close()


@pytest.fixture(scope="session")
def settings(receiver: Receiver) -> sandbox.Settings:
    return sandbox.Settings(
        port=0,
        smtp_port=0,
        stripe_webhook_url=receiver.url,
        stripe_webhook_secret=SecretStr(STRIPE_SECRET),
        shippo_webhook_url=receiver.url,
        shippo_webhook_secret=SecretStr(SHIPPO_SECRET),
        fee_delay_seconds=0.02,
    )


@pytest.fixture(scope="session")
async def box(settings: sandbox.Settings) -> AsyncIterator[sandbox.Box]:
    async with sandbox.running(settings) as running:
        yield running


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[Client]:
    async with ClientBuilder().no_proxy().build() as client:
        yield client


@pytest.fixture(scope="session")
async def stripe_http() -> AsyncIterator[stripe.HTTPClient]:
    client = stripe.AIOHTTPClient()
    yield client
    await client.close_async()  # type: ignore[no-untyped-call]  # untyped in the SDK


@pytest.fixture(scope="session")
def shop_at(stripe_http: stripe.HTTPClient) -> Callable[[sandbox.Box], stripe.StripeClient]:
    """The official SDK with the shop's secret key; it never retries by itself."""
    return lambda box: stripe.StripeClient(
        "sk_test_shop",
        base_addresses={"api": f"{box.url}/stripe"},
        http_client=stripe_http,
        max_network_retries=0,
    )


@pytest.fixture(scope="session")
def shop(box: sandbox.Box, shop_at: Callable[[sandbox.Box], stripe.StripeClient]) -> stripe.StripeClient:
    return shop_at(box)


@pytest.fixture(scope="session")
def order_ids() -> Iterator[str]:
    return (f"order-{number}" for number in itertools.count(1))


@pytest.fixture
def order_id(order_ids: Iterator[str]) -> str:
    return next(order_ids)


@pytest.fixture(autouse=True)
async def settled_and_empty(box: sandbox.Box, receiver: Receiver) -> None:
    """No test sees the webhooks of another."""
    await box.settled()
    receiver.deliveries.clear()
    receiver.statuses.clear()
