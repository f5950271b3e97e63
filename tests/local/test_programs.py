"""Who is started with which environment."""

import json
from collections.abc import Mapping

import pytest

from ordermesh.infrastructure import Infrastructure
from ordermesh.kafka import GivenBroker
from ordermesh.postgres import SERVICES
from ordermesh.programs import PROVIDERS, Program, Surroundings, moved, ordermesh, picked, url
from ordermesh.settings import Settings
from ordermesh.state import RunDirectory
from payments.webhooks import CHARGE_EVENTS, INTENT_EVENTS, REFUND_EVENTS

Table = Mapping[str, Program]


def table(
    directory: RunDirectory, variables: Mapping[str, str] | None = None, *, refill: bool = True
) -> Table:
    broker = GivenBroker("127.0.0.1:9092", idempotence=False, fetch_max_wait_ms=20)
    databases = {name: f"postgresql://{name}:{name}-password@127.0.0.1:1/{name}" for name in SERVICES}
    infrastructure = Infrastructure(databases, broker, None, frozenset())
    around = Surroundings(
        Settings.read({"HOME": "/home/x", **(variables or {})}), directory, infrastructure, refill=refill
    )
    return {program.name: program for wave in ordermesh(around) for program in wave}


def test_the_sandbox_comes_first_and_the_gateway_last(directory: RunDirectory) -> None:
    assert list(table(directory)) == ["sandbox", *SERVICES, "gateway"]


def test_everything_listens_on_the_loopback_interface_and_on_a_port_of_its_own(
    directory: RunDirectory,
) -> None:
    programs = table(directory).values()
    assert {program.environment["HOST"] for program in programs} == {"127.0.0.1"}
    assert {program.environment["PORT"] for program in programs} == {
        str(program.port) for program in programs
    }
    assert len({program.port for program in programs}) == 6


def test_a_gateway_that_had_to_give_way_says_where_it_is_and_one_that_was_told_where_does_not() -> None:
    unasked = Settings.read({})
    assert moved(unasked, url(8000)) == ""
    assert moved(unasked, url(23456)).startswith(
        "Port 8000 is taken by another program: the gateway serves on 23456"
    )
    assert moved(Settings.read({"GATEWAY_PORT": "23456"}), url(23456)) == ""


def test_each_service_gets_its_own_database_and_no_other(directory: RunDirectory) -> None:
    programs = table(
        directory, {"ORDERS_DATABASE_URL": "postgresql://given", "DATABASE_URL": "postgresql://stray"}
    )
    for name, program in programs.items():
        passwords = {other for other in SERVICES if f"{other}-password" in str(program.environment)}
        assert passwords == ({name} if name in SERVICES else set())
        assert "postgresql://given" not in program.environment.values()
        assert "postgresql://stray" not in program.environment.values()


def test_services_migrate_and_refill_a_broker_that_may_be_empty(directory: RunDirectory) -> None:
    assert {program.before for program in table(directory).values()} == {(), ("migrate", "outbox replay")}
    again = table(directory, refill=False)
    assert {name for name, program in again.items() if program.before == ("migrate",)} == set(SERVICES)


def test_services_and_gateway_find_the_broker_and_believe_the_sandboxs_issuer_and_orders_about_guests(
    directory: RunDirectory,
) -> None:
    programs = table(directory)
    issuer = programs["sandbox"].environment["ISSUER_URL"]
    assert issuer == f"{programs['sandbox'].url}/issuer"
    for name in (*SERVICES, "gateway"):
        environment = programs[name].environment
        assert environment["KAFKA_URL"] == "127.0.0.1:9092"
        assert environment["KAFKA_IDEMPOTENCE"] == "false"
        assert environment["KAFKA_FETCH_MAX_WAIT_MS"] == "20"
        believed = {"issuer": issuer, "jwks_url": f"{issuer}/jwks.json", "audience": "ordermesh"}
        guests = {
            "issuer": "ordermesh-orders",
            "jwks_url": f"{programs['orders'].url}/.well-known/jwks.json",
            "audience": "ordermesh",
            "roles": ["guest"],
        }
        assert json.loads(environment["AUTH_ISSUERS"]) == [believed, guests]


def test_the_users_own_issuer_is_believed_too(directory: RunDirectory) -> None:
    own = {
        "issuer": "https://clerk.example",
        "jwks_url": "https://clerk.example/jwks",
        "audience": "shop",
        "scopes_required": True,
        "roles": ["shopper", "staff"],
    }
    environment = table(directory, {"AUTH_ISSUERS": json.dumps([own])})["orders"].environment
    assert json.loads(environment["AUTH_ISSUERS"])[0] == own
    assert len(json.loads(environment["AUTH_ISSUERS"])) == 3


def test_the_gateway_knows_every_subgraph(directory: RunDirectory) -> None:
    programs = table(directory)
    subgraphs = json.loads(programs["gateway"].environment["SUBGRAPHS"])
    assert subgraphs == {name: f"{programs[name].url}/graphql" for name in SERVICES}


