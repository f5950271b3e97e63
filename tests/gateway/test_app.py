"""The gateway from outside: what HTTP clients, browsers, probes and Prometheus see."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from gateway.app import Gateway
from gateway.auth import Unauthenticated
from gateway.settings import Settings
from gateway.testing import HttpAnswer, InProcess, SdlSubgraph, call

ORDERS = 'type Query { order(id: ID!): Order list: [Order] } type Order @key(fields: "id") { id: ID! status: String }'
PAYMENTS = 'type Order @key(fields: "id") { id: ID! paid: Boolean }'
URL = "http://127.0.0.1:1/graphql"


def subgraphs() -> InProcess:
    orders = SdlSubgraph(ORDERS, {"Query.order": lambda _, id: {"id": id, "status": "open"}})  # noqa: A006 - the argument's name
    return InProcess({"orders": orders, "payments": SdlSubgraph(PAYMENTS, {"Order.paid": lambda _: True})})


def settings(**more: Any) -> Settings:
    return Settings(subgraphs={"orders": URL, "payments": URL}, **more)


@pytest.fixture
async def transport() -> InProcess:
    return subgraphs()


@pytest.fixture
async def app(transport: InProcess) -> AsyncIterator[Gateway]:
    gateway = Gateway(settings(max_body=2_000, max_depth=3), connect=lambda: transport)
    async with ready(gateway):
        yield gateway


class ready:  # noqa: N801 - it reads as the state it waits for
    """Run a gateway until its graph is in service."""

    def __init__(self, gateway: Gateway) -> None:
        self.running = gateway.running()

    async def __aenter__(self) -> None:
        supergraph = await self.running.__aenter__()
        for name in ("orders", "payments"):
            await supergraph.poll(name)

    async def __aexit__(self, *_: object) -> None:
        await self.running.__aexit__(None, None, None)


async def post(app: Gateway, query: str, variables: Any = None, **headers: str) -> HttpAnswer:
    body = orjson.dumps({"query": query, "variables": variables})
    return await call(app, body=body, **{"content_type": "application/json", **headers})


def refusal(answer: HttpAnswer) -> tuple[int, str]:
    (error,) = answer.json["errors"]
    assert "data" not in answer.json
    return answer.status, error["extensions"]["code"]


class TestGraphql:
    async def test_a_query_is_answered(self, app: Gateway) -> None:
        answer = await post(app, "query($i: ID!) { order(id: $i) { status paid } }", {"i": "1"})
        assert answer.status == 200
        assert answer.json == {"data": {"order": {"status": "open", "paid": True}}}
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"

    async def test_an_error_in_the_answer_is_still_http_200(self, app: Gateway, transport: InProcess) -> None:
        del transport.subgraphs["payments"].resolvers["Order.paid"]  # type: ignore[attr-defined] # an SdlSubgraph
        transport.subgraphs["payments"].references["Order"] = lambda **_: 1 / 0  # type: ignore[attr-defined] # likewise
        answer = await post(app, '{ order(id: "1") { paid } }')
        assert answer.status == 200
        assert answer.json["data"] == {"order": {"paid": None}}
        assert answer.json["errors"][0]["path"] == ["order", "paid"]

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"{", 400, "BAD_REQUEST"),
            (b'[{"query":"{ list { id } }"}]', 400, "BAD_REQUEST"),
            (b'{"query":1}', 400, "BAD_REQUEST"),
            (b'{"query":"{ list { id } }","variables":[]}', 400, "BAD_REQUEST"),
            (b'{"query":"{ list { id } }","operationName":1}', 400, "BAD_REQUEST"),
            (b'{"query":"{"}', 400, "GRAPHQL_PARSE_FAILED"),
            (b'{"query":"{ nope }"}', 400, "GRAPHQL_VALIDATION_FAILED"),
            (
                b'{"query":"{ _entities(representations: []) { __typename } }"}',
                400,
                "GRAPHQL_VALIDATION_FAILED",
            ),
            (b'{"query":"subscription { list { id } }"}', 400, "GRAPHQL_VALIDATION_FAILED"),
            (b'{"query":"query($a: ID!) { order(id: $a) { id } }"}', 400, "BAD_INPUT"),
            (b'{"query":"{ a { b { c { d } } } }"}', 400, "QUERY_TOO_COMPLEX"),
            (b'{"query":"{ %s }"}' % (b"...on Query{list{id}}" * 80), 400, "QUERY_TOO_COMPLEX"),
            (b'{"query":"%s"}' % (b" " * 2_000), 413, "PAYLOAD_TOO_LARGE"),
        ],
    )
    async def test_what_cannot_be_executed_is_refused_with_a_code(
        self, app: Gateway, transport: InProcess, body: bytes, status: int, code: str
    ) -> None:
        answer = await call(app, body=body, content_type="application/json")
        assert answer.status == status
        assert {error["extensions"]["code"] for error in answer.json["errors"]} == {code}
        assert transport.requests == []

    async def test_too_many_tokens_are_refused(self) -> None:
        gateway = Gateway(settings(max_tokens=10), connect=subgraphs)
        async with ready(gateway):
            assert refusal(await post(gateway, "{ list { id id id id id id id id } }")) == (
                400,
                "QUERY_TOO_COMPLEX",
            )
            assert (await post(gateway, "{ __typename }")).status == 200

    async def test_only_post_of_json_is_served(self, app: Gateway) -> None:
        got = await call(app, method="GET")
        assert refusal(got) == (405, "BAD_REQUEST")
        assert got.headers["allow"] == "POST, OPTIONS"
        assert refusal(await post(app, "{ list { id } }", content_type="text/plain")) == (415, "BAD_REQUEST")
        assert (
            await post(app, "{ list { id } }", content_type="application/json; charset=utf-8")
        ).status == 200

    async def test_the_unforeseen_is_masked(self, app: Gateway, transport: InProcess) -> None:
        async def explode(_: str) -> None:
            raise RuntimeError("secret")

        transport.before = explode
        for query in ("{ list { id } }", "{ a: list { id } list { paid } }"):
            answer = await post(app, query)
            assert answer.status == 500
            assert answer.json == {
                "errors": [{"message": "Internal error", "extensions": {"code": "INTERNAL"}}]
            }


class TestHeaders:
    async def test_only_the_allow_list_reaches_subgraphs(self, app: Gateway, transport: InProcess) -> None:
        given = {
            "authorization": "Bearer x",
            "traceparent": "00-1-2-01",
            "idempotency_key": "k",
            "x_request_id": "r-1",
            "cookie": "a=b",
            "x_forwarded_for": "1.2.3.4",
        }
        answer = await post(app, '{ order(id: "1") { paid } }', **given)
        assert answer.headers["x-request-id"] == "r-1"
        assert len(transport.headers) == 2
        for headers in transport.headers:
            assert dict(headers) == {
                "authorization": "Bearer x",
                "traceparent": "00-1-2-01",
                "idempotency-key": "k",
                "x-request-id": "r-1",
            }

    @pytest.mark.parametrize("given", [{}, {"x_request_id": "a b"}, {"x_request_id": "x" * 200}])
    async def test_a_request_without_a_usable_id_gets_one(
        self, app: Gateway, transport: InProcess, given: dict[str, str]
    ) -> None:
        answer = await post(app, "{ list { id } }", **given)
        assert len(answer.headers["x-request-id"]) == 32
        assert dict(transport.headers[0]) == {"x-request-id": answer.headers["x-request-id"]}

    async def test_a_header_that_http_cannot_carry_is_refused(self, app: Gateway) -> None:
        assert refusal(await post(app, "{ list { id } }", authorization="Bearer ü")) == (400, "BAD_REQUEST")

    async def test_a_caller_that_does_not_verify_is_refused_before_anything_is_asked(self) -> None:
        transport, seen = subgraphs(), []

        async def authenticate(authorization: str | None) -> bool:
            seen.append(authorization)
            if authorization != "Bearer good":
                raise Unauthenticated
            return True

        gateway = Gateway(settings(), authenticate=authenticate, connect=lambda: transport)
        async with ready(gateway):
            assert refusal(await post(gateway, "{ list { id } }", authorization="Bearer bad")) == (
                401,
                "UNAUTHENTICATED",
            )
            assert transport.requests == []
            assert (await post(gateway, "{ list { id } }", authorization="Bearer good")).status == 200
        assert seen == ["Bearer bad", "Bearer good"]


class TestCors:
    async def test_no_origin_is_allowed_by_default(self, app: Gateway) -> None:
        answer = await post(app, "{ list { id } }", origin="https://shop.example")
        assert "access-control-allow-origin" not in answer.headers
        assert (await call(app, method="OPTIONS", origin="https://shop.example")).status == 403

    @pytest.mark.parametrize(
        ("allowed", "shown"), [("https://shop.example", "https://shop.example"), ("*", "*")]
    )
    async def test_an_allowed_origin_may_ask_and_read(self, allowed: str, shown: str) -> None:
        gateway = Gateway(settings(cors_origins=(allowed,)), connect=subgraphs)
        async with ready(gateway):
            preflight = await call(gateway, method="OPTIONS", origin="https://shop.example")
            assert preflight.status == 200
            assert preflight.headers["access-control-allow-methods"] == "POST"
            assert "authorization" in preflight.headers["access-control-allow-headers"]
            for answer in (await post(gateway, "{ list { id } }", origin="https://shop.example"), preflight):
                assert answer.headers["access-control-allow-origin"] == shown
            other = await post(gateway, "{ list { id } }", origin="https://evil.example")
            assert other.headers.get("access-control-allow-origin") == ("*" if allowed == "*" else None)


class TestHealth:
    async def test_it_is_live_at_once_and_ready_with_the_graph(self) -> None:
        transport = subgraphs()
        gateway = Gateway(settings(), connect=lambda: transport)
        assert (await call(gateway, "/health/live", method="GET")).status == 200
        assert (await call(gateway, "/health/ready", method="GET")).status == 503
        assert refusal(await post(gateway, "{ list { id } }")) == (503, "SERVICE_UNAVAILABLE")
        async with ready(gateway):
            answer = await call(gateway, "/health/ready", method="GET")
        assert answer.status == 200
        assert answer.json["subgraphs"]["orders"]["seen"] == "live"

    async def test_a_subgraph_never_seen_keeps_the_graph_from_service(self) -> None:
        async def down(subgraph: str) -> None:
            if subgraph == "payments":
                raise ConnectionError

        transport = subgraphs()
        transport.before = down
        gateway = Gateway(settings(), connect=lambda: transport)
        async with gateway.running() as supergraph:
            await supergraph.poll("orders")
            answer = await call(gateway, "/health/ready", method="GET")
            assert answer.status == 503
            assert answer.json["missing"] == ["payments"]
            assert refusal(await post(gateway, "{ list { id } }")) == (503, "SERVICE_UNAVAILABLE")

    async def test_metrics_count_outcomes_and_subgraphs(self, app: Gateway) -> None:
        await post(app, '{ order(id: "1") { paid } }')
        await post(app, "{ nope }")
        shown = (await call(app, "/metrics", method="GET")).body.decode()
        assert 'gateway_requests_total{outcome="ok"} 1.0' in shown
        assert 'gateway_requests_total{outcome="GRAPHQL_VALIDATION_FAILED"} 1.0' in shown
        assert 'gateway_subgraph_requests_total{outcome="2xx",subgraph="payments"} 1.0' in shown
        assert "gateway_composition_ok 1.0" in shown

    @pytest.mark.parametrize(
        ("path", "method"), [("/", "GET"), ("/graphql/x", "POST"), ("/graphql/", "OPTIONS")]
    )
    async def test_there_is_nothing_else(self, app: Gateway, path: str, method: str) -> None:
        answer = await call(app, path, method=method)
        assert refusal(answer) == (404, "BAD_REQUEST")
        assert answer.headers["content-type"] == "application/json"

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
    async def test_these_are_read_and_nothing_else(self, app: Gateway, path: str) -> None:
        assert (await call(app, path, method="HEAD")).status == 200
        answer = await call(app, path, method="POST")
        assert refusal(answer) == (405, "BAD_REQUEST")
        assert answer.headers["allow"] == "GET, HEAD"
