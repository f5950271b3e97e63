"""Which processes make a stack, each with the environment that it and no other needs.

A provider whose key is in the user's environment is used for real; each other one is played by the sandbox. A secret goes to
the one service that uses it. Development tokens come from the sandbox's issuer, which is believed beside the user's own.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from ordermesh.infrastructure import Infrastructure
from ordermesh.postgres import SERVICES
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory
from shared.signing import JWKS_PATH

LOOPBACK = "127.0.0.1"
AUDIENCE = "ordermesh"
GATEWAY, SANDBOX = "gateway", "sandbox"
EXPORT = "/exports/orders.csv"
_DEFAULT_PORTS = {
    GATEWAY: 8000,
    "orders": 8001,
    "payments": 8002,
    "shipping": 8003,
    "notifications": 8004,
    SANDBOX: 8010,
    "smtp": 8025,
}


@dataclass(frozen=True)
class Provider:
    """A third party: the service that speaks to it, the variable that chooses the real one, and all of its variables."""

    service: str
    key: str
    variables: tuple[str, ...]


PROVIDERS = {
    "Stripe": Provider(
        "payments", "STRIPE_API_KEY", ("STRIPE_API_KEY", "STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRET")
    ),
    "Shippo": Provider(
        "shipping", "SHIPPO_API_KEY", ("SHIPPO_API_KEY", "SHIPPO_API_BASE", "SHIPPO_WEBHOOK_SECRET")
    ),
    "Twilio": Provider(
        "notifications",
        "TWILIO_ACCOUNT_SID",
        ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER", "TWILIO_API_BASE"),
    ),
    "Slack": Provider("notifications", "SLACK_WEBHOOK_URL", ("SLACK_WEBHOOK_URL",)),
    "SMTP": Provider("notifications", "SMTP_URL", ("SMTP_URL", "EMAIL_FROM")),
}
_KEYS = {"orders": "GUEST_KEY", "shipping": "QUOTE_KEY"}
"""The variable of the key that a service signs with: the user's, or one that outlives the stack."""
# What we decide for each process: the user's value would reach processes that it is not meant for.
_OURS = {
    *(name for provider in PROVIDERS.values() for name in provider.variables),
    *(f"{service.upper()}_DATABASE_URL" for service in SERVICES),
    *("DATABASE_URL", "HOST", "PORT", "SMTP_PORT", "STATE", "STATE_DIR", "SUBGRAPHS", "AUTH_ISSUERS"),
    *("KAFKA_URL", "KAFKA_IDEMPOTENCE", "KAFKA_FETCH_MAX_WAIT_MS", "ISSUER_URL"),
    *("STRIPE_WEBHOOK_URL", "STRIPE_WEBHOOK_EVENTS", "SHIPPO_WEBHOOK_URL"),
    *("QUOTE_ISSUER", "PASSTHROUGH", *_KEYS.values()),
}
TAX_RATES = '{"US-CA": "0.0725"}'
"""Of the demo's shop: so an edit that moves an order out of California gives money back."""
STRIPE_EVENTS = (
    *(f"payment_intent.{what}" for what in ("succeeded", "payment_failed", "canceled", "processing")),
    *("charge.updated", "charge.refunded", "refund.created", "refund.updated", "refund.failed"),
)
"""What payments listens to: an endpoint that is subscribed to everything gets twice as many webhooks."""


@dataclass(frozen=True)
class Program:
    """One process of the stack. `before` are its own commands (words) that must succeed before it starts, in order."""

    name: str
    port: int
    environment: Mapping[str, str] = field(repr=False)
    argv: tuple[str, ...]
    before: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return url(self.port)


# Each wave starts when the one before it is ready, and stops before it.
Waves = tuple[tuple[Program, ...], ...]


@dataclass(frozen=True)
class Surroundings:
    """What a table of programs may build on. `refill`: the broker may be empty, so the outboxes must be replayed into it."""

    settings: Settings
    directory: RunDirectory
    infrastructure: Infrastructure
    refill: bool


def ordermesh(around: Surroundings) -> Waves:
    """Ordermesh: the sandbox, the four services, the gateway."""
    ports = _ports(around)
    before = ("migrate", "outbox replay") if around.refill else ("migrate",)
    sandbox = _program(SANDBOX, ports, _sandbox(around, ports))
    services = tuple(_program(name, ports, _service(name, around, ports), before) for name in SERVICES)
    return (sandbox,), services, (_program(GATEWAY, ports, _gateway(around, ports)),)


def played(settings: Settings) -> frozenset[str]:
    """The providers that the sandbox plays."""
    return frozenset(name for name, provider in PROVIDERS.items() if provider.key not in settings.environment)


def picked(settings: Settings) -> str:
    """Which providers are real, in a line."""
    sandbox = played(settings)
    return "Providers: " + ", ".join(
        f"{name} {'sandbox' if name in sandbox else f'real ({provider.key})'}"
        for name, provider in PROVIDERS.items()
    )


def moved(settings: Settings, gateway: str) -> str:
    """Why the gateway serves at this URL and not where it is looked for, in a sentence; blank if there is nothing to explain."""
    wanted = _DEFAULT_PORTS[GATEWAY]
    if settings.gateway_port is not None or gateway == url(wanted):
        return ""
    return f"Port {wanted} is taken by another program: the gateway serves on {gateway.rpartition(':')[2]} (GATEWAY_PORT chooses)."


