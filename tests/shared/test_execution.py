"""Compiled execution answers exactly as stock execution does, whatever is asked for and whatever the resolvers return.

The types are those of the real subgraphs, under a root that hands out drawn objects: mostly sound, sometimes with a value that
a field's type does not allow. Queries are drawn from the schema.
"""

import gc
import random
from collections.abc import Awaitable, Generator, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import strawberry
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    Undefined,
    execute,
    get_introspection_query,
    parse,
)
from graphql.pyutils import is_awaitable
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from strawberry.dataloader import DataLoader
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

import notifications.schema
import orders.graph
import orders.lists.pages
import payments.schema
import shipping.graph
from orders.scalars import SCALARS
from shared.auth import Principal, Role
from shared.execution import CompiledExecutor, Completers, Operations
from shared.graphql import Context

STAFF = Principal(Role.STAFF, "test|eve")


def rooted(type_: Any) -> strawberry.Schema:
    """A schema whose root answers objects of `type_`: plainly, from a resolver and later, in lists, null or not."""

    def now(root: Any) -> Any:
        return root.many

    async def later(root: Any) -> Any:
        return root.one

    async def lists(root: Any) -> Any:
        return root.many

    maybe: Any = type_ | None
    many: Any = list[maybe]
    fields = {"one": type_, "perhaps": maybe, "many": list[type_], "some": many | None, "nested": list[many]}
    resolved = {
        "now": strawberry.field(resolver=now, graphql_type=many),
        "later": strawberry.field(resolver=later, graphql_type=maybe),
        "lists": strawberry.field(resolver=lists, graphql_type=list[type_]),
    }
    query = type("Query", (), {"__annotations__": fields, **resolved})
    config = StrawberryConfig(scalar_map=SCALARS)
    return strawberry.federation.Schema(query=strawberry.type(query), types=[type_], config=config)


SCHEMAS = {
    "orders": rooted(orders.lists.pages.PaginatedOrders),
    "order": rooted(orders.graph.OrderNode),
    "skus": rooted(orders.graph.SkuNode),
    "payments": rooted(payments.schema.Order),
    "shipping": rooted(shipping.graph.Order),
    "notifications": rooted(notifications.schema.Order),
}


