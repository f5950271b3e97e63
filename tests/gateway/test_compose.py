"""The composition rules, one by one: what merges into what, and what is refused by name."""

import enum
from typing import Any

import pytest
import strawberry
from strawberry.federation import Schema

from gateway.federation import CompositionError, CompositionFailed, Graph, compose, schema_sdl
from gateway.testing import LINK

QUERY = "type Query { ping: Int }"


def composed(*sdls: str) -> Graph:
    return compose({f"s{number}": LINK + sdl for number, sdl in enumerate(sdls)})


def errors(*sdls: str) -> list[CompositionError]:
    with pytest.raises(CompositionFailed) as failed:
        composed(*sdls)
    return list(failed.value.errors)


def refusal(*sdls: str) -> tuple[str, str]:
    (error,) = errors(*sdls)
    return error.code, error.where


def field(graph: Graph, type_name: str, field_name: str) -> Any:
    holder: Any = graph.api.type_map[type_name]
    return holder.fields[field_name]


class TestReadingOneSubgraph:
    def test_strawberry_federation_schemas_compose(self) -> None:
        @strawberry.enum
        class Status(enum.Enum):
            OPEN = "OPEN"

        @strawberry.federation.type(keys=["id"])
        class Order:
            id: strawberry.ID
            status: Status

        @strawberry.type
        class Query:
            @strawberry.field
            def order(self, number: str) -> Order | None:
                raise NotImplementedError

        @strawberry.type
        class Commands:
            @strawberry.mutation
            def place(self, note: str | None = None) -> Order:
                raise NotImplementedError

        @strawberry.federation.type(keys=["id"], name="Order")
        class Paid:
            id: strawberry.ID
            payment: str | None

        orders = Schema(query=Query, mutation=Commands).as_str()
        payments = Schema(types=[Paid]).as_str()
        sdl = schema_sdl(compose({"orders": orders, "payments": payments}))
        assert "type Mutation {\n  place(note: String = null): Order!\n}" in sdl
        assert "payment: String" in sdl
        assert "_entities" not in sdl
        assert "_Any" not in sdl

    def test_a_directive_may_be_imported_under_another_name(self) -> None:
        link = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.0", import: [{name: "@key", as: "@id"}])'
        sdl = link + 'type Query { a: A } type A @id(fields: "x") { x: ID! y: Int @federation__shareable }'
        assert compose({"one": sdl}).subgraphs["one"].keys["A"][0].fields == (("x", ()),)

    def test_a_federation_directive_without_a_link_is_refused(self) -> None:
        with pytest.raises(CompositionFailed, match="neither of GraphQL nor imported"):
            compose({"one": 'type Query { a: A } type A @key(fields: "x") { x: ID! }'})

    @pytest.mark.parametrize(
        "sdl",
        [
            "type Query { a: Int @external }",
            "type Query { a: Int @inaccessible }",
            'type Query { a: A } type A @interfaceObject @key(fields: "x") { x: ID! }',
            'type Query { a: A } interface A @key(fields: "x") { x: ID! }',
            'type Query { a(b: Int @tag(name: "x")): Int }',
            "type Query { a: E } enum E { A @inaccessible B }",
            "directive @upper on FIELD type Query { a: Int }",
        ],
    )
    def test_a_directive_that_is_not_implemented_is_an_error_not_a_silence(self, sdl: str) -> None:
        assert [error.code for error in errors(sdl)] == ["UNSUPPORTED_DIRECTIVE"]

    def test_a_link_to_an_unknown_specification_is_refused(self) -> None:
        assert refusal('extend schema @link(url: "https://example.com/x/v1.0") ' + QUERY) == (
            "UNSUPPORTED_LINK",
            "schema",
        )

    def test_subscriptions_are_refused(self) -> None:
        assert refusal(QUERY + "type Subscription { a: Int }") == ("UNSUPPORTED_SUBSCRIPTION", "Subscription")

    def test_what_is_not_sdl_is_refused_with_the_name_of_its_subgraph(self) -> None:
        assert refusal("type {") == ("INVALID_SDL", "s0")
        assert refusal("type Query { a: Unknown }") == ("INVALID_SDL", "s0")

    def test_a_type_may_be_only_extended_and_roots_may_have_any_name(self) -> None:
        graph = composed(
            "schema { query: Root mutation: Do } type Root { ping: Int } type Do { do: Done } type Done { by: Do }",
            "extend type Query { pong: Int }",
        )
        assert str(field(graph, "Done", "by").type) == "Mutation"
        assert field(graph, "Query", "pong")

    def test_all_subgraphs_errors_are_listed_together(self) -> None:
        found = errors("type Query { a: Int @external b: Int @tag }", "type X @override { a: Int }")
        assert [(error.where, error.subgraphs) for error in found] == [
            ("Query.a", ("s0",)),
            ("Query.b", ("s0",)),
            ("X", ("s1",)),
        ]