def url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _ports(around: Surroundings) -> dict[str, int]:
    asked = {GATEWAY: around.settings.gateway_port}
    return {
        name: around.directory.port(name, default=default, asked=asked.get(name))
        for name, default in _DEFAULT_PORTS.items()
    }


def _program(
    name: str, ports: Mapping[str, int], environment: Mapping[str, str], before: tuple[str, ...] = ()
) -> Program:
    return Program(name, ports[name], environment, (sys.executable, "-m", name), before)


def _base(around: Surroundings, port: int) -> dict[str, str]:
    inherited = {name: value for name, value in around.settings.environment.items() if name not in _OURS}
    return {"LOG_FORMAT": "console", **inherited, "HOST": LOOPBACK, "PORT": str(port)}


def _service(name: str, around: Surroundings, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        **_base(around, ports[name]),
        **_shared(around, ports),
        **_providers(name, around, ports),
        **_signing_key(name, around),
        **(_checkout(around, ports) if name == "orders" else {}),
        "DATABASE_URL": around.infrastructure.databases[name],
    }


def _signing_key(service: str, around: Surroundings) -> dict[str, str]:
    variable = _KEYS.get(service)
    if variable is None:
        return {}
    users = around.settings.environment.get(variable)
    return {variable: users or around.directory.signing_key(f"{service}-key")}


def _checkout(around: Surroundings, ports: Mapping[str, int]) -> dict[str, str]:
    """Orders believes the shipping quotes that shipping signs, and takes tax as it is told, or as the demo's shop does."""
    issuer = {"issuer": "shipping", "jwks_url": f"{url(ports['shipping'])}{JWKS_PATH}", "audience": AUDIENCE}
    taxes = around.settings.environment.get("TAX_RATES", TAX_RATES)
    return {"QUOTE_ISSUER": json.dumps(issuer), "TAX_RATES": taxes}


def _gateway(around: Surroundings, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        **_base(around, ports[GATEWAY]),
        **_shared(around, ports),
        "SUBGRAPHS": json.dumps({name: f"{url(ports[name])}/graphql" for name in SERVICES}),
        "PASSTHROUGH": json.dumps({EXPORT: f"{url(ports['orders'])}{EXPORT}"}),
        "STATE_DIR": str(around.directory.state_of(GATEWAY)),
    }


def _sandbox(around: Surroundings, ports: Mapping[str, int]) -> dict[str, str]:
    environment = {
        **_base(around, ports[SANDBOX]),
        "SMTP_PORT": str(ports["smtp"]),
        "STATE": str(around.directory.state_of(SANDBOX) / "state.sqlite"),
        "ISSUER_URL": f"{url(ports[SANDBOX])}/issuer",
        "STRIPE_WEBHOOK_EVENTS": json.dumps(STRIPE_EVENTS),
    }
    for name in played(around.settings) & {"Stripe", "Shippo"}:
        provider, low = PROVIDERS[name], name.lower()
        environment[f"{name.upper()}_WEBHOOK_URL"] = f"{url(ports[provider.service])}/webhooks/{low}"
        environment[f"{name.upper()}_WEBHOOK_SECRET"] = around.directory.secret(f"{low}-webhook")
    return environment


def _shared(around: Surroundings, ports: Mapping[str, int]) -> dict[str, str]:
    """What services and gateway have in common: the broker, and whose tokens count."""
    issuer = f"{url(ports[SANDBOX])}/issuer"
    own = {"issuer": issuer, "jwks_url": f"{issuer}/jwks.json", "audience": AUDIENCE}
    guests = {
        "issuer": "ordermesh-orders",
        "jwks_url": f"{url(ports['orders'])}{JWKS_PATH}",
        "audience": AUDIENCE,
        "roles": ["guest"],
    }
    issuers = [*around.settings.auth_issuers, own, guests]
    return {**around.infrastructure.kafka_environment(), "AUTH_ISSUERS": json.dumps(issuers)}


def _providers(service: str, around: Surroundings, ports: Mapping[str, int]) -> dict[str, str]:
    """The variables of the providers that a service speaks to: the user's, or the sandbox's."""
    sandbox, users = _at_sandbox(around.directory, ports), around.settings.environment
    plays = played(around.settings)
    return {
        variable: source[variable]
        for name, provider in PROVIDERS.items()
        for source in [sandbox if name in plays else users]
        for variable in provider.variables
        if provider.service == service and variable in source
    }


def _at_sandbox(directory: RunDirectory, ports: Mapping[str, int]) -> dict[str, str]:
    base = url(ports[SANDBOX])
    return {
        "STRIPE_API_KEY": f"sk_test_{directory.secret('stripe-key')}",
        "STRIPE_API_BASE": f"{base}/stripe",
        "STRIPE_WEBHOOK_SECRET": directory.secret("stripe-webhook"),
        "SHIPPO_API_KEY": f"shippo_test_{directory.secret('shippo-key')}",
        "SHIPPO_API_BASE": f"{base}/shippo",
        "SHIPPO_WEBHOOK_SECRET": directory.secret("shippo-webhook"),
        # Twilio's own test account and test number have this form.
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": directory.secret("twilio-token"),
        "TWILIO_PHONE_NUMBER": "+15005550006",
        "TWILIO_API_BASE": f"{base}/twilio",
        "SLACK_WEBHOOK_URL": f"{base}/slack/services/T000/B000/secret",
        "SMTP_URL": f"smtp://{LOOPBACK}:{ports['smtp']}",
        "EMAIL_FROM": "orders@ordermesh.example",
    }
