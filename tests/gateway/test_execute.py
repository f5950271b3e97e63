"""What comes out: data in the client's shape, nulls where GraphQL puts them, errors with their real paths."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson
import pytest

from gateway.client import Client
from gateway.federation import Code, Engine, EngineOptions, Graph, RequestRefused, compose
from gateway.metrics import Metrics
from gateway.testing import LINK, InProcess, SdlSubgraph
from gateway.transport import Answer, Failure, Headers, Transport, TransportFailed

ORDERS = """
    schema { query: Query mutation: Commands }
    type Query { order(id: ID!): Order orders(n: Int = 2): [Order!]! strict: Strict! things: [Thing] }
    union Thing = Order | Strict
    type Commands { place(item: Item!): Order! cancel(id: ID!): Order! note(text: String): String }
    input Item { sku: String! count: Int = 1 tags: [[String!]!] inner: Item }
    type Order @key(fields: "id") { id: ID! status: String! parent: Order }
    type Strict @key(fields: "id") { id: ID! }
"""
PAYMENTS = """
    type Order @key(fields: "id") { id: ID! payment: Payment parts: [Part]! }
    type Payment { status: String! refunds: [Refund!] }
    type Refund { amount: Int! }
    type Part @key(fields: "code") { code: ID }
    type Strict @key(fields: "id") { id: ID! must: Int! }
"""
PARTS = 'type Part @key(fields: "code") { code: ID name: String! }'


@cache
def graph() -> Graph:
    return compose({"orders": LINK + ORDERS, "payments": LINK + PAYMENTS, "parts": LINK + PARTS})


def order(_: Any, **known: Any) -> dict[str, Any]:
    return {**known, "status": f"S{known['id']}", "parent": {"id": "9", "status": "S9"}}


class Shop:
    """Three subgraphs whose resolvers tests may replace, and what they were asked."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.orders: dict[str, Callable[..., Any]] = {
            "Query.order": order,
            "Query.orders": lambda _, n: [{"id": str(i), "status": "S"} for i in range(n)],
            "Query.strict": lambda _: {"id": "1"},
            "Query.things": lambda _: [
                {"__typename": name, "id": str(i)} for i, name in enumerate(["Order", "Strict", "Order"])
            ],
            "Commands.place": self.logged("place", lambda item: {"id": "1", "status": str(item)}),
            "Commands.cancel": self.logged("cancel", lambda **order: {**order, "status": "gone"}),
            "Commands.note": self.logged("note", lambda text=None: text),
        }
        self.payments: dict[str, Callable[..., Any]] = {
            "Order.payment": self.logged(
                "payment", lambda: {"status": "PAID", "refunds": [{"amount": 1}, {"amount": 2}]}
            ),
            "Order.parts": lambda _: [{"code": "a"}, None, {"code": None}, {"code": "a"}],
            "Strict.must": lambda _: 1,
        }
        self.parts: dict[str, Callable[..., Any]] = {"Part.name": lambda part: f"part {part['code']}"}
        self.entities: dict[str, Callable[..., Any]] = {}
        self.transport = InProcess(
            {
                "orders": SdlSubgraph(ORDERS, self.orders),
                "payments": SdlSubgraph(PAYMENTS, self.payments, self.entities),
                "parts": SdlSubgraph(PARTS, self.parts),
            }
        )

    def logged(self, name: str, resolve: Callable[..., Any]) -> Callable[..., Any]:
        def run(_: Any, **arguments: Any) -> Any:
            self.log.append(name)
            return resolve(**arguments)

        return run

    async def __call__(self, query: str, **variables: Any) -> dict[str, Any]:
        answer: dict[str, Any] = orjson.loads(await self.engine().execute(query, variables, context=()))
        return answer

    def engine(self, options: EngineOptions | None = None, transport: Transport | None = None) -> Engine:
        client = Client(self.transport.subgraphs, transport or self.transport, Metrics())
        return Engine(graph(), client.send, options)

    def asked(self, subgraph: str) -> list[dict[str, Any]]:
        return [request for name, request in self.transport.requests if name == subgraph]


@pytest.fixture
def shop() -> Shop:
    return Shop()


def fail(message: str) -> Callable[..., Any]:
    def resolve(*_: Any, **__: Any) -> Any:
        raise ValueError(message)

    return resolve