def test_the_gateway_passes_the_export_of_orders_through(directory: RunDirectory) -> None:
    programs = table(directory, {"PASSTHROUGH": "users own"})
    url_of_it = f"{programs['orders'].url}/exports/orders.csv"
    assert json.loads(programs["gateway"].environment["PASSTHROUGH"]) == {"/exports/orders.csv": url_of_it}
    assert [name for name, part in programs.items() if "PASSTHROUGH" in part.environment] == ["gateway"]


def test_sandbox_and_services_share_addresses_and_secrets(directory: RunDirectory) -> None:
    programs = table(directory)
    sandbox, payments, shipping = (programs[name].environment for name in ("sandbox", "payments", "shipping"))
    assert payments["STRIPE_API_BASE"] == f"{programs['sandbox'].url}/stripe"
    assert sandbox["STRIPE_WEBHOOK_URL"] == f"{programs['payments'].url}/webhooks/stripe"
    assert sandbox["STRIPE_WEBHOOK_SECRET"] == payments["STRIPE_WEBHOOK_SECRET"]
    assert set(json.loads(sandbox["STRIPE_WEBHOOK_EVENTS"])) == INTENT_EVENTS | CHARGE_EVENTS | REFUND_EVENTS
    assert sandbox["SHIPPO_WEBHOOK_URL"] == f"{programs['shipping'].url}/webhooks/shippo"
    assert sandbox["SHIPPO_WEBHOOK_SECRET"] == shipping["SHIPPO_WEBHOOK_SECRET"]
    assert programs["notifications"].environment["SMTP_URL"] == f"smtp://127.0.0.1:{sandbox['SMTP_PORT']}"


@pytest.mark.parametrize(("service", "variable"), [("shipping", "QUOTE_KEY"), ("orders", "GUEST_KEY")])
def test_the_key_that_a_service_signs_with_is_its_alone_and_survives_a_restart(
    directory: RunDirectory, service: str, variable: str
) -> None:
    programs = table(directory)
    having = {
        name: part.environment[variable] for name, part in programs.items() if variable in part.environment
    }
    assert set(having) == {service}
    assert table(directory)[service].environment[variable] == having[service]
    users = table(directory, {variable: "users own"})
    assert {name for name, part in users.items() if variable in part.environment} == {service}
    assert users[service].environment[variable] == "users own"


def test_orders_alone_believes_the_quotes_that_shipping_signs(directory: RunDirectory) -> None:
    programs = table(directory, {"QUOTE_ISSUER": "users own"})
    believed = {
        "issuer": "shipping",
        "jwks_url": f"{programs['shipping'].url}/.well-known/jwks.json",
        "audience": "ordermesh",
    }
    shown = {name: part.environment.get("QUOTE_ISSUER") for name, part in programs.items()}
    assert json.loads(shown.pop("orders") or "") == believed
    assert set(shown.values()) == {None}


@pytest.mark.parametrize("chosen", sorted(PROVIDERS))
def test_a_real_provider_wins_over_the_sandbox_and_is_told_to_its_service_alone(
    directory: RunDirectory, chosen: str
) -> None:
    provider = PROVIDERS[chosen]
    users = {variable: f"users own {variable}" for variable in provider.variables}
    programs = table(directory, users)
    environment = programs[provider.service].environment
    assert {name: environment[name] for name in users} == users
    for name, program in programs.items():
        assert name == provider.service or not set(users.values()) & set(program.environment.values())
    for other in set(PROVIDERS) - {chosen}:
        key = PROVIDERS[other].key
        assert (
            programs[PROVIDERS[other].service].environment[key]
            == table(directory)[PROVIDERS[other].service].environment[key]
        )
    assert f"{chosen} real ({provider.key})" in picked(Settings.read(users))


def test_the_sandbox_sends_no_webhooks_for_a_real_provider(directory: RunDirectory) -> None:
    programs = table(directory, {"STRIPE_API_KEY": "sk_live_1"})
    assert "STRIPE_WEBHOOK_URL" not in programs["sandbox"].environment
    assert "STRIPE_WEBHOOK_SECRET" not in programs["payments"].environment
    assert "SHIPPO_WEBHOOK_URL" in programs["sandbox"].environment


def test_a_variable_without_its_providers_key_changes_nothing(directory: RunDirectory) -> None:
    environment = table(directory, {"STRIPE_API_BASE": "https://elsewhere.example"})["payments"].environment
    assert environment["STRIPE_API_BASE"].startswith("http://127.0.0.1:")


def test_the_rest_of_the_environment_passes_through(directory: RunDirectory) -> None:
    for program in table(directory, {"ORDER_PREFIX": "ACME"}).values():
        assert program.environment["HOME"] == "/home/x"
        assert program.environment["ORDER_PREFIX"] == "ACME"


def test_no_secret_is_shown(directory: RunDirectory) -> None:
    programs = table(directory)
    secret = programs["payments"].environment["STRIPE_WEBHOOK_SECRET"]
    assert secret not in repr(programs)
