"""A client that was written against seed A's schema validates unchanged against ours: additions are allowed, nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    get_named_type,
    is_required_argument,
    is_required_input_field,
    parse,
    validate,
    visit,
)

from gateway.limits import Limits
from gateway.settings import Settings
from ordermesh.schema import storefront_sdl
from support.seed_a import DOCUMENTS

SEED = build_schema(Path(__file__).with_name("seed_a.graphql").read_text())


def broken(promised: GraphQLSchema, ours: GraphQLSchema) -> list[str]:
    """What a client of the promised schema would miss in ours, or be asked for beyond it."""
    return [
        complaint
        for name, wanted in promised.type_map.items()
        if not name.startswith("__")
        for complaint in _broken_type(name, wanted, ours.type_map.get(name))
    ]


def _broken_type(name: str, wanted: Any, ours: Any) -> Iterator[str]:
    if type(ours) is not type(wanted):
        yield f"{name} is not a {type(wanted).__name__}"
    elif isinstance(wanted, GraphQLEnumType):
        yield from (f"{name}.{value} is missing" for value in wanted.values if value not in ours.values)
    elif isinstance(wanted, GraphQLObjectType):
        for field in wanted.fields:
            yield from _broken_field(f"{name}.{field}", wanted.fields[field], ours.fields.get(field))
    elif isinstance(wanted, GraphQLInputObjectType):
        yield from _broken_inputs(name, wanted.fields, ours.fields, is_required_input_field)


def _broken_field(path: str, wanted: Any, ours: Any) -> Iterator[str]:
    if ours is None:
        yield f"{path} is missing"
        return
    if str(ours.type) != str(wanted.type):
        yield f"{path} is {ours.type}, not {wanted.type}"
    yield from _broken_inputs(path, wanted.args, ours.args, is_required_argument)


def _broken_inputs(path: str, wanted: Any, ours: Any, is_required: Any) -> Iterator[str]:
    for name, given in wanted.items():
        if name not in ours:
            yield f"{path}({name}) is missing"
        elif str(ours[name].type) != str(given.type):
            yield f"{path}({name}) is {ours[name].type}, not {given.type}"
    yield from (
        f"{path}({name}) is required"
        for name, asked in ours.items()
        if name not in wanted and is_required(asked)
    )


def test_all_of_the_seeds_schema_is_there_as_it_was() -> None:
    assert broken(SEED, build_schema(storefront_sdl())) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_client_of_the_seed_sends_is_valid(name: str) -> None:
    document = parse(DOCUMENTS[name])
    assert validate(SEED, document) == []
    assert validate(build_schema(storefront_sdl()), document) == []


def test_every_operation_of_the_seed_is_sent() -> None:
    operations = {*SEED.query_type.fields, *SEED.mutation_type.fields}  # type: ignore[union-attr] # both are there
    assert set(DOCUMENTS) == operations


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_selects_all_that_there_is_and_gives_every_argument(name: str) -> None:
    selected = Selected()
    visit(parse(DOCUMENTS[name]), TypeInfoVisitor(selected.types, selected))
    (root,) = {"Query", "Mutation"} & {path.partition(".")[0] for path in selected.paths}
    assert selected.paths == {*_reachable(root, name, SEED.type_map[root])}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_within_the_gateways_limits(name: str) -> None:
    defaults = {field: info.default for field, info in Settings.model_fields.items()}
    document = parse(DOCUMENTS[name], max_tokens=defaults["max_tokens"])
    Limits(defaults["max_depth"], defaults["max_aliases"], defaults["max_root_fields"]).check(document)


class Selected(Visitor):
    """The fields of a document, as `Order.total`, and the arguments that it gives, as `Query.order(id)`."""

    def __init__(self) -> None:
        super().__init__()
        self.types, self.paths = TypeInfo(SEED), set[str]()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        path = f"{self.types.get_parent_type()}.{node.name.value}"
        self.paths |= {path, *(f"{path}({given.name.value})" for given in node.arguments or ())}


def _reachable(type_name: str, name: str, of: Any) -> Iterator[str]:
    field = of.fields[name]
    yield f"{type_name}.{name}"
    yield from (f"{type_name}.{name}({argument})" for argument in field.args)
    below = get_named_type(field.type)
    for inner in getattr(below, "fields", ()):  # the seed's types have no cycle
        yield from _reachable(below.name, inner, below)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("  total: Float!", "  total: Float"), "Order.total is Float, not Float!"),
        (("  notes: String\n  createdAt", "  createdAt"), "Order.notes is missing"),
        (("  DELIVERED\n", ""), "OrderStatus.DELIVERED is missing"),
        (
            ("cancelOrder(id: ID!)", "cancelOrder(id: ID!, why: String!)"),
            "Mutation.cancelOrder(why) is required",
        ),
        (("amount: Float, reason: String", "amount: Float"), "Mutation.refundOrder(reason) is missing"),
        (("amount: Float", "amount: Int"), "Mutation.refundOrder(amount) is Int, not Float"),
        (
            ("  search: String\n  dateRange", "  search: String!\n  dateRange"),
            "OrderFilterInput(search) is String!, not String",
        ),
        (("  start: String!", "  zone: String!\n  start: String!"), "DateRangeInput(zone) is required"),
        (("input SortInput", "type SortInput"), "SortInput is not a GraphQLInputObjectType"),
    ],
)
def test_each_way_to_break_a_client_is_seen(change: tuple[str, str], complaint: str) -> None:
    text = Path(__file__).with_name("seed_a.graphql").read_text()
    assert change[0] in text
    changed = build_schema(text.replace(*change, 1), assume_valid=True)
    assert complaint in broken(SEED, changed)
