"""Seed A's schema and its clients' documents against our graph: what was written for the seed is served unchanged.

`seed_a.graphql` is the seed's own SDL, `seed_a/` holds one document for each of its queries and mutations with every field and
argument there is. Neither follows our schema: a failure here is mended in the schema.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLField,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    get_named_type,
    is_object_type,
    parse,
    validate,
    visit,
)
from graphql.utilities import DangerousChangeType, SafeChangeType, find_schema_changes

from gateway.federation import Graph, compose
from gateway.federation.documents import Documents
from gateway.limits import Limits
from gateway.settings import Settings
from ordermesh.schema import subgraphs

SEED = build_schema(Path(__file__).with_name("seed_a.graphql").read_text())
DOCUMENTS = sorted(Path(__file__).with_name("seed_a").glob("*.graphql"))
ADDITIONS = {
    SafeChangeType.TYPE_ADDED,
    SafeChangeType.FIELD_ADDED,
    SafeChangeType.OPTIONAL_ARG_ADDED,
    SafeChangeType.OPTIONAL_INPUT_FIELD_ADDED,
    SafeChangeType.DESCRIPTION_CHANGED,
    SafeChangeType.DIRECTIVE_ADDED,
    DangerousChangeType.OPTIONAL_ARG_ADDED,
    DangerousChangeType.OPTIONAL_INPUT_FIELD_ADDED,
    DangerousChangeType.VALUE_ADDED_TO_ENUM,
}
"""What we may have beyond the seed. Any other difference counts, also one that graphql-core calls safe: types are to be the same."""


def differences(seed: GraphQLSchema, ours: GraphQLSchema) -> list[str]:
    return [change.description for change in find_schema_changes(seed, ours) if change.type not in ADDITIONS]


@cache
def graph() -> Graph:
    return compose(subgraphs())


def test_the_graph_has_all_of_the_seeds_schema_with_the_same_types() -> None:
    assert differences(SEED, graph().api) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_seed_clients_document_is_valid(document: Path) -> None:
    """On the seed's schema, and on ours within the gateway's default limits."""
    text = document.read_text()
    assert validate(SEED, parse(text)) == []
    assert validate(graph().api, parse(text)) == []
    fields = Settings.model_fields
    limits = Limits(*(fields[name].default for name in ("max_depth", "max_aliases", "max_root_fields")))
    tokens = fields["max_tokens"].default
    as_served = Documents(graph().api, introspection=True, max_tokens=tokens, check=limits.check, size=1)
    as_served.operation(text, None)  # raises RequestRefused for what the gateway does not take


def test_the_documents_are_one_for_each_query_and_mutation_with_every_field_and_argument() -> None:
    every = (
        {**SEED.query_type.fields, **SEED.mutation_type.fields}
        if SEED.query_type and SEED.mutation_type
        else {}
    )
    shown = {}
    for document in DOCUMENTS:
        coordinates = Coordinates()
        visit(parsed := parse(document.read_text()), TypeInfoVisitor(coordinates.types, coordinates))
        shown[root_of(parsed)] = coordinates.seen
    assert shown == {name: {*reachable(name, field)} for name, field in every.items()}


def root_of(document: DocumentNode) -> str:
    (operation,) = document.definitions
    (field,) = operation.selection_set.selections  # type: ignore[attr-defined] # one operation each, or the next line fails
    assert isinstance(field, FieldNode)
    return field.name.value


class Coordinates(Visitor):
    """Collects what a document selects, as `Order.total`, and the arguments it gives, as `order(id:)`."""

    def __init__(self) -> None:
        super().__init__()
        self.types, self.seen = TypeInfo(SEED), set[str]()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        parent = self.types.get_parent_type()
        at_root = parent in (SEED.query_type, SEED.mutation_type)
        self.seen.add(node.name.value if at_root else f"{parent}.{node.name.value}")
        self.seen.update(f"{node.name.value}({argument.name.value}:)" for argument in node.arguments or ())


def reachable(name: str, field: GraphQLField) -> Iterator[str]:
    yield name
    yield from (f"{name}({argument}:)" for argument in field.args)
    to_visit, seen = [get_named_type(field.type)], set[str]()
    while to_visit:
        type_ = to_visit.pop()
        if is_object_type(type_) and type_.name not in seen:
            seen.add(type_.name)
            yield from (f"{type_.name}.{inner}" for inner in type_.fields)
            to_visit += [get_named_type(inner.type) for inner in type_.fields.values()]


PROMISED = """
enum Kind { A B }
input Wanted { kind: Kind }
type Thing { id: ID! price: Float! weight: Float! count: Int! note: String }
type Query { thing(id: ID!, wanted: Wanted, limit: Int): Thing }
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("price: Float!", "price: Int!", ["Thing.price", "Float!", "Int!"]),
        ("price: Float!", "price: Float", ["Thing.price", "Float!", "Float"]),
        ("note: String", "note: String!", ["Thing.note", "String!"]),
        ("note: String", "", ["Thing.note", "removed"]),
        (", limit: Int", "", ["Query.thing(limit:)", "removed"]),
        ("limit: Int", "limit: Int!", ["Query.thing(limit:)", "Int!"]),
        ("id: ID!, wanted", "id: ID, wanted", ["Query.thing(id:)", "ID!", "ID"]),
        ("limit: Int", "limit: Int = 10", ["Query.thing(limit:)", "default"]),
        ("limit: Int", "limit: Int, more: Int!", ["Query.thing(more:)", "required"]),
        ("kind: Kind", "kind: Kind, more: Int!", ["Wanted.more", "required"]),
        ("kind: Kind", "kind: String", ["Wanted.kind", "String"]),
        ("A B", "A", ["Kind.B", "removed"]),
        ("enum Kind { A B }", "scalar Kind", ["Kind"]),
        ("type Query { thing(", "type Query { other(", ["Query.thing", "removed"]),
    ],
)
def test_whatever_could_break_a_client_is_reported(before: str, after: str, said: list[str]) -> None:
    assert before in PROMISED
    (difference,) = differences(build_schema(PROMISED), build_schema(PROMISED.replace(before, after)))
    assert [word for word in said if word.lower() not in difference.lower()] == []


def test_additions_are_not() -> None:
    more = PROMISED.replace("A B", "A B C").replace("kind: Kind", "kind: Kind more: Int = 1")
    more = more.replace("limit: Int", "limit: Int, after: String").replace(
        "id: ID! price", "id: ID! new: Int! price"
    )
    more += "type New { id: ID } extend type Query { new: New! }"
    assert differences(build_schema(PROMISED), build_schema(more)) == []