def placed(answer: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    return [(error["message"], error["path"]) for error in answer["errors"]]


class Canned:
    """A transport that answers with given bytes, subgraph by subgraph."""

    def __init__(self, shop: Shop, **answers: Answer | Failure) -> None:
        self.shop, self.answers = shop, answers

    async def post(self, subgraph: str, body: bytes, headers: Headers) -> Answer:
        answer = self.answers.get(subgraph) if b"_service" not in body else None
        if isinstance(answer, Failure):
            raise TransportFailed(answer)
        return answer or await self.shop.transport.post(subgraph, body, headers)

    async def close(self) -> None: ...


async def canned(shop: Shop, query: str, **answers: Answer | Failure) -> dict[str, Any]:
    engine = shop.engine(transport=Canned(shop, **answers))
    answer: dict[str, Any] = orjson.loads(await engine.execute(query, context=()))
    return answer


class TestData:
    async def test_fields_of_many_subgraphs_come_in_the_clients_order(self, shop: Shop) -> None:
        engine = shop.engine()
        answer = await engine.execute(
            '{ o: order(id: "7") { payment { status } s: status __typename } __typename }'
        )
        assert answer == (
            b'{"data":{"o":{"payment":{"status":"PAID"},"s":"S7","__typename":"Order"},"__typename":"Query"}}'
        )

    async def test_a_single_fetch_passes_on_the_subgraphs_bytes(self, shop: Shop) -> None:
        body = b'{"data":{"orders": [ {"status":"\\u00fc"} ]}}'
        engine = shop.engine(transport=Canned(shop, orders=Answer(200, body)))
        assert await engine.execute("{ orders { status } }", context=()) == body

    async def test_a_subgraphs_own_extensions_stay_inside(self, shop: Shop) -> None:
        body = b'{"data":{"orders":[{"status":"x"}]},"extensions":{"cost":1}}'
        assert await canned(shop, "{ orders { status } }", orders=Answer(200, body)) == {
            "data": {"orders": [{"status": "x"}]}
        }

    async def test_data_that_speaks_of_errors_is_only_data(self, shop: Shop) -> None:
        shop.orders["Query.orders"] = lambda _, n: [{"id": "1", "status": '"errors"'}]
        assert await shop("{ orders { status } }") == {"data": {"orders": [{"status": '"errors"'}]}}

    async def test_equal_entities_are_asked_once_and_answered_everywhere(self, shop: Shop) -> None:
        answer = await shop('{ order(id: "1") { parts { name } parent { parts { name } } } }')
        part, hole = {"name": "part a"}, None
        assert answer["data"]["order"]["parts"][0] == answer["data"]["order"]["parts"][3] == part
        assert answer["data"]["order"]["parts"][1] is hole
        representations = [request["variables"]["_1_representations"] for request in shop.asked("parts")]
        assert representations == [[{"__typename": "Part", "code": "a"}]] * 2

    async def test_an_entity_without_its_key_is_not_asked_for(self, shop: Shop) -> None:
        answer = await shop('{ order(id: "1") { parts { name } } }')
        assert answer["data"]["order"]["parts"][2] is None
        assert placed(answer) == [
            ("Cannot return null for non-nullable field Part.name.", ["order", "parts", 2, "name"])
        ]
        assert answer["errors"][0]["extensions"] == {"code": "DATA_MISSING"}

    async def test_nothing_is_asked_about_nothing(self, shop: Shop) -> None:
        shop.orders["Query.orders"] = lambda _, n: []
        assert await shop("{ orders { payment { status } } }") == {"data": {"orders": []}}
        assert shop.asked("payments") == []

    async def test_each_object_of_a_union_is_followed_by_its_own_type(self, shop: Shop) -> None:
        answer = await shop("{ things { ... on Order { id payment { status } } ... on Strict { id must } } }")
        paid = {"status": "PAID"}
        assert answer["data"]["things"] == [
            {"id": "0", "payment": paid},
            {"id": "1", "must": 1},
            {"id": "2", "payment": paid},
        ]
        asked = [request["variables"]["_1_representations"] for request in shop.asked("payments")]
        assert [[(each["__typename"], each["id"]) for each in entities] for entities in asked] == [
            [("Order", "0"), ("Order", "2")],
            [("Strict", "1")],
        ]

    async def test_fetches_that_do_not_need_each_other_overlap(self, shop: Shop) -> None:
        both = asyncio.Barrier(2)

        async def meet(subgraph: str) -> None:
            if subgraph == "payments":
                await asyncio.wait_for(both.wait(), 5)

        engine = shop.engine()
        shop.transport.before = meet
        assert await engine.execute("{ strict { must } orders { payment { status } } }")


class TestVariables:
    async def test_nested_values_arrive_as_they_were_given(self, shop: Shop) -> None:
        item = {"sku": 'a"b', "tags": [["x"], []], "inner": {"sku": "ü", "count": None}}
        await shop("mutation($i: Item!, $t: String) { place(item: $i) { id } note(text: $t) }", i=item)
        assert shop.asked("orders")[0]["variables"] == {"i": item}

    async def test_defaults_are_the_operations_and_then_the_subgraphs(self, shop: Shop) -> None:
        answer = await shop(
            'mutation($s: String! = "dflt") { place(item: {sku: $s, inner: {sku: "x"}}) { status } }'
        )
        assert (
            answer["data"]["place"]["status"]
            == "{'sku': 'dflt', 'count': 1, 'inner': {'sku': 'x', 'count': 1}}"
        )

    async def test_a_variable_that_does_not_fit_is_refused(self, shop: Shop) -> None:
        with pytest.raises(RequestRefused) as refused:
            await shop("query($n: Int!) { orders(n: $n) { id } }", n="many")
        assert refused.value.code is Code.BAD_INPUT
        assert shop.transport.requests == []

    async def test_a_client_may_use_the_gateways_names(self, shop: Shop) -> None:
        query = "query($_1_representations: Int) { orders(n: $_1_representations) { payment { status } } }"
        assert len((await shop(query, _1_representations=3))["data"]["orders"]) == 3


class TestErrors:
    async def test_an_error_of_a_root_fetch_keeps_its_message_code_and_details(self, shop: Shop) -> None:
        error = {
            "message": "no",
            "path": ["o"],
            "locations": [{"line": 1, "column": 1}],
            "extensions": {"code": "X", "allowed": ["Y"]},
        }
        body = orjson.dumps({"data": {"o": None}, "errors": [error]})
        answer = await canned(shop, '{ o: order(id: "1") { status } }', orders=Answer(200, body))
        extensions = {"code": "X", "allowed": ["Y"], "serviceName": "orders"}
        assert answer == {
            "errors": [{"message": "no", "path": ["o"], "extensions": extensions}],
            "data": {"o": None},
        }

    async def test_an_entitys_error_gets_the_path_of_every_place_where_the_entity_is(
        self, shop: Shop
    ) -> None:
        shop.orders["Query.orders"] = lambda _, n: [
            {"id": "1", "status": "S"},
            {"id": "2", "status": "S"},
            {"id": "1", "status": "S"},
        ]
        shop.payments["Order.payment"] = lambda order: {"status": None if order["id"] == "1" else "ok"}
        answer = await shop("{ all: orders { pay: payment { status } } }")
        message = "Cannot return null for non-nullable field Payment.status."
        assert placed(answer) == [(message, ["all", i, "pay", "status"]) for i in (0, 2)]
        assert [order["pay"] for order in answer["data"]["all"]] == [None, {"status": "ok"}, None]

    async def test_a_failing_subgraph_costs_exactly_its_fields(self, shop: Shop) -> None:
        answer = await canned(shop, "{ orders { status payment { status } } }", payments=Failure.UNREACHABLE)
        assert answer["data"] == {"orders": [{"status": "S", "payment": None}] * 2}
        assert placed(answer) == [("payments is unavailable", ["orders", i, "payment"]) for i in (0, 1)]
        assert answer["errors"][0]["extensions"] == {"code": "SERVICE_UNAVAILABLE", "serviceName": "payments"}

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (Failure.TIMEOUT, "SERVICE_TIMEOUT"),
            (Failure.BROKEN, "SERVICE_UNAVAILABLE"),
            (Answer(500, b"<html>"), "SERVICE_UNAVAILABLE"),
            (Answer(404, b"not found"), "SERVICE_INVALID_ANSWER"),
            (Answer(200, b"<html>"), "SERVICE_INVALID_ANSWER"),
            (Answer(200, b"[]"), "SERVICE_INVALID_ANSWER"),
            (Answer(200, b'{"data":null}'), "SERVICE_INVALID_ANSWER"),
            (Answer(200, b'{"data":{"_entities":[]}}'), "SERVICE_INVALID_ANSWER"),
            (Answer(200, b'{"data":{"_entities":null},"errors":null}'), "SERVICE_INVALID_ANSWER"),
            (
                Answer(
                    401,
                    b'{"data":null,"errors":[{"message":"who?","extensions":{"code":"UNAUTHENTICATED"}}]}',
                ),
                "UNAUTHENTICATED",
            ),
        ],
    )
    async def test_every_kind_of_failure_has_a_code(
        self, shop: Shop, answer: Answer | Failure, code: str
    ) -> None:
        given = await canned(shop, '{ order(id: "1") { status payment { status } } }', payments=answer)
        assert given["data"] == {"order": {"status": "S1", "payment": None}}
        assert [(each["path"], each["extensions"]["code"]) for each in given["errors"]] == [
            (["order", "payment"], code)
        ]

    async def test_a_root_fetch_that_fails_leaves_the_others_data(self, shop: Shop) -> None:
        answer = await canned(
            shop, '{ order(id: "1") { status } again: order(id: "2") { id } }', orders=Failure.TIMEOUT
        )
        assert answer["data"] == {"order": None, "again": None}
        assert [path for _, path in placed(answer)] == [["order"], ["again"]]

    async def test_a_refused_entity_names_the_lost_fields(self, shop: Shop) -> None:
        shop.entities["Order"] = fail("not yours")
        answer = await shop('{ order(id: "1") { status p: payment { status } parts { code } } }')
        assert placed(answer) == [("not yours", ["order", "p"]), ("not yours", ["order", "parts"])]
        assert answer["data"] == {"order": None}  # parts may not be null

    async def test_an_error_inside_what_only_the_gateway_asked_for_is_cut_to_what_the_client_sees(
        self, shop: Shop
    ) -> None:
        body = orjson.dumps(
            {"data": {"order": None}, "errors": [{"message": "no id", "path": ["order", "_1_id"]}]}
        )
        answer = await canned(shop, '{ order(id: "1") { payment { status } } }', orders=Answer(200, body))
        assert placed(answer) == [("no id", ["order"])]