class TestKeys:
    def test_keys_may_be_several_compound_nested_and_not_resolvable(self) -> None:
        graph = composed(
            'type Query { a: A } type A @key(fields: "id") @key(fields: "n shop { id }") { id: ID! n: Int! shop: Shop! }'
            ' type Shop @key(fields: "id", resolvable: false) { id: ID! }'
        )
        assert graph.entries == {"A": {"s0": ((("id", ()),), (("n", ()), ("shop", (("id", ()),))))}}

    @pytest.mark.parametrize(
        "fields", ["nope", "list", "face", "args(x: 1)", "id: n", "shop", "id { x }", "...on A { id }", "{"]
    )
    def test_a_key_that_cannot_identify_is_refused(self, fields: str) -> None:
        sdl = (
            f'type Query {{ a: A }} type A @key(fields: "{fields}") {{ id: ID! n: Int list: [Int] face: F shop: Shop '
            "args(x: Int): Int } type Shop { id: ID! } interface F { id: ID! }"
        )
        assert refusal(sdl) == ("INVALID_KEY", "A")


class TestOutputTypes:
    @pytest.mark.parametrize(
        ("one", "other", "merged"),
        [
            ("Int!", "Int", "Int"),
            ("Int!", "Int!", "Int!"),
            ("[Int!]!", "[Int]", "[Int]"),
            ("[[Int!]!]", "[[Int!]]!", "[[Int!]]"),
            ("A!", "F!", "F!"),
            ("U", "A!", "U"),
        ],
    )
    def test_a_field_is_as_weak_as_its_weakest_declaration(self, one: str, other: str, merged: str) -> None:
        types = "interface F { x: Int @deprecated } type A implements F @shareable { x: Int } union U = A"
        graph = composed(
            f"type Query {{ a: {one} @shareable }} {types}", f"type Query {{ a: {other} @shareable }} {types}"
        )
        assert str(field(graph, "Query", "a").type) == merged

    @pytest.mark.parametrize(
        ("one", "other"), [("Int", "String"), ("Int", "[Int]"), ("[[Int]]", "[Int]"), ("A", "B")]
    )
    def test_types_that_nothing_covers_are_refused(self, one: str, other: str) -> None:
        types = "type A @shareable { x: Int } type B @shareable { x: Int }"
        sdls = [f"type Query {{ a: {each} @shareable }} {types}" for each in (one, other)]
        assert refusal(*sdls) == ("FIELD_TYPE_MISMATCH", "Query.a")

    def test_a_name_has_one_kind(self) -> None:
        assert refusal(QUERY + "type A { x: Int }", "input A { x: Int }") == ("TYPE_KIND_MISMATCH", "A")

    def test_unions_are_united_and_interfaces_gather_fields_and_implementors(self) -> None:
        graph = composed(
            'type Query { u: U n: N } union U = A type A implements N @key(fields: "id") { id: ID! } interface N { id: ID! }',
            'union U = B type B implements N @key(fields: "id") { id: ID! } interface N { id: ID! }',
        )
        assert "union U = A | B" in schema_sdl(graph)
        assert {each.name for each in graph.api.get_possible_types(graph.api.type_map["N"])} == {"A", "B"}  # type: ignore[arg-type] # an interface by construction

    def test_an_implementor_must_have_every_field_that_its_interface_gathers(self) -> None:
        (error,) = errors(
            "type Query { n: N } interface N { x: Int } type A implements N { x: Int }",
            "interface N { y: Int }",
        )
        assert error.code == "INVALID_API"
        assert "Interface field N.y expected but A does not provide it" in error.message

    def test_descriptions_and_deprecations_survive(self) -> None:
        sdl = schema_sdl(composed('"""Who"""\ntype Query { "What" a: Int @deprecated(reason: "old") }'))
        assert '"""Who"""' in sdl
        assert '"""What"""\n  a: Int @deprecated(reason: "old")' in sdl

    def test_a_graph_without_any_query_is_refused(self) -> None:
        assert refusal("type A { x: Int }") == ("INVALID_API", "schema")


