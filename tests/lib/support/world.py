"""The whole of Ordermesh in one event loop: sandbox, four services, gateway, each on a real socket, a real broker between."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import sandbox
from gateway.app import build as build_gateway
from gateway.settings import Settings as GatewaySettings
from notifications.app import build as build_notifications
from notifications.settings import Settings as NotificationsSettings
from ordermesh.catalogue import feed_catalogue
from ordermesh.infrastructure import Infrastructure
from ordermesh.programs import EXPORT, TAX_RATES
from ordermesh.shop import Places, Shop
from orders.app import build as build_orders
from orders.settings import Settings as OrdersSettings
from payments.app import build as build_payments
from payments.settings import Settings as PaymentsSettings
from sandbox.settings import Settings as SandboxSettings
from shared.delivery import Happened, crashing, delivered_twice, shuffled
from shared.service import Service
from shared.signing import JWKS_PATH
from shared.testing import Network, free_socket, serving, url_of
from shipping.app import build as build_shipping
from shipping.settings import Settings as ShippingSettings

SERVICES = ("orders", "payments", "shipping", "notifications")
STRIPE_SECRET, SHIPPO_SECRET = "whsec_test", "shippo_test_secret"


@dataclass
class World:
    """`shop` is the outside, `network` the inside: `await world.network.settle()` returns when nothing is in flight.

    `mode` is how things arrive for now, `happened` how often that made a difference.
    """

    shop: Shop
    network: Network
    places: Places
    urls: dict[str, str]
    kafka_url: str
    databases: dict[str, str]
    mode: str = "once"
    happened: Happened = field(default_factory=Happened)


@asynccontextmanager
async def in_mode(world: World, mode: str) -> AsyncIterator[World]:
    """The world with things arriving `once`, `twice` (facts, webhooks, mutations), `shuffled <seed>` or `crashing <seed>`."""
    services = list(world.network.services.values())
    name, _, seed = mode.partition(" ")
    async with AsyncExitStack() as stack:
        happened = Happened()
        match name:
            case "twice":
                happened = stack.enter_context(delivered_twice(services))
                stack.push_async_callback(_everything, world.shop, copies=1)
                await _everything(world.shop, copies=2)
            case "shuffled":
                happened = await stack.enter_async_context(shuffled(services, int(seed)))
            case "crashing":
                happened = stack.enter_context(crashing(services, int(seed)))
        yield replace(world, mode=mode, happened=happened)
        await world.network.settle()


async def _everything(shop: Shop, *, copies: int) -> None:
    shop.repeat = copies > 1
    await shop.sandbox("POST", "/control/webhooks/copies", {"n": copies})


@asynccontextmanager
async def a_world(infrastructure: Infrastructure, databases: dict[str, str]) -> AsyncIterator[World]:
    sockets = {name: free_socket() for name in (*SERVICES, "gateway")}
    urls = {name: url_of(sock) for name, sock in sockets.items()}
    async with AsyncExitStack() as stack:
        box = await stack.enter_async_context(
            sandbox.running(
                SandboxSettings(
                    port=0,
                    smtp_port=0,
                    stripe_webhook_url=f"{urls['payments']}/webhooks/stripe",
                    stripe_webhook_secret=STRIPE_SECRET,
                    shippo_webhook_url=f"{urls['shipping']}/webhooks/shippo",
                    shippo_webhook_secret=SHIPPO_SECRET,
                    fee_delay_seconds=0.1,
                )
            )
        )
        services = _services(infrastructure, databases, box, urls)
        starting = (
            stack.enter_async_context(serving(service, sockets[service.name])) for service in services
        )
        await asyncio.gather(*starting)
        await stack.enter_async_context(serving(_gateway(urls, box), sockets["gateway"]))
        places = Places(urls["gateway"], box.url)
        shop = await stack.enter_async_context(Shop(places))

        async def webhooks_pending() -> int:
            return int((await shop.sandbox("GET", "/control/pending"))["pending"])

        network = Network(services, webhooks_pending)
        await feed_catalogue(infrastructure.kafka_url, shop)
        yield World(shop, network, places, urls, infrastructure.kafka_url, databases)


def _services(
    infrastructure: Infrastructure, databases: dict[str, str], box: Any, urls: dict[str, str]
) -> list[Service]:
    def common(name: str) -> dict[str, Any]:
        return {
            "database_url": databases[name],
            "kafka_url": infrastructure.kafka_url,
            "kafka_idempotence": infrastructure.kafka_idempotence,
            "kafka_fetch_max_wait_ms": infrastructure.kafka_fetch_max_wait_ms,
            "auth_issuers": issuers(box, urls),
        }

    checkout: dict[str, Any] = {
        "quote_issuer": signed_by("shipping", urls["shipping"]),
        "tax_rates": json.loads(TAX_RATES),
    }
    return [
        build_orders(OrdersSettings(**common("orders"), **checkout)),
        build_payments(
            PaymentsSettings(
                **common("payments"),
                stripe_api_key="sk_test_ordermesh",
                stripe_api_base=f"{box.url}/stripe",
                stripe_webhook_secret=STRIPE_SECRET,
            )
        ),
        build_shipping(
            ShippingSettings(
                **common("shipping"),
                shippo_api_key="shippo_test_key",
                shippo_api_base=f"{box.url}/shippo",
                shippo_webhook_secret=SHIPPO_SECRET,
                label_second_look=0.5,
            )
        ),
        build_notifications(
            NotificationsSettings(
                **common("notifications"),
                smtp_url=f"smtp://127.0.0.1:{box.smtp_port}",
                twilio_account_sid="AC00000000000000000000000000000000",
                twilio_auth_token="twilio_test",
                twilio_phone_number="+15005550006",
                twilio_api_base=f"{box.url}/twilio",
                slack_webhook_url=f"{box.url}/slack/services/T000/B000/secret",
                slack_every=0.05,
            )
        ),
    ]


def _gateway(urls: dict[str, str], box: Any) -> Any:
    settings = GatewaySettings(
        subgraphs={name: f"{urls[name]}/graphql" for name in SERVICES},
        passthrough={EXPORT: f"{urls['orders']}{EXPORT}"},
        auth_issuers=issuers(box, urls),
        poll_interval=0.2,
        anonymous_mutations_per_minute=0,  # all who have no account share one address here
        anonymous_costly_queries_per_minute=0,
    )
    return build_gateway(settings)


def issuers(box: Any, urls: dict[str, str]) -> list[dict[str, Any]]:
    """Whose tokens count: the sandbox's, and orders' own for guests."""
    people = {"issuer": box.issuer.url, "jwks_url": f"{box.issuer.url}/jwks.json", "audience": "ordermesh"}
    return [people, {**signed_by("ordermesh-orders", urls["orders"]), "roles": ["guest"]}]


def signed_by(name: str, url: str) -> dict[str, Any]:
    return {"issuer": name, "jwks_url": f"{url}{JWKS_PATH}", "audience": "ordermesh"}