class Promise:
    """Awaitable as often as one likes."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, object]:
        yield from ()
        return self.value


class Items:
    """Iterable, and neither list nor tuple."""

    def __init__(self, items: list[object]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[object]:
        return iter(self.items)


class Word(str):
    __slots__ = ()


ODD: list[Any] = [
    None,
    Undefined,
    ValueError("odd"),
    "",
    "7",
    Word("word"),
    0,
    7,
    2**31,
    2**70,
    True,
    1.0,
    0.5,
]
ODD += [
    float("nan"),
    float("inf"),
    b"x",
    [],
    ["a"],
    {},
    object(),
    "PENDING",
    Promise("late"),
    Promise(None),
    Items([]),
]


class Draw(random.Random):
    """Values and selections for a schema."""

    odds = 0.0

    def value(self, type_: Any, depth: int = 0) -> Any:
        if self.random() < self.odds:
            return self.choice(ODD)
        if isinstance(type_, GraphQLNonNull):
            return self.sound(type_.of_type, depth)
        return None if self.random() < 0.2 else self.sound(type_, depth)

    def sound(self, type_: Any, depth: int) -> Any:
        if isinstance(type_, GraphQLList):
            items = [self.value(type_.of_type, depth) for _ in range(self.randint(0, 2))]
            return self.choice([list, list, tuple, Items])(items)
        if isinstance(type_, GraphQLObjectType):
            return self.object(type_, depth + 1)
        if isinstance(type_, GraphQLEnumType):
            return self.choice(list(cast("Any", type_).wrapped_cls))
        of = {"Int": self.randint(-5, 5), "Float": self.uniform(-9, 9), "Boolean": self.random() < 0.5}
        return of.get(type_.name, f"text {self.randint(0, 9)}")

    def object(self, type_: GraphQLObjectType, depth: int) -> Any:
        values = {
            field.extensions["strawberry-definition"].python_name: self.value(field.type, depth)
            for field in type_.fields.values()
            if depth < 6
        }
        if values and self.random() < self.odds:
            values.pop(self.choice(list(values)))
        return SimpleNamespace(**values)

    def selection(self, type_: GraphQLObjectType, depth: int = 0) -> str:
        parts = [self.field(type_, name, depth) for name in self.names(type_)]
        if self.random() < 0.3:
            parts.append("__typename")
        if self.random() < 0.3:
            inner = " ".join(self.field(type_, name, depth) for name in self.names(type_))
            parts.append(f"... {self.choice(['', f'on {type_.name}'])} {self.condition()} {{ {inner} }}")
        if self.random() < 0.2 and type_.name in self.fragments:
            parts.append(f"...F{type_.name} {self.condition()}")
        self.shuffle(parts)
        return " ".join(parts)

    def names(self, type_: GraphQLObjectType) -> list[str]:
        return self.choices([name for name in type_.fields if not name.startswith("_")], k=self.randint(1, 4))

    def field(self, type_: GraphQLObjectType, name: str, depth: int) -> str:
        inner: Any = type_.fields[name].type
        while isinstance(inner, GraphQLNonNull | GraphQLList):
            inner = inner.of_type
        alias = f"{name}{self.randint(1, 2)}: " if self.random() < 0.1 else ""
        if isinstance(inner, GraphQLObjectType):
            body = "__typename" if depth > 3 else self.selection(inner, depth + 1)
            return f"{alias}{name} {self.condition()} {{ {body} }}"
        return f"{alias}{name} {self.condition()}"

    conditions = False
    fragments: frozenset[str] = frozenset()

    def condition(self) -> str:
        if not self.conditions or self.random() > 0.2:
            return ""
        return f"@{self.choice(['skip', 'include'])}(if: {self.choice(['true', 'false', '$yes', '$no'])})"

    def query(self, schema: Any) -> str:
        self.conditions, self.fragments = self.random() < 0.3, frozenset()
        types = [t for t in schema.type_map.values() if isinstance(t, GraphQLObjectType) and t.name[0] != "_"]
        written = [t for t in types if t is not schema.query_type]
        bodies = [f"fragment F{t.name} on {t.name} {{ {self.selection(t, 3)} }}" for t in written]
        self.fragments = frozenset(t.name for t in written)
        variables = "($yes: Boolean = true, $no: Boolean!)"
        return f"query It{variables} {{ {self.selection(schema.query_type)} }} {' '.join(bodies)}"


async def run(schema: Any, query: str | DocumentNode, root: Any, **executor: Any) -> ExecutionResult:
    async def load(ids: list[Any]) -> list[Any]:
        return [[SimpleNamespace(at="now", actor="a", what="b", why="c")] for _ in ids]

    context = Context(STAFF, "test", None, None)
    context.loaders = {name: DataLoader(load_fn=load) for name in ("customers", "timelines", "refunds")}
    variables = {"no": False}
    document = parse(query) if isinstance(query, str) else query
    result = execute(
        schema, document, root, context, variables, is_awaitable=cast("Any", is_awaitable), **executor
    )
    return await cast("Awaitable[ExecutionResult]", result) if is_awaitable(result) else cast("Any", result)


def seen(result: ExecutionResult) -> str:
    """All that a client can tell apart: values with their types, the order of keys, errors in their order."""
    errors = [(e.message, e.path, e.locations, type(e.original_error)) for e in result.errors or ()]
    return f"{result.data!r}\n{errors}"


# Stock execution abandons coroutines when a sibling fails; the collector says so in either way of executing.
@pytest.fixture
def collected() -> Iterator[None]:
    """What a failed field leaves unawaited is told of here, where it is expected, and not after some later test."""
    yield
    gc.collect()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning"
)
# A seed is drawn instead of every choice: what fails here does not shrink to anything telling.
@pytest.mark.parametrize("odds", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("name", SCHEMAS)
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.usefixtures("collected")
@given(seed=st.integers(0, 2**32 - 1))
async def test_compiled_execution_answers_like_stock(name: str, odds: float, seed: int) -> None:
    schema = cast("Any", SCHEMAS[name])._schema
    draw = Draw(seed)
    draw.odds = odds
    query, completers = draw.query(schema), cast("Completers", {})
    document = parse(query)  # once, as completers know a selection by its nodes
    for _ in range(2):  # the second time with what the first compiled
        root = draw.object(schema.query_type, 0)
        stock = await run(schema, document, root, executor_class=StrawberryGraphQLCoreExecutionContext)
        shared = None if "@" in query else completers
        compiled = await run(schema, document, root, executor_class=CompiledExecutor, completers=shared)
        assert seen(compiled) == seen(stock), query


async def test_a_plain_selection_never_meets_stock_execution_and_an_odd_object_meets_it_alone() -> None:
    schema = cast("Any", SCHEMAS["skus"])._schema
    met: list[Any] = []

    class Watched(CompiledExecutor):
        def complete_leaf_value(self, return_type: Any, result: Any) -> Any:  # type: ignore[override] # static in stock
            met.append(result)
            return super().complete_leaf_value(return_type, result)

    async def asked(names: list[Any]) -> ExecutionResult:
        root = SimpleNamespace(many=[SimpleNamespace(name=name) for name in names])
        return await run(schema, "{ now { name } }", root, executor_class=Watched)

    assert (await asked(["a", "b", "c"])).data == {"now": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    assert met == []
    odd = await asked(["a", ["b"], "c"])
    assert odd.data == {"now": [{"name": "a"}, None, {"name": "c"}]}
    assert [error.path for error in odd.errors or ()] == [["now", 1, "name"]]
    assert met == [["b"]]


@pytest.mark.parametrize("odd", [None, Undefined, ValueError("odd"), Promise(None), Promise(7)], ids=repr)
async def test_what_is_no_object_has_no_type_name_either(odd: Any) -> None:
    """Nothing is read of it that could fail."""
    schema = cast("Any", SCHEMAS["skus"])._schema
    for field in ("now", "lists", "nested"):
        root = SimpleNamespace(many=[odd], nested=[[odd]])
        query = f"{{ {field} {{ __typename }} }}"
        stock = await run(schema, query, root, executor_class=StrawberryGraphQLCoreExecutionContext)
        assert seen(await run(schema, query, root, executor_class=CompiledExecutor)) == seen(stock)


async def test_introspection_is_answered_like_stock() -> None:
    schema = cast("Any", SCHEMAS["order"])._schema
    query = get_introspection_query()
    stock = await run(schema, query, None, executor_class=StrawberryGraphQLCoreExecutionContext)
    compiled = await run(schema, query, None, executor_class=CompiledExecutor, completers={})
    assert seen(compiled) == seen(stock)


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ("", None, "Syntax Error: Unexpected <EOF>."),
        ("{ nothing }", None, "Cannot query field 'nothing' on type 'Query'."),
        ("query A { one { id } }", "B", "Unknown operation named 'B'."),
        ("{ one { id } }", None, "'NoneType' object has no attribute 'one'"),
    ],
)
async def test_what_cannot_be_executed_is_an_error_in_the_answer_each_time(
    query: str, name: str | None, message: str
) -> None:
    operations = Operations(SCHEMAS["skus"])
    for _ in range(2):
        result = await operations.execute(query, None, name, None)
        assert result.data is None
        assert [error.message for error in result.errors or ()] == [message]


async def test_a_condition_holds_for_its_own_request_only() -> None:
    @strawberry.type
    class Thing:
        a: str
        b: str

    @strawberry.type
    class Query:
        @strawberry.field
        def things(self) -> list[Thing]:
            return [Thing(a="a", b="b")]

    operations = Operations(strawberry.Schema(Query))
    query = "query ($yes: Boolean!) { things { a b @include(if: $yes) } }"
    for yes, thing in [(True, {"a": "a", "b": "b"}), (False, {"a": "a"}), (True, {"a": "a", "b": "b"})]:
        assert (await operations.execute(query, {"yes": yes}, None, None)).data == {"things": [thing]}


def test_a_schema_whose_extensions_would_not_run_is_refused() -> None:
    schema = strawberry.Schema(SCHEMAS["skus"].query, extensions=[SchemaExtension])
    with pytest.raises(TypeError, match="extensions"):
        Operations(schema)