class TestNullPropagation:
    async def test_a_null_stops_at_the_nearest_field_that_may_be_null(self, shop: Shop) -> None:
        shop.parts["Part.name"] = fail("lost")
        answer = await shop('{ order(id: "1") { status parts { name } } }')
        assert answer["data"] == {"order": {"status": "S1", "parts": [None, None, None, None]}}
        assert [path for message, path in placed(answer) if message == "lost"] == [
            ["order", "parts", 0, "name"],
            ["order", "parts", 3, "name"],
        ]

    async def test_an_object_of_a_type_newer_than_the_graph_is_a_gap(self, shop: Shop) -> None:
        body = b'{"data":{"things":[{"_1_type":"New"},{"_1_type":"Strict","id":"1"}]}}'
        answer = await canned(shop, "{ things { ... on Strict { id must } } }", orders=Answer(200, body))
        assert answer["data"] == {"things": [None, {"id": "1", "must": 1}]}
        assert [error["path"] for error in answer["errors"]] == [["things", 0]]

    async def test_a_null_may_take_the_whole_answer(self, shop: Shop) -> None:
        shop.payments["Strict.must"] = fail("broken")
        answer = await shop("{ strict { must } orders { id } }")
        assert answer["data"] is None
        assert placed(answer) == [("broken", ["strict", "must"])]