class TestArguments:
    def share(self, *arguments: str) -> tuple[str, ...]:
        return tuple(f"type Query {{ a{each}: Int @shareable }} input I {{ x: Int }}" for each in arguments)

    def test_an_argument_is_as_strict_as_its_strictest_declaration(self) -> None:
        graph = composed(*self.share("(x: Int, y: [Int!])", "(x: Int!, y: [Int]!)"))
        assert {name: str(each.type) for name, each in field(graph, "Query", "a").args.items()} == {
            "x": "Int!",
            "y": "[Int!]!",
        }

    def test_an_optional_argument_unknown_to_one_is_dropped(self) -> None:
        assert list(field(composed(*self.share("(x: Int, y: Int! = 1)", "(x: Int)")), "Query", "a").args) == [
            "x"
        ]

    def test_a_required_argument_unknown_to_one_is_refused(self) -> None:
        assert refusal(*self.share("(x: Int!)", "")) == ("REQUIRED_ARGUMENT_MISSING", "Query.a(x:)")

    def test_arguments_must_agree_on_type_and_default(self) -> None:
        assert refusal(*self.share("(x: Int)", "(x: ID)")) == ("ARGUMENT_TYPE_MISMATCH", "Query.a(x:)")
        assert refusal(*self.share("(x: Int = 1)", "(x: Int = 2)")) == (
            "ARGUMENT_DEFAULT_MISMATCH",
            "Query.a(x:)",
        )


class TestSharing:
    def test_a_field_of_two_subgraphs_must_be_shareable_in_both(self) -> None:
        (error,) = errors("type Query { a: Int @shareable }", "type Query { a: Int }")
        assert (error.code, error.where) == ("INVALID_FIELD_SHARING", "Query.a")
        assert "not @shareable in s1" in error.message

    def test_value_types_and_key_fields_are_shared(self) -> None:
        money = "type Money @shareable { amount: Int! }"
        entity = 'type A @key(fields: "b { id }") { b: B! %s: Money } type B { id: ID! } ' + money
        graph = composed("type Query { a: A } " + entity % "x", entity % "y")
        assert graph.resolvers["Money", "amount"] == ("s0", "s1")

    def test_a_mutation_has_one_owner_even_if_shareable(self) -> None:
        mutation = QUERY.replace("ping: Int", "ping: Int @shareable") + "type Mutation { do: Int @shareable }"
        assert refusal(mutation, mutation) == ("SHARED_MUTATION", "Mutation.do")


