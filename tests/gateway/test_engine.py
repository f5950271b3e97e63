"""What an engine answers by itself, and what it keeps closed."""

import orjson
import pytest
from graphql import DocumentNode

from gateway.federation import Code, Engine, EngineOptions, RequestRefused
from gateway.testing import InProcess, SdlSubgraph, engine_over

SDL = """
    type Query { order: Order orders: [Order!]! } type Order @key(fields: "id") { id: ID! status: String }
    schema { query: Query mutation: Commands } type Commands { note: String }
"""


async def engine(options: EngineOptions | None = None) -> Engine:
    return await engine_over(
        InProcess({"orders": SdlSubgraph(SDL, {"Query.orders": lambda _: [{"id": "1"}]})}), options
    )


async def refused(asked: Engine, query: str, name: str | None = None) -> RequestRefused:
    with pytest.raises(RequestRefused) as refusal:
        await asked.execute(query, operation_name=name, context=())
    return refusal.value


@pytest.mark.parametrize(
    "query", ["{ _service { sdl } }", "{ _entities(representations: []) { __typename } }"]
)
async def test_the_federation_fields_are_closed_to_clients(query: str) -> None:
    assert (await refused(await engine(), query)).code is Code.GRAPHQL_VALIDATION_FAILED


async def test_introspection_shows_the_api_beside_data() -> None:
    asked = await engine()
    query = "query($t: String!) { i: __type(name: $t) { fields { name } } __schema { mutationType { name } } orders { id } }"
    answer = orjson.loads(await asked.execute(query, {"t": "Order"}, context=()))
    assert answer["data"] == {
        "i": {"fields": [{"name": "id"}, {"name": "status"}]},
        "__schema": {"mutationType": {"name": "Mutation"}},
        "orders": [{"id": "1"}],
    }


async def test_introspection_can_be_closed_and_then_suggests_nothing() -> None:
    asked = await engine(EngineOptions(introspection=False))
    assert await asked.execute("{ __typename }") == b'{"data":{"__typename":"Query"}}'
    for query in ("{ __schema { types { name } } }", "{ order_ }"):
        assert "Did you mean" not in str(await refused(asked, query))


async def test_an_operation_is_chosen_by_name() -> None:
    asked, document = await engine(), "query A { orders { id } } query B { __typename }"
    assert await asked.execute(document, operation_name="B") == b'{"data":{"__typename":"Query"}}'
    for name in (None, "C"):
        assert (await refused(asked, document, name)).code is Code.BAD_REQUEST


async def test_a_refusal_is_remembered_like_a_plan() -> None:
    asked = await engine()
    first, second = await refused(asked, "{ nope }"), await refused(asked, "{ nope }")
    assert first is second
    assert first.errors[0]["locations"] == [{"line": 1, "column": 3}]


async def test_the_check_sees_a_document_once_and_before_its_validation() -> None:
    seen: list[DocumentNode] = []
    asked = await engine(EngineOptions(check=seen.append))
    await refused(asked, "{ nope }")
    await refused(asked, "{ nope }")
    assert len(seen) == 1