class TestMutations:
    async def test_each_ends_with_all_that_follows_before_the_next_begins(self, shop: Shop) -> None:
        await shop(
            'mutation { place(item: {sku: "a"}) { payment { status } } cancel(id: "1") { payment { status } } note }'
        )
        assert shop.log == ["place", "payment", "cancel", "payment", "note"]

    async def test_none_runs_behind_one_whose_failure_takes_the_whole_answer(self, shop: Shop) -> None:
        shop.orders["Commands.place"] = fail("refused")
        answer = await shop(
            'mutation { place(item: {sku: "a"}) { payment { status } } cancel(id: "1") { id } }'
        )
        assert answer["data"] is None
        assert placed(answer) == [("refused", ["place"])]
        assert shop.log == []

    async def test_one_that_was_done_is_not_called_missing_when_a_later_one_takes_the_answer(
        self, shop: Shop
    ) -> None:
        shop.orders["Commands.cancel"] = fail("refused")
        answer = await shop('mutation { place(item: {sku: "a"}) { id } cancel(id: "1") { id } }')
        assert answer["data"] is None
        assert placed(answer) == [("refused", ["cancel"])]
        assert shop.log == ["place"]

    async def test_one_that_may_fail_alone_lets_the_next_run(self, shop: Shop) -> None:
        shop.payments["Order.payment"] = fail("later")
        answer = await shop(
            'mutation { place(item: {sku: "a"}) { payment { status } } cancel(id: "1") { id } }'
        )
        assert answer["data"] == {"place": {"payment": None}, "cancel": {"id": "1"}}

    async def test_only_what_a_mutation_reads_may_be_repeated(self, shop: Shop) -> None:
        seen: list[tuple[str, bool]] = []

        async def send(subgraph: str, body: bytes, *, repeatable: bool, context: Any) -> bytes:
            seen.append((subgraph, repeatable))
            return (await shop.transport.post(subgraph, body, ())).body

        engine = Engine(graph(), send)
        await engine.execute('mutation { cancel(id: "1") { payment { status } } }')
        await engine.execute("{ orders { id } }")
        assert seen == [("orders", False), ("payments", True), ("orders", True)]