class TestEnumsAndInputs:
    def test_an_enum_in_outputs_is_united(self) -> None:
        sdl = schema_sdl(composed("type Query { a: E } enum E { A B }", "type X { e: E } enum E { B C }"))
        assert "enum E {\n  A\n  B\n  C\n}" in sdl

    def test_an_enum_in_inputs_is_intersected(self) -> None:
        sdl = schema_sdl(
            composed(
                "type Query { a(e: E): Int } enum E { A B }", "type Query { b(e: E): Int } enum E { B C }"
            )
        )
        assert "enum E {\n  B\n}" in sdl

    def test_an_enum_in_both_must_be_the_same_everywhere(self) -> None:
        assert refusal("type Query { a(e: E): E } enum E { A B }", "enum E { B }") == (
            "ENUM_VALUE_MISMATCH",
            "E",
        )

    def test_an_enum_without_common_values_is_refused(self) -> None:
        found = errors("type Query { a(e: E): Int } enum E { A }", "type Query { b(e: E): Int } enum E { C }")
        assert ("EMPTY_ENUM", "E") in [(error.code, error.where) for error in found]

    def test_input_fields_are_intersected_and_get_stricter(self) -> None:
        graph = composed(
            "type Query { a(i: I): Int } input I { x: Int y: Int }",
            "type Query { b(i: I): Int } input I { x: Int! z: Int }",
        )
        declared: Any = graph.api.type_map["I"]
        assert {name: str(each.type) for name, each in declared.fields.items()} == {"x": "Int!"}

    def test_a_required_input_field_unknown_to_one_is_refused(self) -> None:
        one, other = (
            "type Query { a(i: I): Int } input I { x: Int! y: Int }",
            "type Query { b(i: I): Int } input I { y: Int }",
        )
        assert refusal(one, other) == ("REQUIRED_FIELD_MISSING", "I.x")

    def test_one_of_must_be_declared_by_all(self) -> None:
        one = "type Query { a(i: I): Int } input I @oneOf { x: Int y: Int }"
        assert "@oneOf" in schema_sdl(composed(one))
        assert refusal(one, "type Query { b(i: I): Int } input I { x: Int y: Int }") == (
            "ONE_OF_MISMATCH",
            "I",
        )


class TestSatisfiability:
    def test_a_field_behind_a_key_that_nobody_supplies_is_refused(self) -> None:
        code, x = errors(
            'type Query { a: A } type A @key(fields: "id") { id: ID! }',
            'type A @key(fields: "code") { code: ID! x: Int }',
        )
        assert {(error.code, error.where) for error in (code, x)} == {
            ("UNREACHABLE_FIELD", "A.code"),
            ("UNREACHABLE_FIELD", "A.x"),
        }
        assert "Query > a > x cannot be answered: s0 cannot supply a key to enter s1" in x.message

    def test_a_field_is_reached_over_a_third_subgraph(self) -> None:
        graph = composed(
            'type Query { a: A } type A @key(fields: "id") { id: ID! }',
            'type A @key(fields: "id") @key(fields: "code") { id: ID! code: ID! }',
            'type A @key(fields: "code") { code: ID! x: Int }',
        )
        assert field(graph, "A", "x")

    def test_an_entity_without_a_resolvable_key_cannot_be_entered(self) -> None:
        entity = 'type A @key(fields: "id", resolvable: false) { id: ID! x: Int }'
        found = errors('type Query { a: A } type A @key(fields: "id") { id: ID! }', entity)
        assert [error.where for error in found] == ["A.x"]

    def test_a_value_that_two_subgraphs_know_parts_of_needs_a_shared_way_to_it(self) -> None:
        one, other = "type V @shareable { x: Int }", "type V @shareable { y: Int }"
        assert composed(
            f"type Query {{ v: V @shareable }} {one}", f"type Query {{ v: V @shareable }} {other}"
        )
        (error,) = errors(f"type Query {{ v: V }} {one}", f"type Query {{ w: Int }} {other}")
        assert error.where == "V.y"


def test_the_printed_schema_does_not_depend_on_the_order_of_subgraphs() -> None:
    one, other = LINK + "type Query { b: Int }", LINK + "type Query { a: Int }"
    assert schema_sdl(compose({"x": one, "y": other})) == schema_sdl(compose({"y": one, "x": other}))
