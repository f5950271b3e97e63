"""What callers without an account change and ask, by address: how much, from whom, and what the refused are told."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
from starlette.applications import Starlette

from gateway.app import Gateway
from gateway.asgi import client_address
from gateway.auth import Authenticate, anyone, by_issuers
from gateway.rate_limit import RateLimit, RateLimited
from gateway.settings import Settings
from gateway.testing import HttpAnswer, InProcess, SdlSubgraph, call
from shared.auth import Authenticator
from shared.settings import Issuer
from shared.signing import JWKS_PATH, Signer
from shared.testing import free_socket, serving

SDL = """
type Query { things: Int price(code: String): Int rates: [Int!] }
type Mutation { change(n: Int): Int price: Int }
"""
CHANGE = "mutation { change }"
PRICE = "{ price }"


class Clock:
    now = 1_000_000.1

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(limit: RateLimit, address: str = "a", count: int = 1) -> int:
    """The seconds to wait."""
    with pytest.raises(RateLimited) as refusal:
        limit.take(address, count)
    return int(refusal.value.errors[0]["extensions"]["retryAfter"])


class TestBucket:
    @pytest.mark.parametrize("per_minute", [1, 7, 20, 61])
    def test_it_gives_as_many_at_once_as_in_a_minute_and_then_one_at_a_time(
        self, clock: Clock, per_minute: int
    ) -> None:
        limit = RateLimit(per_minute, now=clock)
        for _ in range(per_minute):
            limit.take("a", 1)
        for _ in range(3):
            clock.now += refused(limit)
            limit.take("a", 1)

    def test_who_is_early_waits_for_the_rest_only(self, clock: Clock) -> None:
        limit = RateLimit(6, now=clock)
        limit.take("a", 6)
        assert refused(limit) == 10
        clock.now += 8.5
        assert refused(limit) == 2
        clock.now += 1.5
        limit.take("a", 1)

    def test_a_refusal_costs_nothing(self, clock: Clock) -> None:
        limit = RateLimit(2, now=clock)
        limit.take("a", 1)
        assert [refused(limit, count=2) for _ in range(3)] == [30, 30, 30]
        limit.take("a", 1)

    def test_one_address_does_not_pay_for_another(self, clock: Clock) -> None:
        limit = RateLimit(1, now=clock)
        limit.take("a", 1)
        limit.take("b", 1)
        refused(limit)

    def test_more_at_once_than_it_holds_empties_it(self, clock: Clock) -> None:
        limit = RateLimit(3, now=clock)
        limit.take("a", 10)
        assert refused(limit) == 20

    def test_the_quiet_are_forgotten_and_the_others_are_not(self, clock: Clock) -> None:
        limit = RateLimit(2, now=clock)
        for number in range(100):
            limit.take(f"early {number}", 2)
        clock.now += 61
        for number in range(100):
            limit.take(f"late {number}", 2)
        assert limit.remembered == 100
        refused(limit, "late 0")

    def test_it_never_remembers_more_than_so_many(self, clock: Clock) -> None:
        limit = RateLimit(1, max_addresses=10, now=clock)
        for number in range(1_000):
            limit.take(str(number), 1)
        assert limit.remembered == 10
        refused(limit, "999")


class TestAddress:
    @pytest.mark.parametrize(
        ("proxies", "header", "address"),
        [
            (0, None, "10.0.0.1"),
            (0, "1.1.1.1", "10.0.0.1"),
            (1, None, "10.0.0.1"),
            (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
            (2, "6.6.6.6, 1.1.1.1,10.0.0.9", "1.1.1.1"),
            (2, "1.1.1.1", "10.0.0.1"),  # it came past a proxy: then nothing in it is sure
            (1, "1.1.1.1:443", "1.1.1.1"),
            (1, "[2001:db8::1]:443", "2001:0db8:0000:0000"),
            (1, "2001:db8::ffff:1", "2001:0db8:0000:0000"),
            (1, "::ffff:1.1.1.1", "1.1.1.1"),
            (1, "unknown", "10.0.0.1"),
            (1, "1.1.1.1, ", "10.0.0.1"),
        ],
    )
    def test_it_is_what_the_outermost_trusted_proxy_saw(
        self, proxies: int, header: str | None, address: str
    ) -> None:
        headers = [(b"x-forwarded-for", header.encode())] if header else []
        assert client_address({"client": ("10.0.0.1", 5), "headers": headers}, proxies) == address

    def test_several_headers_are_one_list(self) -> None:
        headers = [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.1.1.1")]
        assert client_address({"client": ("10.0.0.1", 5), "headers": headers}, 1) == "1.1.1.1"
        assert client_address({"client": ("10.0.0.1", 5), "headers": headers}, 2) == "6.6.6.6"

    def test_a_socket_without_a_peer_is_one_address(self) -> None:
        assert client_address({"client": None, "headers": []}, 0) == ""


@asynccontextmanager
async def gateway(
    clock: Clock,
    authenticate: Authenticate = anyone,
    costly_queries: tuple[str, ...] = ("price", "rates"),
    **more: Any,
) -> AsyncIterator[tuple[Gateway, list[int]]]:
    """One that serves, and what was changed through it."""
    numbers: Iterator[int] = iter(range(1_000))
    changed: list[int] = []

    def change(_: object, n: int | None = None) -> int:
        changed.append(next(numbers))
        return changed[-1]

    things = SdlSubgraph(SDL, {"Mutation.change": change, "Query.things": lambda _: 1})
    settings = Settings(
        subgraphs={"things": "http://127.0.0.1:1/graphql"}, costly_queries=costly_queries, **more
    )
    made = Gateway(
        settings, authenticate=authenticate, connect=lambda: InProcess({"things": things}), now=clock
    )
    async with made.running() as supergraph:
        await supergraph.poll("things")
        yield made, changed


async def post(app: Gateway, query: str = CHANGE, client: str = "10.0.0.1", **headers: str) -> HttpAnswer:
    body = orjson.dumps({"query": query})
    return await call(app, body=body, client=client, content_type="application/json", **headers)


async def test_too_many_changes_are_refused_before_anything_changes(clock: Clock) -> None:
    async with gateway(clock, anonymous_mutations_per_minute=2) as (app, changed):
        answers = [await post(app) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert changed == [0, 1]
        assert answers[2].headers["retry-after"] == "30"
        (error,) = answers[2].json["errors"]
        assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfter": 30}
        assert (await post(app, client="10.0.0.2")).status == 200
        clock.now += 30
        assert (await post(app)).status == 200
        assert 'gateway_requests_total{outcome="RATE_LIMITED"} 1.0' in app.metrics.exposition().decode()


async def test_every_change_of_a_request_counts(clock: Clock) -> None:
    async with gateway(clock, anonymous_mutations_per_minute=5) as (app, changed):
        three = "mutation { a: change(n: 1) b: change(n: 2) ...More __typename } fragment More on Mutation { c: change }"
        assert (await post(app, three)).status == 200
        assert (await post(app, three)).status == 429
        assert len(changed) == 3
        assert (await post(app, "mutation { a: change b: change(n: 1) }")).status == 200


@pytest.mark.parametrize(
    ("query", "headers"),
    [("{ things }", {}), ("mutation { __typename }", {}), (CHANGE, {"authorization": "Bearer anything"})],
)
async def test_it_is_about_changes_without_a_token_alone(
    clock: Clock, query: str, headers: dict[str, str]
) -> None:
    async with gateway(clock, anonymous_mutations_per_minute=1) as (app, _):
        assert {(await post(app, query, **headers)).status for _ in range(5)} == {200}
        assert [(await post(app)).status for _ in range(2)] == [200, 429]


async def test_an_empty_token_is_none(clock: Clock) -> None:
    async with gateway(clock, anonymous_mutations_per_minute=1) as (app, _):
        assert [(await post(app, authorization="")).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    "query",
    [
        "mutation { change",
        "mutation { nothing }",
        'mutation { change(n: "one") }',
        "mutation($n: Int!) { change(n: $n) }",
        f"mutation {{ {' '.join(f'a{n}: change' for n in range(31))} }}",
        "query($code: String!) { price(code: $code) }",
    ],
)
async def test_what_is_not_executed_costs_nothing(clock: Clock, query: str) -> None:
    each: dict[str, Any] = {"anonymous_mutations_per_minute": 1, "anonymous_costly_queries_per_minute": 1}
    async with gateway(clock, **each) as (app, _):
        assert {(await post(app, query)).status for _ in range(3)} == {400}
        assert [(await post(app, good)).status for good in (CHANGE, PRICE)] == [200, 200]


async def test_behind_proxies_the_client_counts_and_not_the_proxy(clock: Clock) -> None:
    async with gateway(clock, anonymous_mutations_per_minute=1, trusted_proxies=1) as (app, _):
        statuses = [
            (await post(app, x_forwarded_for=given)).status
            for given in ("1.1.1.1", "2.2.2.2", "9.9.9.9, 1.1.1.1")
        ]
        assert statuses == [200, 200, 429]


async def test_zero_is_no_limit(clock: Clock) -> None:
    async with gateway(clock, anonymous_mutations_per_minute=0) as (app, changed):
        assert {(await post(app)).status for _ in range(50)} == {200}
        assert len(changed) == 50


class TestCostlyQueries:
    async def test_too_many_are_refused_before_anything_is_asked(self, clock: Clock) -> None:
        async with gateway(clock, anonymous_costly_queries_per_minute=3) as (app, _):
            answers = [await post(app, query) for query in (PRICE, "{ rates }", PRICE, PRICE)]
            assert [answer.status for answer in answers] == [200, 200, 200, 429]
            assert answers[3].headers["retry-after"] == "20"
            (error,) = answers[3].json["errors"]
            assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfter": 20}
            assert (await post(app, PRICE, client="10.0.0.2")).status == 200
            clock.now += 20
            assert (await post(app, PRICE)).status == 200

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("{ a: price b: price c: rates things }", 3),
            ('{ a: price(code: "A") b: price(code: "B") }', 2),
            ("{ price price ...Again } fragment Again on Query { price }", 1),
            ("{ ...F ... on Query { b: price } } fragment F on Query { a: price ...G } fragment G on Query { c: rates }", 3),
            ("query($no: Boolean = false) { a: price b: price @include(if: $no) c: price @skip(if: true) }", 1),
            ("query($code: String, $no: Boolean = true) { a: price(code: $code) b: price @include(if: $no) }", 2),
            ("query One { price } query Other { a: rates b: rates }", 2),
        ],
    )  # fmt: skip
    async def test_every_one_that_is_asked_counts_however_it_is_written(
        self, clock: Clock, query: str, count: int
    ) -> None:
        async with gateway(clock, anonymous_costly_queries_per_minute=10) as (app, _):
            body = orjson.dumps({"query": query, "operationName": "Other" if "Other" in query else None})
            for _ in range(2):  # the second time its plan is a cached one
                assert (await call(app, body=body, content_type="application/json")).status == 200
            left = [(await post(app, PRICE, client="127.0.0.1")).status for _ in range(11 - 2 * count)]
            assert left == [200] * (10 - 2 * count) + [429]

    async def test_they_and_changes_have_a_limit_each_and_other_queries_none(self, clock: Clock) -> None:
        each: dict[str, Any] = {"anonymous_mutations_per_minute": 1, "anonymous_costly_queries_per_minute": 1}
        async with gateway(clock, **each) as (app, _):
            assert {(await post(app, "{ things __typename }")).status for _ in range(5)} == {200}
            changes = [(await post(app, "mutation { price }")).status for _ in range(2)]
            assert changes == [200, 429]  # a field of this name that is no query
            assert [(await post(app, PRICE)).status for _ in range(2)] == [200, 429]

    async def test_zero_is_no_limit(self, clock: Clock) -> None:
        async with gateway(clock, anonymous_costly_queries_per_minute=0) as (app, _):
            assert {(await post(app, PRICE)).status for _ in range(100)} == {200}

    async def test_a_name_that_no_query_has_is_told_to_the_operator(
        self, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with gateway(clock, costly_queries=("price", "prise")):
            assert "no query that COSTLY_QUERIES calls prise" in caplog.text


@pytest.mark.parametrize(("role", "statuses"), [("guest", {200, 429}), ("shopper", {200}), ("staff", {200})])
@pytest.mark.parametrize("query", [CHANGE, PRICE])
async def test_a_guest_s_token_is_no_account(clock: Clock, query: str, role: str, statuses: set[int]) -> None:
    """By the real authenticator, of an issuer that gives all three roles."""
    signer = Signer("somebody")
    async with serving(Starlette(routes=[signer.route]), free_socket()) as url:
        issuer = Issuer(
            issuer="somebody", jwks_url=url + JWKS_PATH, roles=frozenset({"guest", "shopper", "staff"})
        )
        authenticator = Authenticator((issuer,))
        limits: dict[str, Any] = {
            "anonymous_mutations_per_minute": 2,
            "anonymous_costly_queries_per_minute": 2,
        }
        async with gateway(clock, by_issuers(authenticator), **limits) as (app, _):
            token = signer.sign("x", "ordermesh", 60, role=role, order_id=str(uuid4()))
            answers = [await post(app, query, authorization=f"Bearer {token}") for _ in range(5)]
        await authenticator.close()
    assert {answer.status for answer in answers} == statuses


async def test_a_token_whose_issuer_is_away_is_to_be_sent_again(clock: Clock) -> None:
    away = Issuer(issuer="somebody", jwks_url="http://127.0.0.1:1/jwks.json")
    authenticator = Authenticator((away,))
    async with gateway(clock, by_issuers(authenticator)) as (app, _):
        token = Signer("somebody").sign("ann", "ordermesh", 60)
        answer = await post(app, PRICE, authorization=f"Bearer {token}")
    await authenticator.close()
    assert (answer.status, answer.json["errors"][0]["extensions"]["code"]) == (503, "SERVICE_UNAVAILABLE")
